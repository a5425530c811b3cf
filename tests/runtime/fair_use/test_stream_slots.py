"""How many streams may be open, in all processes of a tenant together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta

import pytest

from syntera_crds.contract.tenant_config import Limits, TenantConfig
from syntera_runtime.errors import RateLimited
from syntera_runtime.fair_use.stream_slots import LEASE, RENEW_SECONDS, StreamSlots
from syntera_runtime.metrics import Metrics
from syntera_runtime.models.ids import StreamId
from tests.runtime.builders import TENANT
from tests.runtime.fair_use.fakes import FakeRateLimits
from tests.runtime.fakes import FakeCatalogue

ANN, BOB = "contact:ann", "contact:bob"


def make_tenants(most: int | None, *, of_person: int | None = None) -> FakeCatalogue:
    limits = Limits(concurrent_streams=most, concurrent_streams_per_user=of_person)
    return FakeCatalogue(tenant=TenantConfig(name="acme", display_name="Acme", limits=limits))


class Pods:
    """Processes of one tenant."""

    def __init__(self, most: int | None = 2, *, of_person: int | None = None) -> None:
        self.counts = FakeRateLimits()
        self.tenants = make_tenants(most, of_person=of_person)
        self.metrics = Metrics()

    @asynccontextmanager
    async def pod(self, *, renew_seconds: float = RENEW_SECONDS) -> AsyncIterator[StreamSlots]:
        """One process."""
        slots = StreamSlots(self.counts, self.tenants, TENANT, metrics=self.metrics, renew_seconds=renew_seconds)
        running = asyncio.create_task(slots.run())
        try:
            yield slots
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            await slots.aclose()

    async def is_full(self, person: str = "") -> bool:
        """Whether there is no room for another stream, of everybody or of a person."""
        probe = StreamId(TENANT)
        if await self.counts.open_stream(TENANT, probe, most=2, lease=LEASE, person=person):
            await self.counts.close_streams(TENANT, [probe], person=person)
            return False
        return True

    async def become(self, *, full: bool, person: str = "") -> None:
        """Return when there is no room any more, or room again."""
        for _ in range(1000):
            if await self.is_full(person) is full:
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"the pods did not become {'full' if full else 'free'}")


async def test_stream_is_refused_when_all_pods_together_have_as_many_as_may_be() -> None:
    pods = Pods()
    async with pods.pod() as here, pods.pod() as there, here.hold(), there.hold():
        with pytest.raises(RateLimited) as caught:
            async with here.hold():
                pass
        assert caught.value.retry_after_seconds
        assert "2 streams" in caught.value.message
    assert pods.metrics.registry.get_sample_value("syntera_rate_limited_total", {"limit": "streams"}) == 1


async def test_place_is_free_when_a_stream_ends() -> None:
    pods = Pods()
    async with pods.pod() as slots:
        async with slots.hold(), slots.hold():
            assert await pods.is_full()
        await pods.become(full=False)


async def test_place_is_free_when_a_stream_breaks() -> None:
    pods = Pods()
    broken = ValueError("broken")
    async with pods.pod() as slots, slots.hold():
        with pytest.raises(ValueError, match="broken"):
            await hold_until(slots, broken)
        await pods.become(full=False)


async def hold_until(slots: StreamSlots, end: Exception, *, person: str | None = None) -> None:
    """A stream that breaks."""
    async with slots.hold(person):
        raise end


async def test_streams_are_not_counted_when_the_tenant_sets_no_limit() -> None:
    pods = Pods(None)
    pods.counts.is_away = True
    async with pods.pod() as slots, AsyncExitStack() as held:
        for _ in range(5):
            await held.enter_async_context(slots.hold())
    assert pods.metrics.registry.get_sample_value("syntera_rate_limits_unchecked_total") == 0


async def test_streams_that_are_open_already_count_when_a_limit_is_set() -> None:
    pods = Pods(None)
    async with pods.pod(renew_seconds=0.01) as slots, slots.hold(), slots.hold():
        assert not await pods.is_full()
        pods.tenants.tenant_config = make_tenants(2).tenant_config
        await pods.become(full=True)


async def test_stream_opens_uncounted_when_redis_is_away_and_counts_when_it_is_back() -> None:
    pods = Pods()
    pods.counts.is_away = True
    async with pods.pod(renew_seconds=0.01) as slots, AsyncExitStack() as held:
        for _ in range(3):
            await held.enter_async_context(slots.hold())
        assert pods.metrics.registry.get_sample_value("syntera_rate_limits_unchecked_total") == 3
        pods.counts.is_away = False
        await pods.become(full=True)


async def test_long_stream_stays_counted_when_its_lease_would_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syntera_runtime.fair_use.stream_slots.LEASE", timedelta(seconds=1))
    pods = Pods()
    async with pods.pod(renew_seconds=0.02) as slots, slots.hold(), slots.hold():
        await asyncio.sleep(1.5)
        assert await pods.is_full()


def test_streams_of_a_killed_pod_are_forgotten_within_a_minute() -> None:
    assert 2 * RENEW_SECONDS < LEASE.total_seconds() < 60


async def test_nothing_stays_counted_when_a_pod_ends_in_order() -> None:
    pods = Pods()
    async with pods.pod() as slots, slots.hold(), slots.hold():
        pass
    assert not await pods.is_full()


# ---- of one person ----


async def test_person_with_as_many_streams_as_may_be_keeps_nobody_else_from_theirs() -> None:
    pods = Pods(4, of_person=2)
    async with pods.pod() as here, pods.pod() as there, here.hold(ANN), there.hold(ANN):
        for _ in range(5):
            with pytest.raises(RateLimited, match="You have 2 streams"):
                await hold_until(here, ValueError(), person=ANN)
        async with there.hold(BOB), here.hold(None):
            pass
    assert pods.metrics.registry.get_sample_value("syntera_rate_limited_total", {"limit": "user-streams"}) == 5
    assert not pods.metrics.registry.get_sample_value("syntera_rate_limited_total", {"limit": "streams"})


async def test_place_of_a_person_is_free_when_a_stream_ends() -> None:
    pods = Pods(None, of_person=2)
    async with pods.pod() as slots:
        async with slots.hold(ANN), slots.hold(ANN):
            assert await pods.is_full(ANN)
        await pods.become(full=False, person=ANN)


async def test_person_whom_the_tenants_limit_refuses_keeps_the_own_places() -> None:
    pods = Pods(1, of_person=2)
    async with pods.pod() as slots, slots.hold(BOB):
        for _ in range(2):
            with pytest.raises(RateLimited, match="This tenant has 1 streams"):
                await hold_until(slots, ValueError(), person=ANN)
        await pods.become(full=False, person=ANN)


async def test_programs_are_no_person() -> None:
    pods = Pods(None, of_person=1)
    async with pods.pod() as slots, slots.hold(None), slots.hold(None):
        pass


async def test_streams_of_a_person_count_when_a_limit_is_set_and_go_on_counting() -> None:
    pods = Pods(None)
    async with pods.pod(renew_seconds=0.01) as slots, slots.hold(ANN), slots.hold(ANN), slots.hold(BOB):
        pods.tenants.tenant_config = make_tenants(None, of_person=2).tenant_config
        await pods.become(full=True, person=ANN)
        assert not await pods.is_full(BOB)


async def test_streams_of_a_person_open_uncounted_when_redis_is_away() -> None:
    pods = Pods(1, of_person=1)
    pods.counts.is_away = True
    async with pods.pod(renew_seconds=0.01) as slots, slots.hold(ANN), slots.hold(ANN):
        assert pods.metrics.registry.get_sample_value("syntera_rate_limits_unchecked_total") == 2
        pods.counts.is_away = False
        await pods.become(full=True, person=ANN)
