"""What the operator writes, and above all what it does not: on a real API server."""

import base64
from typing import Any

import pytest

from syntera_crds.contract import names
from syntera_kube import KubeClient, Selection
from syntera_kube.errors import Conflict, NotFound
from syntera_kube.resources import CONFIG_MAPS, DEPLOYMENTS, EVENTS, NAMESPACES, ROLE_BINDINGS, SECRETS, SERVICES
from syntera_operator.cluster import Cluster, ObjectRef, Owner
from syntera_operator.errors import LeadershipLost, NameTaken
from syntera_operator.manifest import AGENTS, TENANTS, Manifest, owner_uids
from tests.kube.faulty_server import failed, faulty_server, make_object, ok
from tests.operator.cluster.conftest import Home, Observed
from tests.support.apiserver import RunningApiServer

pytestmark = pytest.mark.api

MANAGER = names.TENANT_FIELD_MANAGER


def build_deployment(home: Home, **container: Any) -> Manifest:
    labels = {"app": "one"}
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "one", "image": "one:1", **container}]},
        },
    }
    return home.build("Deployment", api_version="apps/v1", spec=spec)


async def test_apply_makes_the_object_ours_and_gives_it_a_hash(observed: Observed, home: Home) -> None:
    assert await observed.cluster.apply(home.build(data={"a": "1"}), owner=home.owner, manager=MANAGER)

    made = await observed.client.get(CONFIG_MAPS, "one", namespace=home.namespace)
    metadata = made["metadata"]
    assert owner_uids(made) == [home.owner.uid]
    assert metadata["ownerReferences"][0]["controller"] is True
    assert metadata["labels"] == {
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
        names.TENANT_LABEL: home.name,
    }
    assert len(metadata["annotations"][names.APPLIED_HASH_ANNOTATION]) == 32
    assert observed.requests == ["PATCH"]


async def test_apply_writes_nothing_when_nothing_differs(observed: Observed, home: Home) -> None:
    for desired in (home.build(data={"a": "1"}), build_deployment(home)):
        await observed.cluster.apply(desired, owner=home.owner, manager=MANAGER)
    await observed.settled()
    observed.requests.clear()

    for desired in (home.build(data={"a": "1"}), build_deployment(home)):
        assert not await observed.cluster.apply(desired, owner=home.owner, manager=MANAGER)

    assert observed.requests == []


async def test_apply_sees_its_own_write_at_once(observed: Observed, home: Home) -> None:
    await observed.cluster.apply(home.build(data={"a": "1"}), owner=home.owner, manager=MANAGER)

    seen = observed.cluster.child(CONFIG_MAPS, home.namespace, "one")

    assert seen is not None
    assert seen["data"] == {"a": "1"}
    assert not await observed.cluster.apply(home.build(data={"a": "1"}), owner=home.owner, manager=MANAGER)


async def test_apply_repairs_what_somebody_changed_by_one_write(observed: Observed, home: Home) -> None:
    desired = home.build(data={"a": "1"})
    await observed.cluster.apply(desired, owner=home.owner, manager=MANAGER)
    await observed.settled()
    body = {"metadata": {"name": "one", "namespace": home.namespace}, "data": {"a": "9", "b": "2"}}
    await observed.client.merge_patch(CONFIG_MAPS, body)
    await observed.eventually(lambda: home.key in observed.woken)
    observed.take_writes()

    assert await observed.cluster.apply(desired, owner=home.owner, manager=MANAGER)
    assert not await observed.cluster.apply(desired, owner=home.owner, manager=MANAGER)

    made = await observed.client.get(CONFIG_MAPS, "one", namespace=home.namespace)
    assert made["data"] == {"a": "1", "b": "2"}  # what others add is theirs
    assert observed.take_writes() == 1


async def test_apply_removes_what_it_no_longer_wants(observed: Observed, home: Home) -> None:
    await observed.cluster.apply(home.build(data={"a": "1", "b": "2"}), owner=home.owner, manager=MANAGER)

    assert await observed.cluster.apply(home.build(data={"a": "1"}), owner=home.owner, manager=MANAGER)

    made = await observed.client.get(CONFIG_MAPS, "one", namespace=home.namespace)
    assert made["data"] == {"a": "1"}


