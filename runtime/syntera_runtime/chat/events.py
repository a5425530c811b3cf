"""What a running turn tells its readers. The API gives these their shape on the wire."""

from dataclasses import dataclass

from ..errors import SynteraError, restore_error
from ..models.conversations import Message
from ..models.exchange import FinishReason
from ..models.ids import MessageId, TurnId
from ..models.knowledge import Citation, Refusal, Retrieval
from ..models.live_events import TurnRecord
from ..models.turns import EndedTurn, Turn, TurnState, Usage

# ---- a turn of a conversation; numbers grow over the whole life of the conversation ----


@dataclass(frozen=True, slots=True)
class ReplyStarted:
    """The user's message is stored and the agent is at work. Comes once, first."""

    number: int
    turn: Turn
    user_message: Message
    message_id: MessageId
    """The id that the reply is going to have."""


@dataclass(frozen=True, slots=True)
class ReplyDelta:
    """The next piece of the reply."""

    number: int
    message_id: MessageId
    text: str


@dataclass(frozen=True, slots=True)
class ReplyRetrieved:
    """Knowledge was looked up for the reply. Comes before its first piece, if it comes."""

    number: int
    message_id: MessageId
    retrieval: Retrieval


@dataclass(frozen=True, slots=True)
class ReplyCited:
    """What the reply has said until now cites a passage. Comes once for each, behind the piece that its number ends in."""

    number: int
    message_id: MessageId
    citation: Citation


@dataclass(frozen=True, slots=True)
class ReplySnapshot:
    """All of the reply until now, for readers of whom nobody knows what they have missed."""

    number: int
    turn: Turn
    user_message: Message
    message_id: MessageId
    text: str
    citations: tuple[Citation, ...] = ()
    retrieval: Retrieval | None = None


@dataclass(frozen=True, slots=True)
class ReplyUsed:
    """What the turn used of a model is known and counted. Comes right before the end, if it comes."""

    number: int
    turn_id: TurnId
    message_id: MessageId
    usage: Usage


@dataclass(frozen=True, slots=True)
class ReplyCompleted:
    """The reply is whole and stored. Comes last."""

    number: int
    ended: EndedTurn


@dataclass(frozen=True, slots=True)
class ReplyStopped:
    """Somebody has stopped the turn; what had been said is stored. Comes last."""

    number: int
    ended: EndedTurn


@dataclass(frozen=True, slots=True)
class ReplyFailed:
    """The turn failed. Comes last."""

    number: int
    ended: EndedTurn | None
    """None: the failure itself could not be stored, and the turn ends when its lease does."""
    error: SynteraError


ReplyEnded = ReplyCompleted | ReplyStopped | ReplyFailed
ReplyPiece = ReplyRetrieved | ReplyDelta | ReplyCited
"""What is of no use to a reader who lacks what came before."""
TurnEvent = ReplyStarted | ReplyPiece | ReplySnapshot | ReplyUsed | ReplyEnded


def ending_event(number: int, ended: EndedTurn) -> ReplyEnded:
    """The last event of a turn as it was stored."""
    failure = ended.turn.failure
    if failure is not None:
        return ReplyFailed(number, ended, restore_error(failure.code, failure.detail))
    return ReplyStopped(number, ended) if ended.turn.state is TurnState.STOPPED else ReplyCompleted(number, ended)


def stored_event(record: TurnRecord) -> TurnEvent:
    """What the store can tell of a turn: its end, or that it runs."""
    if record.reply is None or record.last_event is None:
        return ReplyStarted(record.first_event, record.turn, record.user_message, record.reply_id)
    return ending_event(record.last_event, EndedTurn(record.turn, record.user_message, record.reply))


# ---- a chat completion ----


@dataclass(frozen=True, slots=True)
class CompletionDelta:
    """The next piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class CompletionCited:
    """What the answer has said until now cites a passage."""

    citation: Citation


@dataclass(frozen=True, slots=True)
class CompletionEnded:
    """The answer is whole. Comes last."""

    turn: Turn
    text: str
    finish_reason: FinishReason
    citations: tuple[Citation, ...] = ()
    refusal: Refusal | None = None
    """Why the text stands in place of an answer."""


@dataclass(frozen=True, slots=True)
class CompletionFailed:
    """There is no whole answer. Comes last."""

    error: SynteraError


CompletionEvent = CompletionDelta | CompletionCited | CompletionEnded | CompletionFailed
