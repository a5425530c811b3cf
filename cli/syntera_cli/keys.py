"""`syntera keys`: a tenant's API keys. The key's text goes to standard output alone, everything about it elsewhere."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.table import Table
from rich.text import Text

from syntera_crds.contract.api_key import Scope
from syntera_runtime.client.models import ApiKeyInfo

from .errors import KeyNotFound
from .tenants import Context, KeyFile, Namespace, Tenant, Url, open_tenant
from .terminal import Output, complain, show, told_failures

app = typer.Typer(name="keys", help="Make, list and revoke a tenant's API keys.", no_args_is_help=True)


class _KeyList(BaseModel):
    items: list[ApiKeyInfo]


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for.", show_default=False)],
    *,
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What a secret key may do. May be repeated.", show_default=False)
    ] = None,
    agent: Annotated[
        list[str] | None,
        typer.Option(
            help="Make a publishable key, for visitors who talk to this agent. May be repeated.", show_default=False
        ),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Website that may use the publishable key, beside those of the Tenant. May be repeated.",
            show_default=False,
        ),
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=36500, help="Days until it expires. Default: never.", show_default=False)
    ] = None,
    namespace: Namespace = None,
    tenant: Tenant = None,
    context: Context = None,
    url: Url = None,
    api_key_file: KeyFile = None,
) -> None:
    """Make a key and print it. It is shown this once.

    With [bold]--scope[/] a secret key, for servers; with [bold]--agent[/] a publishable key, for pages of websites.
    """
    if bool(scope) == bool(agent):
        raise typer.BadParameter(
            "name either scopes, for a secret key, or agents, for a publishable one", param_hint="--scope"
        )
    if origin and not agent:
        raise typer.BadParameter("belongs to a publishable key; name its agents", param_hint="--origin")
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    with told_failures(), open_tenant(namespace, tenant, context, url, api_key_file) as client:
        if scope:
            made = client.create_secret_key(name, scope, expires_at=expires_at)
        else:
            made = client.create_publishable_key(name, agent or (), allowed_origins=origin or (), expires_at=expires_at)
        complain(f"The key {made.prefix}... is made. Keep it: it is shown this once.", style="dim")
        print(made.key)


@app.command("list")
def list_keys(
    *,
    output: Annotated[Output, typer.Option("--output", "-o", help="For people or for scripts.")] = Output.TEXT,
    namespace: Namespace = None,
    tenant: Tenant = None,
    context: Context = None,
    url: Url = None,
    api_key_file: KeyFile = None,
) -> None:
    """List all keys, oldest first, revoked and expired ones too."""
    with told_failures(), open_tenant(namespace, tenant, context, url, api_key_file) as client:
        found = list(client.api_keys())
        show(_KeyList(items=found), [_table(found)], output)


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its id, or how it begins, as listed.", show_default=False)],
    *,
    namespace: Namespace = None,
    tenant: Tenant = None,
    context: Context = None,
    url: Url = None,
    api_key_file: KeyFile = None,
) -> None:
    """Revoke a key. Within five seconds it opens nothing any more; a publishable one also ends its visitors' sessions."""
    with told_failures(), open_tenant(namespace, tenant, context, url, api_key_file) as client:
        found = next((one for one in client.api_keys() if key in (str(one.id), one.prefix)), None)
        if found is None:
            raise KeyNotFound(f"There is no key {key!r}; `syntera keys list` shows those that there are.")
        client.revoke_api_key(str(found.id))
        complain(f"The key {found.prefix}... ({found.name}) is revoked.", style="dim")


def _table(keys: list[ApiKeyInfo]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("KEY", no_wrap=True)
    for title in ("NAME", "OPENS", "STATE", "CREATED", "LAST USED"):
        table.add_column(title, overflow="fold")
    for key in keys:
        opens = ", ".join(key.scopes if key.agents is None else key.agents)
        cells = (key.prefix, key.name, opens, _state(key), _day(key.created_at), _day(key.last_used_at))
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _state(key: ApiKeyInfo) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is None:
        return "the operator's" if key.made_by == "operator" else "live"
    return "expired" if key.expires_at <= datetime.now(UTC) else f"until {_day(key.expires_at)}"


def _day(time: datetime | None) -> str:
    return "never" if time is None else f"{time:%Y-%m-%d}"
