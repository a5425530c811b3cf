"""A Tenant's end, with both policies, and what may hold it."""

from typing import Any

import pytest

from syntera_crds.contract import names
from syntera_kube import resources as kube
from syntera_operator.errors import StoreRefused, StoreUnavailable
from syntera_operator.manifest import AGENTS, TENANTS, Manifest
from tests.support.make import make_agent_manifest, make_tenant_manifest

from .conftest import World

DELETED = "2026-01-02T00:00:00Z"


async def make_running(world: World, **fields: Any) -> Manifest:
    """A Tenant with an Agent, both up."""
    world.cluster.put(make_tenant_manifest("acme", **fields))
    await world.settle()
    world.cluster.put(make_agent_manifest())
    await world.agent()
    world.cluster.forget_writes()
    return world.the_tenant()


def delete(tenant: Manifest) -> None:
    tenant["metadata"]["deletionTimestamp"] = DELETED


def has_tenant(world: World) -> bool:
    return world.cluster.list_names(TENANTS) == ["acme"]


async def test_deletion_with_retain_keeps_namespace_agents_and_published_configuration(world: World) -> None:
    delete(await make_running(world))
    tenant_id = world.stores.ids["acme"]
    await world.tenant()
    cluster = world.cluster
    assert not has_tenant(world)
    assert world.stores.released == {tenant_id}
    assert world.stores.erased == set()
    assert cluster.get(kube.NAMESPACES, None, "acme")["metadata"]["labels"][names.TENANT_LABEL] == "acme"
    assert cluster.list_names(AGENTS, "acme") == ["travel"]
    assert cluster.list_names(kube.CONFIG_MAPS, "acme") == ["agent-travel"]
    for kind in (
        kube.DEPLOYMENTS,
        kube.NETWORK_POLICIES,
        kube.ROLES,
        kube.ROLE_BINDINGS,
        kube.SECRETS,
        kube.SERVICES,
        kube.SERVICE_ACCOUNTS,
    ):
        assert cluster.list_names(kind, "acme") == []


async def test_deletion_takes_the_operators_own_rights_last(world: World) -> None:
    delete(await make_running(world))
    await world.tenant()
    assert [(write.verb, write.kind) for write in world.cluster.writes[-2:]] == [
        ("delete", "RoleBinding"),
        ("finalizers", "Tenant"),
    ]
    assert world.cluster.writes[-2].name == names.OPERATOR_BINDING


async def test_deletion_with_retain_and_a_new_tenant_of_the_name_finds_everything_again(world: World) -> None:
    delete(await make_running(world))
    await world.tenant()
    first_id = world.stores.ids["acme"]
    world.cluster.put(make_tenant_manifest("acme", uid="uid-another"))
    await world.settle()
    assert world.stores.ids["acme"] == first_id
    assert world.conditions(world.the_tenant())["Ready"] == ("True", "Serving")


async def test_deletion_with_delete_goes_in_order_and_waits_for_each_step(world: World) -> None:
    tenant = await make_running(world, deletionPolicy="Delete")
    delete(tenant)
    tenant_id = world.stores.ids["acme"]

    outcome = await world.tenant()
    assert outcome.requeue_after_seconds is not None
    assert world.cluster.list_names(AGENTS, "acme") == []
    assert world.stores.erased == set()
    assert world.conditions(tenant)["Ready"] == ("False", "Deleting")
    assert "1 Agents are being deleted" in world.message(tenant, "Ready")

    outcome = await world.tenant()
    assert outcome.requeue_after_seconds is not None
    assert world.stores.erased == {tenant_id}
    assert world.cluster.list_names(kube.DEPLOYMENTS, "acme") == []
    assert "deletionTimestamp" in world.cluster.get(kube.NAMESPACES, None, "acme")["metadata"]
    assert has_tenant(world)

    await world.tenant()
    assert has_tenant(world)
    world.cluster.remove(kube.NAMESPACES, None, "acme")
    await world.tenant()
    assert not has_tenant(world)


async def test_deletion_with_delete_tells_the_receipt_once(world: World) -> None:
    delete(await make_running(world, deletionPolicy="Delete"))
    for _ in range(4):
        await world.tenant()
    (erased,) = [told for told in world.cluster.events if told.reason == "Erased"]
    assert "12 messages, 3 redis keys" in erased.message
    assert "turns" not in erased.message
    assert str(world.stores.erased) not in erased.message


async def test_deletion_with_delete_keeps_a_namespace_that_was_adopted(world: World) -> None:
    world.cluster.put_namespace("acme", labels={names.TENANT_LABEL: "acme"})
    delete(await make_running(world, deletionPolicy="Delete"))
    await world.tenant()
    await world.tenant()
    assert not has_tenant(world)
    assert "deletionTimestamp" not in world.cluster.get(kube.NAMESPACES, None, "acme")["metadata"]
    assert world.cluster.list_names(kube.ROLE_BINDINGS, "acme") == []


