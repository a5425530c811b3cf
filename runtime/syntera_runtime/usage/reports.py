"""Use cases of those who administer a tenant: what was used, and how much of the budgets that is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from syntera_crds.contract.agent_config import AgentConfig

from ..errors import ConversationNotFound
from ..models.ids import ConversationId, TenantId
from ..models.usage import Budget, BudgetState, Spent, UsageCount, UsageGroup, UsageLine
from ..ports.configuration import AgentCatalogue
from ..ports.conversations import ConversationStore
from ..ports.usage import UsageStore
from .budgets import Budgets, list_budgets


@dataclass(frozen=True, slots=True)
class UsageReport:
    """What was used from one day to another."""

    since: date
    until: date
    group: UsageGroup
    lines: Sequence[UsageLine]
    total: UsageCount
    budgets: Sequence[BudgetState]
    """The Tenant's, as they are now."""


@dataclass(frozen=True, slots=True)
class ConversationUsage:
    """What one conversation used."""

    conversation_id: ConversationId
    count: UsageCount
    budgets: Sequence[BudgetState]
    """Those of its agent; empty where that is gone, or the conversation is."""


class UsageReports:
    """Tells what was used."""

    def __init__(
        self, usage: UsageStore, conversations: ConversationStore, *, agents: AgentCatalogue, budgets: Budgets
    ) -> None:
        self._usage = usage
        self._conversations = conversations
        self._agents = agents
        self._budgets = budgets

    async def report(self, tenant_id: TenantId, *, since: date, until: date, group: UsageGroup) -> UsageReport:
        """What was used from one day (UTC) to another, both included.

        Raises:
            StoreUnavailable: It cannot be read.
        """
        lines = await self._usage.list_usage(tenant_id, since=since, until=until, group=group)
        spent = Spent(month_tokens=await self._usage.month_tokens(tenant_id))
        total = sum((line.count for line in lines), UsageCount())
        return UsageReport(since, until, group, lines, total, self._states(None, spent, Budget.TOKENS_PER_MONTH))

    async def conversation(self, tenant_id: TenantId, conversation_id: ConversationId) -> ConversationUsage:
        """What a conversation used, be it deleted or not.

        Raises:
            ConversationNotFound: There is none with that id, and nothing was used in one.
            StoreUnavailable: It cannot be read.
        """
        count = await self._usage.conversation_usage(tenant_id, conversation_id)
        conversation = await self._conversations.find_conversation(tenant_id, conversation_id, owner=None)
        if conversation is None and count is None:
            raise ConversationNotFound
        count = count or UsageCount()
        agent = None if conversation is None else self._agents.get(conversation.agent)
        if agent is None:
            return ConversationUsage(conversation_id, count, [])
        spent = Spent(conversation_tokens=count.total_tokens, conversation_turns=count.turns)
        own = self._states(agent, spent, Budget.TOKENS_PER_CONVERSATION, Budget.TURNS_PER_CONVERSATION)
        return ConversationUsage(conversation_id, count, own)

    def _states(self, agent: AgentConfig | None, spent: Spent, *wanted: Budget) -> Sequence[BudgetState]:
        states = list_budgets(self._budgets.limits, agent, spent, now=datetime.now(UTC))
        return [state for state in states if state.budget in wanted]
