"""`syntera keys` against a tenant's real API."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from syntera_cli import tenants
from syntera_cli.__main__ import app
from syntera_crds.contract.api_key import ApiKey, KeyKind
from tests.cli.conftest import RunningTenant
from tests.cli.forwarded import fake_forwarded_port


def run(tenant: RunningTenant, *arguments: str, key: str | None = None) -> Result:
    """A command with an administrator's key, or another one."""
    environment = {"SYNTERA_API_KEY": tenant.admin_key if key is None else key}
    return CliRunner().invoke(app, ["keys", *arguments, "--url", tenant.url], env=environment)


def listed(tenant: RunningTenant) -> dict[str, Any]:
    """All keys by how they begin."""
    result = run(tenant, "list", "-o", "json")
    assert result.exit_code == 0, result.stderr
    return {item["prefix"]: item for item in json.loads(result.stdout)["items"]}


def test_secret_key_is_printed_alone_and_works(tenant: RunningTenant) -> None:
    result = run(tenant, "create", "the shop", "--scope", "chat", "--scope", "agents:read", "--days", "90")
    assert result.exit_code == 0, result.stderr
    text = result.stdout.removesuffix("\n")
    key = ApiKey.parse(text)
    assert key is not None
    assert key.kind is KeyKind.SECRET
    assert text not in result.stderr
    assert f"{text[:15]}..." in result.stderr
    made = listed(tenant)[text[:15]]
    assert (made["name"], made["scopes"], made["agents"]) == ("the shop", ["agents:read", "chat"], None)
    expires_in = datetime.fromisoformat(made["expiresAt"]) - datetime.now(UTC)
    assert timedelta(days=89) < expires_in <= timedelta(days=90)
    chat = CliRunner().invoke(app, ["chat", "travel", "--url", tenant.url, "-m", "Hi"], env={"SYNTERA_API_KEY": text})
    assert chat.exit_code == 0, chat.stderr


def test_publishable_key_is_bound_to_agents_and_websites(tenant: RunningTenant) -> None:
    result = run(tenant, "create", "site", "--agent", "travel", "--agent", "quiet", "--origin", "https://shop.example")
    assert result.exit_code == 0, result.stderr
    made = listed(tenant)[result.stdout[:15]]
    assert made["kind"] == "pk"
    assert (made["agents"], made["allowedOrigins"]) == (["quiet", "travel"], ["https://shop.example"])
    assert made["expiresAt"] is None


@pytest.mark.parametrize(
    "arguments",
    [
        ("x",),
        ("x", "--scope", "chat", "--agent", "travel"),
        ("x", "--scope", "everything"),
        ("x", "--scope", "chat", "--origin", "https://shop.example"),
        ("x", "--scope", "chat", "--days", "0"),
        ("--scope", "chat"),
    ],
)
def test_wrong_usage_makes_no_key(tenant: RunningTenant, arguments: tuple[str, ...]) -> None:
    before = listed(tenant)
    assert run(tenant, "create", *arguments).exit_code == 2
    assert listed(tenant) == before


def test_what_the_api_refuses_is_told(tenant: RunningTenant) -> None:
    result = run(tenant, "create", "site", "--agent", "travel", "--origin", "shop.example")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "allowedOrigins[0]" in result.stderr


def test_revoked_key_opens_nothing(tenant: RunningTenant) -> None:
    for field in ("prefix", "id"):
        text = run(tenant, "create", f"by {field}", "--scope", "chat").stdout.strip()
        result = run(tenant, "revoke", listed(tenant)[text[:15]][field])
        assert (result.exit_code, result.stdout) == (0, "")
        assert f"by {field}" in result.stderr
        assert listed(tenant)[text[:15]]["revokedAt"] is not None
        refused = run(tenant, "list", key=text)
        assert (refused.exit_code, refused.stderr) == (1, "This API key was revoked.\n")


def test_unknown_key_is_not_revoked(tenant: RunningTenant) -> None:
    before = listed(tenant)
    result = run(tenant, "revoke", "syn_sk_AAAAAAAA")
    assert result.exit_code == 1
    assert "syntera keys list" in result.stderr
    assert listed(tenant) == before


def test_key_of_the_operator_is_kept(tenant: RunningTenant) -> None:
    result = run(tenant, "revoke", tenant.admin_key[:15])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "operator" in result.stderr


def test_list_tells_people_what_each_key_is(tenant: RunningTenant) -> None:
    gone = run(tenant, "create", "old shop", "--scope", "chat").stdout.strip()
    run(tenant, "revoke", gone[:15])
    soon = run(tenant, "create", "site [bold]", "--agent", "travel", "--days", "3").stdout.strip()
    result = run(tenant, "list")
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert lines["KEY"].split() == ["KEY", "NAME", "OPENS", "STATE", "CREATED", "LAST", "USED"]
    assert "the operator's" in lines[tenant.admin_key[:15]]
    assert "revoked" in lines[gone[:15]]
    assert "site [bold]" in lines[soon[:15]]
    assert f"until {listed(tenant)[soon[:15]]['expiresAt'][:10]}" in lines[soon[:15]]
    assert "never" in lines[soon[:15]]


def test_all_pages_are_listed(tenant: RunningTenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syntera_cli.client.KEYS_OF_A_PAGE", 1)
    before = len(listed(tenant))
    for number in range(2):
        run(tenant, "create", str(number), "--scope", "chat")
    assert len(listed(tenant)) == before + 2


def test_key_that_may_not_is_told(tenant: RunningTenant) -> None:
    result = run(tenant, "list", key=tenant.key)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "'admin'" in result.stderr


def test_url_needs_a_key(tenant: RunningTenant) -> None:
    result = run(tenant, "list", key="")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "--url needs a key" in result.stderr


def test_tenant_of_the_cluster_is_asked_with_its_own_key(
    tenant: RunningTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cluster:
        def __init__(self, context: str | None) -> None:
            assert context is None

        def tenant_namespace(self, name: str | None) -> str:
            assert name == "acme"
            return "syntera-acme"

        def admin_key(self, namespace: str) -> str:
            assert namespace == "syntera-acme"
            return tenant.admin_key

    monkeypatch.setattr("syntera_cli.cluster.Cluster", Cluster)
    monkeypatch.setattr(tenants, "ForwardedPort", fake_forwarded_port(tenant.url, namespace="syntera-acme"))
    result = CliRunner().invoke(app, ["keys", "list", "--tenant", "acme"], env={"SYNTERA_API_KEY": ""})
    assert result.exit_code == 0, result.stderr
    assert tenant.admin_key[:15] in result.stdout
