"""What the operator sees of the cluster, and what wakes whom: on a real API server."""

import base64
from typing import Any

import pytest

from syntera_crds.contract import names
from syntera_kube.errors import NotFound
from syntera_kube.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    NAMESPACES,
    PODS,
    ROLE_BINDINGS,
    SECRETS,
    SERVICE_ACCOUNTS,
)
from syntera_operator.cluster import Owner, Reference, SecretView
from syntera_operator.errors import NameTaken
from syntera_operator.manifest import AGENTS, TENANTS, Manifest, is_pod_ready, managers
from syntera_operator.queue import Key
from tests.operator.cluster.conftest import Home, Observed
from tests.support.apiserver import unique_name

pytestmark = [pytest.mark.api, pytest.mark.long]

MANAGER = names.TENANT_FIELD_MANAGER


async def make_agent(observed: Observed, home: Home, name: str = "travel") -> Key:
    metadata = {"name": name, "namespace": home.namespace}
    body = {"apiVersion": AGENTS.api_version, "kind": AGENTS.kind, "metadata": metadata, "spec": {"instructions": "Hi"}}
    await observed.client.create(AGENTS, body)
    await observed.eventually(lambda: observed.cluster.agent(home.namespace, name) is not None)
    return Key("Agent", home.namespace, name)