async def test_apply_does_not_try_again_when_the_api_server_spells_a_value_otherwise(
    observed: Observed, home: Home
) -> None:
    desired = build_deployment(home, resources={"requests": {"cpu": "1000m"}})
    await observed.cluster.apply(desired, owner=home.owner, manager=MANAGER)
    await observed.settled()
    observed.requests.clear()

    assert not await observed.cluster.apply(desired, owner=home.owner, manager=MANAGER)
    observed.woken.clear()
    noted = {"metadata": {"name": "one", "namespace": home.namespace, "annotations": {"somebody": "was here"}}}
    await observed.client.merge_patch(DEPLOYMENTS, noted)
    await observed.eventually(lambda: home.key in observed.woken)
    assert not await observed.cluster.apply(desired, owner=home.owner, manager=MANAGER)

    assert observed.requests == []


async def test_apply_still_repairs_an_object_whose_values_are_spelled_otherwise(observed: Observed, home: Home) -> None:
    desired = build_deployment(home, resources={"requests": {"cpu": "1000m"}})
    await observed.cluster.apply(desired, owner=home.owner, manager=MANAGER)
    await observed.settled()
    scale = {"metadata": {"name": "one", "namespace": home.namespace}, "spec": {"replicas": 5}}
    await observed.client.merge_patch(DEPLOYMENTS, scale)
    await observed.eventually(lambda: home.key in observed.woken)

    assert await observed.cluster.apply(desired, owner=home.owner, manager=MANAGER)
    assert not await observed.cluster.apply(desired, owner=home.owner, manager=MANAGER)

    assert (await observed.client.get(DEPLOYMENTS, "one", namespace=home.namespace))["spec"]["replicas"] == 1


async def test_apply_does_not_touch_a_strangers_object(observed: Observed, home: Home) -> None:
    await observed.client.create(CONFIG_MAPS, home.build(data={"a": "theirs"}))
    await observed.client.create(SERVICES, home.build("Service", spec={"ports": [{"port": 80}]}))
    await observed.settled()

    for desired in (home.build(data={"a": "1"}), home.build("Service", spec={"ports": [{"port": 81}]})):
        with pytest.raises(NameTaken, match="'one'"):
            await observed.cluster.apply(desired, owner=home.owner, manager=MANAGER)

    assert observed.take_writes() == 0


async def test_label_alone_does_not_make_an_object_ours(observed: Observed, home: Home) -> None:
    labelled = home.build(data={"a": "theirs"})
    labelled["metadata"]["labels"][names.MANAGED_BY_LABEL] = names.MANAGED_BY
    await observed.client.create(CONFIG_MAPS, labelled)
    await observed.eventually(lambda: observed.cluster.child(CONFIG_MAPS, home.namespace, "one") is not None)

    with pytest.raises(NameTaken):
        await observed.cluster.apply(home.build(data={"a": "1"}), owner=home.owner, manager=MANAGER)
    assert await observed.cluster.prune(home.owner, MANAGER, set(), namespace=home.namespace) == [
        ObjectRef(ROLE_BINDINGS, home.namespace, names.OPERATOR_BINDING)
    ]

    assert (await observed.client.get(CONFIG_MAPS, "one", namespace=home.namespace))["data"] == {"a": "theirs"}


async def test_apply_takes_its_object_back_when_the_label_was_removed(observed: Observed, home: Home) -> None:
    desired = home.build(data={"a": "1"})
    await observed.cluster.apply(desired, owner=home.owner, manager=MANAGER)
    await observed.settled()
    patch = {"metadata": {"name": "one", "namespace": home.namespace, "labels": {names.MANAGED_BY_LABEL: None}}}
    await observed.client.merge_patch(CONFIG_MAPS, patch)
    await observed.eventually(lambda: observed.cluster.child(CONFIG_MAPS, home.namespace, "one") is None)
    assert home.key in observed.woken

    assert await observed.cluster.apply(desired, owner=home.owner, manager=MANAGER)

    assert observed.cluster.child(CONFIG_MAPS, home.namespace, "one") is not None


