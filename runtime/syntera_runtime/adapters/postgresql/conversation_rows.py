"""Rows of conversations as the model's class."""

import orjson
from asyncpg import Record

from ...models.conversations import Channel, Conversation, ConversationState
from ...models.ids import ContactId, ConversationId

CONVERSATION_COLUMNS = (
    "c.id, c.agent, c.created_at, c.updated_at, c.channel, c.state, c.title, c.metadata, c.revision, c.contact_id"
)
"""Of conversations `c`."""


def read_conversation(row: Record) -> Conversation:
    """A row with `CONVERSATION_COLUMNS`."""
    contact_id = row["contact_id"]
    return Conversation(
        id=ConversationId(row["id"]),
        agent=row["agent"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        channel=Channel(row["channel"]),
        state=ConversationState(row["state"]),
        title=row["title"],
        metadata=orjson.loads(row["metadata"]),
        revision=row["revision"],
        contact_id=None if contact_id is None else ContactId(contact_id),
    )
