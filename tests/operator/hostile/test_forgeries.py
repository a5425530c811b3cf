"""Objects that claim to be the operator's, to be somebody's, or to be nobody's any more; labels and annotations by the heap."""

import asyncio
from typing import Any

import pytest

from syntera_crds.contract import names
from syntera_kube import Resource
from syntera_kube import resources as kube
from syntera_operator.manifest import AGENTS, TENANTS, Manifest
from syntera_operator.reconcile.agent import reconcile_agent
from syntera_operator.reconcile.tenant import reconcile_tenant
from tests.operator.reconcile.test_on_api_server import Api, until
from tests.support.apiserver import ApiRefused, unique_name
from tests.support.make import make_agent_manifest, make_endpoint, make_issuer, make_tenant_manifest

from .test_names import conditions

pytestmark = pytest.mark.api

MERGE_PATCH = "application/merge-patch+json"


def forge(api: Api, resource: Resource, namespace: str | None, name: str, *, manager: str, **content: Any) -> None:
    """Make an object with the operator's labels and in the name of one of its field managers."""
    labels = {names.MANAGED_BY_LABEL: names.MANAGED_BY, names.TENANT_LABEL: namespace or name}
    metadata = {"name": name, "labels": labels, **content.pop("metadata", {})}
    body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **content}
    query = {"fieldManager": manager, "force": "true"}
    path = resource.path(namespace=namespace, name=name)
    api.server.send("PATCH", path, body, query=query, content_type="application/apply-patch+yaml")


def patch(api: Api, resource: Resource, namespace: str | None, name: str, change: Manifest) -> None:
    path = resource.path(namespace=namespace, name=name)
    api.server.send("PATCH", path, change, content_type=MERGE_PATCH)


def hand_over(api: Api, name: str, tenant: str) -> None:
    """A namespace that its owner has labelled for a Tenant."""
    metadata = {"name": name, "labels": {names.TENANT_LABEL: tenant}}
    api.server.send("POST", kube.NAMESPACES.path(), {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


async def test_rights_and_walls_that_were_forged_before_the_tenant_came_are_not_kept(api: Api, name: str) -> None:
    hand_over(api, name, name)
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    forge(api, kube.ROLES, name, names.RUNTIME, manager=names.TENANT_FIELD_MANAGER, rules=everything)
    role = {"apiGroup": kube.ROLES.group, "kind": "Role", "name": names.RUNTIME}
    anybody = [{"apiGroup": kube.ROLES.group, "kind": "Group", "name": "system:authenticated"}]
    forge(
        api, kube.ROLE_BINDINGS, name, names.RUNTIME, manager=names.TENANT_FIELD_MANAGER, roleRef=role, subjects=anybody
    )
    open_wide = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]}
    for policy in (names.RUNTIME, "syntera-default-deny"):
        forge(api, kube.NETWORK_POLICIES, name, policy, manager=names.TENANT_FIELD_MANAGER, spec=open_wide)
    api.put(make_tenant_manifest(name))
    await until(lambda: api.cluster.child(kube.NETWORK_POLICIES, name, "syntera-default-deny") is not None)

    await reconcile_tenant(name, api.context)

    rules = api.get(kube.ROLES, name, names.RUNTIME)["rules"]
    assert rules == [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}]
    subjects = api.get(kube.ROLE_BINDINGS, name, names.RUNTIME)["subjects"]
    assert subjects == [{"kind": "ServiceAccount", "name": names.RUNTIME, "namespace": name}]
    deny = api.get(kube.NETWORK_POLICIES, name, "syntera-default-deny")["spec"]
    assert not deny.get("ingress")
    assert not deny.get("egress")
    assert {} not in api.get(kube.NETWORK_POLICIES, name, names.RUNTIME)["spec"]["egress"]


async def test_configuration_that_was_forged_in_an_agents_name_is_replaced(api: Api, name: str) -> None:
    api.put(make_tenant_manifest(name))
    await reconcile_tenant(name, api.context)
    forge(
        api, kube.CONFIG_MAPS, name, "agent-travel", manager=names.AGENT_FIELD_MANAGER,
        data={names.AGENT_CONFIG_KEY: "{}", names.DIGEST_KEY: "forged", "more": "forged"},
    )  # fmt: skip
    await until(lambda: api.cluster.child(kube.CONFIG_MAPS, name, "agent-travel") is not None)
    api.put(make_agent_manifest(namespace=name))

    await reconcile_agent(name, "travel", api.context)

    assert "forged" not in str(api.get(kube.CONFIG_MAPS, name, "agent-travel")["data"])
    assert api.get(AGENTS, name, "travel")["status"]["revision"] == 1


