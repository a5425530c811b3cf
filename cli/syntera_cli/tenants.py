"""How a command gets to a tenant's API: the options that name it, and the way there."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from .client import TenantClient
from .connections import ForwardedPort
from .terminal import checked_key, client_at, given_key

Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Namespace of the tenant.", show_default=False)
]
Tenant = Annotated[str | None, typer.Option(help="The tenant, instead of its namespace.", show_default=False)]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig.", show_default=False)]
Url = Annotated[str | None, typer.Option(help="The tenant's API; Kubernetes is not asked then.", show_default=False)]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        help="File with an API key that may do this. Default: the tenant's own, read from its Secret.",
        show_default=False,
    ),
]


@contextlib.contextmanager
def open_tenant(
    namespace: str | None, tenant: str | None, context: str | None, url: str | None, api_key_file: Path | None
) -> Iterator[TenantClient]:
    """The tenant's API, at a URL or through the cluster.

    Raises:
        CliError: There is no such tenant, no key, or no way to it.
    """
    key = given_key(api_key_file)
    if url is not None:
        with client_at(url, key) as client:
            yield client
        return
    from .cluster import Cluster  # noqa: PLC0415  # the official client takes longer to import than all the rest

    cluster = Cluster(context)
    namespace = namespace or cluster.tenant_namespace(tenant)
    key = key or checked_key(cluster.admin_key(namespace))
    with ForwardedPort(namespace, context=context) as connection, TenantClient(connection, key) as client:
        yield client
