"""The event log and the register of turns in memory: for tests and for trying the API without Redis."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

from ..models.ids import ConversationId, TenantId, TurnId
from ..models.live_events import DueTurns, EventBatch, EventNews

_WAIT_SECONDS = 0.2
"""How long a tail waits for news."""


class MemoryEventLog:
    """`EventLog` in memory, for tests. It can be told to lose everything."""

    def __init__(self) -> None:
        self._batches: dict[tuple[TenantId, ConversationId], list[EventBatch]] = {}
        self._stops: list[tuple[TenantId, TurnId]] = []
        self._news = asyncio.Condition()

    def lose(self) -> None:
        """Forget all events."""
        self._batches.clear()

    async def append(
        self, tenant_id: TenantId, conversation_id: ConversationId, batch: EventBatch, *, begins: bool
    ) -> bool:
        """See `EventLog`."""
        key = (tenant_id, conversation_id)
        if not begins and key not in self._batches:
            return False
        batches = self._batches.setdefault(key, [])
        if not batches or batches[-1].number < batch.number:
            batches.append(batch)
            async with self._news:
                self._news.notify_all()
        return True

    async def read(
        self, tenant_id: TenantId, conversation_id: ConversationId, *, after: int, limit: int | None = None
    ) -> Sequence[EventBatch]:
        """See `EventLog`."""
        batches = self._batches.get((tenant_id, conversation_id), [])
        return [batch for batch in batches if batch.number > after][:limit]

    async def forget(self, tenant_id: TenantId, conversation_id: ConversationId) -> None:
        """See `EventLog`."""
        self._batches.pop((tenant_id, conversation_id), None)

    async def ask_stop(self, tenant_id: TenantId, turn_id: TurnId) -> None:
        """See `EventLog`."""
        self._stops.append((tenant_id, turn_id))
        async with self._news:
            self._news.notify_all()

    def tail(self, tenant_id: TenantId) -> "MemoryEventTail":
        """See `EventLog`."""
        return MemoryEventTail(self, tenant_id, self._news, self._stops)


class MemoryEventTail:
    """`EventTail` in memory."""

    def __init__(
        self,
        log: MemoryEventLog,
        tenant_id: TenantId,
        news: asyncio.Condition,
        stops: list[tuple[TenantId, TurnId]],
    ) -> None:
        self._log = log
        self._tenant_id = tenant_id
        self._news = news
        self._stops = stops
        self._seen_stops = len(stops)
        self._positions: dict[ConversationId, int] = {}

    async def follow(self, conversation_id: ConversationId, *, after: int) -> None:
        """See `EventTail`."""
        self._positions[conversation_id] = min(after, self._positions.get(conversation_id, after))
        async with self._news:
            self._news.notify_all()

    def leave(self, conversation_id: ConversationId) -> None:
        """See `EventTail`."""
        self._positions.pop(conversation_id, None)

    async def next(self) -> EventNews:
        """See `EventTail`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_WAIT_SECONDS), self._news:
                while not (news := await self._read()).batches and not news.stops:
                    await self._news.wait()
                return news
        return EventNews({}, [])

    async def aclose(self) -> None:
        """See `EventTail`."""
        self._positions.clear()

    async def _read(self) -> EventNews:
        found = {}
        for conversation_id, position in self._positions.items():
            if batches := await self._log.read(self._tenant_id, conversation_id, after=position):
                found[conversation_id] = batches
        for conversation_id, batches in found.items():
            self._positions[conversation_id] = batches[-1].number
        stops = [turn_id for tenant_id, turn_id in self._stops[self._seen_stops :] if tenant_id == self._tenant_id]
        self._seen_stops = len(self._stops)
        return EventNews(found, stops)


class MemoryTurnRegister:
    """`TurnRegister` in memory."""

    def __init__(self) -> None:
        self._due_at: dict[TenantId, dict[TurnId, float]] = {}
        self._known: set[TenantId] = set()

    async def hold(self, tenant_id: TenantId, turn_ids: Sequence[TurnId], *, lease: timedelta) -> None:
        """See `TurnRegister`."""
        due_at = time.monotonic() + lease.total_seconds()
        self._due_at.setdefault(tenant_id, {}).update(dict.fromkeys(turn_ids, due_at))

    async def release(self, tenant_id: TenantId, turn_ids: Sequence[TurnId]) -> None:
        """See `TurnRegister`."""
        for turn_id in turn_ids:
            self._due_at.get(tenant_id, {}).pop(turn_id, None)

    async def take_due(self, tenant_id: TenantId, *, claim: timedelta) -> DueTurns:
        """See `TurnRegister`."""
        is_whole = tenant_id in self._known
        self._known.add(tenant_id)
        held = self._due_at.setdefault(tenant_id, {})
        now = time.monotonic()
        due = sorted((turn_id for turn_id, due_at in held.items() if due_at <= now), key=held.__getitem__)
        held.update(dict.fromkeys(due, now + claim.total_seconds()))
        return DueTurns(due, is_whole=is_whole)
