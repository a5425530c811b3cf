"""What people change of conversations: title, state, metadata, marks, feedback, deletion."""

from collections.abc import Sequence

import asyncpg
import orjson
from asyncpg import Record

from ...errors import ConversationBusy, ConversationNotFound, MessageNotFound, RevisionMismatch
from ...models.conversations import Conversation, ConversationChange, Feedback, Marks, Rating, Side
from ...models.ids import ConversationId, MessageId, TenantId
from .conversation_rows import CONVERSATION_COLUMNS, read_conversation
from .pool import Connection, Pool

_CHANGE = f"""
UPDATE syntera.conversations AS c
SET title = coalesce($4, c.title), metadata = coalesce($5::jsonb, c.metadata), state = coalesce($6, c.state),
    revision = c.revision + 1
WHERE c.tenant_id = $1 AND c.id = $2 AND ($3::integer IS NULL OR c.revision = $3)
RETURNING {CONVERSATION_COLUMNS}
"""  # noqa: S608  # the columns are a constant

_EXISTS = "SELECT EXISTS (SELECT FROM syntera.conversations WHERE tenant_id = $1 AND id = $2)"

_LOCK = "SELECT FROM syntera.conversations WHERE tenant_id = $1 AND id = $2 FOR UPDATE"
"""A turn that begins changes the same row."""

_IS_RUNNING = """
SELECT EXISTS (SELECT FROM syntera.turns WHERE tenant_id = $1 AND conversation_id = $2 AND state = 'running')
"""

_DOOM_FILES = """
UPDATE syntera.files SET state = 'doomed' WHERE tenant_id = $1 AND conversation_id = $2 AND state = 'ready'
"""
"""Their bytes go later; nobody gets them any more."""

_MARK = """
UPDATE syntera.conversations
SET {side}_read_id = greatest({side}_read_id, $3), {side}_delivered_id = greatest({side}_delivered_id, $3, $4)
WHERE tenant_id = $1 AND id = $2
RETURNING {side}_read_id AS read, {side}_delivered_id AS delivered
"""
"""What was read has arrived."""

_REPLY_EXISTS = """
SELECT EXISTS (
  SELECT FROM syntera.messages WHERE tenant_id = $1 AND conversation_id = $2 AND id = $3 AND role = 'assistant'
)
"""

_PUT_FEEDBACK = """
INSERT INTO syntera.feedback (tenant_id, message_id, author, rating, comment, created_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (tenant_id, message_id, author)
DO UPDATE SET rating = excluded.rating, comment = excluded.comment, created_at = excluded.created_at
"""

_WITHDRAW = """
UPDATE syntera.feedback SET rating = NULL, comment = NULL WHERE tenant_id = $1 AND message_id = $2 AND author = $3
"""

_LIST_FEEDBACK = """
SELECT f.message_id, f.author, f.rating, f.comment, f.created_at
FROM syntera.feedback AS f JOIN syntera.messages AS m ON m.tenant_id = f.tenant_id AND m.id = f.message_id
WHERE f.tenant_id = $1 AND m.conversation_id = $2 AND f.rating IS NOT NULL
ORDER BY f.message_id, f.author
"""


class PostgresqlEditor:
    """`ConversationEditor` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def change_conversation(
        self, tenant_id: TenantId, conversation_id: ConversationId, change: ConversationChange, *, revision: int | None
    ) -> Conversation:
        """See `ConversationEditor`."""
        metadata = None if change.metadata is None else orjson.dumps(dict(change.metadata)).decode()
        async with self._pool.connection("change_conversation") as connection:
            row = await connection.fetchrow(
                _CHANGE, tenant_id, conversation_id, revision, change.title, metadata, change.state
            )
            if row is None and await connection.fetchval(_EXISTS, tenant_id, conversation_id):
                raise RevisionMismatch
        if row is None:
            raise ConversationNotFound
        return read_conversation(row)

    async def delete_conversation(self, tenant_id: TenantId, conversation_id: ConversationId) -> None:
        """See `ConversationEditor`."""
        async with self._pool.transaction("delete_conversation") as connection:
            if not await connection.fetch(_LOCK, tenant_id, conversation_id):
                raise ConversationNotFound
            if await connection.fetchval(_IS_RUNNING, tenant_id, conversation_id):
                raise ConversationBusy
            await connection.execute(_DOOM_FILES, tenant_id, conversation_id)
            await connection.execute("SELECT syntera.delete_conversation($1)", conversation_id)

    async def mark_conversation(
        self, tenant_id: TenantId, conversation_id: ConversationId, *, side: Side, marks: Marks
    ) -> Marks:
        """See `ConversationEditor`."""
        async with self._pool.connection("mark_conversation") as connection:
            row = await connection.fetchrow(
                _MARK.format(side=side.value), tenant_id, conversation_id, marks.read, marks.delivered
            )
        if row is None:
            raise ConversationNotFound
        return Marks(read=row["read"], delivered=row["delivered"])

    async def put_feedback(self, tenant_id: TenantId, conversation_id: ConversationId, feedback: Feedback) -> None:
        """See `ConversationEditor`."""
        try:
            async with self._pool.transaction("put_feedback") as connection:
                await _check_reply(connection, tenant_id, conversation_id, feedback.message_id)
                await connection.execute(
                    _PUT_FEEDBACK,
                    tenant_id,
                    feedback.message_id,
                    feedback.author,
                    feedback.rating,
                    feedback.comment,
                    feedback.created_at,
                )
        except asyncpg.ForeignKeyViolationError:  # deleted since it was checked
            raise MessageNotFound from None

    async def delete_feedback(
        self, tenant_id: TenantId, conversation_id: ConversationId, message_id: MessageId, *, author: str
    ) -> None:
        """See `ConversationEditor`."""
        async with self._pool.transaction("delete_feedback") as connection:
            await _check_reply(connection, tenant_id, conversation_id, message_id)
            await connection.execute(_WITHDRAW, tenant_id, message_id, author)

    async def list_feedback(self, tenant_id: TenantId, conversation_id: ConversationId) -> Sequence[Feedback]:
        """See `ConversationEditor`."""
        async with self._pool.connection("list_feedback") as connection:
            rows = await connection.fetch(_LIST_FEEDBACK, tenant_id, conversation_id)
        return [_read_feedback(row) for row in rows]


async def _check_reply(
    connection: Connection, tenant_id: TenantId, conversation_id: ConversationId, message_id: MessageId
) -> None:
    if not await connection.fetchval(_REPLY_EXISTS, tenant_id, conversation_id, message_id):
        raise MessageNotFound


def _read_feedback(row: Record) -> Feedback:
    return Feedback(
        message_id=MessageId(row["message_id"]),
        author=row["author"],
        rating=Rating(row["rating"]),
        comment=row["comment"],
        created_at=row["created_at"],
    )
