"""Conversations: begin one, look at one."""

from fastapi import APIRouter, status

from ..models import ConversationId
from .auth import Talker
from .context import ConversationInPath, ServicesOfRequest
from .problems import problem_responses
from .routing import ApiRoute
from .schemas import ConversationStart, ConversationView, MessageView, StartedConversation

router = APIRouter(route_class=ApiRoute, tags=["conversations"])


@router.post(
    "/v1/agents/{agent}/conversations",
    operation_id="startConversation",
    status_code=status.HTTP_201_CREATED,
    responses=problem_responses(400, 404, 408, 413, 415, 503),
)
async def start_conversation(
    agent: str, services: ServicesOfRequest, talker: Talker, _: ConversationStart | None = None
) -> StartedConversation:
    """Begin a conversation with an agent. If the agent has a greeting, it is the first message."""
    started = await services.conversations.start(talker.tenant_id, agent=agent)
    view = ConversationView.of(started.conversation)
    greeting = [] if started.greeting is None else [MessageView.of(started.greeting)]
    return StartedConversation(**view.model_dump(), messages=greeting)


@router.get(
    "/v1/conversations/{conversationId}",
    operation_id="getConversation",
    responses=problem_responses(400, 404, 503),
)
async def get_conversation(
    conversation_id: ConversationInPath, services: ServicesOfRequest, talker: Talker
) -> ConversationView:
    """One conversation, without its messages."""
    found = await services.conversations.get(talker.tenant_id, ConversationId(conversation_id))
    return ConversationView.of(found)
