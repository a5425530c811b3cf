"""What the runtime speaks of: principals, conversations, turns, messages, and the exchange with a model.

Plain frozen data. Nothing here knows HTTP, SQL or a vendor; borders turn these into their own shapes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, NewType
from uuid import UUID

from pydantic import JsonValue

from syntera_crds.contract.api_key import KeyKind, Scope

TenantId = NewType("TenantId", UUID)
ApiKeyId = NewType("ApiKeyId", UUID)
ConversationId = NewType("ConversationId", UUID)
TurnId = NewType("TurnId", UUID)
MessageId = NewType("MessageId", UUID)


EVENTS_OF_A_TURN = 2**21
"""Event numbers that a turn reserves when it begins, more than an answer can have pieces. Those not used are given back
when it ends; after a crash they are skipped, so that no number comes twice."""


# ---- who asks ----


@dataclass(frozen=True, slots=True)
class StoredApiKey:
    """A key as the store knows it: whether it may be used is decided from this."""

    id: ApiKeyId
    kind: KeyKind
    lookup: str
    hash: bytes
    """SHA-256 of the whole key."""
    scopes: frozenset[str]
    """Scopes that this release does not know are kept and grant nothing."""
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, after the credentials were checked."""

    tenant_id: TenantId
    key_id: ApiKeyId
    kind: KeyKind
    scopes: frozenset[str]

    def may(self, scope: Scope) -> bool:
        """Whether the principal holds `scope`, by itself or because it may do everything."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


# ---- what is said ----


class Role(StrEnum):
    """Who says a message of a conversation."""

    USER = "user"
    ASSISTANT = "assistant"


class MessageState(StrEnum):
    """Whether a message is whole."""

    COMPLETE = "complete"
    FAILED = "failed"
    """The turn failed; the content is what had been said until then, perhaps nothing."""


class TurnState(StrEnum):
    """How far a turn is."""

    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Usage:
    """What the endpoint says that an answer cost."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        """Both together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a turn failed: a stable code and a sentence of ours, never a vendor's words."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """A thread between a tenant's customer and one agent."""

    id: ConversationId
    agent: str
    created_at: datetime
    updated_at: datetime


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


@dataclass(frozen=True, slots=True)
class Turn:
    """One run of an agent: a user's message and the reply to it, or one chat completion."""

    id: TurnId
    conversation_id: ConversationId | None
    """None: a chat completion, of which nothing but the turn is stored."""
    agent: str
    agent_revision: int
    state: TurnState
    created_at: datetime
    ended_at: datetime | None = None
    endpoint: str | None = None
    """The model endpoint that answered; None until one did."""
    model: str | None = None
    usage: Usage | None = None
    """None: the endpoint did not say."""
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class TurnOutcome:
    """How a turn ended."""

    endpoint: str | None = None
    model: str | None = None
    usage: Usage | None = None
    failure: Failure | None = None
    """None: the turn is complete."""

    @property
    def state(self) -> TurnState:
        """The state that this outcome brings the turn to."""
        return TurnState.COMPLETE if self.failure is None else TurnState.FAILED


@dataclass(frozen=True, slots=True)
class TurnStart:
    """What is known of a turn when it begins."""

    agent: str
    agent_revision: int
    lease: timedelta
    """How long the turn stays with this process unless the lease is renewed."""


@dataclass(frozen=True, slots=True)
class NewConversation:
    """A conversation that was just made."""

    conversation: Conversation
    greeting: Message | None


@dataclass(frozen=True, slots=True)
class BegunTurn:
    """A turn that this process holds now, with what it needs to run."""

    turn: Turn
    user_message: Message
    reply_id: MessageId
    """The id that the reply is going to have; it follows the user's message."""
    history: tuple[Message, ...]
    """The newest messages before the user's one, oldest first."""
    last_event: int
    """Number of the conversation's last event before this turn."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What a turn leaves in its conversation."""

    text: str
    """The reply; of a failed turn, what had been said until then, perhaps nothing."""
    last_event: int
    """Number of the last event that the turn sent."""


@dataclass(frozen=True, slots=True)
class EndedTurn:
    """A turn of a conversation after its end."""

    turn: Turn
    user_message: Message
    reply: Message


# ---- the exchange with a model ----


@dataclass(frozen=True, slots=True)
class ModelMessage:
    """One message of a prompt."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What is asked of a model. The adapter merges it with the candidate: what the candidate sets wins, and of
    `max_output_tokens` the smaller."""

    messages: tuple[ModelMessage, ...]
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    stop: tuple[str, ...] = ()
    extra: Mapping[str, JsonValue] = field(default_factory=dict)
    """Further fields of the request body that the client asked for, passed through."""


@dataclass(frozen=True, slots=True)
class ModelStarted:
    """A candidate has begun to answer. Comes once, before any text."""

    endpoint: str
    """The endpoint's name in the Tenant."""
    model: str
    """The model's name as the endpoint states it."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the answer."""

    text: str


FinishReason = Literal["stop", "length", "content_filter"]


@dataclass(frozen=True, slots=True)
class ModelFinished:
    """The answer is whole. Comes once, last."""

    finish_reason: FinishReason
    usage: Usage | None = None
    """None: the endpoint did not say."""


ModelEvent = ModelStarted | TextDelta | ModelFinished