async def test_configuration_that_was_forged_in_the_tenants_name_is_replaced(api: Api, name: str) -> None:
    hand_over(api, name, name)
    forge(
        api, kube.CONFIG_MAPS, name, names.TENANT_CONFIG, manager=names.TENANT_FIELD_MANAGER,
        data={names.TENANT_CONFIG_KEY: "{}", "more": "forged"},
    )  # fmt: skip
    api.put(make_tenant_manifest(name, auth={"issuers": [make_issuer()]}))
    await until(lambda: api.cluster.child(kube.CONFIG_MAPS, name, names.TENANT_CONFIG) is not None)

    await reconcile_tenant(name, api.context)

    data = api.get(kube.CONFIG_MAPS, name, names.TENANT_CONFIG)["data"]
    assert set(data) == {names.TENANT_CONFIG_KEY}
    assert "https://login.example" in data[names.TENANT_CONFIG_KEY]


async def test_namespace_that_somebody_labelled_gets_nothing_of_the_tenant(api: Api, name: str) -> None:
    """Neither what is in it nor what the Tenant does brings its credentials there."""
    api.put(make_tenant_manifest(name))
    await reconcile_tenant(name, api.context)
    squatter = f"{name}-squatter"
    hand_over(api, squatter, name)
    await until(lambda: api.cluster.namespace(squatter) is not None)
    api.put(make_agent_manifest(namespace=squatter))

    await reconcile_tenant(name, api.context)
    await reconcile_agent(squatter, "travel", api.context)

    assert api.count_children(squatter) == 0
    assert conditions(api.get(AGENTS, squatter, "travel"))["ResolvedRefs"] == ("False", "TenantNotFound")
    assert conditions(api.get(TENANTS, None, name))["NamespaceReady"] == ("True", "UpToDate")


async def test_tenant_whose_namespace_lost_its_label_touches_nothing_in_it(api: Api, name: str) -> None:
    api.put(make_tenant_manifest(name))
    await reconcile_tenant(name, api.context)
    patch(api, kube.NAMESPACES, None, name, {"metadata": {"labels": {names.TENANT_LABEL: "somebody"}}})
    await until(
        lambda: (
            (api.cluster.namespace(name) or {"metadata": {"labels": {}}})["metadata"]["labels"].get(names.TENANT_LABEL)
            == "somebody"
        )
    )
    api.delete(kube.SERVICES, name, names.RUNTIME)

    await reconcile_tenant(name, api.context)

    assert conditions(api.get(TENANTS, None, name))["Accepted"] == ("False", "NamespaceTaken")
    assert not api.exists(kube.SERVICES, name, names.RUNTIME)


async def test_labels_and_annotations_by_the_heap_are_in_nobodys_way(api: Api, name: str) -> None:
    api.put(make_tenant_manifest(name))
    await reconcile_tenant(name, api.context)
    api.put(make_agent_manifest(namespace=name))
    await reconcile_agent(name, "travel", api.context)
    soup = {
        "labels": {f"soup.example/{index}": "x" for index in range(500)} | {names.MANAGED_BY_LABEL: "somebody"},
        "annotations": {f"soup.example/{index}": "x" * 1000 for index in range(200)},
    }
    for resource, namespace, found in (
        (TENANTS, None, name),
        (AGENTS, name, "travel"),
        (kube.CONFIG_MAPS, name, "agent-travel"),
        (kube.SECRETS, name, names.STORES_SECRET),
        (kube.DEPLOYMENTS, name, names.RUNTIME),
        (kube.NAMESPACES, None, name),
    ):
        patch(api, resource, namespace, found, {"metadata": soup})
    await until(lambda: api.cluster.child(kube.DEPLOYMENTS, name, names.RUNTIME) is None)
    before = api.get(kube.SECRETS, name, names.STORES_SECRET)["data"]

    api.put(make_tenant_manifest(name, displayName="Changed"))
    await reconcile_tenant(name, api.context)
    await reconcile_agent(name, "travel", api.context)

    assert conditions(api.get(TENANTS, None, name))["NamespaceReady"] == ("True", "UpToDate")
    assert api.get(AGENTS, name, "travel")["status"]["revision"] == 2
    deployment = api.get(kube.DEPLOYMENTS, name, names.RUNTIME)["metadata"]["labels"]
    assert (deployment[names.MANAGED_BY_LABEL], deployment["soup.example/1"]) == (names.MANAGED_BY, "x")
    assert api.get(kube.SECRETS, name, names.STORES_SECRET)["data"] == before


