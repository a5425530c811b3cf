"""What events are about, as it is now."""

from asyncpg import Record

from ...models.conversations import Conversation, Feedback, Message, Rating
from ...models.identity import Contact
from ...models.ids import ContactId, ConversationId, MessageId, TenantId
from .conversation_rows import CONVERSATION_COLUMNS, read_conversation
from .pool import Pool
from .rows import MESSAGE_COLUMNS, read_message

_FIND_CONVERSATION = f"""
SELECT {CONVERSATION_COLUMNS} FROM syntera.conversations AS c
WHERE c.tenant_id = $1 AND c.id = $2 AND ($3::uuid IS NULL OR c.contact_id = $3)
"""  # noqa: S608

_FIND_MESSAGE = f"""
SELECT {MESSAGE_COLUMNS}
FROM syntera.messages AS m LEFT JOIN syntera.turns AS t ON t.tenant_id = m.tenant_id AND t.id = m.turn_id
WHERE m.tenant_id = $1 AND m.id = $2
"""  # noqa: S608

_FIND_CONTACT = """
SELECT id, external_id, name, email, created_at, last_seen_at FROM syntera.contacts WHERE tenant_id = $1 AND id = $2
"""

_FIND_FEEDBACK = """
SELECT message_id, author, rating, comment, created_at FROM syntera.feedback
WHERE tenant_id = $1 AND message_id = $2 AND author = $3 AND rating IS NOT NULL
"""


class PostgresqlEventSubjects:
    """`EventSubjects` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find_conversation(
        self, tenant_id: TenantId, conversation_id: ConversationId, *, owner: ContactId | None
    ) -> Conversation | None:
        """See `EventSubjects`."""
        row = await self._find(_FIND_CONVERSATION, tenant_id, conversation_id, owner)
        return None if row is None else read_conversation(row)

    async def find_message(self, tenant_id: TenantId, message_id: MessageId) -> Message | None:
        """See `EventSubjects`."""
        row = await self._find(_FIND_MESSAGE, tenant_id, message_id)
        return None if row is None else read_message(row)

    async def find_contact(self, tenant_id: TenantId, contact_id: ContactId) -> Contact | None:
        """See `EventSubjects`."""
        row = await self._find(_FIND_CONTACT, tenant_id, contact_id)
        if row is None:
            return None
        return Contact(
            id=ContactId(row["id"]),
            external_id=row["external_id"],
            name=row["name"],
            email=row["email"],
            created_at=row["created_at"],
            last_seen_at=row["last_seen_at"],
        )

    async def find_feedback(self, tenant_id: TenantId, message_id: MessageId, author: str) -> Feedback | None:
        """See `EventSubjects`."""
        row = await self._find(_FIND_FEEDBACK, tenant_id, message_id, author)
        if row is None:
            return None
        return Feedback(
            message_id=MessageId(row["message_id"]),
            author=row["author"],
            rating=Rating(row["rating"]),
            comment=row["comment"],
            created_at=row["created_at"],
        )

    async def _find(self, query: str, tenant_id: TenantId, *arguments: object) -> Record | None:
        async with self._pool.connection("find_event_subject", is_background=True) as connection:
            return await connection.fetchrow(query, tenant_id, *arguments)
