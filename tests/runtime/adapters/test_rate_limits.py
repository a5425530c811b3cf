"""What all counts of limits promise; memory and Redis pass the same tests."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from syntera_crds.contract.names import redis_key_prefix
from syntera_runtime.adapters.memory_rate_limits import MemoryRateLimits
from syntera_runtime.adapters.redis.rate_limits import RedisRateLimits
from syntera_runtime.errors import StoreUnavailable
from syntera_runtime.models.ids import StreamId, TenantId
from syntera_runtime.models.limits import Charge, Count, Limit, Taken
from syntera_runtime.ports.limits import RateLimits
from tests.runtime.redis import TenantRedis, tenant_redis
from tests.support.redis_server import RedisServer

LONG = timedelta(days=36_500)
"""A window that does not end while a test runs."""
SHORT = timedelta(milliseconds=200)
LEASE = timedelta(seconds=30)
OVER = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Counts:
    """The counts of one tenant: in windows that end soon, and in one that does not."""

    tenant_id: TenantId
    long: RateLimits
    short: RateLimits

    async def take(self, *charges: Charge) -> Taken:
        """Count a request in the long window."""
        return await self.long.take(self.tenant_id, charges)

    async def open(self, stream_id: StreamId, *, most: int, lease: timedelta = LEASE) -> bool:
        """Count a stream."""
        return await self.long.open_stream(self.tenant_id, stream_id, most=most, lease=lease)


@pytest.fixture
async def counts(server: RedisServer | None, tmp_path: Path) -> AsyncIterator[Counts]:
    """Each implementation in turn."""
    if server is None:
        yield Counts(TenantId(uuid4()), MemoryRateLimits(window=LONG), MemoryRateLimits(window=SHORT))
        return
    async with tenant_redis(server, tmp_path, seconds=10) as made:
        long, short = (RedisRateLimits(made.client, window=window, seconds=10) for window in (LONG, SHORT))
        yield Counts(made.tenant_id, long, short)


def everybody(most: int) -> Charge:
    return Charge(Limit.TENANT, "", most)


def by_key(most: int, key: str = "k") -> Charge:
    return Charge(Limit.KEY, key, most)


def stream() -> StreamId:
    return StreamId(uuid4())


# ---- requests ----


async def test_requests_are_counted_until_the_limit_is_reached(counts: Counts) -> None:
    for number in (1, 2, 3):
        taken = await counts.take(everybody(3))
        assert taken.is_taken
        assert [(count.previous, count.current) for count in taken.counts] == [(0, number)]
    assert not (await counts.take(everybody(3))).is_taken


async def test_refused_request_is_counted_for_no_limit(counts: Counts) -> None:
    await counts.take(by_key(1))
    for _ in range(3):
        taken = await counts.take(everybody(10), by_key(1))
        assert not taken.is_taken
        assert [count.current for count in taken.counts] == [0, 1]
    assert [count.current for count in (await counts.take(everybody(10))).counts] == [1]


async def test_limits_are_counted_apart_by_kind_subject_and_tenant(counts: Counts) -> None:
    await counts.take(by_key(1))
    assert (await counts.take(by_key(1, "other"))).is_taken
    assert (await counts.take(Charge(Limit.USER, "k", 1))).is_taken
    assert (await counts.long.take(TenantId(uuid4()), [])).is_taken
    assert not (await counts.take(by_key(1))).is_taken


async def test_counts_go_on_when_the_limit_is_changed(counts: Counts) -> None:
    await counts.take(everybody(1))
    assert (await counts.take(everybody(2))).is_taken
    assert not (await counts.take(everybody(1))).is_taken


async def test_exactly_as_many_pass_as_may_when_all_come_at_once(counts: Counts) -> None:
    taken = await asyncio.gather(*(counts.take(everybody(20), by_key(1000)) for _ in range(50)))
    assert sum(one.is_taken for one in taken) == 20


async def test_requests_of_the_window_before_fade_while_this_one_passes(counts: Counts) -> None:
    async def take() -> Count:
        return (await counts.short.take(counts.tenant_id, [everybody(1_000_000)])).counts[0]

    async with asyncio.timeout(20):
        # On a slow machine several windows may pass between two requests.
        before = await take()
        while (after := await take()).previous == 0 or after.current != 1:
            before = after
        assert (after.previous, after.current) == (before.current, 1)
        assert 0 <= after.passed < 1
        while (await take()).previous == after.previous:
            pass


async def test_nothing_is_remembered_when_two_windows_have_passed(counts: Counts) -> None:
    await counts.short.take(counts.tenant_id, [everybody(1)])
    await asyncio.sleep(2 * SHORT.total_seconds())
    assert (await counts.short.take(counts.tenant_id, [everybody(1)])).is_taken


# ---- streams ----


async def test_streams_are_counted_until_they_are_closed(counts: Counts) -> None:
    first, second = stream(), stream()
    assert await counts.open(first, most=2)
    assert await counts.open(second, most=2)
    assert not await counts.open(stream(), most=2)
    await counts.long.close_streams(counts.tenant_id, [first, stream()])
    assert await counts.open(stream(), most=2)
    assert not await counts.open(stream(), most=2)


async def test_stream_is_forgotten_when_its_lease_has_ended(counts: Counts) -> None:
    assert await counts.open(stream(), most=1, lease=OVER)
    await asyncio.sleep(0.01)
    assert await counts.open(stream(), most=1)


async def test_stream_is_held_when_its_lease_is_renewed_in_time(counts: Counts) -> None:
    held = stream()
    assert await counts.open(held, most=1, lease=timedelta(seconds=5))
    await counts.long.renew_streams(counts.tenant_id, [held], lease=LEASE)
    assert not await counts.open(stream(), most=1)


async def test_streams_that_nobody_knows_any_more_are_counted_when_renewed(counts: Counts) -> None:
    await counts.long.renew_streams(counts.tenant_id, [stream(), stream()], lease=LEASE)
    assert not await counts.open(stream(), most=2)
    assert await counts.open(stream(), most=3)


async def test_no_streams_are_renewed_and_closed_without_a_fault(counts: Counts) -> None:
    await counts.long.renew_streams(counts.tenant_id, [], lease=LEASE)
    await counts.long.close_streams(counts.tenant_id, [])
    assert await counts.open(stream(), most=1)


async def test_streams_of_a_person_are_counted_apart_from_others_and_from_everybodys(counts: Counts) -> None:
    async def open_of(person: str, stream_id: StreamId) -> bool:
        return await counts.long.open_stream(counts.tenant_id, stream_id, most=1, lease=LEASE, person=person)

    first, renewed = stream(), stream()
    assert await open_of("contact:a", first)
    assert not await open_of("contact:a", stream())
    assert await open_of("contact:b", stream())
    assert await counts.open(stream(), most=1)
    await counts.long.close_streams(counts.tenant_id, [first])
    assert not await open_of("contact:a", stream())
    await counts.long.close_streams(counts.tenant_id, [first], person="contact:a")
    await counts.long.renew_streams(counts.tenant_id, [renewed], lease=LEASE, person="contact:a")
    assert not await open_of("contact:a", stream())


# ---- Redis alone ----


@pytest.fixture
def rate_limits(made: TenantRedis) -> RedisRateLimits:
    """Counts that wait longer than usual: a busy machine must not look like an outage."""
    return RedisRateLimits(made.client, seconds=10)


async def test_all_limits_of_a_request_cost_one_command(made: TenantRedis, rate_limits: RedisRateLimits) -> None:
    charges = [everybody(10), by_key(10), Charge(Limit.USER, "u", 10), Charge(Limit.ADDRESS, "192.0.2.1", 10)]
    await rate_limits.take(made.tenant_id, charges)  # loads the script
    async with made.administrator() as administrator:
        await administrator.config_resetstat()
        await rate_limits.take(made.tenant_id, charges)
        used = await administrator.info("commandstats")
    assert used["cmdstat_evalsha"]["calls"] == 1
    # What the script does is counted too; all else would be a round trip of its own.
    assert set(used) <= {
        f"cmdstat_{name}" for name in ("evalsha", "time", "hmget", "hset", "pexpire", "config|resetstat")
    }


async def test_counts_pass_when_two_windows_have(made: TenantRedis, rate_limits: RedisRateLimits) -> None:
    await rate_limits.take(made.tenant_id, [everybody(10), by_key(10)])
    await rate_limits.open_stream(made.tenant_id, stream(), most=1, lease=LEASE)
    async with made.administrator() as administrator:
        keys = await administrator.keys(f"{redis_key_prefix(made.tenant_id)}*")
        lives = [await administrator.pttl(key) for key in keys]
    assert len(keys) == 3
    assert all(0 < life <= 120_000 for life in lives)


async def test_names_of_keys_tell_nobody_whose_requests_are_counted(
    made: TenantRedis, rate_limits: RedisRateLimits
) -> None:
    person = "user:https://login.example|ann@acme.example"
    await rate_limits.take(made.tenant_id, [Charge(Limit.USER, person, 10)])
    await rate_limits.open_stream(made.tenant_id, stream(), most=1, lease=LEASE, person=person)
    async with made.administrator() as administrator:
        keys = await administrator.keys(f"{redis_key_prefix(made.tenant_id)}*")
    assert len(keys) == 2
    assert not [key for key in keys if "ann" in key]


async def test_counts_are_unavailable_soon_when_redis_hangs(own_server: RedisServer, tmp_path: Path) -> None:
    async with tenant_redis(own_server, tmp_path, seconds=60) as made:
        await RedisRateLimits(made.client, seconds=10).take(made.tenant_id, [everybody(10)])  # connects
        own_server.pause()
        started = asyncio.get_running_loop().time()
        with pytest.raises(StoreUnavailable):
            await made.rate_limits.take(made.tenant_id, [everybody(10)])
        assert asyncio.get_running_loop().time() - started < 10  # and not as long as its client would wait
