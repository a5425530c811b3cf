"""Echoes of own writes: what the writer hears of, and what it does not."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from syntera_kube import ClusterConfig, KubeClient, Manifest
from syntera_kube.resources import LEASES, SECRETS
from syntera_operator.causes import Wakeup
from syntera_operator.cluster.mirrors import Mirrors
from syntera_operator.cluster.model import ObjectRef
from syntera_operator.manifest import AGENTS, TENANTS
from syntera_operator.queue import Key
from tests.support.make import make_agent_manifest, make_tenant_manifest

ACME = Key("Tenant", None, "acme")
TRAVEL = Key("Agent", "acme", "travel")
REF = ObjectRef(TENANTS, None, "acme")


def make_tenant(version: int, **fields: Any) -> Manifest:
    manifest = make_tenant_manifest(**fields)
    return {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": str(version)}}


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