@pytest.mark.parametrize(
    ("secret", "labels", "reason"),
    [
        ("private", {}, "SecretNotUsable"),
        ("private", {names.USABLE_LABEL: "yes"}, "SecretNotUsable"),
        (names.STORES_SECRET, {names.USABLE_LABEL: "true"}, "SecretNotUsable"),
        (names.ADMIN_SECRET, {names.USABLE_LABEL: "true"}, "SecretNotUsable"),
        (names.SIGNING_SECRET, {names.USABLE_LABEL: "true"}, "SecretNotUsable"),
    ],
)
async def test_secret_that_nobody_released_is_used_by_neither_tenant_nor_agent(
    api: Api, name: str, secret: str, labels: dict[str, str], reason: str
) -> None:
    api.put(make_tenant_manifest(name))
    await reconcile_tenant(name, api.context)
    if secret == "private":
        body = {"metadata": {"name": secret, "labels": labels}, "stringData": {"api-key": "x"}}
        api.server.send("POST", kube.SECRETS.path(namespace=name), body)
    else:
        patch(api, kube.SECRETS, name, secret, {"metadata": {"labels": labels}})
    reference = {"name": secret, "key": "api-key"}
    headers = [{"name": "X-Key", "secretKeyRef": reference}]
    for endpoint in (make_endpoint(apiKeySecretRef=reference), make_endpoint(headers=headers)):
        api.put(make_tenant_manifest(name, models=[endpoint]))
        await reconcile_tenant(name, api.context)
        api.put(make_agent_manifest(namespace=name))
        await reconcile_agent(name, "travel", api.context)

        for found in (api.get(TENANTS, None, name), api.get(AGENTS, name, "travel")):
            assert conditions(found)["ResolvedRefs"] == ("False", reason)
        assert not api.exists(kube.CONFIG_MAPS, name, "agent-travel")
        assert "secrets" not in str(api.get(kube.ROLES, name, names.RUNTIME)["rules"])


async def test_quota_bounds_the_agents_of_a_tenant(api: Api, name: str) -> None:
    """Each Agent costs the operator memory, so whoever may write them needs a bound."""
    await until_agents_are_counted(api)
    api.put(make_tenant_manifest(name, quota={_AGENTS_COUNT: 2}))
    await reconcile_tenant(name, api.context)
    await until(lambda: is_counted(api, name, names.QUOTA))
    for agent in ("one", "two"):
        api.put(make_agent_manifest(agent, namespace=name))

    with pytest.raises(ApiRefused, match="exceeded quota"):
        api.put(make_agent_manifest("three", namespace=name))


_AGENTS_COUNT = "count/agents.syntera.io"


def is_counted(api: Api, namespace: str, quota: str) -> bool:
    """Whether the controller has counted for a quota."""
    status = api.get(kube.RESOURCE_QUOTAS, namespace, quota).get("status") or {}
    return _AGENTS_COUNT in (status.get("used") or {})


async def until_agents_are_counted(api: Api) -> None:
    """Wait until the controller has learnt of the kind, within half a minute. A quota that was there before, it counts for only
    minutes later, so each look takes a new one."""
    namespace = api.server.create_namespace("quota")
    async with asyncio.timeout(120):
        while True:
            quota = unique_name("probe")
            body = {"metadata": {"name": quota}, "spec": {"hard": {_AGENTS_COUNT: 1}}}
            api.server.send("POST", kube.RESOURCE_QUOTAS.path(namespace=namespace), body)
            await asyncio.sleep(1)
            if is_counted(api, namespace, quota):
                return
