"""Conversations and their messages."""

from collections.abc import Sequence

import orjson

from ...errors import RequestRepeated
from ...ids import new_id
from ...models.conversations import Conversation, ConversationStart, Message, NewConversation, Role
from ...models.ids import ContactId, ConversationId, MessageId, RequestKey, TenantId
from ...models.live_events import EventPosition
from .conversation_rows import CONVERSATION_COLUMNS, read_conversation
from .pool import Connection, Pool
from .rows import MESSAGE_COLUMNS, read_message

_SEE_OWNER = """
INSERT INTO syntera.contacts (tenant_id, id) VALUES ($1, $2)
ON CONFLICT (tenant_id, id) DO UPDATE SET last_seen_at = now()
"""

_INSERT = f"""
INSERT INTO syntera.conversations AS c
  (tenant_id, id, agent, channel, title, metadata, request_key, contact_id, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now(), now())
ON CONFLICT (tenant_id, request_key) WHERE request_key IS NOT NULL DO NOTHING
RETURNING {CONVERSATION_COLUMNS}
"""  # noqa: S608  # the columns are a constant

_INSERT_GREETING = """
INSERT INTO syntera.messages (tenant_id, id, conversation_id, role, state, content, created_at)
VALUES ($1, $2, $3, 'assistant', 'complete', $4, now())
"""

_FIND = f"""
SELECT {CONVERSATION_COLUMNS} FROM syntera.conversations AS c
WHERE tenant_id = $1 AND id = $2 AND ($3::uuid IS NULL OR contact_id = $3)
"""  # noqa: S608

_FIND_REPEATED = f"""
SELECT {CONVERSATION_COLUMNS} FROM syntera.conversations AS c
WHERE tenant_id = $1 AND request_key = $2 AND ($3::uuid IS NULL OR contact_id = $3)
"""  # noqa: S608

_FIND_GREETING = f"""
SELECT {MESSAGE_COLUMNS}
FROM syntera.messages AS m LEFT JOIN syntera.turns AS t ON t.tenant_id = m.tenant_id AND t.id = m.turn_id
WHERE m.tenant_id = $1 AND m.conversation_id = $2 AND m.turn_id IS NULL
ORDER BY m.id
LIMIT 1
"""  # noqa: S608

_FIND_POSITION = """
SELECT c.last_event, t.first_event, t.id IS NOT NULL AS is_running
FROM syntera.conversations AS c
LEFT JOIN syntera.turns AS t ON t.tenant_id = c.tenant_id AND t.conversation_id = c.id AND t.state = 'running'
WHERE c.tenant_id = $1 AND c.id = $2 AND ($3::uuid IS NULL OR c.contact_id = $3)
"""

_LIST = f"""
SELECT {MESSAGE_COLUMNS}
FROM syntera.messages AS m
LEFT JOIN syntera.turns AS t ON t.tenant_id = m.tenant_id AND t.id = m.turn_id
WHERE m.tenant_id = $1 AND m.conversation_id = $2 AND ($3::uuid IS NULL OR m.id > $3)
  AND ($5::uuid IS NULL OR EXISTS (
    SELECT FROM syntera.conversations AS c WHERE c.tenant_id = $1 AND c.id = $2 AND c.contact_id = $5
  ))
ORDER BY m.id
LIMIT $4
"""  # noqa: S608


class PostgresqlConversations:
    """`ConversationStore` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add_conversation(
        self, tenant_id: TenantId, start: ConversationStart, *, owner: ContactId | None
    ) -> NewConversation:
        """See `ConversationStore`."""
        greeting = start.greeting
        async with self._pool.transaction("add_conversation") as connection:
            if owner is not None:
                await connection.execute(_SEE_OWNER, tenant_id, owner)
            row = await connection.fetchrow(
                _INSERT,
                tenant_id,
                new_id(),
                start.agent,
                start.channel,
                start.title,
                orjson.dumps(dict(start.metadata)).decode(),
                start.request_key,
                owner,
            )
            if row is None:
                return await _find_made_before(connection, tenant_id, start.request_key, owner=owner)
            conversation = read_conversation(row)
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

    async def find_conversation(
        self, tenant_id: TenantId, conversation_id: ConversationId, *, owner: ContactId | None
    ) -> Conversation | None:
        """See `ConversationStore`."""
        async with self._pool.connection("find_conversation") as connection:
            row = await connection.fetchrow(_FIND, tenant_id, conversation_id, owner)
        return None if row is None else read_conversation(row)

    async def find_position(
        self, tenant_id: TenantId, conversation_id: ConversationId, *, owner: ContactId | None
    ) -> EventPosition | None:
        """See `ConversationStore`."""
        async with self._pool.connection("find_position") as connection:
            row = await connection.fetchrow(_FIND_POSITION, tenant_id, conversation_id, owner)
        if row is None:
            return None
        first_event = row["first_event"]
        last_event = row["last_event"] if first_event is None else first_event - 1
        return EventPosition(last_event, is_running=row["is_running"])

    async def list_messages(
        self,
        tenant_id: TenantId,
        conversation_id: ConversationId,
        *,
        owner: ContactId | None,
        after: MessageId | None,
        limit: int,
    ) -> Sequence[Message]:
        """See `ConversationStore`."""
        async with self._pool.connection("list_messages") as connection:
            rows = await connection.fetch(_LIST, tenant_id, conversation_id, after, limit, owner)
        return [read_message(row) for row in rows]


async def _find_made_before(
    connection: Connection, tenant_id: TenantId, request_key: RequestKey | None, *, owner: ContactId | None
) -> NewConversation:
    row = await connection.fetchrow(_FIND_REPEATED, tenant_id, request_key, owner)
    if row is None:  # deleted in this moment, or another contact's now
        raise RequestRepeated
    greeting = await connection.fetchrow(_FIND_GREETING, tenant_id, row["id"])
    return NewConversation(read_conversation(row), None if greeting is None else read_message(greeting))