async def test_apply_makes_the_object_anew_when_it_was_deleted(observed: Observed, home: Home) -> None:
    desired = home.build(data={"a": "1"})
    await observed.cluster.apply(desired, owner=home.owner, manager=MANAGER)
    await observed.settled()
    await observed.client.delete(CONFIG_MAPS, "one", namespace=home.namespace)
    await observed.eventually(lambda: home.key in observed.woken)

    assert await observed.cluster.apply(desired, owner=home.owner, manager=MANAGER)


async def test_apply_takes_over_a_namespace_only_when_told_to(observed: Observed, home: Home) -> None:
    name = f"{home.name}-theirs"
    labels = {names.TENANT_LABEL: home.name}
    namespace: Manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    await observed.client.create(NAMESPACES, namespace)
    await observed.eventually(lambda: observed.cluster.namespace(name) is not None)

    with pytest.raises(NameTaken):
        await observed.cluster.apply(namespace, owner=None, manager=MANAGER)
    assert await observed.cluster.apply(namespace, owner=None, manager=MANAGER, adopt=True)
    assert not await observed.cluster.apply(namespace, owner=None, manager=MANAGER)


async def test_secret_is_compared_without_being_kept(observed: Observed, home: Home) -> None:
    desired = home.build("Secret", data={"password": base64.b64encode(b"geheim").decode()})
    desired["metadata"]["labels"][names.USABLE_LABEL] = "false"
    await observed.cluster.apply(desired, owner=home.owner, manager=MANAGER)
    await observed.eventually(lambda: observed.cluster.child(SECRETS, home.namespace, "one") is not None)
    observed.take_writes()

    assert not await observed.cluster.apply(desired, owner=home.owner, manager=MANAGER)
    assert base64.b64encode(b"geheim").decode() not in str(observed.cluster.child(SECRETS, home.namespace, "one"))
    await observed.settled()
    broken = {"metadata": {"name": "one", "namespace": home.namespace}, "data": {"password": "eA=="}}
    await observed.client.merge_patch(SECRETS, broken)
    await observed.eventually(lambda: home.key in observed.woken)
    assert await observed.cluster.apply(desired, owner=home.owner, manager=MANAGER)

    assert await observed.cluster.own_secret(home.namespace, "one") == {"password": "geheim"}


async def test_prune_deletes_what_is_not_kept_and_nothing_of_others(observed: Observed, home: Home) -> None:
    cluster = observed.cluster
    for name in ("kept", "dropped"):
        await cluster.apply(home.build(name=name), owner=home.owner, manager=MANAGER)
    secret = home.build("Secret", "dropped")
    secret["metadata"]["labels"][names.USABLE_LABEL] = "false"
    await cluster.apply(secret, owner=home.owner, manager=MANAGER)
    await cluster.apply(home.build(name="other-manager"), owner=home.owner, manager="syntera-agent")
    other = Owner(home.owner.api_version, "Tenant", home.owner.name, "00000000-0000-0000-0000-000000000001")
    await cluster.apply(home.build(name="other-owner"), owner=other, manager=MANAGER)
    await observed.eventually(lambda: cluster.child(SECRETS, home.namespace, "dropped") is not None)
    keep = {
        ObjectRef(CONFIG_MAPS, home.namespace, "kept"),
        ObjectRef(ROLE_BINDINGS, home.namespace, "syntera-operator"),
    }

    pruned = await cluster.prune(home.owner, MANAGER, keep, namespace=home.namespace)

    assert set(pruned) == {
        ObjectRef(CONFIG_MAPS, home.namespace, "dropped"),
        ObjectRef(SECRETS, home.namespace, "dropped"),
    }
    for name in ("kept", "other-manager", "other-owner"):
        with_name = await observed.client.list(
            CONFIG_MAPS, Selection(home.namespace, field_selector=f"metadata.name={name}")
        )
        assert len(with_name.items) == 1 or name == "other-owner"  # whose owner never was, so that it is collected
    with pytest.raises(NotFound):
        await observed.client.get(CONFIG_MAPS, "dropped", namespace=home.namespace)


