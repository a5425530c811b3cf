"""What has changed, as the outbox tells it: who and what, never what people wrote."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pydantic import JsonValue

from .ids import ContactId, ConversationId, EventId, MessageId, TurnId

CATALOGUE_VERSION = 1
"""Of the types below and of what their events hold. Additions do not change it."""


class EventType(StrEnum):
    """What can happen."""

    CONVERSATION_CREATED = "conversation.created"
    CONVERSATION_UPDATED = "conversation.updated"
    """Its title, metadata or contact has changed, or it is active again."""
    CONVERSATION_ENDED = "conversation.ended"
    CONVERSATION_ARCHIVED = "conversation.archived"
    CONVERSATION_DELETED = "conversation.deleted"
    """With all that was said in it, of which nothing is told one by one."""
    TURN_STARTED = "turn.started"
    TURN_COMPLETED = "turn.completed"
    TURN_FAILED = "turn.failed"
    TURN_STOPPED = "turn.stopped"
    MESSAGE_CREATED = "message.created"
    """A user has said something, or the agent has greeted."""
    MESSAGE_COMPLETED = "message.completed"
    """The agent's reply is whole and stored."""
    MESSAGE_FAILED = "message.failed"
    MESSAGE_STOPPED = "message.stopped"
    CONTACT_CREATED = "contact.created"
    CONTACT_UPDATED = "contact.updated"
    """The name or the address of mail has changed."""
    FEEDBACK_CREATED = "feedback.created"
    FEEDBACK_UPDATED = "feedback.updated"
    FEEDBACK_DELETED = "feedback.deleted"
    """Whoever gave it has taken it back."""


@dataclass(frozen=True, slots=True)
class Subjects:
    """What an event is about."""

    conversation_id: ConversationId | None = None
    turn_id: TurnId | None = None
    message_id: MessageId | None = None
    contact_id: ContactId | None = None


@dataclass(frozen=True, slots=True, order=True)
class OutboxPosition:
    """A place in the outbox: what comes later is greater."""

    transaction: int = 0
    position: int = 0


@dataclass(frozen=True, slots=True)
class OutboxEvent:
    """One change."""

    id: EventId
    type: str
    """Of `EventType`; a later release may have written others."""
    subjects: Subjects
    created_at: datetime
    place: OutboxPosition
    payload: Mapping[str, JsonValue] = field(default_factory=dict)
    """States, and the names of fields that have changed."""


@dataclass(frozen=True, slots=True)
class OutboxBatch:
    """Events that a reader has been given and has not passed yet."""

    events: Sequence[OutboxEvent]
    """At least one; in order."""

    @property
    def last(self) -> OutboxPosition:
        """Where the reader is when it has worked on all of them."""
        return self.events[-1].place
