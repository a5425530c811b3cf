"""Names that are as long as they may be, that look like somebody else's, or that would be a path or an expression elsewhere."""

import pytest

from syntera_crds.contract import names
from syntera_kube import resources as kube
from syntera_operator.manifest import AGENTS, TENANTS, Manifest
from syntera_operator.reconcile.agent import reconcile_agent
from syntera_operator.reconcile.tenant import reconcile_tenant
from tests.operator.reconcile.test_on_api_server import Api
from tests.support.apiserver import ApiRefused, RunningApiServer, unique_name
from tests.support.make import make_agent_manifest, make_tenant_manifest

pytestmark = pytest.mark.api


def conditions(found: Manifest) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["reason"]) for one in found["status"]["conditions"]}


def create(server: RunningApiServer, manifest: Manifest) -> None:
    """Make an object as its author would."""
    resource = TENANTS if manifest["kind"] == "Tenant" else AGENTS
    body = {key: manifest[key] for key in ("apiVersion", "kind", "spec")}
    metadata = {"name": manifest["metadata"]["name"]}
    server.send("POST", resource.path(namespace="default"), body | {"metadata": metadata})


async def test_tenants_of_the_longest_names_that_differ_in_the_last_letter_are_two(api: Api) -> None:
    stem = unique_name("a" * 53)
    first, second = f"{stem}a"[:63], f"{stem}b"[:63]
    assert {len(first), len(second)} == {63}
    assert first != second
    agent = "g" * 63
    for index, tenant in enumerate((first, second)):
        api.put(make_tenant_manifest(tenant, namespace=tenant, displayName=f"Company {index}"))
        await reconcile_tenant(tenant, api.context)
        assert conditions(api.get(TENANTS, None, tenant))["NamespaceReady"] == ("True", "UpToDate")
        api.put(make_agent_manifest(agent, namespace=tenant))
        await reconcile_agent(tenant, agent, api.context)
        published = api.get(kube.CONFIG_MAPS, tenant, names.published_agent_name(agent))
        assert f"Company {index}" in published["data"][names.AGENT_CONFIG_KEY]
    assert len({str(api.stores.ids[tenant]) for tenant in (first, second)}) == 2


@pytest.mark.parametrize("letters", [56, 64, 253])
def test_tenant_whose_name_has_no_room_for_what_is_made_of_it_is_refused(
    api_server: RunningApiServer, letters: int
) -> None:
    with pytest.raises(ApiRefused, match=r"spec\.namespace|metadata\.name"):
        create(api_server, make_tenant_manifest("a" * letters, namespace=None))


@pytest.mark.parametrize("name", ["a.b", "a/b", "../a", "%2e%2e", "A", "a_b", "{{agent.name}}", "", "-a", "a-"])
@pytest.mark.parametrize("kind", ["Tenant", "Agent"])
def test_name_that_is_no_plain_word_is_refused(api_server: RunningApiServer, kind: str, name: str) -> None:
    is_tenant = kind == "Tenant"
    with pytest.raises(ApiRefused) as caught:
        create(api_server, make_tenant_manifest(name) if is_tenant else make_agent_manifest(name, namespace="default"))
    assert caught.value.status == 422


async def test_tenant_whose_namespace_would_be_the_operators_is_refused(api: Api) -> None:
    api.put(make_tenant_manifest("system", namespace=None))
    await reconcile_tenant("system", api.context)
    assert conditions(api.get(TENANTS, None, "system"))["Accepted"] == ("False", "NamespaceReserved")
    # Other tests' operators may have made it: that it is nobody's is what counts.
    if api.exists(kube.NAMESPACES, None, "syntera-system"):
        assert names.TENANT_LABEL not in api.get(kube.NAMESPACES, None, "syntera-system")["metadata"]["labels"]


@pytest.mark.parametrize("tenant", ["default", "kube-system"])
async def test_tenant_that_is_called_like_a_namespace_of_kubernetes_has_another_one(api: Api, tenant: str) -> None:
    labels = api.get(kube.NAMESPACES, None, tenant)["metadata"]["labels"]
    api.put(make_tenant_manifest(tenant, namespace=None))
    await reconcile_tenant(tenant, api.context)
    assert api.get(TENANTS, None, tenant)["status"]["namespace"] == f"syntera-{tenant}"
    assert api.get(kube.NAMESPACES, None, tenant)["metadata"]["labels"] == labels
    assert api.count_children(tenant) == 0


@pytest.mark.parametrize("namespace", ["default", "kube-system", "kube-anything", "UPPER", "a/b", "a.b", "a" * 64])
def test_namespace_that_no_tenant_may_have_is_refused(api_server: RunningApiServer, name: str, namespace: str) -> None:
    with pytest.raises(ApiRefused, match=r"spec\.namespace"):
        create(api_server, make_tenant_manifest(name, namespace=namespace))