async def test_deletion_touches_no_namespace_that_is_another_tenants(world: World) -> None:
    world.cluster.put(make_tenant_manifest("first", namespace="shared"))
    await world.settle("first")
    world.cluster.put(
        make_tenant_manifest(
            "second", namespace="shared", deletionPolicy="Delete", deleted=DELETED, finalizers=(names.TENANT_FINALIZER,)
        )
    )
    world.cluster.put(make_agent_manifest(namespace="shared"))
    world.cluster.forget_writes()
    await world.tenant("second")
    assert world.cluster.list_names(TENANTS) == ["first"]
    assert {write.name for write in world.cluster.writes} == {"second"}


async def test_deletion_of_a_tenant_that_was_never_taken_in_charge_writes_nothing(world: World) -> None:
    world.cluster.put(make_tenant_manifest("acme", deleted=DELETED, finalizers=("example.com/theirs",)))
    await world.tenant()
    assert world.cluster.writes == []
    assert world.stores.calls == []


async def test_deletion_of_a_tenant_whose_spec_is_not_sound_keeps_the_data(world: World) -> None:
    tenant = await make_running(world)
    world.edit(tenant, deletionPolicy="delete", runtime={"replicas": -1})
    delete(tenant)
    await world.tenant()
    assert world.stores.erased == set()
    assert not has_tenant(world)


async def test_deletion_when_its_namespace_was_deleted_by_hand_goes_on(world: World) -> None:
    delete(await make_running(world, deletionPolicy="Delete"))
    world.cluster.remove(kube.NAMESPACES, None, "acme")
    await world.tenant()
    assert not has_tenant(world)
    assert len(world.stores.erased) == 1


async def test_deletion_when_its_namespace_is_on_its_way_out_writes_nothing_into_it(world: World) -> None:
    tenant = await make_running(world, deletionPolicy="Delete")
    delete(tenant)
    world.cluster.get(kube.NAMESPACES, None, "acme")["metadata"]["deletionTimestamp"] = DELETED
    world.cluster.remove(AGENTS, "acme", "travel")
    await world.tenant()
    assert {write.kind for write in world.cluster.writes} == {"Tenant"}
    assert has_tenant(world)


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
@pytest.mark.parametrize(
    ("store", "condition"), [("PostgreSQL", "DatabaseReady"), ("Redis", "CacheReady")], ids=["postgresql", "redis"]
)
async def test_deletion_when_a_store_is_away_holds_the_finalizer_and_says_how_to_give_it_up(
    world: World, policy: str, store: str, condition: str
) -> None:
    tenant = await make_running(world, deletionPolicy=policy)
    world.cluster.remove(AGENTS, "acme", "travel")
    delete(tenant)
    world.stores.away = {store}
    with pytest.raises(StoreUnavailable):
        await world.tenant()
    assert names.TENANT_FINALIZER in tenant["metadata"]["finalizers"]
    assert world.conditions(tenant)[condition] == ("False", "Unavailable")
    assert world.conditions(tenant)["Ready"][1] == "Deleting"
    assert "kubectl annotate tenant acme syntera.io/abandon-stores=true" in world.message(tenant, "Ready")
    assert world.cluster.list_names(kube.DEPLOYMENTS, "acme") == [names.RUNTIME]

    world.stores.away = set()
    await world.tenant()
    assert world.cluster.list_names(kube.DEPLOYMENTS, "acme") == []


async def test_deletion_when_a_store_refuses_holds_the_finalizer(world: World) -> None:
    tenant = await make_running(world)
    delete(tenant)
    world.stores.refusing = {"PostgreSQL"}
    with pytest.raises(StoreRefused):
        await world.tenant()
    assert names.TENANT_FINALIZER in tenant["metadata"]["finalizers"]


async def test_deletion_when_the_stores_are_given_up_goes_on_and_says_so(world: World) -> None:
    tenant = await make_running(world)
    delete(tenant)
    world.stores.away = {"PostgreSQL"}
    tenant["metadata"]["annotations"][names.ABANDON_STORES_ANNOTATION] = "true"
    await world.tenant()
    assert not has_tenant(world)
    (told,) = [told for told in world.cluster.events if told.reason == "StoresAbandoned"]
    assert told.type == "Warning"


async def test_deletion_with_another_value_of_the_annotation_still_waits(world: World) -> None:
    tenant = await make_running(world)
    delete(tenant)
    world.stores.away = {"PostgreSQL"}
    tenant["metadata"]["annotations"][names.ABANDON_STORES_ANNOTATION] = "yes"
    with pytest.raises(StoreUnavailable):
        await world.tenant()


async def test_deletion_keeps_the_finalizers_of_others(world: World) -> None:
    tenant = await make_running(world)
    tenant["metadata"]["finalizers"].append("example.com/theirs")
    delete(tenant)
    await world.tenant()
    assert tenant["metadata"]["finalizers"] == ["example.com/theirs"]