async def test_prune_leaves_other_namespaces_alone_whatever_somebody_claims_there(
    observed: Observed, home: Home, api_server: RunningApiServer
) -> None:
    """Anybody may name any owner and any field manager; in a namespace of a stranger the operator may not even delete."""
    stranger = api_server.create_namespace("stranger")
    forged = home.build(name="forged")
    forged["metadata"] |= {"namespace": stranger, "ownerReferences": [owner_reference(home.owner)]}
    forged["metadata"]["labels"][names.MANAGED_BY_LABEL] = names.MANAGED_BY
    await observed.client.apply(CONFIG_MAPS, forged, field_manager=MANAGER)
    await observed.eventually(lambda: observed.cluster.child(CONFIG_MAPS, stranger, "forged") is not None)
    observed.take_writes()

    pruned = await observed.cluster.prune(home.owner, MANAGER, set(), namespace=home.namespace)

    assert pruned == [ObjectRef(ROLE_BINDINGS, home.namespace, names.OPERATOR_BINDING)]
    assert observed.take_writes() == 1


async def test_forged_owner_wakes_nobody(observed: Observed, home: Home, api_server: RunningApiServer) -> None:
    stranger = api_server.create_namespace("stranger", labels={names.TENANT_LABEL: "somebody"})
    forged = home.build(name="forged")
    forged["metadata"] |= {"namespace": stranger, "ownerReferences": [owner_reference(home.owner)]}
    forged["metadata"]["labels"][names.MANAGED_BY_LABEL] = names.MANAGED_BY

    await observed.client.create(CONFIG_MAPS, forged)
    await observed.eventually(lambda: observed.cluster.child(CONFIG_MAPS, stranger, "forged") is not None)

    assert home.key not in observed.woken


def owner_reference(owner: Owner) -> Manifest:
    return {
        "apiVersion": owner.api_version,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
    }


async def test_delete_child_spares_what_is_not_the_owners(observed: Observed, home: Home) -> None:
    await observed.client.create(CONFIG_MAPS, home.build(name="theirs"))
    await observed.cluster.apply(home.build(), owner=home.owner, manager=MANAGER)
    await observed.settled()

    assert not await observed.cluster.delete_child(CONFIG_MAPS, home.namespace, "theirs", owner=home.owner)
    assert not await observed.cluster.delete_child(CONFIG_MAPS, home.namespace, "none", owner=home.owner)
    assert await observed.cluster.delete_child(CONFIG_MAPS, home.namespace, "one", owner=home.owner)


async def test_delete_spares_another_object_of_the_name(observed: Observed, home: Home) -> None:
    await observed.client.create(CONFIG_MAPS, home.build())

    assert not await observed.cluster.delete(
        CONFIG_MAPS, home.namespace, "one", uid="00000000-0000-0000-0000-000000000000"
    )

    assert await observed.client.get(CONFIG_MAPS, "one", namespace=home.namespace)


