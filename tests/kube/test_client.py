"""The verbs against a real API server."""

import asyncio
from contextlib import aclosing

import pytest

from syntera_kube import ClusterConfig, KubeClient, Selection
from syntera_kube.errors import BadRequest, Conflict, Forbidden, Invalid, NotFound
from syntera_kube.resources import CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS, Resource
from tests.support.apiserver import RunningApiServer, unique_name

pytestmark = pytest.mark.api

TENANTS = Resource("syntera.io", "v1alpha1", "tenants", "Tenant", namespaced=False)


@pytest.fixture
def namespace(api_server: RunningApiServer) -> str:
    return api_server.create_namespace("kube")


def make_tenant(name: str) -> dict[str, object]:
    return {"apiVersion": TENANTS.api_version, "kind": TENANTS.kind, "metadata": {"name": name}, "spec": {}}


def make_config_map(namespace: str, name: str = "one", **data: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": {"from": "test"}},
        "data": data,
    }


async def test_apply_creates_and_then_changes_only_what_it_owns(client: KubeClient, namespace: str) -> None:
    first = await client.apply(CONFIG_MAPS, make_config_map(namespace, a="1", b="1"), field_manager="one")
    await client.apply(CONFIG_MAPS, make_config_map(namespace, c="1"), field_manager="two")
    last = await client.apply(CONFIG_MAPS, make_config_map(namespace, a="2"), field_manager="one")

    assert first["data"] == {"a": "1", "b": "1"}
    assert last["data"] == {"a": "2", "c": "1"}


async def test_apply_without_a_change_keeps_the_version(client: KubeClient, namespace: str) -> None:
    first = await client.apply(CONFIG_MAPS, make_config_map(namespace, a="1"), field_manager="one")
    again = await client.apply(CONFIG_MAPS, make_config_map(namespace, a="1"), field_manager="one")

    assert first["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"]


async def test_apply_conflicts_when_another_manager_owns_a_field_and_force_is_off(
    client: KubeClient, namespace: str
) -> None:
    await client.apply(CONFIG_MAPS, make_config_map(namespace, a="1"), field_manager="one")

    with pytest.raises(Conflict):
        await client.apply(CONFIG_MAPS, make_config_map(namespace, a="2"), field_manager="two", force=False)


async def test_get_finds_and_says_what_it_found(client: KubeClient, namespace: str) -> None:
    await client.create(CONFIG_MAPS, make_config_map(namespace, a="1"))

    found = await client.get(CONFIG_MAPS, "one", namespace=namespace)
    metadata = await client.get(CONFIG_MAPS, "one", namespace=namespace, metadata_only=True)

    assert (found["apiVersion"], found["kind"], found["data"]) == ("v1", "ConfigMap", {"a": "1"})
    assert metadata["kind"] == "ConfigMap"
    assert "data" not in metadata


async def test_get_raises_not_found_when_there_is_none(client: KubeClient, namespace: str) -> None:
    with pytest.raises(NotFound) as caught:
        await client.get(CONFIG_MAPS, "none", namespace=namespace)

    assert caught.value.reason == "NotFound"


async def test_list_walks_all_pages(client: KubeClient, namespace: str) -> None:
    names = {f"map-{number}" for number in range(7)}
    for name in names:
        await client.create(CONFIG_MAPS, make_config_map(namespace, name))

    listed = await client.list(CONFIG_MAPS, Selection(namespace=namespace, label_selector="from=test"), page_size=2)

    assert {item["metadata"]["name"] for item in listed.items} == names
    assert {item["kind"] for item in listed.items} == {"ConfigMap"}
    assert int(listed.resource_version) > 0


async def test_list_lets_the_server_select(client: KubeClient, namespace: str) -> None:
    for name in ("one", "two"):
        await client.create(CONFIG_MAPS, make_config_map(namespace, name))

    selection = Selection(namespace=namespace, field_selector="metadata.name=two", metadata_only=True)
    listed = await client.list(CONFIG_MAPS, selection)

    assert [item["metadata"]["name"] for item in listed.items] == ["two"]
    assert "data" not in listed.items[0]


async def test_list_raises_not_found_when_the_kind_is_not_served(client: KubeClient) -> None:
    with pytest.raises(NotFound):
        await client.list(Resource("nobody.example", "v1", "things", "Thing"))


async def test_discovery_tells_which_kinds_are_served(client: KubeClient) -> None:
    assert await client.is_discoverable(CONFIG_MAPS)
    assert await client.is_discoverable(TENANTS)
    assert not await client.is_discoverable(Resource("syntera.io", "v1alpha1", "things", "Thing"))
    assert not await client.is_discoverable(Resource("nobody.example", "v1", "things", "Thing"))


async def test_watch_tells_changes_after_the_list(client: KubeClient, namespace: str) -> None:
    selection = Selection(namespace=namespace, label_selector="from=test")
    listed = await client.list(CONFIG_MAPS, selection)
    await client.apply(CONFIG_MAPS, make_config_map(namespace, a="1"), field_manager="one")
    await client.apply(CONFIG_MAPS, make_config_map(namespace, a="2"), field_manager="one")
    await client.delete(CONFIG_MAPS, "one", namespace=namespace)

    seen: list[tuple[str, object]] = []
    async with (
        aclosing(client.watch(CONFIG_MAPS, selection, resource_version=listed.resource_version)) as events,
        asyncio.timeout(30),
    ):
        async for event in events:
            if event.type != "BOOKMARK":
                seen.append((event.type, event.object.get("data")))
            if event.type == "DELETED":
                break

    assert seen == [("ADDED", {"a": "1"}), ("MODIFIED", {"a": "2"}), ("DELETED", {"a": "2"})]


