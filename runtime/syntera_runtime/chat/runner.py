"""Runs turns. A turn belongs to the server: it goes on when its client has left, and every end of it is stored.

The runner owns the tasks. While a turn runs, its lease is renewed; when somebody else has ended it, it is stopped. At
shutdown the runner lets turns finish for a while, then stops the rest and still stores what they said.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import structlog

from ..errors import ShuttingDown, StoreUnavailable, SynteraError, TurnLost
from ..metrics import Metrics
from ..models import TenantId, Turn
from ..ports import TurnStore
from .generation import Generation

log = structlog.get_logger(__name__)

Ended = TypeVar("Ended")

STORE_SECONDS = 20.0
"""How long the end of a turn is tried to be stored. The answer was paid for; a restart of PostgreSQL must not lose it."""
STOP_SECONDS = 10.0
"""How long stopped turns may take to be stored at shutdown."""


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """How long things may take."""

    turn_seconds: float
    lease: timedelta


class TurnRunner:
    """Owns the tasks of the turns that this process runs."""

    def __init__(self, turns: TurnStore, *, limits: TurnLimits, metrics: Metrics) -> None:
        self._turns = turns
        self.limits = limits
        self._metrics = metrics
        self._running: dict[asyncio.Task[None], Generation] = {}
        self._entering = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_closed = False
        self._is_stopping = False

    @contextmanager
    def admission(self) -> Iterator[None]:
        """Around everything from the decision to run a turn until `start`; shutdown waits for it.

        Raises:
            ShuttingDown: No turn is begun any more.
        """
        if self._is_closed:
            raise ShuttingDown
        self._entering += 1
        self._note_idle()
        try:
            yield
        finally:
            self._entering -= 1
            self._note_idle()

    def start(
        self,
        tenant_id: TenantId,
        turn: Turn,
        generation: Generation,
        *,
        on_text: Callable[[str], None],
        store_end: Callable[[], Awaitable[Ended]],
        on_end: Callable[[Ended | SynteraError], None],
    ) -> None:
        """Run a stored turn.

        Args:
            on_text: Gets each piece of text.
            store_end: Stores how the generation ended; may be called again when the store was away.
            on_end: Called exactly once, at the end, with what `store_end` returned or why it could not be stored.
        """

        async def run() -> None:
            ended: Ended | SynteraError = ShuttingDown()  # what a cancellation means
            try:
                ended = await self._run(tenant_id, turn, generation, on_text=on_text, store_end=store_end)
            except Exception:
                log.exception("turn broke", turn_id=str(turn.id))
                ended = SynteraError()
            finally:
                on_end(ended)

        if self._is_stopping:
            generation.stop(ShuttingDown())
        task = asyncio.create_task(run(), name=f"turn-{turn.id}")
        self._running[task] = generation
        self._note_idle()
        task.add_done_callback(self._forget)

    async def drain(self, *, seconds: float) -> None:
        """Begin no turn any more, let the running ones finish for `seconds`, then stop them and store their ends."""
        self._is_closed = True
        await self._wait_idle(seconds)
        self._is_stopping = True
        for generation in self._running.values():
            generation.stop(ShuttingDown())
        await self._wait_idle(STOP_SECONDS)
        await self.aclose()

    async def aclose(self) -> None:
        """Cancel what still runs. Its turns end when their leases do."""
        self._is_closed = True
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _wait_idle(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._note_idle()

    def _note_idle(self) -> None:
        self._metrics.turns_running.set(len(self._running))
        if self._running or self._entering:
            self._idle.clear()
        else:
            self._idle.set()

    async def _run(
        self,
        tenant_id: TenantId,
        turn: Turn,
        generation: Generation,
        *,
        on_text: Callable[[str], None],
        store_end: Callable[[], Awaitable[Ended]],
    ) -> Ended | SynteraError:
        started = time.monotonic()
        async with asyncio.TaskGroup() as group:
            heartbeat = group.create_task(self._keep_lease(tenant_id, turn, generation))
            await generation.run(on_text, seconds=self.limits.turn_seconds, metrics=self._metrics)
            ended = await self._store(store_end)
            heartbeat.cancel()
        self._report(turn, generation, ended, seconds=time.monotonic() - started)
        return ended

    async def _keep_lease(self, tenant_id: TenantId, turn: Turn, generation: Generation) -> None:
        while True:
            await asyncio.sleep(self.limits.lease.total_seconds() / 3)
            try:
                await self._turns.renew_lease(tenant_id, turn.id, lease=self.limits.lease)
            except TurnLost as error:
                generation.stop(error)
                return
            except StoreUnavailable:
                log.warning("lease not renewed", turn_id=str(turn.id))

    async def _store(self, store_end: Callable[[], Awaitable[Ended]]) -> Ended | SynteraError:
        deadline = time.monotonic() + STORE_SECONDS
        longest_pause = 0.1
        while True:
            try:
                return await store_end()
            except TurnLost as error:
                return error
            except StoreUnavailable as error:
                pause = random.uniform(0, longest_pause)  # noqa: S311  # jitter, no secret
                if time.monotonic() + pause > deadline:
                    return error
                longest_pause = min(longest_pause * 2, 2.0)
                await asyncio.sleep(pause)

    def _report(self, turn: Turn, generation: Generation, ended: object | SynteraError, *, seconds: float) -> None:
        error = generation.error or (ended if isinstance(ended, SynteraError) else None)
        if isinstance(ended, StoreUnavailable):
            self._metrics.store_unavailable.labels(ended.store).inc()
        outcome = "complete" if error is None else error.code
        kind = "completion" if turn.conversation_id is None else "conversation"
        self._metrics.turns.labels(turn.agent, kind, outcome).inc()
        usage = generation.usage
        if usage is not None and generation.endpoint is not None:
            self._metrics.tokens.labels(turn.agent, generation.endpoint, "prompt").inc(usage.prompt_tokens)
            self._metrics.tokens.labels(turn.agent, generation.endpoint, "completion").inc(usage.completion_tokens)
        log.info(
            "turn ended",
            turn_id=str(turn.id),
            conversation_id=None if turn.conversation_id is None else str(turn.conversation_id),
            agent=turn.agent,
            endpoint=generation.endpoint,
            outcome=outcome,
            seconds=round(seconds, 3),
        )
