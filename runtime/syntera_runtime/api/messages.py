"""Messages of a conversation: say something and get the reply, whole or as it comes; read what was said."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response

from ..chat.events import ReplyCompleted, ReplyEnded, ReplyFailed, ReplyStarted, ReplyStopped, TurnEvent, ending_event
from ..chat.feed import Feed, Source
from ..chat.followers import OneTurn
from ..errors import ShuttingDown
from ..models.identity import Principal
from ..models.ids import ConversationId, FileId, MessageId, RequestKey, TurnId
from ..models.turns import EVENTS_OF_A_TURN, EndedTurn
from ..services import Services
from ..views.conversations import MessageView
from .auth import Asker, AskerSession
from .context import ConversationInPath, ServicesOfRequest, request_id_of
from .events import CATALOGUE_VERSION, VERSION_HEADER, render_end, render_event
from .idempotency import REPLAYED, WantedOnce
from .limits import StreamSlot
from .negotiation import negotiate
from .pages import WantedPage, make_cursor
from .problems import error_response, problem_responses
from .routing import ApiRoute
from .schemas import MessageInput, Page, SentMessage, TurnView
from .streams import MEDIA_TYPE, EventStream

router = APIRouter(route_class=ApiRoute, tags=["messages"])

_STREAMED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The reply: whole, or with `Accept: text/event-stream` as server-sent events `message.started`, "
        "`message.delta`, and at the end `usage` and one of `message.completed`, `message.stopped` and `message.failed`, "
        "whose data are the schemas `MessageStarted`, `MessageDelta`, `TurnUsage`, `MessageCompleted`, `MessageStopped` "
        "and `MessageFailed`.",
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
    }
}


@router.post(
    "/v1/conversations/{conversationId}/messages",
    operation_id="sendMessage",
    response_model=SentMessage,
    responses={**_STREAMED, **problem_responses(400, 404, 406, 408, 409, 413, 415, 422, 502, 503, 504)},
)
async def send_message(
    *,
    conversation_id: ConversationInPath,
    message: MessageInput,
    request: Request,
    services: ServicesOfRequest,
    asker: Asker,
    session: AskerSession,
    request_key: WantedOnce,
    take_slot: StreamSlot,
    accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
) -> Response:
    """Say something. The agent's turn then goes on by itself: whoever leaves finds the reply in the list of messages.

    One turn runs at a time in a conversation; a message that comes meanwhile is refused with `conversation-busy` and the
    running turn's id. With an `Idempotency-Key` the same message is taken once, however often it is sent: who repeats it gets the
    events of the turn that it began. A stream that broke off is resumed at the conversation's events, after the last event's id.
    """
    wanted = negotiate(accept, ("application/json", MEDIA_TYPE))
    if wanted == MEDIA_TYPE:
        await take_slot()
    spoken = await _say(
        services,
        asker,
        ConversationId(conversation_id),
        content=message.content,
        file_ids=message.file_ids,
        request_key=request_key,
    )
    headers = {VERSION_HEADER: CATALOGUE_VERSION, **spoken.headers}
    if wanted == MEDIA_TYPE:
        return EventStream(
            spoken.source,
            render=partial(render_event, request_id=request_id_of(request)),
            watching=partial(services.session_watch.watch, session),
            render_end=partial(render_end, request_id=request_id_of(request)),
            ping_seconds=services.limits.ping_seconds,
            on_close=spoken.leave,
            open_streams=services.metrics.streams_open,
            headers=headers,
        )
    try:
        answer = _answer(request, await _read_all(spoken.source))
    finally:
        spoken.leave()
    answer.headers.update(spoken.headers)
    return answer


@router.get(
    "/v1/conversations/{conversationId}/messages",
    operation_id="listMessages",
    responses=problem_responses(400, 404, 503),
)
async def list_messages(
    conversation_id: ConversationInPath, page: WantedPage, services: ServicesOfRequest, asker: Asker
) -> Page[MessageView]:
    """What was said, oldest first. A message that comes while pages are read appears on a later page."""
    after = page.after
    found = await services.conversations.messages(
        asker,
        ConversationId(conversation_id),
        after=None if after is None else MessageId(after),
        limit=page.limit + 1,
    )
    items = found[: page.limit]
    return Page(
        items=[MessageView.of(message) for message in items],
        next_cursor=make_cursor(items[-1].id) if len(found) > page.limit else None,
    )


@dataclass(frozen=True, slots=True)
class _Spoken:
    """A turn that somebody wants to hear."""

    source: Source[TurnEvent]
    leave: Callable[[], None]
    headers: Mapping[str, str]


async def _say(
    services: Services,
    principal: Principal,
    conversation_id: ConversationId,
    *,
    content: str,
    file_ids: Sequence[FileId],
    request_key: RequestKey | None,
) -> _Spoken:
    """Begin the turn, or find it where the same request has begun it."""
    conversations, followers = services.conversations, services.followers
    said = await conversations.send_once(
        principal, conversation_id, content=content, file_ids=file_ids, request_key=request_key
    )
    if isinstance(said, Feed):
        return _Spoken(said, said.leave, {})
    if said.reply is not None:
        told: Feed[TurnEvent] = Feed()
        ended = EndedTurn(said.turn, said.user_message, said.reply)
        told.publish(ending_event(said.last_event or said.first_event + EVENTS_OF_A_TURN - 1, ended))
        told.end()
        return _Spoken(told, told.leave, REPLAYED)
    follower = await conversations.follow(principal, conversation_id, after=said.first_event - 1)
    return _Spoken(OneTurn(follower), partial(followers.leave, follower), REPLAYED)


async def _read_all(source: Source[TurnEvent]) -> tuple[TurnId | None, ReplyEnded]:
    """The turn, where its beginning was told, and its last event.

    Raises:
        ShuttingDown: The process ends before the turn does.
    """
    turn_id = None
    while (event := await source.next()) is not None:
        if isinstance(event, ReplyStarted):
            turn_id = event.turn.id
        if isinstance(event, ReplyEnded):
            return turn_id, event
    raise ShuttingDown


def _answer(request: Request, told: tuple[TurnId | None, ReplyEnded]) -> Response:
    turn_id, last = told
    match last:
        case ReplyFailed(ended=stored):
            if stored is not None:
                turn_id = stored.turn.id
            return error_response(
                request,
                last.error,
                turn_id=None if turn_id is None else str(turn_id),
                message_id=None if stored is None else str(stored.reply.id),
            )
        case ReplyCompleted(ended=ended) | ReplyStopped(ended=ended):
            sent = SentMessage(
                user_message=MessageView.of(ended.user_message),
                message=MessageView.of(ended.reply),
                turn=TurnView.of(ended.turn),
            )
            return Response(sent.model_dump_json(by_alias=True), media_type="application/json")
