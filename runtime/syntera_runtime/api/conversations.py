"""Conversations: begin one, find them, change what people may edit, hand one out, delete one."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response, status
from pydantic import AfterValidator, Field

from ..chat.transcript import build_markdown
from ..errors import FieldFault, InvalidRequest
from ..models.conversations import (
    Channel,
    ConversationChange,
    ConversationFilter,
    ConversationOrder,
    ConversationState,
    ListPosition,
)
from ..models.ids import ContactId, ConversationId
from ..views.conversations import ConversationView, MessageView
from .auth import Asker
from .context import ConversationInPath, ServicesOfRequest
from .idempotency import WantedOnce
from .pages import PartQuery, make_position_cursor, read_position_cursor
from .problems import problem_responses
from .routing import ApiRoute
from .schemas import (
    ConversationItem,
    ConversationPatch,
    ConversationStart,
    Instant,
    Page,
    StartedConversation,
    TranscriptView,
    check_characters,
)

router = APIRouter(route_class=ApiRoute, tags=["conversations"])

_LISTED = frozenset({ConversationState.ACTIVE, ConversationState.ENDED})


class ConversationQuery(PartQuery):
    """Which conversations, and in which order."""

    q: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(check_characters)] | None = None
    """Words that a message or the title must hold; `"exact words"`, `or` and `-not` work as in web search."""
    agent: Annotated[str, Field(min_length=1, max_length=63), AfterValidator(check_characters)] | None = None
    channel: Channel | None = None
    contact_id: UUID | None = None
    """Of one customer."""
    state: Annotated[frozenset[ConversationState], Field(min_length=1)] = _LISTED
    """May be given several times. Left out: `active` and `ended`."""
    created_from: Instant | None = None
    """Begun then or later."""
    created_before: Instant | None = None
    """Begun before that."""
    order: ConversationOrder = ConversationOrder.CREATED
    """`created`: the newest first. `activity`: the one in which something was said last first; one that moves to the front
    while you read pages is not shown again behind it."""

    @property
    def wanted(self) -> ConversationFilter:
        """The filter that the query describes."""
        return ConversationFilter(
            agent=self.agent,
            channel=self.channel,
            states=self.state,
            words=self.q,
            created_from=self.created_from,
            created_before=self.created_before,
            contact_id=None if self.contact_id is None else ContactId(self.contact_id),
        )

    @property
    def position(self) -> ListPosition | None:
        """Where the page begins behind.

        Raises:
            InvalidCursor: The cursor is none of this list's.
        """
        return None if self.cursor is None else read_position_cursor(self.cursor, self.order)


@router.post(
    "/v1/agents/{agent}/conversations",
    operation_id="startConversation",
    status_code=status.HTTP_201_CREATED,
    responses=problem_responses(400, 404, 408, 409, 413, 415, 422, 503),
)
async def start_conversation(
    *,
    agent: str,
    services: ServicesOfRequest,
    asker: Asker,
    request_key: WantedOnce,
    start: ConversationStart | None = None,
) -> StartedConversation:
    """Begin a conversation with an agent. If the agent has a greeting, it is the first message.

    With an `Idempotency-Key` the same request gives the same conversation, however often it is sent.
    """
    start = start or ConversationStart()
    started = await services.conversations.start(
        asker,
        agent=agent,
        channel=start.channel,
        title=start.title,
        metadata=start.metadata,
        request_key=request_key,
    )
    view = ConversationView.of(started.conversation)
    greeting = [] if started.greeting is None else [MessageView.of(started.greeting)]
    return StartedConversation(**view.model_dump(), messages=greeting)


@router.get("/v1/conversations", operation_id="listConversations", responses=problem_responses(400, 503))
async def list_conversations(
    query: Annotated[ConversationQuery, Query()], services: ServicesOfRequest, asker: Asker
) -> Page[ConversationItem]:
    """Conversations, filtered and searched, with what was said last in each."""
    found = await services.management.list(
        asker,
        query.wanted,
        order=query.order,
        after=query.position,
        limit=query.limit + 1,
    )
    items = found[: query.limit]
    cursor = None
    if len(found) > query.limit:
        last = items[-1].conversation
        cursor = make_position_cursor(ListPosition(last.id, _place(last.updated_at, query.order)), query.order)
    return Page(items=[ConversationItem.summarise(item) for item in items], next_cursor=cursor)


@router.get(
    "/v1/conversations/{conversationId}", operation_id="getConversation", responses=problem_responses(400, 404, 503)
)
async def get_conversation(
    conversation_id: ConversationInPath, services: ServicesOfRequest, asker: Asker, response: Response
) -> ConversationView:
    """One conversation, without its messages."""
    found = await services.conversations.get(asker, ConversationId(conversation_id))
    response.headers["ETag"] = _etag(found.revision)
    return ConversationView.of(found)


@router.patch(
    "/v1/conversations/{conversationId}",
    operation_id="changeConversation",
    responses=problem_responses(400, 404, 408, 412, 413, 415, 503),
)
async def change_conversation(
    *,
    conversation_id: ConversationInPath,
    patch: ConversationPatch,
    services: ServicesOfRequest,
    asker: Asker,
    response: Response,
    if_match: Annotated[str | None, Header(alias="If-Match")] = None,
) -> ConversationView:
    """Rename a conversation, replace its metadata, end it, archive it, make it active again.

    With `If-Match` and the `ETag` that you read, only if nobody else has changed it since.
    """
    change = ConversationChange(title=patch.title, metadata=patch.metadata, state=patch.state)
    revision = None if if_match is None else _read_etag(if_match)
    changed = await services.management.change(asker, ConversationId(conversation_id), change, revision=revision)
    response.headers["ETag"] = _etag(changed.revision)
    return ConversationView.of(changed)


@router.delete(
    "/v1/conversations/{conversationId}",
    operation_id="deleteConversation",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problem_responses(400, 404, 408, 409, 413, 415, 503),
)
async def delete_conversation(conversation_id: ConversationInPath, services: ServicesOfRequest, asker: Asker) -> None:
    """Delete a conversation with its messages and their feedback, for good. What its turns cost stays counted.

    While the agent replies, the answer is `conversation-busy`.
    """
    await services.management.delete(asker, ConversationId(conversation_id))


@router.get(
    "/v1/conversations/{conversationId}/export",
    operation_id="exportConversation",
    response_model=TranscriptView,
    responses={
        200: {
            "description": "The conversation as JSON, or with `format=markdown` as text for people.",
            "content": {"text/markdown": {"schema": {"type": "string"}}},
        },
        **problem_responses(400, 404, 503),
    },
)
async def export_conversation(
    conversation_id: ConversationInPath,
    services: ServicesOfRequest,
    asker: Asker,
    format_: Annotated[Literal["json", "markdown"], Query(alias="format")] = "json",
) -> TranscriptView | Response:
    """Everything that is kept of a conversation."""
    transcript = await services.management.transcript(asker, ConversationId(conversation_id))
    if format_ == "markdown":
        name = f"conversation-{conversation_id}.md"
        return Response(
            build_markdown(transcript),
            media_type="text/markdown",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )
    return TranscriptView.of(transcript)


def _place(updated_at: datetime, order: ConversationOrder) -> datetime:
    """The time in a cursor; where ids decide alone, none that could tell anything."""
    return updated_at if order is ConversationOrder.ACTIVITY else datetime.fromtimestamp(0, tz=updated_at.tzinfo)


def _etag(revision: int) -> str:
    return f'"{revision}"'


def _read_etag(text: str) -> int:
    inner = text[1:-1]
    if text != f'"{inner}"' or not inner.isascii() or not inner.isdecimal() or len(inner) > 9:
        fault = FieldFault("header.If-Match", "must be the ETag of the conversation, as it was read", "etag_invalid")
        raise InvalidRequest(f"{fault.path}: {fault.message}", faults=[fault])
    return int(inner)
