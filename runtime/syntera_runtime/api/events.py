"""The events of a turn on the wire. The catalogue is documented in `docs/reference/http-api.md`; clients must ignore
events and fields that they do not know."""

from typing import Self
from uuid import UUID

from fastapi.sse import format_sse_event

from ..chat.events import (
    ReplyCited,
    ReplyCompleted,
    ReplyDelta,
    ReplyEnded,
    ReplyFailed,
    ReplyPiece,
    ReplyRetrieved,
    ReplySnapshot,
    ReplyStarted,
    ReplyStopped,
    ReplyUsed,
    TurnEvent,
)
from ..errors import SynteraError
from ..views.base import View
from ..views.citations import CitationView, KnowledgeRetrievalView
from ..views.conversations import MessageView
from .problems import Problem, build_problem
from .schemas import TurnView, UsageView

CATALOGUE_VERSION = "1"
"""Grows when an event or a field of one goes or changes its meaning; what is added leaves it as it is."""
VERSION_HEADER = "Syntera-Events-Version"


class MessageStarted(View):
    """`message.started`: the user's message is stored, the agent is at work."""

    user_message: MessageView
    message_id: UUID
    """The id that the reply is going to have."""
    turn: TurnView

    @classmethod
    def of(cls, event: ReplyStarted) -> Self:
        """The view of `event`."""
        return cls(
            user_message=MessageView.of(event.user_message),
            message_id=event.message_id,
            turn=TurnView.of(event.turn),
        )


class MessageDelta(View):
    """`message.delta`: the next piece of the reply."""

    message_id: UUID
    text: str


class MessageRetrieval(KnowledgeRetrievalView):
    """`retrieval`: knowledge was looked up for the reply. Comes before its first text, if it comes."""

    message_id: UUID


class MessageCitation(View):
    """`citation`: the text until here cites a passage. Comes once for each number that stands for one."""

    message_id: UUID
    citation: CitationView


class MessageSnapshot(View):
    """`message.snapshot`: all of the reply until now, in place of what the client has of it."""

    user_message: MessageView
    message_id: UUID
    turn: TurnView
    text: str
    citations: list[CitationView]
    """What it cites."""
    retrieval: KnowledgeRetrievalView | None
    """What was looked up for it. None: nothing."""

    @classmethod
    def of(cls, event: ReplySnapshot) -> Self:
        """The view of `event`."""
        return cls(
            user_message=MessageView.of(event.user_message),
            message_id=event.message_id,
            turn=TurnView.of(event.turn),
            text=event.text,
            citations=[CitationView.of(citation) for citation in event.citations],
            retrieval=None if event.retrieval is None else KnowledgeRetrievalView.of(event.retrieval),
        )


class TurnUsage(View):
    """`usage`: what the turn used of a model, right before its last event, which says the same in `turn`."""

    turn_id: UUID
    message_id: UUID
    usage: UsageView


class MessageCompleted(View):
    """`message.completed`: the reply is whole and stored. The turn's last event."""

    message: MessageView
    turn: TurnView


class MessageStopped(View):
    """`message.stopped`: somebody has stopped the turn; what had been said is stored. The turn's last event."""

    message: MessageView
    turn: TurnView


class MessageFailed(View):
    """`message.failed`: there will be no whole reply. The turn's last event."""

    message: MessageView | None
    """What had been said until then. None: not even the failure could be stored."""
    turn: TurnView | None
    error: Problem


class StreamEnded(View):
    """`stream.ended`: the reader's credentials are not valid any more. It has no number, and nothing follows it."""

    error: Problem


def render_end(error: SynteraError, *, request_id: str) -> bytes:
    """The end of a stream whose reader's credentials ended."""
    view = StreamEnded(error=build_problem(error, request_id=request_id))
    return format_sse_event(data_str=view.model_dump_json(by_alias=True), event="stream.ended")


def render_event(event: TurnEvent, *, request_id: str) -> bytes:
    """The event as one server-sent event."""
    name, view = view_event(event, request_id=request_id)
    return format_sse_event(data_str=view.model_dump_json(by_alias=True), event=name, id=str(event.number))


def view_event(event: TurnEvent, *, request_id: str) -> tuple[str, View]:
    """What the event is called, and what it tells."""
    match event:
        case ReplyCompleted() | ReplyStopped() | ReplyFailed():
            return _view_of_end(event, request_id)
        case ReplyRetrieved() | ReplyDelta() | ReplyCited():
            return _view_of_piece(event)
        case ReplyStarted():
            return "message.started", MessageStarted.of(event)
        case ReplySnapshot():
            return "message.snapshot", MessageSnapshot.of(event)
        case ReplyUsed():
            return "usage", TurnUsage(
                turn_id=event.turn_id, message_id=event.message_id, usage=UsageView.of(event.usage)
            )


def _view_of_piece(event: ReplyPiece) -> tuple[str, View]:
    match event:
        case ReplyDelta():
            return "message.delta", MessageDelta(message_id=event.message_id, text=event.text)
        case ReplyRetrieved():
            told = KnowledgeRetrievalView.of(event.retrieval)
            return "retrieval", MessageRetrieval(message_id=event.message_id, **dict(told))
        case ReplyCited():
            return "citation", MessageCitation(message_id=event.message_id, citation=CitationView.of(event.citation))


def _view_of_end(event: ReplyEnded, request_id: str) -> tuple[str, View]:
    match event:
        case ReplyCompleted(ended=ended):
            return "message.completed", MessageCompleted(
                message=MessageView.of(ended.reply), turn=TurnView.of(ended.turn)
            )
        case ReplyStopped(ended=ended):
            return "message.stopped", MessageStopped(message=MessageView.of(ended.reply), turn=TurnView.of(ended.turn))
        case ReplyFailed(ended=stored):
            return "message.failed", MessageFailed(
                message=None if stored is None else MessageView.of(stored.reply),
                turn=None if stored is None else TurnView.of(stored.turn),
                error=build_problem(event.error, request_id=request_id),
            )
