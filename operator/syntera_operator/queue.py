"""The work queue: which objects to reconcile, when, and how many at once.

Rules that the rest of the operator stands on:

* Coalescing: a key waits at most once, however often it is added; one that is added while it is worked on is worked on
  once more afterwards. No wake-up is lost, and no key is worked on twice at the same time.
* Fairness: namespaces take turns (each Tenant counts as one), so that a thousand edits in one do not delay one edit in
  another.
* Failure: an exception backs the key off, exponentially with full jitter; an error that says it is not `retryable` waits
  the longest delay at once. Any `add` meanwhile, which means that something changed, ends the wait.
* Isolation: keys whose last reconcile failed have a few workers of their own, so that a healthy key never waits behind
  failing ones.

It knows nothing of Kubernetes, and all its times are the event loop's.
"""

import asyncio
import contextlib
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, NoReturn, Protocol

import structlog

log = structlog.get_logger(__name__)


class Key(NamedTuple):
    """One object to reconcile."""

    kind: Literal["Tenant", "Agent", "KnowledgeBase"]
    namespace: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a reconcile that went well wants next."""

    requeue_after_seconds: float | None = None
    """Look again after this time; None: when something changes."""


Reconcile = Callable[[Key], Awaitable[Outcome]]
Result = Literal["success", "requeue", "error"]


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a failing key waits: a random part of a span that doubles with each failure in a row."""

    first_seconds: float = 0.5
    max_seconds: float = 60.0
    random: Callable[[], float] = random.random

    def delay(self, failures: int) -> float:
        """Seconds to wait after that many failures in a row, at least one."""
        span = min(self.max_seconds, self.first_seconds * 2.0 ** min(failures - 1, 32))
        return span * self.random()

    def long_delay(self) -> float:
        """Seconds to wait for an error that trying again will not mend."""
        return self.max_seconds * (0.75 + 0.25 * self.random())


class QueueObserver(Protocol):
    """Who wants to count what the queue does."""

    def started(self, key: Key, *, waited_seconds: float) -> None:
        """A worker took `key`."""

    def finished(self, key: Key, *, result: Result, error: Exception | None, seconds: float) -> None:
        """A worker is done with `key`; `error` says why it failed, None where it did not or was cancelled."""


