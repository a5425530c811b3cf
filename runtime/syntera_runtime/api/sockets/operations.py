"""What each event of a client does: the same use cases, under the same permissions, as the requests of the API."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ...chat.events import ReplyStarted
from ...errors import SynteraError
from ...models.conversations import Marks
from ...models.ids import ConversationId, MessageId, TurnId
from ...models.live_events import TurnRecord
from ...services import Services
from ...views.base import View
from ...views.conversations import MessageView
from ..idempotency import build_request_key
from ..schemas import Input, MarksView, StopRequested, TurnView
from .catalogue import InConversation, Join, Joined, Left, Mark, PresenceView, Send, Sent, Stop, Typing, TypingView
from .participations import Participations
from .sockets import Socket

Asked = TypeVar("Asked", bound=Input)


@dataclass(frozen=True, slots=True)
class Desk:
    """What operations work with."""

    services: Services
    participations: Participations


@dataclass(frozen=True, slots=True)
class Operation(Generic[Asked]):
    """What one event does."""

    requires: str
    """The operation of the API that needs the same permission."""
    takes: type[Asked]
    run: Callable[[Desk, Socket, Asked], Awaitable[View]]
    is_message: bool = False
    """It makes an agent answer."""
    is_counted: bool = True
    """It counts as a request. False: against the limit on typing, which is the socket's own."""


async def _join(desk: Desk, socket: Socket, asked: Join) -> View:
    conversation_id = ConversationId(asked.conversation_id)
    joined, presence = await desk.participations.join(socket, conversation_id, after=asked.last_event_id)
    return Joined(
        conversation_id=conversation_id,
        member_id=joined.member.id,
        presence=None if presence is None else PresenceView.of(conversation_id, presence),
    )


async def _leave(desk: Desk, socket: Socket, asked: InConversation) -> View:
    await desk.participations.leave(socket, ConversationId(asked.conversation_id))
    return Left(conversation_id=asked.conversation_id)


async def _send(desk: Desk, socket: Socket, asked: Send) -> View:
    """Begin the turn, or find it where the same request has begun it. It goes on by itself."""
    principal, conversation_id = socket.principal, ConversationId(asked.conversation_id)
    key = None if asked.idempotency_key is None else build_request_key(principal, asked.idempotency_key)
    said = await desk.services.conversations.send_once(
        principal, conversation_id, content=asked.content, file_ids=asked.file_ids, request_key=key
    )
    if isinstance(said, TurnRecord):
        return _replay(said)
    feed = said
    begun = await feed.next()
    feed.leave()
    if not isinstance(begun, ReplyStarted):
        raise SynteraError
    return Sent(
        user_message=MessageView.of(begun.user_message),
        message_id=begun.message_id,
        turn=TurnView.of(begun.turn),
        is_replayed=False,
    )


def _replay(record: TurnRecord) -> Sent:
    return Sent(
        user_message=MessageView.of(record.user_message),
        message_id=record.reply_id,
        turn=TurnView.of(record.turn),
        is_replayed=True,
    )


async def _stop(desk: Desk, socket: Socket, asked: Stop) -> View:
    turn_id = None if asked.turn_id is None else TurnId(asked.turn_id)
    stopped = await desk.services.conversations.stop(
        socket.principal, ConversationId(asked.conversation_id), turn_id=turn_id
    )
    return StopRequested(turn_id=stopped)


async def _type(desk: Desk, socket: Socket, asked: Typing) -> View:
    conversation_id = ConversationId(asked.conversation_id)
    joined = await desk.participations.type(socket, conversation_id, is_typing=asked.is_typing)
    return TypingView.of(conversation_id, joined.member, is_typing=asked.is_typing)


async def _mark(desk: Desk, socket: Socket, asked: Mark) -> View:
    marks = Marks(
        None if asked.read_message_id is None else MessageId(asked.read_message_id),
        None if asked.delivered_message_id is None else MessageId(asked.delivered_message_id),
    )
    marked = await desk.services.management.mark(socket.principal, ConversationId(asked.conversation_id), marks)
    return MarksView.of(marked)


OPERATIONS: Mapping[str, Operation[Any]] = {
    "conversation.join": Operation("followConversation", Join, _join),
    "conversation.leave": Operation("followConversation", InConversation, _leave),
    "message.send": Operation("sendMessage", Send, _send, is_message=True),
    "turn.stop": Operation("stopTurn", Stop, _stop),
    # Told many times a minute and kept nowhere: it has a limit of its own.
    "typing": Operation("sendMessage", Typing, _type, is_counted=False),
    "marks.put": Operation("putMarks", Mark, _mark),
}
"""By the event's name."""
RENEW = "session.renew"
"""The one event that is about the socket itself; the server answers it."""
EVENTS = frozenset({*OPERATIONS, RENEW})
