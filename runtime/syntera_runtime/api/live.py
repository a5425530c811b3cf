"""What happens in a conversation: its events as they come, and the end of the running turn."""

from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, status
from fastapi.responses import StreamingResponse

from ..models.ids import ConversationId, TurnId
from .auth import Asker, AskerSession
from .context import ConversationInPath, ServicesOfRequest, request_id_of
from .events import CATALOGUE_VERSION, VERSION_HEADER, render_end, render_event
from .limits import StreamSlot
from .negotiation import negotiate
from .problems import problem_responses
from .routing import ApiRoute
from .schemas import StopRequested
from .streams import MEDIA_TYPE, EventStream

router = APIRouter(route_class=ApiRoute, tags=["messages"])

MOST = 2**63 - 1
"""Largest number that the store takes."""
_STREAMED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events, without an end: `message.started`, `message.delta`, `message.snapshot`, and at "
        "the end of each turn `message.completed`, `message.stopped` or `message.failed`, whose data are the schemas "
        "`MessageStarted`, `MessageDelta`, `MessageSnapshot`, `MessageCompleted`, `MessageStopped` and `MessageFailed`.",
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
    }
}


@router.get(
    "/v1/conversations/{conversationId}/events",
    operation_id="followConversation",
    response_class=StreamingResponse,
    responses={**_STREAMED, **problem_responses(400, 404, 406, 503)},
)
async def follow_conversation(
    *,
    conversation_id: ConversationInPath,
    request: Request,
    services: ServicesOfRequest,
    asker: Asker,
    session: AskerSession,
    take_slot: StreamSlot,
    after: Annotated[int | None, Query(ge=0, le=MOST)] = None,
    last_event_id: Annotated[int | None, Header(alias="Last-Event-ID", ge=0, le=MOST)] = None,
    accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
) -> EventStream:
    """The events of all turns that come, whoever sends the messages.

    With the id of an event, in `Last-Event-ID` or else in `after`, what follows that event; without, from now on, beginning
    with the running turn if there is one. The stream ends after a minute: ask again with the id of the last event, as browsers do
    by themselves. When the credentials end, so does the stream, within five seconds and with the event `stream.ended`.
    """
    negotiate(accept, (MEDIA_TYPE,))
    await take_slot()
    follower = await services.conversations.follow(
        asker,
        ConversationId(conversation_id),
        after=after if last_event_id is None else last_event_id,
    )
    return EventStream(
        follower.feed,
        render=partial(render_event, request_id=request_id_of(request)),
        watching=partial(services.session_watch.watch, session),
        render_end=partial(render_end, request_id=request_id_of(request)),
        ping_seconds=services.limits.ping_seconds,
        on_close=partial(services.followers.leave, follower),
        open_streams=services.metrics.streams_open,
        headers={VERSION_HEADER: CATALOGUE_VERSION},
        most_seconds=services.limits.follow_seconds,
    )


@router.post(
    "/v1/conversations/{conversationId}/stop",
    operation_id="stopTurn",
    status_code=status.HTTP_202_ACCEPTED,
    responses=problem_responses(400, 404, 408, 413, 415, 503),
)
async def stop_turn(
    conversation_id: ConversationInPath,
    services: ServicesOfRequest,
    asker: Asker,
    turn: Annotated[UUID | None, Query()] = None,
) -> StopRequested:
    """Stop the running turn, or none but `turn`. What was said until then is kept. Doing it again changes nothing."""
    stopped = await services.conversations.stop(
        asker, ConversationId(conversation_id), turn_id=None if turn is None else TurnId(turn)
    )
    return StopRequested(turn_id=stopped)
