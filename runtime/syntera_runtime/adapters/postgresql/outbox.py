"""The outbox: what has changed, appended by triggers of the changes themselves.

A transaction that began to write before another may commit after it. So events are ordered by the transaction's id, and
none is read before all transactions with smaller ids have ended: what is read is whole, and nothing comes to lie behind a
reader's place. A reader whose place lies beyond all transactions has come from another server, by a restored dump, and
begins anew.
"""

from datetime import timedelta
from uuid import UUID

import orjson
from asyncpg import Record

from ...models.ids import ContactId, ConversationId, EventId, MessageId, TenantId, TurnId
from ...models.outbox import OutboxBatch, OutboxEvent, OutboxPosition, Subjects
from .pool import Pool

SUBJECT_COLUMNS = "conversation_id, turn_id, message_id, contact_id"

_JOIN = """
INSERT INTO syntera.outbox_readers (tenant_id, name) VALUES ($1, $2) ON CONFLICT (tenant_id, name) DO NOTHING
"""

_FIND = """
SELECT transaction, position, transaction >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS is_beyond
FROM syntera.outbox_readers
WHERE tenant_id = $1 AND name = $2
"""

_READ = f"""
SELECT id, type, {SUBJECT_COLUMNS}, payload, created_at, transaction, position
FROM syntera.outbox
WHERE tenant_id = $1 AND (transaction, position) > ($2, $3)
  AND transaction < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
ORDER BY transaction, position
LIMIT $4
"""  # noqa: S608  # the columns are a constant

_HOLD = """
UPDATE syntera.outbox_readers SET holder = $5, lease_expires_at = now() + $6
WHERE tenant_id = $1 AND name = $2 AND transaction = $3 AND position = $4
  AND (holder = $5 OR lease_expires_at IS NULL OR lease_expires_at < now())
RETURNING TRUE
"""

_ADVANCE = """
UPDATE syntera.outbox_readers SET transaction = $4, position = $5, holder = NULL, lease_expires_at = NULL
WHERE tenant_id = $1 AND name = $2 AND holder = $3
RETURNING TRUE
"""

_PRUNE = "SELECT syntera.prune_outbox($1, $2, $3)"


class PostgresqlOutbox:
    """`Outbox` on PostgreSQL. It is asked in the background, so that its questions do not count as use of the pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def read(
        self, tenant_id: TenantId, reader: str, *, holder: UUID, lease: timedelta, limit: int
    ) -> OutboxBatch | None:
        """See `Outbox`. Nothing is written while there is nothing new."""
        async with self._pool.connection("read_outbox", is_background=True) as connection:
            place = await connection.fetchrow(_FIND, tenant_id, reader)
            if place is None:
                await connection.execute(_JOIN, tenant_id, reader)
                place = await connection.fetchrow(_FIND, tenant_id, reader)
                assert place is not None
            at, position = (0, 0) if place["is_beyond"] else (place["transaction"], place["position"])
            rows = await connection.fetch(_READ, tenant_id, at, position, limit)
            if not rows:
                return None
            here = (place["transaction"], place["position"])
            # Only if the place is still the one that was read from: else another process was faster.
            if not await connection.fetchval(_HOLD, tenant_id, reader, *here, holder, lease):
                return None
        return OutboxBatch([_read_event(row) for row in rows])

    async def advance(self, tenant_id: TenantId, reader: str, batch: OutboxBatch, *, holder: UUID) -> bool:
        """See `Outbox`."""
        last = batch.last
        async with self._pool.connection("advance_outbox", is_background=True) as connection:
            return bool(await connection.fetchval(_ADVANCE, tenant_id, reader, holder, last.transaction, last.position))

    async def prune(self, tenant_id: TenantId, *, passed: timedelta, unread: timedelta, most: int) -> int:
        """See `Outbox`."""
        del tenant_id  # the function knows whose session it runs in
        async with self._pool.connection("prune_outbox", is_background=True) as connection:
            return int(await connection.fetchval(_PRUNE, passed, unread, most))


def read_subjects(row: Record) -> Subjects:
    """A row with `SUBJECT_COLUMNS`."""
    conversation_id, turn_id = row["conversation_id"], row["turn_id"]
    message_id, contact_id = row["message_id"], row["contact_id"]
    return Subjects(
        conversation_id=None if conversation_id is None else ConversationId(conversation_id),
        turn_id=None if turn_id is None else TurnId(turn_id),
        message_id=None if message_id is None else MessageId(message_id),
        contact_id=None if contact_id is None else ContactId(contact_id),
    )


def _read_event(row: Record) -> OutboxEvent:
    return OutboxEvent(
        id=EventId(row["id"]),
        type=row["type"],
        subjects=read_subjects(row),
        created_at=row["created_at"],
        place=OutboxPosition(row["transaction"], row["position"]),
        payload=orjson.loads(row["payload"]),
    )
