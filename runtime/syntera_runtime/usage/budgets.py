"""How much of its budgets a turn finds used when it begins, and what follows from that.

What a turn is going to use is known at its end only, so those that run at the same time may together go beyond a budget: by
what they use, and no further.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from syntera_crds.contract.agent_config import AgentConfig, AgentLimits
from syntera_crds.contract.tenant_config import Limits

from ..errors import BudgetExhausted
from ..metrics import Metrics
from ..models.identity import Principal
from ..models.usage import Budget, BudgetState, LimitLevel, LimitMet, Spent
from ..ports.configuration import TenantCatalogue

_COME_BACK = {
    Budget.TOKENS_PER_MONTH: "I cannot answer at the moment. Please try again later.",
    Budget.TOKENS_PER_USER_PER_DAY: "You have asked me a lot today. Please come back tomorrow.",
    Budget.TOKENS_PER_CONVERSATION: "This conversation has become too long for me. Please begin another one.",
    Budget.TURNS_PER_CONVERSATION: "This conversation has become too long for me. Please begin another one.",
}
_REASONS = {
    Budget.TOKENS_PER_MONTH: "The tenant's tokens of this month are used up.",
    Budget.TOKENS_PER_USER_PER_DAY: "Your tokens of today are used up.",
}
_LONGEST_PERSON = 256
"""Bytes that the store takes."""


def list_budgets(limits: Limits, agent: AgentConfig | None, spent: Spent, *, now: datetime) -> Sequence[BudgetState]:
    """The budgets that there are for a turn of an agent, those of the Tenant first; without one, these alone."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    next_month = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    own = AgentLimits() if agent is None else agent.limits
    budgets = (
        (Budget.TOKENS_PER_MONTH, spent.month_tokens, limits.tokens_per_month, next_month),
        (
            Budget.TOKENS_PER_USER_PER_DAY,
            spent.person_tokens,
            limits.tokens_per_user_per_day,
            today + timedelta(days=1),
        ),
        (Budget.TOKENS_PER_CONVERSATION, spent.conversation_tokens, own.tokens_per_conversation, None),
        (Budget.TURNS_PER_CONVERSATION, spent.conversation_turns, own.turns_per_conversation, None),
    )
    return [
        BudgetState(budget, used, most, soft_at=-(-most * limits.soft_limit_percent // 100), resets_at=resets_at)
        for budget, used, most, resets_at in budgets
        if most is not None
    ]


def find_limit(budgets: Sequence[BudgetState]) -> LimitMet | None:
    """The limit that counts: one that is reached before one that is near, the first of several."""
    for level in (LimitLevel.HARD, LimitLevel.SOFT):
        for state in budgets:
            if state.level is level:
                return LimitMet(state.budget, level)
    return None


def soften(agent: AgentConfig) -> AgentConfig:
    """The agent as it answers where a limit is near."""
    limits = agent.limits
    shorter = min(limits.soft_history_messages or agent.history_messages, agent.history_messages)
    return agent.model_copy(update={"models": limits.soft_models or agent.models, "history_messages": shorter})


def say_limited(agent: AgentConfig, budget: Budget) -> str:
    """What the agent says in place of an answer."""
    return agent.limits.message or _COME_BACK[budget]


def person_of(principal: Principal) -> str | None:
    """Whose tokens the principal uses; None: no person's."""
    person = principal.person
    if person is None or len(person.encode()) <= _LONGEST_PERSON:
        return person
    return f"sha256:{hashlib.sha256(person.encode()).hexdigest()}"


class Budgets:
    """The budgets of one tenant."""

    def __init__(self, tenants: TenantCatalogue, *, metrics: Metrics) -> None:
        self._tenants = tenants
        self._metrics = metrics

    @property
    def limits(self) -> Limits:
        """The Tenant's, as last published."""
        tenant = self._tenants.tenant()
        return Limits() if tenant is None else tenant.limits

    def check(self, agent: AgentConfig, spent: Spent) -> LimitMet | None:
        """The limit that a turn meets which found this spent; None: it meets none."""
        limits = self.limits
        self._metrics.month_tokens_used.set(spent.month_tokens)
        self._metrics.month_tokens_limit.set(limits.tokens_per_month or 0)
        met = find_limit(list_budgets(limits, agent, spent, now=datetime.now(UTC)))
        if met is not None:
            self._metrics.turns_limited.labels(agent.name, met.budget.value, met.level.value).inc()
        return met

    def refusal(self, agent: AgentConfig, budget: Budget, spent: Spent) -> BudgetExhausted:
        """The error for clients that take no polite words for an answer."""
        now = datetime.now(UTC)
        states = list_budgets(self.limits, agent, spent, now=now)
        resets_at = next((state.resets_at for state in states if state.budget is budget), None)
        reason = _REASONS.get(budget, "The budget is used up.")
        if resets_at is None:
            return BudgetExhausted(reason)
        return BudgetExhausted(
            f"{reason} Counting begins anew at {resets_at.isoformat().replace('+00:00', 'Z')}.",
            retry_after_seconds=(resets_at - now).total_seconds(),
        )
