"""What runs beside the queue: resync, migrations, the watch over Redis."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from syntera_kube.errors import Unreachable
from syntera_operator import schema
from syntera_operator.cache_watch import watch_cache
from syntera_operator.causes import Wakeup, agent_key, tenant_key
from syntera_operator.errors import StoreUnavailable
from syntera_operator.queue import Key
from syntera_operator.resync import Resync
from syntera_operator.schema import migrate
from tests.support.virtual_time import virtual_time

KEYS = [tenant_key("acme"), agent_key("acme", "travel")]


class Checked:
    """A cluster in which as much was missed as the test says."""

    def __init__(self, *missed: int | Exception) -> None:
        self.missed = list(missed)
        self.checked_at: list[float] = []

    async def check(self) -> int:
        self.checked_at.append(asyncio.get_running_loop().time())
        outcome = self.missed.pop(0) if self.missed else 0
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def all_keys(self) -> list[Key]:
        return KEYS


async def run_for(seconds: float, run: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    task = asyncio.create_task(run())
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@virtual_time
async def test_resync_looks_at_everything_now_and_then_and_not_all_at_once() -> None:
    woken: list[Wakeup] = []
    cluster = Checked()
    resync = Resync(cluster, woken.append, seconds=600)

    await run_for(2000, resync.run)

    gaps = [later - earlier for earlier, later in zip([0, *cluster.checked_at], cluster.checked_at, strict=False)]
    assert all(540 <= gap <= 660 for gap in gaps)
    assert [wakeup.key for wakeup in woken] == KEYS * len(cluster.checked_at)
    assert all(0 <= wakeup.after_seconds <= 120 for wakeup in woken)
    assert resync.trouble() is None


@virtual_time
async def test_resync_calls_the_watches_broken_when_changes_were_missed_twice_in_a_row() -> None:
    resync = Resync(Checked(3, 0, 1, 2, 0), lambda _: None, seconds=600)
    troubles = []
    for _ in range(5):
        await resync.look()
        troubles.append(resync.trouble() is not None)

    assert troubles == [False, False, False, True, False]


@virtual_time
async def test_resync_is_put_off_when_the_api_server_is_away() -> None:
    woken: list[Wakeup] = []
    resync = Resync(Checked(Unreachable()), woken.append, seconds=600)

    await resync.look()
    assert woken == []
    await resync.look()

    assert len(woken) == len(KEYS)


@virtual_time
async def test_resync_tells_what_each_look_found() -> None:
    told: list[int | None] = []
    resync = Resync(Checked(Unreachable(), 3, 0), lambda _: None, seconds=600, observer=told.append)
    for _ in range(3):
        await resync.look()

    assert told == [None, 3, 0]


class Cache:
    """Redis, whose answers the test gives."""

    def __init__(self, *answers: str | None) -> None:
        self.answers = list(answers)

    async def cache_run_id(self) -> str:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            raise StoreUnavailable(store="Redis")
        return answer


@virtual_time
async def test_restart_of_the_cache_is_noticed_within_seconds_also_when_it_was_away() -> None:
    restarted: list[float] = []
    cache = Cache("one", "one", None, None, "two", "two")

    def note() -> None:
        restarted.append(asyncio.get_running_loop().time())

    await run_for(60, lambda: watch_cache(cache, note))

    assert restarted == [12]


@virtual_time
async def test_cache_that_was_only_away_has_not_restarted() -> None:
    restarted: list[float] = []

    await run_for(60, lambda: watch_cache(Cache("one", None, "one"), lambda: restarted.append(1)))

    assert restarted == []


async def test_migration_is_tried_until_it_succeeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "_FIRST_DELAY_SECONDS", 0.01)
    tries = tmp_path / "tries"
    script = f"import pathlib, sys; f = pathlib.Path({str(tries)!r}); n = f.stat().st_size if f.exists() else 0"
    script += "; f.write_text('x' * (n + 1)); print('try', n, file=sys.stderr); sys.exit(69 if n < 2 else 0)"

    with capture_logs() as logs:
        failures = await migrate((sys.executable, "-S", "-c", script))

    assert failures == 2
    assert tries.read_text() == "xxx"
    assert [entry["line"] for entry in logs if entry["event"] == "migration said"] == ["try 0", "try 1", "try 2"]


async def test_migration_is_ended_when_the_leader_ends(tmp_path: Path) -> None:
    mark = tmp_path / "started"
    script = f"import pathlib, time; pathlib.Path({str(mark)!r}).touch(); time.sleep(60)"
    task = asyncio.create_task(migrate((sys.executable, "-S", "-c", script)))
    async with asyncio.timeout(60):
        while not mark.exists():  # noqa: ASYNC110 - another process's event
            await asyncio.sleep(0.01)

    task.cancel()
    async with asyncio.timeout(30):
        await asyncio.gather(task, return_exceptions=True)

    assert task.cancelled()
