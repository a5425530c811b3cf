"""Never two writers: the Lease on a real API server, and what goes wrong with it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from syntera_crds.contract import names
from syntera_kube import ClusterConfig, KubeClient, Manifest
from syntera_kube.resources import LEASES
from syntera_operator.errors import LeadershipLost
from syntera_operator.leadership import Leadership, LeaseTimes
from tests.kube.faulty_server import dropped, failed, faulty_server, ok
from tests.support.apiserver import RunningApiServer

TIMES = LeaseTimes(lease_seconds=1.5, renew_seconds=1.0, retry_seconds=0.2)


@pytest.fixture
def namespace(api_server: RunningApiServer) -> str:
    return api_server.create_namespace("lease")


class Clock:
    """A clock that can be made to jump."""

    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.offset


@asynccontextmanager
async def holding(leadership: Leadership) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(leadership.hold())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def read(client: KubeClient, namespace: str) -> Manifest:
    return await client.get(LEASES, names.LEASE_NAME, namespace=namespace)


def may_write(leadership: Leadership) -> bool:
    with contextlib.suppress(LeadershipLost):
        return leadership.before_write() > 0
    return False


def make(client: KubeClient, namespace: str, identity: str, **options: object) -> Leadership:
    return Leadership(client, namespace=namespace, identity=identity, times=TIMES, **options)  # type: ignore[arg-type]


@pytest.mark.api
async def test_one_of_two_leads_and_the_other_follows_at_once_when_it_gives_back(
    client: KubeClient, namespace: str
) -> None:
    one, two = make(client, namespace, "one"), make(client, namespace, "two")
    await asyncio.wait_for(one.acquire(), 5)
    waiting = asyncio.create_task(two.acquire())
    async with holding(one):
        await asyncio.sleep(2 * TIMES.lease_seconds)
        assert one.is_leader
        assert not waiting.done()
        assert not may_write(two)
    await one.release()
    released = time.monotonic()
    assert not may_write(one)
    await asyncio.wait_for(waiting, 5)

    assert time.monotonic() - released < 0.5
    lease = await read(client, namespace)
    assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseTransitions"]) == ("two", 1)


@pytest.mark.api
async def test_leader_that_stopped_renewing_may_not_write_when_another_takes_over(
    client: KubeClient, namespace: str
) -> None:
    one, two = make(client, namespace, "one"), make(client, namespace, "two")
    await one.acquire()
    started = time.monotonic()
    waiting = asyncio.create_task(two.acquire())
    while may_write(one):
        assert not waiting.done()
        await asyncio.sleep(0.02)
    silent = time.monotonic() - started
    await asyncio.wait_for(waiting, 5)

    assert silent < TIMES.renew_seconds + 0.3
    assert time.monotonic() - started >= TIMES.lease_seconds


@pytest.mark.api
async def test_write_gets_only_the_time_that_is_left(client: KubeClient, namespace: str) -> None:
    clock = Clock()
    one = make(client, namespace, "one", clock=clock)
    await one.acquire()
    clock.offset += 0.7

    assert one.before_write() < 0.3


@pytest.mark.api
async def test_leader_whose_lease_was_stolen_stops(client: KubeClient, namespace: str) -> None:
    one = make(client, namespace, "one")
    await one.acquire()
    async with holding(one) as task:
        lease = await read(client, namespace)
        await client.update(LEASES, lease | {"spec": lease["spec"] | {"holderIdentity": "thief"}})
        await asyncio.wait_for(task, 2)

    assert not may_write(one)
    await one.release()
    assert (await read(client, namespace))["spec"]["holderIdentity"] == "thief"


@pytest.mark.api
async def test_leader_whose_lease_was_deleted_stops_before_another_begins(client: KubeClient, namespace: str) -> None:
    one, two = make(client, namespace, "one"), make(client, namespace, "two")
    await one.acquire()
    waiting = asyncio.create_task(two.acquire())
    async with holding(one) as task:
        await asyncio.sleep(0.3)
        await client.delete(LEASES, names.LEASE_NAME, namespace=namespace)
        await asyncio.wait_for(task, 2)
        assert not waiting.done()
    await asyncio.wait_for(waiting, 5)

    assert not may_write(one)
    assert may_write(two)


@pytest.mark.api
async def test_lease_that_was_emptied_by_hand_has_to_run_out(client: KubeClient, namespace: str) -> None:
    one, two = make(client, namespace, "one"), make(client, namespace, "two")
    await one.acquire()
    lease = await read(client, namespace)
    await client.update(LEASES, lease | {"spec": lease["spec"] | {"holderIdentity": ""}})
    emptied = time.monotonic()
    await asyncio.wait_for(two.acquire(), 5)

    assert time.monotonic() - emptied >= TIMES.lease_seconds
    assert not may_write(one)


@pytest.mark.api
async def test_leader_goes_on_when_the_conflicting_write_was_its_own(client: KubeClient, namespace: str) -> None:
    one = make(client, namespace, "one")
    await one.acquire()
    async with holding(one) as task:
        lease = await read(client, namespace)
        await client.update(LEASES, lease | {"metadata": lease["metadata"] | {"labels": {"touched": "yes"}}})
        await asyncio.sleep(2 * TIMES.renew_seconds)
        assert not task.done()

    assert may_write(one)
    await one.release()
    assert (await read(client, namespace))["spec"]["holderIdentity"] == ""


@pytest.mark.api
async def test_lease_is_given_back_when_it_was_touched_meanwhile(client: KubeClient, namespace: str) -> None:
    one = make(client, namespace, "one")
    await one.acquire()
    lease = await read(client, namespace)
    await client.update(LEASES, lease | {"metadata": lease["metadata"] | {"labels": {"touched": "yes"}}})

    await one.release()

    assert (await read(client, namespace))["spec"]["holderIdentity"] == ""


@pytest.mark.api
async def test_clock_that_jumped_ends_leadership(client: KubeClient, namespace: str) -> None:
    clock = Clock()
    one = make(client, namespace, "one", clock=clock)
    await one.acquire()
    clock.offset += 3600
    assert not may_write(one)

    async with holding(one) as task:
        await asyncio.wait_for(task, 2)

    assert not may_write(one)


async def test_leader_that_cannot_reach_the_api_server_stops_in_time() -> None:
    lease = {"metadata": {"name": names.LEASE_NAME, "namespace": "test", "resourceVersion": "1"}, "spec": {}}
    async with faulty_server() as server, KubeClient.connect(server.config, component="test") as client:
        server.answers = [failed(404), ok(lease), dropped()]
        one = make(client, "test", "one")
        await one.acquire()
        started = time.monotonic()
        await asyncio.wait_for(one.hold(), 5)

    assert not may_write(one)
    assert time.monotonic() - started < TIMES.lease_seconds + 0.5


async def test_lease_that_a_lost_answer_gave_is_taken_at_once() -> None:
    lease = {"metadata": {"name": names.LEASE_NAME, "namespace": "test", "resourceVersion": "1"}}
    mine, free = lease | {"spec": {"holderIdentity": "one"}}, failed(404)
    async with faulty_server() as server, KubeClient.connect(server.config, component="test") as client:
        server.answers = [free, dropped(), ok(mine)]
        one = make(client, "test", "one")

        await asyncio.wait_for(one.acquire(), TIMES.lease_seconds / 2)

    assert may_write(one)
    assert [method for method, _, _ in server.requests] == ["GET", "POST", "GET", "PUT"]


async def test_candidate_waits_as_long_as_it_is_told_to() -> None:
    async with faulty_server() as server:
        server.answers = [failed(503, retry_after=1), failed(404), ok({"metadata": {}, "spec": {}})]
        # The request itself has no time to wait.
        async with KubeClient.connect(server.config, component="test", timeout_seconds=0.5) as client:
            started = time.monotonic()
            await asyncio.wait_for(make(client, "test", "one").acquire(), 5)

    assert time.monotonic() - started >= 1


async def test_leader_waits_as_long_as_it_is_told_to_while_it_may_still_lead() -> None:
    lease = {"metadata": {"name": names.LEASE_NAME, "namespace": "test", "resourceVersion": "1"}, "spec": {}}
    async with faulty_server() as server, KubeClient.connect(server.config, component="test") as client:
        server.answers = [failed(404), ok(lease), failed(429, retry_after=60)]
        one = make(client, "test", "one")
        await one.acquire()
        started = time.monotonic()
        await asyncio.wait_for(one.hold(), 5)

    assert len(server.requests) == 3
    assert not may_write(one)
    assert time.monotonic() - started < TIMES.lease_seconds


async def test_nothing_may_be_written_before_the_lease_is_held() -> None:
    async with KubeClient.connect(ClusterConfig(server="http://127.0.0.1:9"), component="test") as client:
        one = make(client, "test", "one")

        assert not one.is_leader
        with pytest.raises(LeadershipLost):
            one.before_write()
        await one.release()