class _Lane:
    """Keys that could be worked on now; their groups take turns."""

    def __init__(self) -> None:
        self.active = 0
        """How many of its keys are being worked on."""
        self._groups: OrderedDict[str, OrderedDict[Key, float]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __contains__(self, key: Key) -> bool:
        return key in self._groups.get(_group(key), {})

    def push(self, key: Key, since: float) -> None:
        self._groups.setdefault(_group(key), OrderedDict())[key] = since
        self._length += 1

    def pop(self) -> tuple[Key, float]:
        """The next key and since when it waited."""
        group, keys = self._groups.popitem(last=False)
        key, since = keys.popitem(last=False)
        if keys:
            self._groups[group] = keys
        self._length -= 1
        return key, since

    def oldest(self) -> float | None:
        """Since when the longest waiting key waits. Keys of a group wait in order."""
        return min((next(iter(keys.values())) for keys in self._groups.values()), default=None)


class ReconcileQueue:
    """Keys to reconcile. `add` from anywhere in the event loop; `run` in one task."""

    def __init__(
        self,
        *,
        backoff: Backoff = Backoff(),
        timeout_seconds: float = 120.0,
        observer: QueueObserver | None = None,
    ) -> None:
        """Prepare; nothing is worked on before `run`.

        Args:
            backoff: how long failing keys wait.
            timeout_seconds: a reconcile that takes longer is cancelled and counts as failed.
            observer: told of each start and end.
        """
        self._backoff = backoff
        self._timeout_seconds = timeout_seconds
        self._observer = observer
        self._healthy = _Lane()
        self._failing = _Lane()
        self._delayed: dict[Key, asyncio.TimerHandle] = {}
        self._active: dict[Key, float] = {}
        self._again: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._limit = 0
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_open = False
        self._is_stopping = False

    @property
    def depth(self) -> int:
        """How many keys wait for a worker."""
        return len(self._healthy) + len(self._failing)

    @property
    def active(self) -> int:
        """How many keys are being worked on."""
        return len(self._active)

    @property
    def limit(self) -> int:
        """How many keys may be worked on at once, failing ones included; 0 before `run`."""
        return self._limit

    @property
    def delayed(self) -> int:
        """How many keys wait for their time."""
        return len(self._delayed)

    @property
    def failing(self) -> int:
        """How many keys failed when they were last worked on."""
        return len(self._failures)

    def oldest_wait_seconds(self) -> float:
        """For how long the longest waiting healthy key has been waiting for a worker."""
        since = self._healthy.oldest()
        return 0.0 if since is None else _now() - since

    def longest_work_seconds(self) -> float:
        """For how long the key that is worked on for longest has been worked on. Past the timeout it should have ended."""
        return _now() - min(self._active.values(), default=_now())

    def open(self) -> None:
        """Take keys from now on."""
        self._is_open = True

    def add(self, key: Key, *, after_seconds: float = 0.0) -> None:
        """Have `key` reconciled, now or after some time; of several times the earliest holds.

        Does nothing before `open`: a standby lets wake-ups pass, since it looks at everything when it takes over.
        """
        if not self._is_open:
            return
        if after_seconds <= 0:
            self._cancel_delay(key)
            self._make_ready(key)
            return
        if key not in self._healthy and key not in self._failing and key not in self._again:
            self._delay(key, after_seconds)

    async def run(self, reconcile: Reconcile, *, workers: int) -> NoReturn:
        """Work on keys until cancelled: at most `workers` healthy ones and a quarter as many failing ones at a time."""
        limits = ((self._healthy, workers), (self._failing, max(1, workers // 4)))
        self._limit = sum(limit for _, limit in limits)
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    for lane, limit in limits:
                        while lane.active < limit and len(lane) > 0 and not self._is_stopping:
                            key, since = lane.pop()
                            tasks.create_task(self._work(key, since, lane, reconcile))
                            # Before the task runs: the next turn of this loop must see it.
                            lane.active += 1
                            self._active[key] = _now()
                            self._idle.clear()
                    self._wake.clear()
                    await self._wake.wait()
        finally:
            for key in list(self._delayed):
                self._cancel_delay(key)

    async def stop(self, *, grace_seconds: float) -> None:
        """Begin nothing more, and wait a while for what is under way."""
        self._is_stopping = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                await self._idle.wait()

    async def _work(self, key: Key, since: float, lane: _Lane, reconcile: Reconcile) -> None:
        started = self._active[key]
        if self._observer:
            self._observer.started(key, waited_seconds=started - since)
        result: Result = "error"
        error: Exception | None = None
        try:
            async with asyncio.timeout(self._timeout_seconds):
                outcome = await reconcile(key)
        except Exception as exc:  # noqa: BLE001 - the front door of every reconcile
            error = exc
            self._failed(key, exc)
        else:
            result = self._succeeded(key, outcome)
        finally:
            lane.active -= 1
            del self._active[key]
            if not self._active:
                self._idle.set()
            if self._observer:
                self._observer.finished(key, result=result, error=error, seconds=_now() - started)
        if key in self._again:
            self._again.discard(key)
            self.add(key)
        self._wake.set()

    def _succeeded(self, key: Key, outcome: Outcome) -> Result:
        self._failures.pop(key, None)
        if outcome.requeue_after_seconds is None:
            return "success"
        self._delay(key, outcome.requeue_after_seconds)
        return "requeue"

    def _failed(self, key: Key, error: Exception) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        retryable = getattr(error, "retryable", True)
        delay = self._backoff.delay(failures) if retryable else self._backoff.long_delay()
        delay = max(delay, getattr(error, "retry_after", None) or 0.0)
        self._delay(key, delay)
        bound = log.bind(kind=key.kind, namespace=key.namespace, name=key.name, failures=failures, delay_seconds=delay)
        if hasattr(error, "code") or isinstance(error, TimeoutError):
            bound.warning(
                "reconcile failed", error=str(error) or type(error).__name__, code=getattr(error, "code", None)
            )
        else:
            bound.error("reconcile broke", exc_info=error)

    def _make_ready(self, key: Key) -> None:
        if key in self._active:
            self._again.add(key)
        elif key not in self._healthy and key not in self._failing:
            lane = self._failing if key in self._failures else self._healthy
            lane.push(key, _now())
            self._wake.set()

    def _delay(self, key: Key, seconds: float) -> None:
        """Unlike `add`, of a key that is being worked on."""
        due = _now() + seconds
        known = self._delayed.get(key)
        if known is None or due < known.when():
            self._cancel_delay(key)
            self._delayed[key] = asyncio.get_running_loop().call_at(due, self._come_due, key)

    def _come_due(self, key: Key) -> None:
        del self._delayed[key]
        self._make_ready(key)

    def _cancel_delay(self, key: Key) -> None:
        if timer := self._delayed.pop(key, None):
            timer.cancel()


def _group(key: Key) -> str:
    # A slash cannot stand in a namespace's name.
    return key.namespace if key.namespace is not None else f"/{key.name}"


def _now() -> float:
    return asyncio.get_running_loop().time()
