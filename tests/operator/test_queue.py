"""The queue's promises: nothing lost, nothing twice at once, nobody delayed by others' troubles."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from types import NoneType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syntera_operator.errors import OperatorError
from syntera_operator.queue import Backoff, Key, Outcome, ReconcileQueue, Result
from tests.support.virtual_time import virtual_time

Work = Callable[[Key], Awaitable[Outcome]]


class Hopeless(OperatorError):
    """Trying again does not help."""

    code = "hopeless"
    retryable = False


class Trouble(OperatorError):
    """Trying again may help."""

    code = "trouble"

    def __init__(self, retry_after: float | None = None) -> None:
        super().__init__()
        self.retry_after = retry_after


class Recorder:
    """Counts what the queue tells its observer."""

    def __init__(self) -> None:
        self.results: list[tuple[Key, Result]] = []
        self.errors: list[Exception | None] = []
        self.waited: list[float] = []

    def started(self, key: Key, *, waited_seconds: float) -> None:
        self.waited.append(waited_seconds)

    def finished(self, key: Key, *, result: Result, error: Exception | None, seconds: float) -> None:
        self.results.append((key, result))
        self.errors.append(error)


def agent(name: str, namespace: str = "acme") -> Key:
    return Key("Agent", namespace, name)


def make_queue(
    *, jitter: float = 1.0, timeout_seconds: float = 120, observer: Recorder | None = None
) -> ReconcileQueue:
    """An open queue whose backoff takes always the same part of its span."""
    backoff = Backoff(first_seconds=1, max_seconds=60, random=lambda: jitter)
    queue = ReconcileQueue(backoff=backoff, timeout_seconds=timeout_seconds, observer=observer)
    queue.open()
    return queue


@asynccontextmanager
async def working(queue: ReconcileQueue, reconcile: Work, *, workers: int = 4) -> AsyncIterator[None]:
    task = asyncio.create_task(queue.run(reconcile, workers=workers))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def now() -> float:
    return asyncio.get_running_loop().time()


@virtual_time
async def test_key_is_worked_on_once_when_it_was_added_often() -> None:
    seen: list[Key] = []

    async def reconcile(key: Key) -> Outcome:
        seen.append(key)
        return Outcome()

    queue = make_queue()
    for _ in range(5):
        queue.add(agent("a"))
    async with working(queue, reconcile):
        await asyncio.sleep(1)

    assert seen == [agent("a")]


@virtual_time
async def test_key_is_worked_on_once_more_when_it_was_added_meanwhile() -> None:
    starts: list[float] = []

    async def reconcile(_: Key) -> Outcome:
        starts.append(now())
        await asyncio.sleep(10)
        return Outcome()

    queue = make_queue()
    queue.add(agent("a"))
    async with working(queue, reconcile):
        await asyncio.sleep(5)
        queue.add(agent("a"))
        queue.add(agent("a"))
        await asyncio.sleep(60)

    assert starts == [0, 10]


@virtual_time
async def test_workers_are_bounded() -> None:
    active = most = 0

    async def reconcile(_: Key) -> Outcome:
        nonlocal active, most
        active += 1
        most = max(most, active)
        await asyncio.sleep(1)
        active -= 1
        return Outcome()

    queue = make_queue()
    for number in range(20):
        queue.add(agent(str(number)))
    async with working(queue, reconcile, workers=3):
        await asyncio.sleep(0.5)
        assert (queue.active, queue.depth) == (3, 17)
        await asyncio.sleep(10)

    assert most == 3
    assert queue.depth == 0


@virtual_time
async def test_failing_key_backs_off_exponentially_up_to_the_limit() -> None:
    starts: list[float] = []

    async def reconcile(_: Key) -> Outcome:
        starts.append(now())
        raise Trouble

    queue = make_queue()
    queue.add(agent("a"))
    async with working(queue, reconcile):
        await asyncio.sleep(250)

    waits = [round(later - earlier) for earlier, later in pairwise(starts)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@virtual_time
async def test_backoff_starts_over_after_a_success() -> None:
    starts: list[float] = []

    async def reconcile(_: Key) -> Outcome:
        starts.append(now())
        if len(starts) != 3:
            raise Trouble
        return Outcome(requeue_after_seconds=100)

    queue = make_queue()
    queue.add(agent("a"))
    async with working(queue, reconcile):
        await asyncio.sleep(104.5)

    assert [round(start) for start in starts] == [0, 1, 3, 103, 104]


@virtual_time
async def test_backoff_is_jittered_over_the_whole_span() -> None:
    backoff = Backoff(first_seconds=1, max_seconds=60, random=random.Random(1).random)
    delays = [backoff.delay(5) for _ in range(1000)]

    assert min(delays) < 1
    assert 15 < max(delays) < 16
    assert all(45 <= backoff.long_delay() <= 60 for _ in range(100))


@virtual_time
async def test_key_waits_as_long_as_the_error_asks() -> None:
    starts: list[float] = []

    async def reconcile(_: Key) -> Outcome:
        starts.append(now())
        raise Trouble(retry_after=20)

    queue = make_queue()
    queue.add(agent("a"))
    async with working(queue, reconcile):
        await asyncio.sleep(30)

    assert starts == [0, 20]


@virtual_time
async def test_key_waits_longest_when_trying_again_does_not_help() -> None:
    starts: list[float] = []

    async def reconcile(_: Key) -> Outcome:
        starts.append(now())
        raise Hopeless

    queue = make_queue()
    queue.add(agent("a"))
    async with working(queue, reconcile):
        await asyncio.sleep(61)

    assert starts == [0, 60]


@virtual_time
async def test_change_ends_the_wait_of_a_failing_key() -> None:
    starts: list[float] = []

    async def reconcile(_: Key) -> Outcome:
        starts.append(now())
        raise Hopeless

    queue = make_queue()
    queue.add(agent("a"))
    async with working(queue, reconcile):
        await asyncio.sleep(5)
        queue.add(agent("a"))
        await asyncio.sleep(5)

    assert starts == [0, 5]
    assert queue.delayed == 0


@virtual_time
async def test_unexpected_error_is_tried_again() -> None:
    starts: list[float] = []

    async def reconcile(_: Key) -> Outcome:
        starts.append(now())
        raise KeyError("a bug")

    queue = make_queue()
    queue.add(agent("a"))
    async with working(queue, reconcile):
        await asyncio.sleep(1.5)

    assert starts == [0, 1]


@virtual_time
async def test_reconcile_that_takes_too_long_is_given_up() -> None:
    starts: list[float] = []

    async def reconcile(_: Key) -> Outcome:
        starts.append(now())
        await asyncio.sleep(1000)
        return Outcome()

    queue = make_queue(timeout_seconds=10)
    queue.add(agent("a"))
    async with working(queue, reconcile):
        await asyncio.sleep(15)

    assert starts == [0, 11]


@virtual_time
async def test_requeue_is_kept_and_of_several_times_the_earliest_holds() -> None:
    starts: list[float] = []

    async def reconcile(_: Key) -> Outcome:
        starts.append(now())
        return Outcome(requeue_after_seconds=50)

    queue = make_queue()
    queue.add(agent("a"), after_seconds=10)
    queue.add(agent("a"), after_seconds=3)
    queue.add(agent("a"), after_seconds=7)
    async with working(queue, reconcile):
        await asyncio.sleep(60)

    assert starts == [3, 53]


@virtual_time
async def test_delayed_key_is_not_worked_on_twice_when_it_is_added_at_once() -> None:
    starts: list[float] = []

    async def reconcile(_: Key) -> Outcome:
        starts.append(now())
        return Outcome()

    queue = make_queue()
    queue.add(agent("a"), after_seconds=5)
    queue.add(agent("a"))
    queue.add(agent("a"), after_seconds=5)
    async with working(queue, reconcile):
        await asyncio.sleep(60)

    assert starts == [0]


@virtual_time
async def test_namespaces_take_turns() -> None:
    order: list[Key] = []

    async def reconcile(key: Key) -> Outcome:
        order.append(key)
        await asyncio.sleep(1)
        return Outcome()

    queue = make_queue()
    for number in range(100):
        queue.add(agent(str(number), "busy"))
    queue.add(agent("edit", "quiet"))
    queue.add(Key("Tenant", None, "other"))
    async with working(queue, reconcile, workers=1):
        await asyncio.sleep(3.5)

    assert order[:3] == [agent("0", "busy"), agent("edit", "quiet"), Key("Tenant", None, "other")]


@virtual_time
async def test_healthy_key_does_not_wait_for_failing_ones_that_hang() -> None:
    """Two hundred keys hang for a minute and fail; an edit of a healthy one is worked on at once all the same."""
    recorder = Recorder()
    done: list[float] = []

    async def reconcile(key: Key) -> Outcome:
        if key.name == "healthy":
            done.append(now())
            return Outcome()
        if key in known:
            await asyncio.sleep(60)
        known.add(key)
        raise Trouble

    known: set[Key] = set()
    queue = make_queue(observer=recorder)
    for number in range(200):
        queue.add(agent(f"bad-{number}"))
    async with working(queue, reconcile, workers=8):
        await asyncio.sleep(30)
        assert queue.depth > 100
        queue.add(agent("healthy"))
        await asyncio.sleep(1)

    assert done == [30]


@virtual_time
async def test_failing_keys_leave_most_workers_to_others() -> None:
    async def reconcile(_: Key) -> Outcome:
        if now() >= 1:
            await asyncio.sleep(1000)
        raise Trouble

    queue = make_queue(jitter=0.999)
    for number in range(50):
        queue.add(agent(str(number)))
    async with working(queue, reconcile, workers=8):
        await asyncio.sleep(60)
        failing = queue.active

    assert failing == 2


@virtual_time
async def test_closed_queue_takes_nothing() -> None:
    queue = ReconcileQueue()
    queue.add(agent("a"))
    queue.add(agent("b"), after_seconds=5)

    assert (queue.depth, queue.delayed) == (0, 0)


@virtual_time
async def test_stop_begins_nothing_and_waits_for_what_is_under_way() -> None:
    finished: list[Key] = []

    async def reconcile(key: Key) -> Outcome:
        await asyncio.sleep(0.5)
        finished.append(key)
        return Outcome()

    queue = make_queue()
    queue.add(agent("a"))
    async with working(queue, reconcile, workers=1):
        await asyncio.sleep(0.1)
        queue.add(agent("b"))
        started = now()
        await queue.stop(grace_seconds=2)
        assert round(now() - started, 1) == 0.4

    assert finished == [agent("a")]


@virtual_time
async def test_stop_does_not_wait_longer_than_the_grace() -> None:
    async def reconcile(_: Key) -> Outcome:
        await asyncio.sleep(100)
        return Outcome()

    queue = make_queue()
    queue.add(agent("a"))
    async with working(queue, reconcile):
        await asyncio.sleep(0.1)
        started = now()
        await queue.stop(grace_seconds=2)
        assert now() - started == 2


@virtual_time
async def test_observer_is_told_of_waits_and_results() -> None:
    recorder = Recorder()

    async def reconcile(key: Key) -> Outcome:
        if key.name == "bad":
            raise Trouble
        return Outcome(requeue_after_seconds=1000 if key.name == "later" else None)

    queue = make_queue(observer=recorder)
    for name in ("good", "later"):
        queue.add(agent(name))
    await asyncio.sleep(2)
    queue.add(agent("bad"))
    assert queue.oldest_wait_seconds() == 2
    async with working(queue, reconcile):
        await asyncio.sleep(0.5)

    assert recorder.waited == [2, 2, 0]
    assert recorder.results == [(agent("good"), "success"), (agent("later"), "requeue"), (agent("bad"), "error")]
    assert [type(error) for error in recorder.errors] == [NoneType, NoneType, Trouble]
    assert queue.oldest_wait_seconds() == 0


@virtual_time
async def test_queue_tells_how_its_work_stands() -> None:
    release = asyncio.Event()

    async def reconcile(key: Key) -> Outcome:
        if key.name == "bad":
            raise Trouble
        await release.wait()
        return Outcome()

    queue = make_queue()
    assert (queue.limit, queue.failing, queue.longest_work_seconds()) == (0, 0, 0)
    async with working(queue, reconcile, workers=4):
        queue.add(agent("slow"))
        await asyncio.sleep(3)
        queue.add(agent("bad"))
        queue.add(agent("late"))
        await asyncio.sleep(0.5)
        assert (queue.limit, queue.failing, queue.longest_work_seconds()) == (5, 1, 3.5)

        release.set()
        await asyncio.sleep(0.1)
        assert queue.longest_work_seconds() == 0


KEYS = [agent("a"), agent("b"), agent("a", "other"), Key("Tenant", None, "acme")]


@settings(max_examples=200)
@given(
    adds=st.lists(
        st.tuples(st.floats(0, 50), st.sampled_from(KEYS), st.sampled_from([0.0, 0.0, 1.0, 7.0])),
        min_size=1,
        max_size=40,
    ),
    workers=st.integers(1, 3),
    failures=st.integers(0, 3),
    work_seconds=st.sampled_from([0.0, 0.3, 5.0]),
)
def test_every_wakeup_is_followed_by_a_whole_reconcile(
    adds: list[tuple[float, Key, float]], workers: int, failures: int, work_seconds: float
) -> None:
    @virtual_time
    async def scenario() -> None:
        active: Counter[Key] = Counter()
        last_good_start: dict[Key, float] = {}
        failed: Counter[Key] = Counter()

        async def reconcile(key: Key) -> Outcome:
            active[key] += 1
            assert active[key] == 1, "one key is worked on twice at the same time"
            started = now()
            try:
                await asyncio.sleep(work_seconds)
                if failed[key] < failures:
                    failed[key] += 1
                    raise Trouble
            finally:
                active[key] -= 1
            last_good_start[key] = started
            return Outcome()

        queue = make_queue(jitter=0.5)
        due: dict[Key, float] = {}
        async with working(queue, reconcile, workers=workers):
            for moment, key, delay in sorted(adds):
                await asyncio.sleep(max(0.0, moment - now()))
                queue.add(key, after_seconds=delay)
                due[key] = now()
            await asyncio.sleep(10_000)
        assert queue.depth == queue.active == queue.delayed == 0
        for key, added in due.items():
            assert last_good_start[key] >= added, "a wake-up was lost"

    scenario()


@pytest.mark.parametrize(("failures", "seconds"), [(1, 1), (2, 2), (7, 60), (10_000, 60)])
def test_backoff_is_bounded_however_often_it_fails(failures: int, seconds: float) -> None:
    assert Backoff(first_seconds=1, max_seconds=60, random=lambda: 1).delay(failures) == seconds


@virtual_time
async def test_work_that_outlives_its_timeout_shows() -> None:
    queue = make_queue(timeout_seconds=10)

    async def hang(_: Key) -> Outcome:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            await asyncio.sleep(1000)  # a defect: it does not let go
        return Outcome()

    async with working(queue, hang):
        assert queue.longest_work_seconds() == 0
        queue.add(agent("stuck"))
        await asyncio.sleep(100)
        assert queue.longest_work_seconds() == pytest.approx(100)
        assert queue.oldest_wait_seconds() == 0
