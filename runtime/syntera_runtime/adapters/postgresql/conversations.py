"""Conversations and their messages."""

from collections.abc import Sequence

from asyncpg import Record

from ...ids import new_id
from ...models import (
    Conversation,
    ConversationId,
    Message,
    MessageId,
    NewConversation,
    Role,
    TenantId,
)
from .pool import Pool
from .rows import MESSAGE_COLUMNS, read_message

_INSERT = """
INSERT INTO syntera.conversations (tenant_id, id, agent, created_at, updated_at)
VALUES ($1, $2, $3, now(), now())
RETURNING id, agent, created_at, updated_at
"""

_INSERT_GREETING = """
INSERT INTO syntera.messages (tenant_id, id, conversation_id, role, state, content, created_at)
VALUES ($1, $2, $3, 'assistant', 'complete', $4, now())
"""

_FIND = "SELECT id, agent, created_at, updated_at FROM syntera.conversations WHERE tenant_id = $1 AND id = $2"

_LIST = f"""
SELECT {MESSAGE_COLUMNS}
FROM syntera.messages AS m
LEFT JOIN syntera.turns AS t ON t.tenant_id = m.tenant_id AND t.id = m.turn_id
WHERE m.tenant_id = $1 AND m.conversation_id = $2 AND ($3::uuid IS NULL OR m.id > $3)
ORDER BY m.id
LIMIT $4
"""  # noqa: S608  # the columns are a constant


class PostgresqlConversations:
    """`ConversationStore` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add_conversation(self, tenant_id: TenantId, *, agent: str, greeting: str | None) -> NewConversation:
        """See `ConversationStore`."""
        async with self._pool.transaction() as connection:
            row = await connection.fetchrow(_INSERT, tenant_id, new_id(), agent)
            assert row is not None
            conversation = _read_conversation(row)
            if greeting is None:
                return NewConversation(conversation=conversation, greeting=None)
            message = Message(
                id=MessageId(new_id()),
                conversation_id=conversation.id,
                role=Role.ASSISTANT,
                content=greeting,
                created_at=conversation.created_at,
            )
            await connection.execute(_INSERT_GREETING, tenant_id, message.id, conversation.id, greeting)
        return NewConversation(conversation=conversation, greeting=message)

    async def find_conversation(self, tenant_id: TenantId, conversation_id: ConversationId) -> Conversation | None:
        """See `ConversationStore`."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(_FIND, tenant_id, conversation_id)
        return None if row is None else _read_conversation(row)

    async def list_messages(
        self, tenant_id: TenantId, conversation_id: ConversationId, *, after: MessageId | None, limit: int
    ) -> Sequence[Message]:
        """See `ConversationStore`."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(_LIST, tenant_id, conversation_id, after, limit)
        return [read_message(row) for row in rows]


def _read_conversation(row: Record) -> Conversation:
    return Conversation(
        id=ConversationId(row["id"]),
        agent=row["agent"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
