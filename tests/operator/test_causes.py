"""Who is woken by what; the rules alone, without a cluster."""

from typing import Any

import pytest

from syntera_crds.contract import names
from syntera_kube import Change, Manifest
from syntera_operator import causes
from syntera_operator.causes import Wakeup, agent_key, knowledge_base_key, tenant_key
from tests.support.make import make_agent_manifest, make_knowledge_base_manifest, make_tenant_manifest

ACME = tenant_key("acme")
TRAVEL = agent_key("acme", "travel")
HANDBOOK = knowledge_base_key("acme", "handbook")


def make_namespace(name: str = "acme", *, tenant: str | None = "acme", **metadata: Any) -> Manifest:
    labels = {} if tenant is None else {names.TENANT_LABEL: tenant}
    return {"kind": "Namespace", "metadata": {"name": name, "uid": f"uid-{name}", "labels": labels, **metadata}}


def make_pod(*, ready: bool = True, ip: str = "10.0.0.1", uid: str = "pod-1", **metadata: Any) -> Manifest:
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    return {
        "metadata": {"name": "runtime-1", "namespace": "acme", "uid": uid, **metadata},
        "status": {"podIP": ip, "conditions": [condition]},
    }


def make_child(*owners: tuple[str, str], namespace: str | None = "acme", api: str = names.API_VERSION) -> Manifest:
    references = [{"apiVersion": api, "kind": kind, "name": name, "uid": "u"} for kind, name in owners]
    metadata = {"name": "one", "ownerReferences": references} | ({"namespace": namespace} if namespace else {})
    return {"metadata": metadata}


class Views:
    """One tenant with one agent and one knowledge base, in the namespace `acme`."""

    def tenants(self) -> list[Manifest]:
        return [make_tenant_manifest()]

    def agents(self, namespace: str) -> list[Manifest]:
        return [make_agent_manifest()] if namespace == "acme" else []

    def knowledge_bases(self, namespace: str) -> list[Manifest]:
        return [make_knowledge_base_manifest()] if namespace == "acme" else []

    def namespace(self, name: str) -> Manifest | None:
        return make_namespace() if name == "acme" else None


VIEWS = Views()


def added(new: Manifest) -> Change:
    return Change("ADDED", None, new)


def modified(old: Manifest, new: Manifest) -> Change:
    return Change("MODIFIED", old, new)


def deleted(old: Manifest) -> Change:
    return Change("DELETED", old, None)


def test_key_tells_kinds_apart() -> None:
    assert causes.key_of(make_tenant_manifest()) == ACME
    assert causes.key_of(make_knowledge_base_manifest()) == HANDBOOK
    assert causes.key_of(make_agent_manifest()) == TRAVEL


@pytest.mark.parametrize("change", [added(make_tenant_manifest()), deleted(make_tenant_manifest())])
def test_tenant_that_comes_or_goes_wakes_all_in_its_namespace(change: Change) -> None:
    assert list(causes.of_tenant(change, VIEWS)) == [Wakeup(ACME), Wakeup(TRAVEL), Wakeup(HANDBOOK)]


@pytest.mark.parametrize(
    ("fields", "wakes_members"),
    [
        ({}, False),
        ({"generation": 2}, True),
        ({"deleted": "2026-01-02T00:00:00Z"}, True),
        ({"uid": "another"}, True),
        ({"finalizers": ("syntera.io/tenant",)}, False),
        ({"status": {"agents": 5}}, False),
        ({"status": {"tenantID": "1"}}, True),
        ({"status": {"endpoint": "https://acme"}}, True),
        ({"status": {"conditions": [{"type": "Accepted", "status": "True"}]}}, True),
        ({"status": {"conditions": [{"type": "NamespaceReady", "status": "False"}]}}, True),
        ({"status": {"conditions": [{"type": "DatabaseReady", "status": "False"}]}}, False),
    ],
)
def test_change_of_a_tenant_wakes_all_in_its_namespace_where_they_look(
    fields: dict[str, Any], wakes_members: bool
) -> None:
    change = modified(make_tenant_manifest(), make_tenant_manifest(**fields))

    woken = [wakeup.key for wakeup in causes.of_tenant(change, VIEWS)]

    assert woken == ([ACME, TRAVEL, HANDBOOK] if wakes_members else [ACME])


def test_tenant_without_a_namespace_of_its_own_has_the_default() -> None:
    assert causes.namespace_of_tenant(make_tenant_manifest(namespace=None)) == "syntera-acme"
    assert causes.namespace_of_tenant(make_tenant_manifest(namespace="other")) == "other"


def test_agent_wakes_its_tenant_later_when_it_comes_or_goes() -> None:
    for change in (added(make_agent_manifest()), deleted(make_agent_manifest())):
        assert list(causes.of_agent(change, VIEWS)) == [Wakeup(TRAVEL), Wakeup(ACME, 5.0)]


def test_agent_wakes_itself_alone_when_it_changes() -> None:
    change = modified(make_agent_manifest(), make_agent_manifest(generation=2))

    assert list(causes.of_agent(change, VIEWS)) == [Wakeup(TRAVEL)]


def test_agent_without_a_tenant_wakes_itself_alone() -> None:
    change = added(make_agent_manifest(namespace="nobodys"))

    assert list(causes.of_agent(change, VIEWS)) == [Wakeup(agent_key("nobodys", "travel"))]


