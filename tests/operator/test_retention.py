"""Which tenants are kept to their retention when, and who hears of it when that fails."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from syntera_operator.errors import LeadershipLost, StoreRefused, StoreUnavailable
from syntera_operator.manifest import Manifest
from syntera_operator.retention import RetentionRounds, periods_of
from syntera_operator.stores.retention import Kept
from tests.support.fake_cluster import FakeCluster
from tests.support.make import make_tenant_manifest
from tests.support.virtual_time import virtual_time

HOUR, DAY = 3600.0, 86400.0
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Expiry:
    """Stores that tell who asked when, and give the batches that the test wants."""

    def __init__(self, *batches: Mapping[str, int]) -> None:
        self.batches = batches
        self.asked: list[tuple[str, float]] = []
        self.given = 0
        self.error: Exception | None = None

    async def expire(
        self, name: str, periods: Mapping[Kept, timedelta], *, now: datetime
    ) -> AsyncGenerator[Mapping[str, int], None]:
        self.asked.append((name, asyncio.get_running_loop().time()))
        assert (periods[Kept.MESSAGES], now) == (timedelta(days=30), NOW)
        if self.error is not None:
            raise self.error
        for batch in self.batches:
            self.given += 1
            yield batch

    def times(self, name: str = "acme") -> list[float]:
        """When the tenant was gone through."""
        return [time for asked, time in self.asked if asked == name]


class Observer:
    """Counts."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, int]] = []
        self.outcomes: list[str | None] = []

    def expired(self, rows: Mapping[str, int]) -> None:
        self.rows.append(rows)

    def kept_retention(self, code: str | None, seconds: float) -> None:
        self.outcomes.append(code)


class World:
    """Tenants, stores and rounds."""

    def __init__(self, *tenants: Manifest, batches: tuple[Mapping[str, int], ...] = ()) -> None:
        self.cluster = FakeCluster()
        for tenant in tenants:
            self.cluster.put(tenant)
        self.stores = Expiry(*batches)
        self.observer = Observer()
        self.rounds = RetentionRounds(self.cluster, self.stores, observer=self.observer, now=lambda: NOW)

    async def run_for(self, seconds: float) -> None:
        await _run_for(seconds, self.rounds.run)