async def test_delete_is_not_done_when_the_api_server_only_had_a_conflict() -> None:
    live = make_object("one", version=1, uid="uid-one")
    async with faulty_server() as server, KubeClient.connect(server.config, component="test") as client:
        server.answers = [failed(409), ok(live)]
        cluster = Cluster(client, before_write=lambda: None, enqueue=lambda _: None, instance="test")

        with pytest.raises(Conflict):
            await cluster.delete(CONFIG_MAPS, "test", "one", uid="uid-one")
        server.answers = [failed(409), ok(live)]
        assert not await cluster.delete(CONFIG_MAPS, "test", "one", uid="uid-of-another")
        live["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        server.answers = [failed(409), ok(live)]
        assert not await cluster.delete(CONFIG_MAPS, "test", "one", uid="uid-one")


async def test_patch_status_writes_once(observed: Observed, home: Home) -> None:
    tenant = observed.cluster.tenant(home.name)
    assert tenant is not None

    assert await observed.cluster.patch_status(tenant, {"agents": 3, "conditions": []})
    assert not await observed.cluster.patch_status(tenant, {"agents": 3, "conditions": []})
    seen = observed.cluster.tenant(home.name)
    await observed.cluster.patch_status(tenant, {"conditions": []})

    assert seen is not None
    assert seen["status"]["agents"] == 3
    assert "agents" not in (await observed.client.get(TENANTS, home.name))["status"]
    assert observed.take_writes() == 2


async def test_patch_status_is_refused_when_the_tenant_was_made_anew(observed: Observed, home: Home) -> None:
    tenant = observed.cluster.tenant(home.name)
    assert tenant is not None
    await observed.client.delete(TENANTS, home.name)
    body = {"apiVersion": TENANTS.api_version, "kind": TENANTS.kind, "metadata": {"name": home.name}, "spec": {}}
    await observed.client.create(TENANTS, body)

    with pytest.raises(Conflict):
        await observed.cluster.patch_status(tenant, {"agents": 3, "conditions": []})


async def test_finalizers_are_set_after_a_status_was_written(observed: Observed, home: Home) -> None:
    tenant = observed.cluster.tenant(home.name)
    assert tenant is not None
    await observed.cluster.patch_status(tenant, {"agents": 3, "conditions": []})

    assert await observed.cluster.set_finalizers(tenant, [names.TENANT_FINALIZER])
    seen = observed.cluster.tenant(home.name)
    assert seen is not None
    assert not await observed.cluster.set_finalizers(seen, [names.TENANT_FINALIZER])
    assert await observed.cluster.set_finalizers(seen, [])


async def test_finalizers_of_others_are_not_lost(observed: Observed, home: Home) -> None:
    tenant = observed.cluster.tenant(home.name)
    assert tenant is not None
    other = {"metadata": {"name": home.name, "finalizers": ["other.example/one"]}}
    await observed.client.merge_patch(TENANTS, other)

    with pytest.raises(Conflict):
        await observed.cluster.set_finalizers(tenant, [names.TENANT_FINALIZER])

    await observed.client.merge_patch(TENANTS, {"metadata": {"name": home.name, "finalizers": []}})


async def test_nothing_is_written_when_this_process_does_not_lead(observed: Observed, home: Home) -> None:
    observed.is_leader = False
    tenant = observed.cluster.tenant(home.name)
    assert tenant is not None

    with pytest.raises(LeadershipLost):
        await observed.cluster.apply(home.build(), owner=home.owner, manager=MANAGER)
    with pytest.raises(LeadershipLost):
        await observed.cluster.patch_status(tenant, {"agents": 9})
    with pytest.raises(LeadershipLost):
        await observed.cluster.set_finalizers(tenant, [names.TENANT_FINALIZER])
    with pytest.raises(LeadershipLost):
        await observed.cluster.prune(home.owner, MANAGER, set(), namespace=home.namespace)
    with pytest.raises(LeadershipLost):
        await observed.cluster.event(tenant, type="Normal", reason="Tested", message="Not told.")

    assert observed.take_writes() == 0


async def test_event_is_told_once(observed: Observed, home: Home) -> None:
    for _ in range(3):
        await observed.cluster.event(home.tenant, type="Warning", reason="Tested", message="Something is wrong.")

    assert observed.take_writes() == 1


async def test_event_about_an_agent_is_in_its_namespace(observed: Observed, home: Home) -> None:
    spec = {"instructions": "Help."}
    metadata = {"name": "travel", "namespace": home.namespace}
    body = {"apiVersion": AGENTS.api_version, "kind": AGENTS.kind, "metadata": metadata, "spec": spec}
    agent = await observed.client.create(AGENTS, body)

    await observed.cluster.event(agent, type="Normal", reason="Tested", message="ä" * 2000)

    listed = await observed.client.list(EVENTS, Selection(home.namespace))
    assert [(one["reason"], one["regarding"]["name"]) for one in listed.items] == [("Tested", "travel")]
    assert len(listed.items[0]["note"].encode()) <= 1024
