"""The outbox in memory: for tests and for trying the API without a database. `MemoryStore` appends to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from pydantic import JsonValue

from ..ids import new_id
from ..models.ids import EventId, TenantId
from ..models.outbox import EventType, OutboxBatch, OutboxEvent, OutboxPosition, Subjects

_BEGINNING, _NEVER = OutboxPosition(), datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class _Reader:
    place: OutboxPosition = _BEGINNING
    holder: UUID | None = None
    lease_ends_at: datetime = _NEVER


@dataclass(slots=True)
class _Rows:
    events: list[OutboxEvent] = field(default_factory=list)
    readers: dict[str, _Reader] = field(default_factory=dict)
    appended: int = 0


class MemoryOutbox:
    """`Outbox` in memory."""

    def __init__(self) -> None:
        self._tenants: dict[TenantId, _Rows] = {}

    def append(
        self,
        tenant_id: TenantId,
        type_: EventType,
        subjects: Subjects,
        payload: Mapping[str, JsonValue] | None = None,
    ) -> None:
        """Tell what has changed."""
        rows = self._rows(tenant_id)
        rows.appended += 1
        stated = {name: value for name, value in (payload or {}).items() if value is not None}
        place = OutboxPosition(rows.appended, 1)
        rows.events.append(OutboxEvent(EventId(new_id()), type_.value, subjects, datetime.now(UTC), place, stated))

    async def read(
        self, tenant_id: TenantId, reader: str, *, holder: UUID, lease: timedelta, limit: int
    ) -> OutboxBatch | None:
        """See `Outbox`."""
        rows, now = self._rows(tenant_id), datetime.now(UTC)
        found = rows.readers.setdefault(reader, _Reader())
        events = [event for event in rows.events if event.place > found.place][:limit]
        if not events or (found.holder not in (None, holder) and found.lease_ends_at > now):
            return None
        found.holder, found.lease_ends_at = holder, now + lease
        return OutboxBatch(events)

    async def advance(self, tenant_id: TenantId, reader: str, batch: OutboxBatch, *, holder: UUID) -> bool:
        """See `Outbox`."""
        found = self._rows(tenant_id).readers.setdefault(reader, _Reader())
        if found.holder != holder:
            return False
        found.place, found.holder = batch.last, None
        return True

    async def prune(self, tenant_id: TenantId, *, passed: timedelta, unread: timedelta, most: int) -> int:
        """See `Outbox`."""
        rows, now = self._rows(tenant_id), datetime.now(UTC)
        everybody = min((reader.place for reader in rows.readers.values()), default=None)

        def is_old(event: OutboxEvent) -> bool:
            is_passed = everybody is None or event.place <= everybody
            return event.created_at < now - unread or (is_passed and event.created_at < now - passed)

        oldest = [event for event in rows.events[:most] if is_old(event)]
        rows.events = [event for event in rows.events if event not in oldest]
        return len(oldest)

    def _rows(self, tenant_id: TenantId) -> _Rows:
        return self._tenants.setdefault(tenant_id, _Rows())
