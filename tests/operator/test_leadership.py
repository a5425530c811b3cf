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
from syntera_operator import leadership
from syntera_operator.errors import LeadershipLost
from syntera_operator.leadership import Leadership, LeaseTimes
from tests.kube.faulty_server import dropped, failed, faulty_server, ok
from tests.support.apiserver import RunningApiServer

TIMES = LeaseTimes(lease_seconds=3.0, renew_seconds=2.5, retry_seconds=0.2)
LONG = LeaseTimes(lease_seconds=60.0, renew_seconds=50.0, retry_seconds=0.2)
"""For what must not depend on how fast the machine is."""
WIDE = LeaseTimes(lease_seconds=60.0, renew_seconds=2.5, retry_seconds=0.2)
"""For a leader that stops long before its Lease has run out."""
PATIENCE_SECONDS = 30


@pytest.fixture(autouse=True)
def _patient_release(monkeypatch: pytest.MonkeyPatch) -> None:
    """What gives a Lease back here may take longer than an operator has that ends."""
    monkeypatch.setattr(leadership, "_RELEASE_TIMEOUT_SECONDS", PATIENCE_SECONDS)


@pytest.fixture
def namespace(api_server: RunningApiServer) -> str:
    return api_server.create_namespace("lease")


class Clock:
    """A clock that stands still unless it is made to jump."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


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


async def change(
    client: KubeClient, namespace: str, *, spec: Manifest | None = None, labels: Manifest | None = None
) -> None:
    """Change the Lease, whatever its holder writes meanwhile."""
    metadata = {"name": names.LEASE_NAME, "namespace": namespace, "labels": labels or {}}
    await client.merge_patch(LEASES, {"metadata": metadata, "spec": spec or {}})


def make(
    client: KubeClient, namespace: str, identity: str, *, times: LeaseTimes = TIMES, **options: object
) -> Leadership:
    return Leadership(client, namespace=namespace, identity=identity, times=times, **options)  # type: ignore[arg-type]


@pytest.mark.api
async def test_one_of_two_leads_and_the_other_follows_at_once_when_it_gives_back(
    client: KubeClient, namespace: str
) -> None:
    one, two = make(client, namespace, "one"), make(client, namespace, "two")
    await asyncio.wait_for(one.acquire(), PATIENCE_SECONDS)
    waiting = asyncio.create_task(two.acquire())
    async with holding(one):
        await asyncio.sleep(TIMES.lease_seconds + 0.5)
        assert one.is_leader
        assert not waiting.done()
        assert not may_write(two)
    await one.release()
    released = time.monotonic()
    assert not may_write(one)
    await asyncio.wait_for(waiting, PATIENCE_SECONDS)

    assert time.monotonic() - released < TIMES.lease_seconds - 0.5
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
    asked_at = wrote_at = started
    while may_write(one):
        assert not waiting.done()
        wrote_at = asked_at
        await asyncio.sleep(0.02)
        asked_at = time.monotonic()
    await asyncio.wait_for(waiting, PATIENCE_SECONDS)

    assert wrote_at - started < TIMES.renew_seconds
    assert time.monotonic() - started >= TIMES.lease_seconds


@pytest.mark.api
async def test_write_gets_only_the_time_that_is_left(client: KubeClient, namespace: str) -> None:
    clock = Clock()
    one = make(client, namespace, "one", clock=clock)
    await one.acquire()
    clock.now += 0.7

    assert one.before_write() == pytest.approx(TIMES.renew_seconds - 0.7)


@pytest.mark.api
async def test_leader_whose_lease_was_stolen_stops(client: KubeClient, namespace: str) -> None:
    one = make(client, namespace, "one")
    await one.acquire()
    async with holding(one) as task:
        await change(client, namespace, spec={"holderIdentity": "thief"})
        await asyncio.wait_for(task, PATIENCE_SECONDS)

    assert not may_write(one)
    await one.release()
    assert (await read(client, namespace))["spec"]["holderIdentity"] == "thief"


@pytest.mark.api
async def test_leader_whose_lease_was_deleted_stops_before_another_begins(client: KubeClient, namespace: str) -> None:
    one, two = make(client, namespace, "one"), make(client, namespace, "two")
    await one.acquire()
    waiting = asyncio.create_task(two.acquire())
    async with holding(one) as task:
        while not two._seen_version:  # noqa: ASYNC110 - else it would take the Lease for one that never was
            await asyncio.sleep(0.02)
        await client.delete(LEASES, names.LEASE_NAME, namespace=namespace)
        await asyncio.wait_for(task, PATIENCE_SECONDS)
        assert not waiting.done()
    await asyncio.wait_for(waiting, PATIENCE_SECONDS)

    assert not may_write(one)
    assert may_write(two)


@pytest.mark.api
async def test_lease_that_was_emptied_by_hand_has_to_run_out(client: KubeClient, namespace: str) -> None:
    one, two = make(client, namespace, "one"), make(client, namespace, "two")
    await one.acquire()
    await change(client, namespace, spec={"holderIdentity": ""})
    emptied = time.monotonic()
    await asyncio.wait_for(two.acquire(), PATIENCE_SECONDS)

    assert time.monotonic() - emptied >= TIMES.lease_seconds
    assert not may_write(one)


@pytest.mark.api
async def test_leader_goes_on_when_the_conflicting_write_was_its_own(client: KubeClient, namespace: str) -> None:
    one = make(client, namespace, "one")
    await one.acquire()
    async with holding(one) as task:
        await change(client, namespace, labels={"touched": "yes"})
        await asyncio.sleep(TIMES.renew_seconds + 0.5)
        assert not task.done()

    assert may_write(one)
    await one.release()
    assert (await read(client, namespace))["spec"]["holderIdentity"] == ""


@pytest.mark.api
async def test_lease_is_given_back_when_it_was_touched_meanwhile(client: KubeClient, namespace: str) -> None:
    one = make(client, namespace, "one")
    await one.acquire()
    await change(client, namespace, labels={"touched": "yes"})

    await one.release()

    assert (await read(client, namespace))["spec"]["holderIdentity"] == ""


@pytest.mark.api
async def test_clock_that_jumped_ends_leadership(client: KubeClient, namespace: str) -> None:
    clock = Clock()
    one = make(client, namespace, "one", clock=clock)
    await one.acquire()
    clock.now += 3600
    assert not may_write(one)

    async with holding(one) as task:
        await asyncio.wait_for(task, PATIENCE_SECONDS)

    assert not may_write(one)


async def test_leader_that_cannot_reach_the_api_server_stops_in_time() -> None:
    lease = {"metadata": {"name": names.LEASE_NAME, "namespace": "test", "resourceVersion": "1"}, "spec": {}}
    async with faulty_server() as server, KubeClient.connect(server.config, component="test") as client:
        server.answers = [failed(404), ok(lease), dropped()]
        one = make(client, "test", "one", times=WIDE)
        await one.acquire()
        started = time.monotonic()
        await asyncio.wait_for(one.hold(), PATIENCE_SECONDS)

    assert not may_write(one)
    assert time.monotonic() - started < WIDE.lease_seconds / 2


async def test_lease_that_a_lost_answer_gave_is_taken_at_once() -> None:
    lease = {"metadata": {"name": names.LEASE_NAME, "namespace": "test", "resourceVersion": "1"}}
    mine, free = lease | {"spec": {"holderIdentity": "one"}}, failed(404)
    async with faulty_server() as server, KubeClient.connect(server.config, component="test") as client:
        server.answers = [free, dropped(), ok(mine)]
        one = make(client, "test", "one", times=LONG)

        await asyncio.wait_for(one.acquire(), LONG.lease_seconds / 2)

    assert may_write(one)
    assert [method for method, _, _ in server.requests] == ["GET", "POST", "GET", "PUT"]


async def test_candidate_waits_as_long_as_it_is_told_to() -> None:
    async with faulty_server() as server:
        server.answers = [failed(503, retry_after=3), failed(404), ok({"metadata": {}, "spec": {}})]
        # The request itself has no time to wait.
        async with KubeClient.connect(server.config, component="test", timeout_seconds=2) as client:
            started = time.monotonic()
            await asyncio.wait_for(make(client, "test", "one").acquire(), PATIENCE_SECONDS)

    assert time.monotonic() - started >= 3


async def test_leader_waits_as_long_as_it_is_told_to_while_it_may_still_lead() -> None:
    lease = {"metadata": {"name": names.LEASE_NAME, "namespace": "test", "resourceVersion": "1"}, "spec": {}}
    async with faulty_server() as server, KubeClient.connect(server.config, component="test") as client:
        server.answers = [failed(404), ok(lease), failed(429, retry_after=60)]
        one = make(client, "test", "one", times=WIDE)
        await one.acquire()
        started = time.monotonic()
        await asyncio.wait_for(one.hold(), PATIENCE_SECONDS)

    assert len(server.requests) == 3
    assert not may_write(one)
    assert time.monotonic() - started < WIDE.lease_seconds / 2


async def test_nothing_may_be_written_before_the_lease_is_held() -> None:
    async with KubeClient.connect(ClusterConfig(server="http://127.0.0.1:9"), component="test") as client:
        one = make(client, "test", "one")

        assert not one.is_leader
        with pytest.raises(LeadershipLost):
            one.before_write()
        await one.release()
