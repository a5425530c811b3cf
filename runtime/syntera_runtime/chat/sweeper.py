"""Ends the turns of processes that have died, with what they had said, so that nobody waits for them.

A turn's lease lasts 15 seconds and is renewed every 5; the register is looked at every `LOOK_SECONDS`, and whoever takes a
due turn from it and dies as well has it for `CLAIM` only. So a dead turn is ended after 18 seconds, 28 at worst: within 30
seconds. The store is asked when something is due, and else only where the register may not know all: for
`THOROUGH_SECONDS` after it was away or lost.
"""

import asyncio
import random
import time
from datetime import timedelta

import structlog

from ..errors import StoreUnavailable
from ..metrics import Metrics
from ..models.ids import TenantId
from ..models.live_events import EventBatch
from ..models.turns import AbandonedTurn, ExpiredTurn
from ..ports.live_events import EventLog
from ..ports.turns import TurnRegister, TurnStore
from .event_batches import collect_said, encode_events
from .events import ending_event

log = structlog.get_logger(__name__)

LOOK_SECONDS = 3.0
CLAIM = timedelta(seconds=10)
STORE_LOOK_SECONDS = 10.0
"""How often the store is asked while the register may not know all."""
ENDED_AT_ONCE = 4
"""A process that ran a thousand turns leaves a thousand dead ones: one after the other would take too long, and more at once
would take the pool's connections from requests."""
THOROUGH_SECONDS = 45.0
"""Longer than a lease and its sweep: what died before has been found by then."""


class Sweeper:
    """Looks for turns without a process."""

    def __init__(self, turns: TurnStore, register: TurnRegister, events: EventLog, *, metrics: Metrics) -> None:
        self._turns = turns
        self._register = register
        self._events = events
        self._metrics = metrics
        self._thorough_until = 0.0
        self._asked_store_at = -STORE_LOOK_SECONDS

    async def run(self, tenant_id: TenantId) -> None:
        """Look for them until cancelled."""
        while True:
            try:
                await self.look(tenant_id)
            except StoreUnavailable as error:
                log.info("dead turns not looked for", store=error.store)
            except Exception:
                log.exception("look for dead turns broke")
            await asyncio.sleep(random.uniform(0.8, 1.0) * LOOK_SECONDS)  # noqa: S311  # jitter, no secret

    async def look(self, tenant_id: TenantId) -> None:
        """End what is due.

        Raises:
            StoreUnavailable: Something was due, and the store is away.
        """
        now = time.monotonic()
        due = None
        try:
            due = await self._register.take_due(tenant_id, claim=CLAIM)
        except StoreUnavailable:
            self._thorough_until = now + THOROUGH_SECONDS
        if due is not None and not due.is_whole:
            self._thorough_until = now + THOROUGH_SECONDS
        is_thorough = now < self._thorough_until and now - self._asked_store_at >= STORE_LOOK_SECONDS
        if (due is not None and due.turn_ids) or is_thorough:
            self._asked_store_at = now
            await self.sweep(tenant_id)
        if due is not None and due.turn_ids:
            # Those that live are noted again when their leases are renewed.
            await self._register.release(tenant_id, due.turn_ids)

    async def sweep(self, tenant_id: TenantId) -> bool:
        """Ask the store for turns whose leases have ended, and end them. False: there was none.

        Raises:
            StoreUnavailable: The store is away.
        """
        waiting = iter(await self._turns.find_expired(tenant_id))

        async def end_some() -> bool:
            has_ended = False
            for expired in waiting:
                try:
                    has_ended |= await self._abandon(tenant_id, expired)
                except StoreUnavailable:
                    raise
                except Exception:  # the others shall not wait for it
                    log.exception("dead turn not ended", turn_id=str(expired.id))
            return has_ended

        # All come to an end of their own: who was stopped between a turn's end and its readers would leave them waiting.
        done = await asyncio.gather(*(end_some() for _ in range(ENDED_AT_ONCE)), return_exceptions=True)
        failures = [one for one in done if isinstance(one, BaseException)]
        if failures:
            raise failures[0]
        return any(done)

    async def _abandon(self, tenant_id: TenantId, expired: ExpiredTurn) -> bool:
        batches = await self._read(tenant_id, expired)
        position = (expired.first_event or 0) - 1
        abandoned = await self._turns.abandon_turn(tenant_id, expired, said=collect_said(position, batches))
        if abandoned is None:
            return False
        self._report(abandoned)
        await self._tell(tenant_id, expired, abandoned, previous=batches[-1].number if batches else position)
        return True

    async def _read(self, tenant_id: TenantId, expired: ExpiredTurn) -> list[EventBatch]:
        """What the log has of the turn."""
        if expired.conversation_id is None or expired.first_event is None:
            return []
        try:
            return list(await self._events.read(tenant_id, expired.conversation_id, after=expired.first_event - 1))
        except StoreUnavailable:
            return []

    async def _tell(
        self, tenant_id: TenantId, expired: ExpiredTurn, abandoned: AbandonedTurn, *, previous: int
    ) -> None:
        """Tell readers. Where the log is away, they find the end in the store."""
        number = expired.last_event
        if expired.conversation_id is None or abandoned.ended is None or number is None:
            return
        events = encode_events([ending_event(number, abandoned.ended)])
        batch = EventBatch(number=number, previous=previous, events=events)
        try:
            await self._events.append(tenant_id, expired.conversation_id, batch, begins=True)
        except StoreUnavailable:
            log.info("end of dead turn not written to the event log", turn_id=str(expired.id))

    def _report(self, abandoned: AbandonedTurn) -> None:
        turn = abandoned.turn
        assert turn.failure is not None
        kind = "completion" if turn.conversation_id is None else "conversation"
        self._metrics.turns.labels(turn.agent, kind, turn.failure.code).inc()
        log.warning(
            "turn abandoned",
            turn_id=str(turn.id),
            conversation_id=None if turn.conversation_id is None else str(turn.conversation_id),
            agent=turn.agent,
        )
