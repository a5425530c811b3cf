"""The events of conversations as clients read them; `docs/reference/http-api.md` has the catalogue."""

from collections.abc import Mapping
from typing import Any, TypeAlias
from uuid import UUID

import httpx2
import pydantic_core
from pydantic import ValidationError

from .errors import ApiError, UnexpectedAnswer, build_api_error
from .models import Answer, Citation, KnowledgeRetrieval, Message, Problem, Turn, Usage


class _Numbered(Answer):
    number: int
    """The event's number in its conversation, by which a stream is resumed."""


class MessageStarted(_Numbered):
    """The user's message is stored, the agent is at work."""

    user_message: Message
    message_id: UUID
    """The id that the reply is going to have."""
    turn: Turn


class MessageDelta(_Numbered):
    """The next piece of the reply."""

    message_id: UUID
    text: str


class MessageRetrieval(KnowledgeRetrieval, _Numbered):
    """Knowledge was looked up for the reply. Comes before its first text, if it comes."""

    message_id: UUID


class MessageCitation(_Numbered):
    """The text until here cites a passage. Comes once for each number that stands for one."""

    message_id: UUID
    citation: Citation


class MessageSnapshot(_Numbered):
    """All of the reply until now, in place of what came of it before."""

    user_message: Message
    message_id: UUID
    turn: Turn
    text: str
    citations: list[Citation] = []
    """What it cites."""
    retrieval: KnowledgeRetrieval | None = None
    """What was looked up for it. None: nothing."""


class TurnUsage(_Numbered):
    """What the turn used of a model, right before its last event, which says the same in `turn`."""

    turn_id: UUID
    message_id: UUID
    usage: Usage


class MessageCompleted(_Numbered):
    """The reply is whole and stored. The turn's last event."""

    message: Message
    turn: Turn


class MessageStopped(_Numbered):
    """Somebody has stopped the turn; what had been said is stored. The turn's last event."""

    message: Message
    turn: Turn


class MessageFailed(_Numbered):
    """There will be no whole reply. The turn's last event."""

    message: Message | None = None
    """What had been said until then. None: not even the failure could be stored."""
    turn: Turn | None = None
    error: Problem


class StreamEnded(Answer):
    """The credentials have ended. It has no number, and nothing follows it."""

    error: Problem


class UnknownEvent(_Numbered):
    """An event that this release does not know."""

    name: str
    data: dict[str, Any]


Event: TypeAlias = (
    MessageStarted
    | MessageRetrieval
    | MessageDelta
    | MessageCitation
    | MessageSnapshot
    | TurnUsage
    | MessageCompleted
    | MessageStopped
    | MessageFailed
    | UnknownEvent
)
EndOfTurn = (MessageCompleted, MessageStopped, MessageFailed)
_KINDS: Mapping[str, type[Event]] = {
    "message.started": MessageStarted,
    "retrieval": MessageRetrieval,
    "message.delta": MessageDelta,
    "citation": MessageCitation,
    "message.snapshot": MessageSnapshot,
    "usage": TurnUsage,
    "message.completed": MessageCompleted,
    "message.stopped": MessageStopped,
    "message.failed": MessageFailed,
}


def read_end(sent: httpx2.ServerSentEvent) -> ApiError | None:
    """Why the stream is over; None: what was sent does not say that it is.

    Raises:
        UnexpectedAnswer: It says so, and not why.
    """
    if sent.event != "stream.ended":
        return None
    try:
        problem = StreamEnded.model_validate_json(sent.data).error
    except ValidationError:
        raise _unexpected(sent) from None
    return build_api_error(problem, status=problem.status)


def read_event(sent: httpx2.ServerSentEvent) -> Event:
    """The event that was sent.

    Raises:
        UnexpectedAnswer: It is none of a conversation's.
    """
    try:
        number, data = int(sent.id), pydantic_core.from_json(sent.data)
        kind = _KINDS.get(sent.event)
        if kind is None:
            return UnknownEvent(number=number, name=sent.event, data=data)
        return kind.model_validate({**data, "number": number})
    except (ValueError, TypeError, ValidationError):
        raise _unexpected(sent) from None


def _unexpected(sent: httpx2.ServerSentEvent) -> UnexpectedAnswer:
    return UnexpectedAnswer(f"An event {sent.event!r} came that is none of a conversation.")


def reply_of(event: Event) -> UUID | None:
    """The id of the reply that the event is about, where it says so."""
    match event:
        case (
            MessageStarted() | MessageRetrieval() | MessageDelta() | MessageCitation() | MessageSnapshot() | TurnUsage()
        ):
            return event.message_id
        case MessageCompleted() | MessageStopped() | MessageFailed():
            return None if event.message is None else event.message.id
        case _:
            return None
