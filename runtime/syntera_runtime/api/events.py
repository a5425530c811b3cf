"""The events of a turn on the wire. The catalogue is documented in `docs/reference/http-api.md`; clients must ignore
events and fields that they do not know."""

from typing import Self
from uuid import UUID

from fastapi.sse import format_sse_event

from ..chat.events import ReplyCompleted, ReplyDelta, ReplyFailed, ReplyStarted, TurnEvent
from .problems import Problem, build_problem
from .schemas import MessageView, TurnView, View


class MessageStarted(View):
    """`message.started`: the user's message is stored, the agent is at work."""

    user_message: MessageView
    message_id: UUID
    """The id that the reply is going to have."""
    turn: TurnView

    @classmethod
    def of(cls, event: ReplyStarted) -> Self:
        """The view of `event`."""
        begun = event.begun
        return cls(
            user_message=MessageView.of(begun.user_message), message_id=begun.reply_id, turn=TurnView.of(begun.turn)
        )


class MessageDelta(View):
    """`message.delta`: the next piece of the reply."""

    message_id: UUID
    text: str


class MessageCompleted(View):
    """`message.completed`: the reply is whole and stored. The last event."""

    message: MessageView
    turn: TurnView


class MessageFailed(View):
    """`message.failed`: there will be no whole reply. The last event."""

    message: MessageView | None
    """What had been said until then. None: not even the failure could be stored."""
    turn: TurnView | None
    error: Problem


def render_event(event: TurnEvent, *, request_id: str) -> bytes:
    """The event as one server-sent event."""
    name, view = _view(event, request_id)
    return format_sse_event(data_str=view.model_dump_json(by_alias=True), event=name, id=str(event.number))


def _view(event: TurnEvent, request_id: str) -> tuple[str, View]:
    match event:
        case ReplyStarted():
            return "message.started", MessageStarted.of(event)
        case ReplyDelta():
            return "message.delta", MessageDelta(message_id=event.message_id, text=event.text)
        case ReplyCompleted(ended=ended):
            return "message.completed", MessageCompleted(
                message=MessageView.of(ended.reply), turn=TurnView.of(ended.turn)
            )
        case ReplyFailed(ended=ended):
            return "message.failed", MessageFailed(
                message=None if ended is None else MessageView.of(ended.reply),
                turn=None if ended is None else TurnView.of(ended.turn),
                error=build_problem(event.error, request_id=request_id),
            )
