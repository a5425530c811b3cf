"""Turns: one run of an agent each, from its beginning to its end."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from .conversations import Failure, Message
from .ids import ConversationId, MessageId, RequestKey, TurnId
from .knowledge import Citation, Refusal, Retrieval
from .usage import Budget, Cost, LimitLevel, LimitMet, Spent

EVENTS_OF_A_TURN = 2**21
"""Event numbers that a turn reserves when it begins, more than an answer can have pieces. Those not used are given back
when it ends; after a crash they are skipped, so that no number comes twice."""


class TurnState(StrEnum):
    """How far a turn is."""

    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of an answer, as the endpoint says."""

    prompt_tokens: int
    completion_tokens: int
    is_estimated: bool = False
    """The endpoint did not say; see `models/tokens.py`."""

    @property
    def total_tokens(self) -> int:
        """Both together."""
        return self.prompt_tokens + self.completion_tokens


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
    """None: no model was asked, or nothing is known of it."""
    failure: Failure | None = None
    cost: Cost | None = None
    """None: nobody has said what the model costs."""
    limit: LimitMet | None = None
    """The limit that it met when it began."""


@dataclass(frozen=True, slots=True)
class TurnOutcome:
    """How a turn ended."""

    endpoint: str | None = None
    model: str | None = None
    usage: Usage | None = None
    failure: Failure | None = None
    """None: the turn did not fail."""
    is_stopped: bool = False
    """Somebody who talks to the agent has stopped it."""
    asked_model: str | None = None
    """The model's name in the agent's configuration."""
    cost: Cost | None = None
    limit: LimitMet | None = None

    @property
    def limited_by(self) -> Budget | None:
        """The limit for which no model was asked."""
        return self.limit.budget if self.limit is not None and self.limit.level is LimitLevel.HARD else None

    @property
    def state(self) -> TurnState:
        """The state that this outcome brings the turn to."""
        if self.failure is not None:
            return TurnState.FAILED
        return TurnState.STOPPED if self.is_stopped else TurnState.COMPLETE


@dataclass(frozen=True, slots=True)
class TurnStart:
    """What is known of a turn when it begins."""

    agent: str
    agent_revision: int
    lease: timedelta
    """How long the turn stays with this process unless the lease is renewed."""
    request_key: RequestKey | None = None
    """Of the request that begins it; no two turns have the same."""
    title: str | None = None
    """What the conversation is called from now on, if nobody has called it anything."""
    person: str | None = None
    """Whose tokens it uses, at most 256 bytes. None: a program's, with a secret key."""
    prompt_tokens: int = 0
    """What is known of the prompt, as estimated: without what the store reads for it."""
    takes_images: bool = False
    """Whether a model that may be asked takes images, so that those of the prompt count."""


@dataclass(frozen=True, slots=True)
class BegunCompletion:
    """A turn without a conversation that this process holds now."""

    turn: Turn
    spent: Spent


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
    spent: Spent = field(default_factory=Spent)

    @property
    def first_event(self) -> int:
        """Number of the turn's first event. It grows from turn to turn of a conversation, and fences: whatever the turn
        writes at its end is written only while the store knows the turn as running under this number."""
        return self.last_event + 1


@dataclass(frozen=True, slots=True)
class Said:
    """What the agent has said in a turn until now."""

    text: str = ""
    citations: tuple[Citation, ...] = ()
    """What the text cites."""
    retrieval: Retrieval | None = None
    """What was looked up before. None: nothing, or it has not ended."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What a turn leaves in its conversation."""

    text: str
    """The reply; of a failed turn, what had been said until then, perhaps nothing."""
    last_event: int
    """Number of the last event that the turn sent."""
    citations: tuple[Citation, ...] = ()
    """What the text cites."""
    refusal: Refusal | None = None
    """Why the text stands in place of an answer."""
    retrieval: Retrieval | None = None
    """What was looked up before."""


@dataclass(frozen=True, slots=True)
class EndedTurn:
    """A turn of a conversation after its end."""

    turn: Turn
    user_message: Message
    reply: Message


@dataclass(frozen=True, slots=True)
class ExpiredTurn:
    """A running turn whose lease has ended: its process is dead or frozen."""

    id: TurnId
    conversation_id: ConversationId | None
    first_event: int | None
    """None: a turn without numbered events, as a chat completion's."""
    reply_id: MessageId | None
    """The id that the reply is going to have; None: there will be none."""

    @property
    def last_event(self) -> int | None:
        """The number that its end gets: the last one reserved, so that nothing its process still sends comes later."""
        return None if self.first_event is None else self.first_event - 1 + EVENTS_OF_A_TURN


@dataclass(frozen=True, slots=True)
class AbandonedTurn:
    """A turn that was ended in place of its process."""

    turn: Turn
    ended: EndedTurn | None
    """None: a chat completion."""