async def test_create_conflicts_when_the_name_is_taken(client: KubeClient, namespace: str) -> None:
    await client.create(CONFIG_MAPS, make_config_map(namespace))

    with pytest.raises(Conflict) as caught:
        await client.create(CONFIG_MAPS, make_config_map(namespace))

    assert caught.value.reason == "AlreadyExists"


async def test_update_conflicts_when_the_object_changed_meanwhile(client: KubeClient, namespace: str) -> None:
    made = await client.create(CONFIG_MAPS, make_config_map(namespace, a="1"))
    await client.update(CONFIG_MAPS, made | {"data": {"a": "2"}})

    with pytest.raises(Conflict):
        await client.update(CONFIG_MAPS, made | {"data": {"a": "3"}})


async def test_merge_patch_conflicts_when_the_object_changed_meanwhile(client: KubeClient, namespace: str) -> None:
    made = await client.create(CONFIG_MAPS, make_config_map(namespace, a="1", b="1"))
    identity = {key: made["metadata"][key] for key in ("name", "namespace", "resourceVersion")}

    patched = await client.merge_patch(CONFIG_MAPS, {"metadata": identity, "data": {"a": "2", "b": None}})
    with pytest.raises(Conflict):
        await client.merge_patch(CONFIG_MAPS, {"metadata": identity, "data": {"a": "3"}})

    assert patched["data"] == {"a": "2"}


async def test_patch_status_is_refused_when_the_object_is_another_one(client: KubeClient) -> None:
    name = unique_name("kube")
    await client.create(TENANTS, make_tenant(name))
    identity = {"name": name, "uid": "00000000-0000-0000-0000-000000000000"}

    with pytest.raises(Conflict):
        await client.patch_status(TENANTS, {"metadata": identity, "status": {"agents": 1}})


async def test_patch_status_changes_the_status_alone(client: KubeClient) -> None:
    name = unique_name("kube")
    made = await client.create(TENANTS, make_tenant(name))
    patch = made | {"spec": {"suspended": True}, "status": {"agents": 3}}

    patched = await client.patch_status(TENANTS, patch, field_manager="one")

    assert patched["status"]["agents"] == 3
    assert patched["spec"] == {}


async def test_patch_status_raises_invalid_when_the_status_is_refused(client: KubeClient) -> None:
    made = await client.create(TENANTS, make_tenant(unique_name("kube")))

    with pytest.raises(Invalid):
        await client.patch_status(TENANTS, made | {"status": {"agents": "many"}})


async def test_json_patch_changes_nothing_when_its_test_fails(client: KubeClient, namespace: str) -> None:
    await client.create(CONFIG_MAPS, make_config_map(namespace, a="1"))
    wrong = [{"op": "test", "path": "/data/a", "value": "9"}, {"op": "replace", "path": "/data/a", "value": "2"}]
    right = [{"op": "test", "path": "/data/a", "value": "1"}, {"op": "replace", "path": "/data/a", "value": "3"}]

    with pytest.raises(Invalid):
        await client.json_patch(CONFIG_MAPS, "one", wrong, namespace=namespace)
    patched = await client.json_patch(CONFIG_MAPS, "one", right, namespace=namespace)

    assert patched["data"] == {"a": "3"}


async def test_delete_with_a_uid_spares_another_object_of_the_name(client: KubeClient, namespace: str) -> None:
    made = await client.create(CONFIG_MAPS, make_config_map(namespace))

    with pytest.raises(Conflict):
        await client.delete(CONFIG_MAPS, "one", namespace=namespace, uid="00000000-0000-0000-0000-000000000000")
    await client.delete(CONFIG_MAPS, "one", namespace=namespace, uid=made["metadata"]["uid"])
    with pytest.raises(NotFound):
        await client.delete(CONFIG_MAPS, "one", namespace=namespace)


async def test_apply_raises_invalid_when_the_content_is_refused(client: KubeClient, namespace: str) -> None:
    broken = make_config_map(namespace) | {"metadata": {"name": "NOT A NAME", "namespace": namespace}}

    with pytest.raises((Invalid, BadRequest)):
        await client.apply(CONFIG_MAPS, broken, field_manager="one")


async def test_create_token_gives_a_token_with_its_life(client: KubeClient, namespace: str) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "me", "namespace": namespace}}
    await client.create(SERVICE_ACCOUNTS, account)

    made = await client.create_token(namespace, "me", audiences=["somebody"], expiration_seconds=900)

    assert made.token.count(".") == 2
    assert made.expires_in_seconds == 900


async def test_forbidden_is_raised_when_rbac_says_no(api_server: RunningApiServer) -> None:
    config = ClusterConfig.from_kubeconfig(api_server.kubeconfig_for("nobody"))
    async with KubeClient.connect(config, component="syntera-tests") as nobody:
        with pytest.raises(Forbidden):
            await nobody.list(NAMESPACES)


class NotNow(Exception):
    """What the hook raises."""


async def test_guarded_client_reads_but_does_not_write_when_the_hook_raises(client: KubeClient, namespace: str) -> None:
    def forbid() -> None:
        raise NotNow

    guarded = client.guarded(forbid)

    assert (await guarded.get(NAMESPACES, namespace))["kind"] == "Namespace"
    with pytest.raises(NotNow):
        await guarded.apply(CONFIG_MAPS, make_config_map(namespace), field_manager="one")
    with pytest.raises(NotNow):
        await guarded.create(CONFIG_MAPS, make_config_map(namespace))
    with pytest.raises(NotNow):
        await guarded.delete(CONFIG_MAPS, "one", namespace=namespace)
    with pytest.raises(NotFound):
        await client.get(CONFIG_MAPS, "one", namespace=namespace)
