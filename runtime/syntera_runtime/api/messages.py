"""Messages of a conversation: say something and get the reply, whole or as it comes; read what was said."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response

from ..chat.events import ReplyCompleted, ReplyFailed, TurnEvent
from ..chat.feed import Feed
from ..models import ConversationId, MessageId
from .auth import Talker
from .context import ConversationInPath, ServicesOfRequest, request_id_of
from .events import render_event
from .negotiation import negotiate
from .pages import WantedPage, make_cursor
from .problems import error_response, problem_responses
from .routing import ApiRoute
from .schemas import MessageInput, MessageView, Page, SentMessage, TurnView
from .streams import MEDIA_TYPE, EventStream

router = APIRouter(route_class=ApiRoute, tags=["messages"])

_STREAMED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The reply: whole, or with `Accept: text/event-stream` as server-sent events `message.started`, "
        "`message.delta`, and at the end `message.completed` or `message.failed`, whose data are the schemas "
        "`MessageStarted`, `MessageDelta`, `MessageCompleted` and `MessageFailed`.",
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
    }
}


@router.post(
    "/v1/conversations/{conversationId}/messages",
    operation_id="sendMessage",
    response_model=SentMessage,
    responses={**_STREAMED, **problem_responses(400, 404, 406, 408, 409, 413, 415, 502, 503, 504)},
)
async def send_message(
    *,
    conversation_id: ConversationInPath,
    message: MessageInput,
    request: Request,
    services: ServicesOfRequest,
    talker: Talker,
    accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
) -> Response | SentMessage:
    """Say something. The agent's turn then goes on by itself: whoever leaves finds the reply in the list of messages.

    One turn runs at a time in a conversation; a message that comes meanwhile is refused with `conversation-busy`.
    """
    wanted = negotiate(accept, ("application/json", MEDIA_TYPE))
    feed = await services.conversations.send(talker.tenant_id, ConversationId(conversation_id), content=message.content)
    if wanted == MEDIA_TYPE:
        return EventStream(
            feed,
            render=partial(render_event, request_id=request_id_of(request)),
            ping_seconds=services.limits.ping_seconds,
            on_close=feed.leave,
        )
    match await _last_event(feed):
        case ReplyFailed() as failed:
            stored = failed.ended
            return error_response(
                request,
                failed.error,
                turn_id=str(failed.begun.turn.id),
                message_id=None if stored is None else str(stored.reply.id),
            )
        case ReplyCompleted(ended=ended):
            return SentMessage(
                user_message=MessageView.of(ended.user_message),
                message=MessageView.of(ended.reply),
                turn=TurnView.of(ended.turn),
            )


@router.get(
    "/v1/conversations/{conversationId}/messages",
    operation_id="listMessages",
    responses=problem_responses(400, 404, 503),
)
async def list_messages(
    conversation_id: ConversationInPath, page: WantedPage, services: ServicesOfRequest, talker: Talker
) -> Page[MessageView]:
    """What was said, oldest first. A message that comes while pages are read appears on a later page."""
    after = page.after
    found = await services.conversations.messages(
        talker.tenant_id,
        ConversationId(conversation_id),
        after=None if after is None else MessageId(after),
        limit=page.limit + 1,
    )
    items = found[: page.limit]
    return Page(
        items=[MessageView.of(message) for message in items],
        next_cursor=make_cursor(items[-1].id) if len(found) > page.limit else None,
    )


async def _last_event(feed: Feed[TurnEvent]) -> ReplyCompleted | ReplyFailed:
    while True:
        event = await feed.next()
        if isinstance(event, ReplyCompleted | ReplyFailed):
            return event
