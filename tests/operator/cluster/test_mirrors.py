"""Echoes of own writes: what the writer hears of, and what it does not."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from syntera_crds.contract import names
from syntera_kube import ClusterConfig, KubeClient, Manifest
from syntera_kube.resources import DEPLOYMENTS, LEASES, SECRETS
from syntera_operator.causes import Wakeup
from syntera_operator.cluster.mirrors import Mirrors
from syntera_operator.cluster.model import ObjectRef
from syntera_operator.manifest import AGENTS, TENANTS
from syntera_operator.queue import Key
from tests.kube.faulty_server import failed, faulty_server
from tests.support.make import make_agent_manifest, make_tenant_manifest

ACME = Key("Tenant", None, "acme")
TRAVEL = Key("Agent", "acme", "travel")
REF = ObjectRef(TENANTS, None, "acme")


def make_tenant(version: int, **fields: Any) -> Manifest:
    manifest = make_tenant_manifest(**fields)
    return {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": str(version)}}


def make_deployment(version: int, *, image: str = "runtime:1", status: dict[str, Any] | None = None) -> Manifest:
    owner = {"apiVersion": TENANTS.api_version, "kind": "Tenant", "name": "acme", "uid": "uid-acme"}
    metadata = {"name": "syntera-runtime", "namespace": "acme", "uid": "uid-d", "resourceVersion": str(version)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata | {"ownerReferences": [owner]},
        "spec": {"image": image},
        "status": status or {},
    }


class Woken(list[Key]):
    """Who was woken."""

    def enqueue(self, wakeup: Wakeup) -> None:
        self.append(wakeup.key)


@pytest.fixture
def woken() -> Woken:
    return Woken()


@pytest.fixture
async def mirrors(woken: Woken) -> AsyncIterator[Mirrors]:
    """Mirrors of nothing, that know one Tenant and one Agent."""
    async with KubeClient.connect(ClusterConfig(server="http://127.0.0.1:9"), component="test") as client:
        made = Mirrors(client, woken.enqueue)
        made.observe(TENANTS, make_tenant(1), deleted=False)
        made.observe(AGENTS, make_agent_manifest(), deleted=False)
        woken.clear()
        yield made


async def test_writer_does_not_hear_its_echo_when_the_answer_is_first(mirrors: Mirrors, woken: Woken) -> None:
    with mirrors.writing(REF, ACME) as answered:
        answered(make_tenant(2))
    mirrors.observe(TENANTS, make_tenant(2), deleted=False)

    assert woken == []


async def test_writer_does_not_hear_its_echo_when_the_watch_is_first(mirrors: Mirrors, woken: Woken) -> None:
    with mirrors.writing(REF, ACME) as answered:
        mirrors.observe(TENANTS, make_tenant(2), deleted=False)
        answered(make_tenant(2))

    assert woken == []


async def test_writer_hears_of_somebody_elses_write_meanwhile(mirrors: Mirrors, woken: Woken) -> None:
    with mirrors.writing(REF, ACME) as answered:
        mirrors.observe(TENANTS, make_tenant(2), deleted=False)
        answered(make_tenant(3))

    assert woken == [ACME]


async def test_writer_hears_of_an_edit_that_only_its_answer_tells(mirrors: Mirrors, woken: Woken) -> None:
    with mirrors.writing(REF, ACME) as answered:
        answered(make_tenant(3, generation=2, suspended=True))
    mirrors.observe(TENANTS, make_tenant(2, generation=2, suspended=True), deleted=False)  # older than the answer

    assert ACME in woken


async def test_writer_hears_of_an_edit_that_came_together_with_its_echo(mirrors: Mirrors, woken: Woken) -> None:
    with mirrors.writing(REF, ACME) as answered:
        mirrors.observe(TENANTS, make_tenant(3, annotations={"theirs": "yes"}), deleted=False)
        answered(make_tenant(3, annotations={"theirs": "yes"}))

    assert woken == [ACME]


async def test_writer_does_not_hear_of_its_own_status_and_finalizers(mirrors: Mirrors, woken: Woken) -> None:
    with mirrors.writing(REF, ACME) as answered:
        answered(make_tenant(2, finalizers=(names.TENANT_FINALIZER,), status={"agents": 1}))

    assert woken == []


async def test_writer_hears_of_a_childs_status_that_only_its_answer_tells(mirrors: Mirrors, woken: Woken) -> None:
    ref = ObjectRef(DEPLOYMENTS, "acme", "syntera-runtime")
    store = mirrors.store(DEPLOYMENTS, "acme")
    assert store is not None
    store.put(make_deployment(1))
    with mirrors.writing(ref, ACME) as answered:
        answered(make_deployment(2, image="runtime:2"))
    assert woken == []

    with mirrors.writing(ref, ACME) as answered:
        answered(make_deployment(4, image="runtime:3", status={"readyReplicas": 1}))
    assert woken == [ACME]


async def test_writer_hears_of_a_deletion_meanwhile(mirrors: Mirrors, woken: Woken) -> None:
    with mirrors.writing(REF, ACME) as answered:
        answered(make_tenant(2))
        mirrors.observe(TENANTS, make_tenant(3), deleted=True)

    assert ACME in woken


async def test_writer_hears_of_what_came_while_its_write_failed(mirrors: Mirrors, woken: Woken) -> None:
    def fail() -> None:
        with mirrors.writing(REF, ACME):
            mirrors.observe(TENANTS, make_tenant(2), deleted=False)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert woken == [ACME]


async def test_others_hear_of_a_write(mirrors: Mirrors, woken: Woken) -> None:
    with mirrors.writing(REF, ACME) as answered:
        answered(make_tenant(2, status={"conditions": [{"type": "Accepted", "status": "True"}]}))

    assert woken == [TRAVEL]


async def test_older_event_takes_nothing_back_after_an_answer(mirrors: Mirrors) -> None:
    with mirrors.writing(REF, ACME) as answered:
        answered(make_tenant(5, generation=3))
    mirrors.observe(TENANTS, make_tenant(4, generation=2), deleted=False)

    [tenant] = mirrors.tenants()
    assert tenant["metadata"]["generation"] == 3


async def test_deleted_object_is_forgotten_with_its_references(mirrors: Mirrors, woken: Woken) -> None:
    mirrors.observe(AGENTS, make_agent_manifest(), deleted=True)

    assert mirrors.agents("acme") == []
    assert list(mirrors.all_keys()) == [ACME]
    assert TRAVEL in woken


async def test_kinds_that_are_not_mirrored_have_no_store(mirrors: Mirrors) -> None:
    assert mirrors.store(LEASES, "acme") is None
    assert mirrors.store(SECRETS, "acme") is None
    assert mirrors.store(TENANTS, None) is not None


async def test_watches_that_know_of_trouble_are_counted(woken: Woken) -> None:
    async with (
        KubeClient.connect(ClusterConfig(server="http://127.0.0.1:9"), component="test") as client,
        asyncio.timeout(30),
    ):
        mirrors = Mirrors(client, woken.enqueue)
        assert mirrors.broken() == 0
        async with mirrors.running():
            while mirrors.broken() < 17:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)


async def test_kind_that_the_cluster_does_without_is_no_broken_watch(woken: Woken) -> None:
    async with (
        faulty_server() as server,
        KubeClient.connect(server.config, component="test") as client,
        asyncio.timeout(30),
    ):
        server.answers = [failed(404)]
        mirrors = Mirrors(client, woken.enqueue)
        async with mirrors.running():
            while mirrors.broken() < 18:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            assert mirrors.broken() == 18
