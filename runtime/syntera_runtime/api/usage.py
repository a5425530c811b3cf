"""What was used, for those who administer a tenant or pay for it."""

from typing import Annotated

from fastapi import APIRouter, Query

from ..models.ids import ConversationId
from .auth import Asker
from .context import ConversationInPath, ServicesOfRequest
from .problems import problem_responses
from .routing import ApiRoute
from .usage_schemas import ConversationUsageView, UsageQuery, UsageReportView

router = APIRouter(route_class=ApiRoute, tags=["usage"])


@router.get("/v1/usage", operation_id="getUsage", responses=problem_responses(400, 503))
async def get_usage(
    query: Annotated[UsageQuery, Query()], services: ServicesOfRequest, asker: Asker
) -> UsageReportView:
    """Turns, tokens and cost by day, agent or model, and how much of the Tenant's budgets is used.

    Counts are complete up to the turns that have ended, and outlive conversations and messages.
    """
    since, until = query.days()
    report = await services.usage.report(asker.tenant_id, since=since, until=until, group=query.group_by)
    return UsageReportView.of(report)


@router.get(
    "/v1/conversations/{conversationId}/usage",
    operation_id="getConversationUsage",
    responses=problem_responses(400, 404, 503),
)
async def get_conversation_usage(
    conversation_id: ConversationInPath, services: ServicesOfRequest, asker: Asker
) -> ConversationUsageView:
    """The same of one conversation, with its agent's budgets; also of one that was deleted."""
    usage = await services.usage.conversation(asker.tenant_id, ConversationId(conversation_id))
    return ConversationUsageView.of(usage)