def build_secret(home: Home, *, name: str = "openai", usable: str | None = "true", **data: str) -> Manifest:
    secret = home.build(
        "Secret", name, data={key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    )
    if usable is not None:
        secret["metadata"]["labels"][names.USABLE_LABEL] = usable
    return secret


async def test_agent_wakes_itself_and_its_tenant_when_it_comes_and_goes(observed: Observed, home: Home) -> None:
    agent = await make_agent(observed, home)
    await observed.eventually(lambda: set(observed.woken) == {agent, home.key})
    await observed.settled()

    patch = {"metadata": {"name": "travel", "namespace": home.namespace}, "spec": {"instructions": "Hello"}}
    await observed.client.merge_patch(AGENTS, patch)
    await observed.eventually(lambda: observed.woken == [agent])
    await observed.client.delete(AGENTS, "travel", namespace=home.namespace)
    await observed.eventually(lambda: home.key in observed.woken)

    assert observed.cluster.agent(home.namespace, "travel") is None
    assert observed.cluster.agents(home.namespace) == []


async def test_tenant_wakes_its_agents_only_when_it_changed_for_them(observed: Observed, home: Home) -> None:
    agent = await make_agent(observed, home)
    await observed.settled()

    tenant = observed.cluster.tenant(home.name)
    assert tenant is not None
    await observed.cluster.patch_status(tenant, {"agents": 1, "conditions": []})
    await observed.delivered()
    assert observed.woken == []
    await observed.client.merge_patch(TENANTS, {"metadata": {"name": home.name}, "spec": {"displayName": "Acme"}})
    await observed.eventually(lambda: agent in observed.woken)


async def test_own_status_wakes_agents_but_not_its_writer(observed: Observed, home: Home) -> None:
    agent = await make_agent(observed, home)
    await observed.settled()
    tenant = observed.cluster.tenant(home.name)
    assert tenant is not None

    condition = {"type": "Accepted", "status": "True", "reason": "Accepted", "message": "Sound."}
    status = {"conditions": [condition | {"lastTransitionTime": "2026-01-01T00:00:00Z"}]}
    await observed.cluster.patch_status(tenant, status)

    assert observed.woken == [agent]


async def test_child_wakes_its_owner_when_somebody_touches_it(observed: Observed, home: Home) -> None:
    await observed.cluster.apply(home.build(data={"a": "1"}), owner=home.owner, manager=MANAGER)
    await observed.settled()

    await observed.client.delete(CONFIG_MAPS, "one", namespace=home.namespace)

    await observed.eventually(lambda: home.key in observed.woken)


async def test_namespace_wakes_its_tenant_and_agents_when_it_goes(observed: Observed, home: Home) -> None:
    agent = await make_agent(observed, home)
    await observed.settled()

    await observed.client.delete(NAMESPACES, home.namespace)

    await observed.eventually(lambda: {home.key, agent} <= set(observed.woken))
    await observed.eventually(lambda: observed.cluster.namespace(home.namespace) is None, seconds=120)
    assert await observed.cluster.read_namespace(home.namespace) is None


async def test_runtime_pod_wakes_all_in_its_namespace_when_it_becomes_ready(observed: Observed, home: Home) -> None:
    agent = await make_agent(observed, home)
    pod = home.build("Pod", "runtime-1", spec={"containers": [{"name": "one", "image": "one:1"}]})
    pod["metadata"]["labels"] |= {
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
        names.COMPONENT_LABEL: names.RUNTIME_COMPONENT,
    }
    account = home.build("ServiceAccount", "default")
    await observed.client.apply(SERVICE_ACCOUNTS, account, field_manager="test")
    await observed.client.create(PODS, pod)
    await observed.eventually(lambda: len(observed.cluster.runtime_pods(home.namespace)) == 1)
    await observed.settled()

    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    status = {"metadata": {"name": "runtime-1", "namespace": home.namespace}, "status": {"conditions": [ready]}}
    await observed.client.merge_patch(PODS, status, subresource="status")
    await observed.eventually(lambda: {home.key, agent} <= set(observed.woken))

    [seen] = observed.cluster.runtime_pods(home.namespace)
    assert is_pod_ready(seen)
    assert "spec" not in seen


async def test_config_map_wakes_who_refers_to_it_from_before_it_exists(observed: Observed, home: Home) -> None:
    key = Key("Agent", home.namespace, "travel")
    observed.cluster.set_references(key, {Reference("ConfigMap", home.namespace, "prompt")})
    assert await observed.cluster.config_map_data(home.namespace, "prompt") is None

    body = home.build(name="prompt", data={"text": "Hi"})
    await observed.client.create(CONFIG_MAPS, body)
    await observed.eventually(lambda: key in observed.woken)
    assert await observed.cluster.config_map_data(home.namespace, "prompt") == {"text": "Hi"}
    observed.cluster.set_references(key, set())
    await observed.settled()
    await observed.client.delete(CONFIG_MAPS, "prompt", namespace=home.namespace)
    await observed.delivered()

    assert observed.woken == []


async def test_secret_wakes_who_refers_to_it_and_shows_its_keys_alone(observed: Observed, home: Home) -> None:
    observed.cluster.set_references(home.key, {Reference("Secret", home.namespace, "openai")})
    assert await observed.cluster.usable_secret_keys(home.namespace, "openai") is None

    await observed.client.create(SECRETS, build_secret(home, key="geheim"))
    await observed.eventually(lambda: home.key in observed.woken)
    observed.requests.clear()

    view = await observed.cluster.usable_secret_keys(home.namespace, "openai")
    assert view == SecretView(usable=True, keys=frozenset({"key"}))
    assert observed.requests == []
    assert "geheim" not in str(observed.cluster.child(SECRETS, home.namespace, "openai"))


async def test_secret_without_the_label_is_not_usable_and_not_read(observed: Observed, home: Home) -> None:
    await observed.client.create(SECRETS, build_secret(home, usable=None, key="geheim"))

    view = await observed.cluster.usable_secret_keys(home.namespace, "openai")

    assert view == SecretView(usable=False, keys=frozenset())


async def test_own_secret_of_somebody_else_is_not_read(observed: Observed, home: Home) -> None:
    await observed.client.create(SECRETS, build_secret(home, name="theirs", usable="false", key="geheim"))

    assert await observed.cluster.own_secret(home.namespace, "none") is None
    with pytest.raises(NameTaken):
        await observed.cluster.own_secret(home.namespace, "theirs")


@pytest.mark.parametrize("usable", ["true", None])
async def test_own_secret_stays_own_when_its_label_was_changed(
    observed: Observed, home: Home, usable: str | None
) -> None:
    secret = build_secret(home, name="ours", usable="false", key="geheim")
    await observed.cluster.apply(secret, owner=home.owner, manager=MANAGER)
    labels = {names.USABLE_LABEL: usable}
    await observed.client.merge_patch(
        SECRETS, {"metadata": {"name": "ours", "namespace": home.namespace, "labels": labels}}
    )

    assert await observed.cluster.own_secret(home.namespace, "ours") == {"key": "geheim"}
    await observed.settled()
    assert await observed.cluster.apply(secret, owner=home.owner, manager=MANAGER)
    found = await observed.client.get(SECRETS, "ours", namespace=home.namespace)
    assert found["metadata"]["labels"][names.USABLE_LABEL] == "false"


async def test_own_secret_of_another_tenant_counts_as_none(observed: Observed, home: Home) -> None:
    secret = build_secret(home, name="theirs", usable="false", key="geheim")
    secret["metadata"]["labels"][names.TENANT_LABEL] = "another"
    await observed.cluster.apply(secret, owner=home.owner, manager=MANAGER)

    assert await observed.cluster.own_secret(home.namespace, "theirs") is None


async def test_child_of_another_living_tenant_is_not_taken(observed: Observed, home: Home) -> None:
    """A namespace may change hands; which Tenant has it says its label, and what the other left there its owners."""
    name = f"{home.name}-2"
    body = {"apiVersion": TENANTS.api_version, "kind": TENANTS.kind, "metadata": {"name": name}}
    other = Owner.of(await observed.client.create(TENANTS, body | {"spec": {"namespace": home.namespace}}))
    await observed.eventually(lambda: observed.cluster.tenant(name) is not None)
    await observed.cluster.apply(home.build(), owner=home.owner, manager=MANAGER)

    with pytest.raises(NameTaken, match=f"belongs to Tenant '{home.name}'"):
        await observed.cluster.apply(home.build(), owner=other, manager=MANAGER)


async def test_secrets_are_watched_only_while_the_operator_is_bound(observed: Observed, home: Home) -> None:
    await observed.client.create(SECRETS, build_secret(home))
    await observed.eventually(lambda: observed.cluster.child(SECRETS, home.namespace, "openai") is not None)

    await observed.client.delete(ROLE_BINDINGS, names.OPERATOR_BINDING, namespace=home.namespace)

    await observed.eventually(lambda: observed.cluster.child(SECRETS, home.namespace, "openai") is None)
    assert await observed.cluster.usable_secret_keys(home.namespace, "openai") == SecretView(
        usable=True, keys=frozenset()
    )


async def test_check_finds_what_watches_missed(observed: Observed, home: Home) -> None:
    agent = await make_agent(observed, home)
    await observed.settled()
    assert await observed.cluster.check() == 0
    seen = observed.cluster.agent(home.namespace, "travel")
    assert seen is not None
    never: Manifest = {**seen, "metadata": {**seen["metadata"], "name": "never", "uid": "never"}}
    observed.cluster.observe(AGENTS, never, deleted=False)
    observed.woken.clear()

    lost = home.build(name="lost")
    lost["metadata"] |= {"uid": "lost", "resourceVersion": "1"}
    await observed.cluster.apply(home.build(), owner=home.owner, manager=MANAGER)
    mirrored = observed.cluster._mirrors.store(CONFIG_MAPS, home.namespace)
    assert mirrored is not None
    mirrored.put(lost | {"apiVersion": "v1", "kind": "ConfigMap"})

    assert await observed.cluster.check() == 2

    assert observed.cluster.child(CONFIG_MAPS, home.namespace, "lost") is None
    assert observed.cluster.child(CONFIG_MAPS, home.namespace, "one") is not None
    assert Key("Agent", home.namespace, "never") in observed.woken
    assert observed.cluster.agent(home.namespace, "never") is None
    assert set(observed.cluster.all_keys()) >= {home.key, agent}


async def test_watch_that_delivers_nothing_of_what_there_is_counts_as_deaf_until_it_is_heard(
    observed: Observed, home: Home
) -> None:
    await make_agent(observed, home)
    await observed.cluster.check()
    observed.cluster.observe(AGENTS, build_ghost(observed, home), deleted=False)
    await observed.cluster.check()
    assert observed.cluster.deaf_to() == []  # it missed a deletion, but it was heard of since

    store = observed.cluster._mirrors.store(AGENTS, home.namespace)
    seen = observed.cluster.agent(home.namespace, "travel")
    assert store is not None
    assert seen is not None
    store.put(build_ghost(observed, home))  # known, but not from the handlers
    await observed.cluster.check()
    assert observed.cluster.deaf_to() == ["agents.syntera.io"]

    observed.cluster.observe(AGENTS, seen, deleted=False)
    assert observed.cluster.deaf_to() == []


def build_ghost(observed: Observed, home: Home) -> Manifest:
    """An Agent that was deleted unseen, between two of the handlers' lists."""
    seen = observed.cluster.agent(home.namespace, "travel")
    assert seen is not None
    return {**seen, "metadata": {**seen["metadata"], "name": "ghost", "uid": "ghost"}}


async def test_what_was_deleted_unseen_is_forgotten_when_the_handlers_list_anew(observed: Observed, home: Home) -> None:
    await make_agent(observed, home)
    ghost = build_ghost(observed, home)
    observed.cluster.observe(AGENTS, ghost, deleted=False)
    observed.woken.clear()
    seen = observed.cluster.agent(home.namespace, "travel")
    assert seen is not None

    observed.cluster.observe(AGENTS, seen, deleted=False, listed=True)

    await observed.eventually(lambda: observed.cluster.agent(home.namespace, "ghost") is None)
    assert Key("Agent", home.namespace, "ghost") in observed.woken
    assert home.key in observed.woken
    assert observed.cluster.agent(home.namespace, "travel") is not None


@pytest.mark.parametrize("write", ["delete", "status"])
async def test_what_was_deleted_unseen_is_forgotten_when_a_write_does_not_find_it(
    observed: Observed, home: Home, write: str
) -> None:
    await make_agent(observed, home)
    ghost = build_ghost(observed, home)
    observed.cluster.observe(AGENTS, ghost, deleted=False)
    observed.woken.clear()

    if write == "delete":
        assert not await observed.cluster.delete(AGENTS, home.namespace, "ghost", uid="ghost")
    else:
        with pytest.raises(NotFound):
            await observed.cluster.patch_status(ghost, {"conditions": []})

    await observed.eventually(lambda: observed.cluster.agent(home.namespace, "ghost") is None)
    assert home.key in observed.woken


async def test_own_write_is_known_before_its_echo_and_a_newer_version_is_not(observed: Observed, home: Home) -> None:
    await make_agent(observed, home)
    agent = observed.cluster.agent(home.namespace, "travel")
    assert agent is not None

    await observed.cluster.patch_status(agent, {**agent.get("status", {}), "observedGeneration": 1})

    written = await observed.client.get(AGENTS, "travel", namespace=home.namespace)
    assert observed.cluster.is_known(written)
    newer = str(int(written["metadata"]["resourceVersion"]) + 1)
    assert not observed.cluster.is_known({**written, "metadata": written["metadata"] | {"resourceVersion": newer}})


async def test_manifests_in_memory_are_slim(observed: Observed, home: Home) -> None:
    body: dict[str, Any] = {"metadata": {"name": home.name, "annotations": {}}}
    body["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = "x" * 1000
    await observed.client.merge_patch(TENANTS, body, field_manager="kubectl-client-side-apply")
    await observed.eventually(
        lambda: "kubectl-client-side-apply" in managers(observed.cluster.tenant(home.name) or {"metadata": {}})
    )

    seen = observed.cluster.tenant(home.name)

    assert seen is not None
    assert "fieldsV1" not in str(seen)
    assert "xxx" not in str(seen)


async def test_api_server_is_found_by_its_addresses(observed: Observed, home: Home) -> None:
    # An API server that listens on loopback, as this one does, does not tell its address itself.
    endpoints: Manifest = {
        "apiVersion": ENDPOINT_SLICES.api_version,
        "kind": ENDPOINT_SLICES.kind,
        "metadata": {
            "name": unique_name("kubernetes"),
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.9.8.7"]}, {"addresses": ["10.9.8.6"]}],
        "ports": [{"name": "https", "port": 6443}],
    }
    made = await observed.client.create(ENDPOINT_SLICES, endpoints)
    found = [("10.9.8.6", 6443), ("10.9.8.7", 6443)]

    await observed.eventually(lambda: observed.cluster.api_server_addresses() == found)
    assert home.key in observed.woken
    await observed.client.delete(ENDPOINT_SLICES, made["metadata"]["name"], namespace="default")
    await observed.eventually(lambda: observed.cluster.api_server_addresses() == [])


async def test_views_are_empty_when_there_is_nothing(observed: Observed) -> None:
    cluster = observed.cluster

    assert cluster.tenant("none") is None
    assert cluster.agent("none", "none") is None
    assert cluster.namespace("none") is None
    assert cluster.child(DEPLOYMENTS, "none", "none") is None
    assert cluster.child(SECRETS, "none", "none") is None
    assert cluster.runtime_pods("none") == []
    assert cluster.silent_seconds() < 60