async def _run_for(seconds: float, run: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    task = asyncio.create_task(run())
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def make_tenant(name: str = "acme", days: object = 30, **fields: Any) -> Manifest:
    return make_tenant_manifest(name, retention={"messagesDays": days}, **fields)


@virtual_time
async def test_each_tenant_with_a_period_has_its_turn_every_some_hours() -> None:
    world = World(make_tenant(), make_tenant("globex", suspended=True), make_tenant_manifest("initech"))

    await world.run_for(DAY)

    assert {name for name, _ in world.stores.asked} == {"acme", "globex"}
    for name in ("acme", "globex"):
        times = world.stores.times(name)
        assert 60 <= times[0] <= 600
        assert len(times) >= 3
        assert all(6 * HOUR <= later - earlier <= 8 * HOUR for earlier, later in itertools.pairwise(times))


@virtual_time
async def test_tenant_that_failed_has_its_next_turn_an_hour_later() -> None:
    world = World(make_tenant())
    world.stores.error = StoreRefused(store="PostgreSQL")

    await world.run_for(2.5 * HOUR)

    assert len(world.stores.asked) == 3
    assert world.observer.outcomes == ["store_refused"] * 3


@virtual_time
async def test_tenants_wait_where_postgresql_is_away() -> None:
    world = World(make_tenant(), make_tenant("globex"))
    world.stores.error = StoreUnavailable(store="PostgreSQL")
    await world.rounds.look()
    assert len(world.stores.asked) == 1

    world.stores.error = None
    await world.rounds.look()

    assert {name for name, _ in world.stores.asked[1:]} == {"acme", "globex"}


@virtual_time
async def test_failure_of_one_tenant_is_not_another_s() -> None:
    world = World(make_tenant(), make_tenant("globex"))
    world.stores.error = StoreRefused(store="PostgreSQL")

    await world.rounds.look()

    assert {name for name, _ in world.stores.asked} == {"acme", "globex"}


@virtual_time
async def test_defect_does_not_end_the_operator() -> None:
    world = World(make_tenant())
    world.stores.error = RuntimeError("a defect")

    with capture_logs() as logs:
        await world.rounds.look()

    assert world.observer.outcomes == ["unexpected"]
    assert [entry["log_level"] for entry in logs] == ["warning"]


@virtual_time
async def test_nothing_more_is_done_when_leadership_is_lost() -> None:
    world = World(make_tenant(), make_tenant("globex"))
    world.stores.error = LeadershipLost()

    await world.rounds.look()

    assert len(world.stores.asked) == 1
    assert world.observer.outcomes == []


@virtual_time
async def test_batches_are_counted_and_followed_by_a_pause() -> None:
    world = World(make_tenant(), batches=({"turns": 3, "messages": 6}, {}, {"turns": 2, "messages": 4}))
    started = asyncio.get_running_loop().time()

    with capture_logs() as logs:
        await world.rounds.look()

    assert world.observer.rows == [{"turns": 3, "messages": 6}, {"turns": 2, "messages": 4}]
    assert world.observer.outcomes == [None]
    assert asyncio.get_running_loop().time() - started == pytest.approx(0.2)
    [entry] = [entry for entry in logs if entry["event"] == "old rows deleted"]
    assert (entry["tenant"], entry["turns"], entry["messages"]) == ("acme", 5, 10)


@virtual_time
async def test_work_stops_when_the_tenant_no_longer_asks_for_it() -> None:
    world = World(make_tenant(), batches=({"turns": 1},) * 100)
    look = asyncio.create_task(world.rounds.look())
    await asyncio.sleep(0.25)

    world.cluster.put(make_tenant_manifest())
    await look

    assert world.stores.given == 3


@virtual_time
async def test_work_begins_anew_at_the_next_look_when_the_period_has_changed_meanwhile() -> None:
    world = World(make_tenant(), batches=({"turns": 1},) * 5)
    look = asyncio.create_task(world.rounds.look())
    await asyncio.sleep(0.25)
    world.cluster.put(make_tenant(days=31))
    await look
    world.cluster.put(make_tenant())

    await world.rounds.look()

    assert world.stores.given == 3 + 5


@virtual_time
async def test_tenant_is_told_once_a_day_of_a_retention_that_has_failed_for_a_day() -> None:
    world = World(make_tenant())
    world.stores.error = StoreRefused(store="PostgreSQL")

    await world.run_for(0.9 * DAY)
    assert world.cluster.events == []
    await world.run_for(1.9 * DAY)

    assert [(told.about, told.type, told.reason) for told in world.cluster.events] == [
        ("acme", "Warning", "RetentionFailing")
    ] * 2
    assert "store_refused" in world.cluster.events[0].message


@virtual_time
async def test_wait_is_that_of_the_tenant_without_a_success_for_longest() -> None:
    world = World(make_tenant())
    assert world.rounds.longest_wait_seconds() == 0
    await world.rounds.look()
    await asyncio.sleep(HOUR)
    assert world.rounds.longest_wait_seconds() == HOUR
    world.cluster.put(make_tenant("globex"))
    world.stores.error = StoreRefused(store="PostgreSQL")
    await world.rounds.look()
    await asyncio.sleep(HOUR)
    assert world.rounds.longest_wait_seconds() == 2 * HOUR

    for name in ("acme", "globex"):
        world.cluster.put(make_tenant_manifest(name))
    await world.rounds.look()

    assert world.rounds.longest_wait_seconds() == 0


@pytest.mark.parametrize("days", [0, -1, 3651, 1.5, True, "30", [30]])
def test_period_that_is_not_sound_keeps_everything(days: object) -> None:
    assert periods_of(make_tenant(days=days)) == {}


@pytest.mark.parametrize("retention", [None, {}, {"messagesDays": None}, "30", []])
def test_tenant_without_a_period_keeps_everything(retention: object) -> None:
    tenant = make_tenant_manifest()
    tenant["spec"]["retention"] = retention

    assert periods_of(tenant) == {}


def test_period_is_given_in_days() -> None:
    assert periods_of(make_tenant(days=1)) == {Kept.MESSAGES: timedelta(days=1)}
    assert periods_of(make_tenant(days=3650)) == {Kept.MESSAGES: timedelta(days=3650)}


def test_tenant_that_is_gone_or_on_its_way_out_is_left_alone() -> None:
    assert periods_of(None) == {}
    assert periods_of(make_tenant(deleted="2026-01-01T00:00:00Z")) == {}
