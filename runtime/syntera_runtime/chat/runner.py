"""Runs turns. A turn belongs to the server: it goes on when its client has left, and every end of it is stored.

The runner owns the tasks. While turns run, their leases are renewed, all together, three times before one would end; when
somebody else has ended a turn, or somebody wants it stopped, it is stopped. At shutdown the runner lets turns finish for a while, then stops
the rest and still stores what they said.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import structlog

from ..errors import ShuttingDown, StoreUnavailable, SynteraError, TurnLost
from ..metrics import Metrics
from ..models.ids import TenantId, TurnId
from ..models.turns import Turn
from ..ports.turns import TurnRegister, TurnStore
from ..tracing import NO_TRACER, Span, Tracer
from .generation import Generation, News

log = structlog.get_logger(__name__)

Ended = TypeVar("Ended")

STORE_SECONDS = 20.0
"""How long the end of a turn is tried to be stored. The answer was paid for; a restart of PostgreSQL must not lose it."""
STOP_SECONDS = 10.0
"""How long stopped turns may take to be stored at shutdown."""
EARLY_STOPS = 256
"""How many stops of turns that are not known here are kept: the turn may be about to start."""


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """How long things may take."""

    turn_seconds: float
    lease: timedelta


@dataclass(slots=True)
class _Held:
    """A turn that runs here."""

    tenant_id: TenantId
    generation: Generation
    until: float
    """When (`time.monotonic`) its lease ends at the earliest."""


class TurnRunner:
    """Owns the tasks of the turns that this process runs."""

    def __init__(
        self,
        turns: TurnStore,
        register: TurnRegister,
        *,
        limits: TurnLimits,
        metrics: Metrics,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._turns = turns
        self._register = register
        self._tracer = tracer
        self.limits = limits
        self._metrics = metrics
        self._running: dict[asyncio.Task[None], Generation] = {}
        self._held: dict[TurnId, _Held] = {}
        self._heart: asyncio.Task[None] | None = None
        self._early_stops: deque[TurnId] = deque(maxlen=EARLY_STOPS)
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

    def stop(self, turn_id: TurnId) -> bool:
        """Stop a turn because somebody who talks to the agent wants it. False: it does not run here, not yet at least."""
        held = self._held.get(turn_id)
        if held is None:
            self._early_stops.append(turn_id)
            return False
        held.generation.stop_as_asked()
        return True

    def holds(self, turn_id: TurnId) -> bool:
        """Whether the lease of a turn that runs here surely still runs."""
        held = self._held.get(turn_id)
        return held is not None and time.monotonic() < held.until

    def start(
        self,
        tenant_id: TenantId,
        turn: Turn,
        generation: Generation,
        *,
        on_news: Callable[[News], None],
        store_end: Callable[[], Awaitable[Ended]],
        on_end: Callable[[Ended | SynteraError], None],
    ) -> None:
        """Run a stored turn.

        Args:
            on_news: Gets what the generation tells while it runs.
            store_end: Stores how the generation ended; may be called again when the store was away.
            on_end: Called exactly once, at the end, with what `store_end` returned or why it could not be stored.
        """

        async def run() -> None:
            async with asyncio.TaskGroup() as group:
                holding = group.create_task(self._note(tenant_id, [turn.id]))
                ended = await run_to_its_end()
                if not isinstance(ended, SynteraError) or isinstance(ended, TurnLost):
                    await holding
                    with suppress(StoreUnavailable):
                        await self._register.release(tenant_id, [turn.id])

        async def run_to_its_end() -> Ended | SynteraError:
            ended: Ended | SynteraError = ShuttingDown()  # what a cancellation means
            try:
                with self._tracer.span(f"invoke_agent {turn.agent}", _describe(turn)) as span:
                    ended = await self._run(turn, generation, on_news=on_news, store_end=store_end, span=span)
            except Exception:
                log.exception("turn broke", turn_id=str(turn.id))
                ended = SynteraError()
            finally:
                try:
                    on_end(ended)
                except Exception:
                    log.exception("end of a turn was not told", turn_id=str(turn.id))
                finally:
                    del self._held[turn.id]
            return ended

        if self._is_stopping:
            generation.stop(ShuttingDown())
        if turn.id in self._early_stops:
            generation.stop_as_asked()
        self._held[turn.id] = _Held(tenant_id, generation, time.monotonic() + self.limits.lease.total_seconds())
        if self._heart is None or self._heart.done():
            self._heart = asyncio.create_task(self._beat(), name="turn-leases")
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
        tasks = [*self._running, *([] if self._heart is None else [self._heart])]
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
        turn: Turn,
        generation: Generation,
        *,
        on_news: Callable[[News], None],
        store_end: Callable[[], Awaitable[Ended]],
        span: Span,
    ) -> Ended | SynteraError:
        started = time.monotonic()
        await generation.run(on_news, seconds=self.limits.turn_seconds, metrics=self._metrics)
        ended = await self._store(store_end)
        self._report(turn, generation, ended, seconds=time.monotonic() - started, span=span)
        return ended

    async def _beat(self) -> None:
        """Renew the leases of all turns that run here, until there is none."""
        while self._held:
            await asyncio.sleep(self.limits.lease.total_seconds() / 3)
            for tenant_id in {held.tenant_id for held in self._held.values()}:
                turn_ids = [turn_id for turn_id, held in self._held.items() if held.tenant_id == tenant_id]
                try:
                    await self._renew(tenant_id, turn_ids)
                except StoreUnavailable:
                    log.warning("leases not renewed", turns=len(turn_ids))
                except Exception:  # the next beat may go well, and without any the turns would be lost
                    log.exception("renewal of leases broke")

    async def _renew(self, tenant_id: TenantId, turn_ids: Sequence[TurnId]) -> None:
        asked_at = time.monotonic()
        renewed = await self._turns.renew_leases(tenant_id, turn_ids, lease=self.limits.lease)
        for turn_id in turn_ids:
            held = self._held.get(turn_id)
            if held is None:  # it has ended meanwhile
                continue
            if turn_id not in renewed:
                held.generation.stop(TurnLost())
                continue
            held.until = asked_at + self.limits.lease.total_seconds()
            if renewed[turn_id]:
                held.generation.stop_as_asked()
        await self._note(tenant_id, [turn_id for turn_id in renewed if turn_id in self._held])

    async def _note(self, tenant_id: TenantId, turn_ids: Sequence[TurnId]) -> None:
        """Note in the register that turns run; without it, a dead turn is found later."""
        with suppress(StoreUnavailable):
            await self._register.hold(tenant_id, turn_ids, lease=self.limits.lease)

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

    def _report(
        self, turn: Turn, generation: Generation, ended: object | SynteraError, *, seconds: float, span: Span
    ) -> None:
        error = generation.error or (ended if isinstance(ended, SynteraError) else None)
        if isinstance(ended, StoreUnavailable):
            self._metrics.store_unavailable.labels(ended.store).inc()
        outcome = generation.ended_as if error is None else error.code
        if error is not None:
            span.fail(outcome)
        kind = "completion" if turn.conversation_id is None else "conversation"
        self._metrics.turns.labels(turn.agent, kind, outcome).inc()
        self._count_usage(turn, generation)
        log.info(
            "turn ended",
            turn_id=str(turn.id),
            conversation_id=None if turn.conversation_id is None else str(turn.conversation_id),
            agent=turn.agent,
            endpoint=generation.endpoint,
            outcome=outcome,
            seconds=round(seconds, 3),
        )

    def _count_usage(self, turn: Turn, generation: Generation) -> None:
        asked, used, cost = generation.asked, generation.used, generation.cost
        if asked is None or used is None:
            return
        tokens = self._metrics.tokens_estimated if used.is_estimated else self._metrics.tokens
        tokens.labels(turn.agent, asked.endpoint, "prompt").inc(used.prompt_tokens)
        tokens.labels(turn.agent, asked.endpoint, "completion").inc(used.completion_tokens)
        if cost is not None:
            self._metrics.cost.labels(turn.agent, asked.endpoint, cost.currency).inc(cost.billionths / 1e9)


def _describe(turn: Turn) -> dict[str, str]:
    """The turn in the words of OpenTelemetry's conventions for generative AI."""
    described = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": turn.agent,
        "syntera.turn.id": str(turn.id),
    }
    if turn.conversation_id is not None:
        described["gen_ai.conversation.id"] = str(turn.conversation_id)
    return described
