"""What a running turn tells its reader. The API gives these their shape on the wire."""

from dataclasses import dataclass

from ..errors import SynteraError
from ..models import BegunTurn, EndedTurn, FinishReason, MessageId, Turn

# ---- a turn of a conversation; numbers grow over the whole life of the conversation ----


@dataclass(frozen=True, slots=True)
class ReplyStarted:
    """The user's message is stored and the agent is at work. Comes once, first."""

    number: int
    begun: BegunTurn


@dataclass(frozen=True, slots=True)
class ReplyDelta:
    """The next piece of the reply."""

    number: int
    message_id: MessageId
    text: str


@dataclass(frozen=True, slots=True)
class ReplyCompleted:
    """The reply is whole and stored. Comes last."""

    number: int
    ended: EndedTurn


@dataclass(frozen=True, slots=True)
class ReplyFailed:
    """The turn failed. Comes last."""

    number: int
    begun: BegunTurn
    ended: EndedTurn | None
    """None: the failure itself could not be stored, and the turn ends when its lease does."""
    error: SynteraError


TurnEvent = ReplyStarted | ReplyDelta | ReplyCompleted | ReplyFailed


# ---- a chat completion ----


@dataclass(frozen=True, slots=True)
class CompletionDelta:
    """The next piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class CompletionEnded:
    """The answer is whole. Comes last."""

    turn: Turn
    text: str
    finish_reason: FinishReason


@dataclass(frozen=True, slots=True)
class CompletionFailed:
    """There is no whole answer. Comes last."""

    error: SynteraError


CompletionEvent = CompletionDelta | CompletionEnded | CompletionFailed
