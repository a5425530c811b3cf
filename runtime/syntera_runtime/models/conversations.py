"""What is said: conversations, their messages, and what people edit of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from .files import (
    Attachment,
    Part,
    Parts,
    RefusalPart,
    RetrievalPart,
    TextPart,
    attachments_of,
    citations_of,
    refusal_of,
    retrieval_of,
)
from .ids import ContactId, ConversationId, MessageId, RequestKey, TurnId
from .knowledge import Citation, Refusal, Retrieval
from .usage import Budget


class Role(StrEnum):
    """Who says a message of a conversation."""

    USER = "user"
    ASSISTANT = "assistant"


class MessageState(StrEnum):
    """Whether a message is whole."""

    COMPLETE = "complete"
    FAILED = "failed"
    """The turn failed; the content is what had been said until then, perhaps nothing."""
    STOPPED = "stopped"
    """Somebody stopped the turn; the content is what had been said until then, perhaps nothing."""


class Channel(StrEnum):
    """How the customer's words come in."""

    CHAT = "chat"
    VOICE = "voice"
    EMAIL = "email"
    SMS = "sms"
    API = "api"


class ConversationState(StrEnum):
    """Whether a conversation goes on."""

    ACTIVE = "active"
    ENDED = "ended"
    """Nothing more is said in it until somebody makes it active again."""
    ARCHIVED = "archived"
    """Ended, and out of sight: lists leave it out unless they are asked for it."""


class Side(StrEnum):
    """Whose eyes read a conversation."""

    CONTACT = "contact"
    """The customer's."""
    STAFF = "staff"
    """The tenant's own people and programs."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a turn failed: a stable code and a sentence of ours, never a vendor's words."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Message:
    """One thing said in a conversation. Messages are ordered by their ids."""

    id: MessageId
    conversation_id: ConversationId
    role: Role
    content: str
    created_at: datetime
    state: MessageState = MessageState.COMPLETE
    turn_id: TurnId | None = None
    """None: no turn made it, as with a greeting."""
    failure: Failure | None = None
    """Why the message is incomplete, where its state is failed."""
    limited_by: Budget | None = None
    """The limit that is the reason for this reply: no model has said it."""
    parts: Parts = ()
    """What it consists of, in order. Empty: of its content alone, as one text."""

    @property
    def all_parts(self) -> Sequence[Part]:
        """What it consists of for its readers, in order."""
        shown = tuple(part for part in self.parts if not isinstance(part, RefusalPart | RetrievalPart))
        return shown or (TextPart(self.content),)

    @property
    def attachments(self) -> Sequence[Attachment]:
        """The files that it holds."""
        return attachments_of(self.parts)

    @property
    def citations(self) -> Sequence[Citation]:
        """What the numbers in its text stand for."""
        return citations_of(self.parts)

    @property
    def refused(self) -> Refusal | None:
        """Why this was said in place of an answer; None: it is no refusal."""
        return refusal_of(self.parts)

    @property
    def retrieval(self) -> Retrieval | None:
        """What was looked up before this was said; None: nothing."""
        return retrieval_of(self.parts)


@dataclass(frozen=True, slots=True)
class Conversation:
    """A thread between a tenant's customer and one agent."""

    id: ConversationId
    agent: str
    created_at: datetime
    updated_at: datetime
    """When something was said last."""
    channel: Channel = Channel.API
    state: ConversationState = ConversationState.ACTIVE
    title: str | None = None
    """None: nobody has said anything yet, nor given it one."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Whatever the tenant's programs want to remember; means nothing here."""
    revision: int = 1
    """Grows with every change of what people may edit."""
    contact_id: ContactId | None = None
    """The customer whose conversation it is; None: it was begun with a secret key, or by one of the tenant's people."""


MOST_UNREAD = 100
"""Unread messages are counted up to this."""


@dataclass(frozen=True, slots=True)
class ConversationSummary:
    """A conversation as it stands in a list."""

    conversation: Conversation
    last_message: "Message | None"
    unread: int
    """Messages of the other side that the asking side has not marked as read, at most `MOST_UNREAD`."""


class ConversationOrder(StrEnum):
    """How conversations are listed."""

    CREATED = "created"
    """The newest first; a conversation keeps its place for ever."""
    ACTIVITY = "activity"
    """The one in which something was said last first; a conversation moves to the front when that happens."""


@dataclass(frozen=True, slots=True)
class ConversationFilter:
    """Which conversations are wanted. None: any."""

    agent: str | None = None
    channel: Channel | None = None
    states: frozenset[ConversationState] = frozenset({ConversationState.ACTIVE, ConversationState.ENDED})
    words: str | None = None
    """Words that a message or the title must hold, in the syntax of web search engines: `"exact words"`, `or`, `-not`."""
    created_from: datetime | None = None
    created_before: datetime | None = None
    contact_id: ContactId | None = None


@dataclass(frozen=True, slots=True)
class ListPosition:
    """Where a page of conversations ended."""

    id: ConversationId
    at: datetime
    """Of what the list is ordered by."""


@dataclass(frozen=True, slots=True)
class ConversationChange:
    """What is to be different. None: as it is."""

    title: str | None = None
    metadata: Mapping[str, str] | None = None
    """All of it."""
    state: ConversationState | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationStart:
    """How a conversation begins."""

    agent: str
    greeting: str | None = None
    """What the agent says first."""
    channel: Channel = Channel.API
    title: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    request_key: RequestKey | None = None
    """Of the request that begins it; no two conversations have the same."""


@dataclass(frozen=True, slots=True)
class NewConversation:
    """A conversation that was just made."""

    conversation: Conversation
    greeting: Message | None


class Rating(StrEnum):
    """What somebody thinks of a reply."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Feedback:
    """A judgement on one reply."""

    message_id: "MessageId"
    author: str
    """The subject of the principal that gave it; each has one say."""
    rating: Rating
    comment: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Marks:
    """How far one side has come in a conversation."""

    read: "MessageId | None" = None
    """The newest message that was read."""
    delivered: "MessageId | None" = None
    """The newest message that has arrived at a device."""
