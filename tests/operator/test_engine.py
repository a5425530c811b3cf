"""How the process ends, and what it says of its own health: a restart is asked for when something has stopped, and never else."""

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from syntera_operator.engine import Engine
from syntera_operator.errors import LeadershipLost
from tests.support.virtual_time import virtual_time

TIMEOUT_SECONDS = 120.0


def make_engine(
    *,
    waits: float = 0.0,
    works: float = 0.0,
    silent: float = 0.0,
    deaf: tuple[str, ...] = (),
    resync: str | None = None,
) -> Engine:
    """An engine whose parts have the given state."""
    unused: dict[str, Any] = dict.fromkeys(
        ("leadership", "cache", "retention", "requests", "reconcile", "watch_own_kinds", "migrate")
    )
    parts: dict[str, Any] = {
        "cluster": SimpleNamespace(silent_seconds=lambda: silent, deaf_to=lambda: list(deaf)),
        "queue": SimpleNamespace(oldest_wait_seconds=lambda: waits, longest_work_seconds=lambda: works),
        "resync": SimpleNamespace(trouble=lambda: resync),
        "settings": SimpleNamespace(reconcile_timeout_seconds=TIMEOUT_SECONDS),
    }
    return Engine(**parts, **unused)


def test_idle_operator_and_standby_are_alive() -> None:
    """Watches carry a bookmark each minute; nothing waits and nothing is worked on."""
    assert make_engine(silent=70).trouble() is None


def test_busy_operator_is_alive() -> None:
    assert make_engine(waits=TIMEOUT_SECONDS, works=TIMEOUT_SECONDS, silent=1).trouble() is None


@pytest.mark.parametrize(
    ("state", "trouble"),
    [
        ({"waits": 2 * TIMEOUT_SECONDS + 1}, "the queue does not move"),
        ({"works": 2 * TIMEOUT_SECONDS + 1}, "a reconcile hangs"),
        ({"silent": 301}, "a watch is silent"),
        ({"deaf": ("agents.syntera.io",)}, "the watch of agents.syntera.io delivers nothing"),
        ({"resync": "watches miss changes"}, "watches miss changes"),
    ],
)
def test_what_has_stopped_is_told(state: dict[str, Any], trouble: str) -> None:
    assert make_engine(**state).trouble() == trouble


@virtual_time
async def test_lease_is_given_back_although_a_reconcile_does_not_let_go() -> None:
    given_back: list[float] = []

    async def release() -> None:
        given_back.append(asyncio.get_running_loop().time())

    async def stop(*, grace_seconds: float) -> None:
        await asyncio.sleep(grace_seconds)

    async def lead() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)  # a store that hangs keeps it

    engine = make_engine()
    engine._queue.stop = stop  # type: ignore[method-assign]
    engine._leadership = SimpleNamespace(release=release)  # type: ignore[assignment]
    engine._leading = asyncio.create_task(lead())
    await asyncio.sleep(1)
    told_at = asyncio.get_running_loop().time()

    await engine.let_go()

    assert given_back[0] - told_at <= 1


@virtual_time
async def test_retention_and_requests_are_looked_after_while_this_process_leads_and_no_longer() -> None:
    states: list[str] = []
    elected, lost = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        states.append("runs")
        try:
            await asyncio.Event().wait()
        finally:
            states.append("ended")

    async def stand_still(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    parts: dict[str, Any] = {
        "_leadership": SimpleNamespace(acquire=elected.wait, hold=lost.wait),
        "_cluster": SimpleNamespace(all_keys=lambda: []),
        "_queue": SimpleNamespace(open=lambda: None, run=stand_still),
        "_cache": SimpleNamespace(cache_run_id=stand_still),
        "_retention": SimpleNamespace(run=run),
        "_requests": SimpleNamespace(run=run),
        "_settings": SimpleNamespace(workers=1, migrate_on_start=False),
    }
    engine = make_engine()
    for name, part in parts.items():
        setattr(engine, name, part)
    leading = asyncio.create_task(engine._lead())
    await asyncio.sleep(60)
    assert states == []
    elected.set()
    await asyncio.sleep(60)
    assert states == ["runs", "runs"]

    lost.set()

    with pytest.raises(LeadershipLost):
        await leading
    assert states == ["runs", "runs", "ended", "ended"]