def test_knowledge_base_wakes_its_tenant_at_once_when_its_spec_changes() -> None:
    manifest = make_knowledge_base_manifest()
    for change in (added(manifest), deleted(manifest), modified(manifest, make_knowledge_base_manifest(generation=2))):
        assert list(causes.of_knowledge_base(change, VIEWS)) == [Wakeup(HANDBOOK), Wakeup(ACME)]


def test_knowledge_base_wakes_itself_alone_when_its_status_or_annotation_changes() -> None:
    for other in ({"status": {"revision": 2}}, {"annotations": {names.SYNC_ANNOTATION: "now"}}):
        change = modified(make_knowledge_base_manifest(), make_knowledge_base_manifest(**other))
        assert list(causes.of_knowledge_base(change, VIEWS)) == [Wakeup(HANDBOOK)]


def test_job_wakes_the_knowledge_base_that_it_works_for_whoever_owns_it() -> None:
    scheduled = make_child(("CronJob", "kb-handbook"), api="batch/v1")
    scheduled["metadata"]["labels"] = {names.KNOWLEDGE_BASE_LABEL: "handbook"}

    assert list(causes.of_job(added(scheduled), VIEWS)) == [Wakeup(HANDBOOK)]
    assert list(causes.of_job(added(make_child(("CronJob", "others"), api="batch/v1")), VIEWS)) == []


def test_child_wakes_its_owners_before_and_after() -> None:
    change = modified(make_child(("Agent", "old")), make_child(("Tenant", "acme"), ("Agent", "travel")))

    woken = [wakeup.key for wakeup in causes.of_child(change, VIEWS)]
    assert woken == [agent_key("acme", "old"), ACME, TRAVEL]


def test_child_of_others_wakes_nobody() -> None:
    for child in (make_child(), make_child(("Tenant", "acme"), api="apps/v1"), make_child(("Thing", "x"))):
        assert list(causes.of_child(added(child), VIEWS)) == []


def test_child_wakes_no_tenant_whose_namespace_it_is_not_in() -> None:
    """Whoever may write an object may name any owner."""
    for namespace, tenant in (("acme", "other"), ("other", "acme")):
        child = make_child(("Tenant", tenant), namespace=namespace)
        assert list(causes.of_child(added(child), VIEWS)) == []


def test_child_of_a_knowledge_base_wakes_it() -> None:
    assert list(causes.of_child(added(make_child(("KnowledgeBase", "handbook"))), VIEWS)) == [Wakeup(HANDBOOK)]


def test_agent_cannot_own_what_has_no_namespace() -> None:
    assert list(causes.of_child(added(make_child(("Agent", "travel"), namespace=None)), VIEWS)) == []


def test_namespace_wakes_its_tenant_and_all_in_it_when_it_comes_or_goes() -> None:
    for change in (added(make_namespace()), deleted(make_namespace())):
        assert list(causes.of_namespace(change, VIEWS)) == [Wakeup(ACME), Wakeup(TRAVEL), Wakeup(HANDBOOK)]


def test_namespace_wakes_both_tenants_when_it_changes_hands() -> None:
    change = modified(make_namespace(tenant="old"), make_namespace())

    assert [wakeup.key for wakeup in causes.of_namespace(change, VIEWS)] == [
        tenant_key("old"),
        ACME,
        TRAVEL,
        HANDBOOK,
    ]


def test_namespace_wakes_its_tenant_alone_when_little_changes() -> None:
    change = modified(make_namespace(), make_namespace(annotations={"a": "b"}))

    assert {wakeup.key for wakeup in causes.of_namespace(change, VIEWS)} == {ACME}


@pytest.mark.parametrize(
    ("change", "wakes_agents"),
    [
        (added(make_pod()), True),
        (added(make_pod(ready=False)), False),
        (modified(make_pod(ready=False), make_pod()), True),
        (modified(make_pod(), make_pod(ready=False)), True),
        (modified(make_pod(), make_pod()), False),
        (modified(make_pod(), make_pod(ip="10.0.0.2")), True),
        (modified(make_pod(), make_pod(deletionTimestamp="2026-01-01T00:00:00Z")), True),
        (deleted(make_pod()), True),
        (deleted(make_pod(ready=False)), False),
    ],
)
def test_pod_wakes_agents_when_its_readiness_changes(change: Change, wakes_agents: bool) -> None:
    woken = [wakeup.key for wakeup in causes.of_runtime_pod(change, VIEWS)]

    assert woken == ([ACME, TRAVEL] if wakes_agents else [ACME])


@pytest.mark.parametrize(
    ("old", "new", "wakes"),
    [
        (None, {"endpoints": [{"addresses": ["10.0.0.1"]}]}, True),
        ({"endpoints": [{"addresses": ["10.0.0.1"]}]}, {"endpoints": [{"addresses": ["10.0.0.2"]}]}, True),
        ({"ports": [{"port": 443}]}, {"ports": [{"port": 6443}]}, True),
        ({"endpoints": []}, {"endpoints": [], "metadata": {}}, False),
        ({"endpoints": [{"addresses": ["10.0.0.1"]}]}, None, True),
    ],
)
def test_api_server_wakes_tenants_when_its_addresses_change(
    old: Manifest | None, new: Manifest | None, wakes: bool
) -> None:
    woken = list(causes.of_api_server(Change("MODIFIED", old, new), VIEWS))

    assert woken == ([Wakeup(ACME)] if wakes else [])
