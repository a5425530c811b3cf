"""The JSON of what was used. Money is a decimal number in a string, with its currency; never a float."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import ConfigDict, Field, JsonValue

from ..errors import FieldFault, InvalidRequest
from ..models.usage import Budget, BudgetState, Cost, LimitLevel, UsageCount, UsageGroup, UsageLine
from ..usage.costs import render_amount
from ..usage.reports import ConversationUsage, UsageReport
from ..views.base import View
from .schemas import Input

MOST_DAYS = 366

Day = Annotated[date, Field(ge=date(1970, 1, 1), lt=date(9000, 1, 1))]


class UsageQuery(Input):
    """Which days, and by what."""

    # Query parameters arrive as text, so the strictness of JSON does not apply.
    model_config = {"strict": False}

    since: Annotated[Day | None, Field(alias="from")] = None
    """First day (UTC). Left out: the first of the last one's month."""
    until: Annotated[Day | None, Field(alias="to")] = None
    """Last day (UTC), at most 365 after the first. Left out: today."""
    group_by: UsageGroup = UsageGroup.DAY
    """What each item is about."""

    def days(self) -> tuple[date, date]:
        """The first day and the last one.

        Raises:
            InvalidRequest: The last is before the first, or too long after it.
        """
        last = self.until or datetime.now(UTC).date()
        first = self.since or last.replace(day=1)
        if not timedelta(0) <= last - first < timedelta(days=MOST_DAYS):
            fault = FieldFault("query.from", f"must be `to` or one of the {MOST_DAYS - 1} days before", "days_invalid")
            raise InvalidRequest(f"{fault.path}: {fault.message}", faults=[fault])
        return first, last


class CostView(View):
    """An amount of money."""

    currency: str
    """ISO 4217."""
    amount: str
    """A decimal number with at most nine decimals."""

    @classmethod
    def of(cls, cost: Cost) -> Self:
        """The view of `cost`."""
        return cls(currency=cost.currency, amount=render_amount(cost))


class BudgetView(View):
    """How much of one limit is used."""

    limit: Budget
    used: int
    most: int
    soft_at: int
    """From here on, agents do what their `overSoftLimit` says."""
    level: LimitLevel | None
    """`soft`: it is nearly used up. `hard`: it is used up, and no model is asked. None: there is room."""
    resets_at: datetime | None
    """When counting begins anew. None: never."""

    @classmethod
    def of(cls, state: BudgetState) -> Self:
        """The view of `state`."""
        return cls(
            limit=state.budget,
            used=state.used,
            most=state.most,
            soft_at=state.soft_at,
            level=state.level,
            resets_at=state.resets_at,
        )


class UsageCountView(View):
    """What was used."""

    turns: int
    """Without those that met a limit and asked no model."""
    limited_turns: int
    """Those."""
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    estimated_tokens: int
    """How many of all tokens are estimated, because the model's endpoint did not say, or the answer broke off."""
    unpriced_tokens: int
    """How many of all tokens have no price: what they cost is not in `costs`."""
    costs: list[CostView]
    """By the prices of when the turns ended; one of each currency."""

    @classmethod
    def fields_of(cls, count: UsageCount) -> dict[str, Any]:
        """The fields, as the view's constructor takes them."""
        return {
            "turns": count.turns,
            "limited_turns": count.limited_turns,
            "prompt_tokens": count.prompt_tokens,
            "completion_tokens": count.completion_tokens,
            "total_tokens": count.total_tokens,
            "estimated_tokens": count.estimated_tokens,
            "unpriced_tokens": count.unpriced_tokens,
            "costs": [CostView.of(cost) for cost in count.costs],
        }


class UsageItem(UsageCountView):
    """What was used in one group. Fields that the group is not about are None."""

    day: date | None
    agent: str | None
    endpoint: str | None
    """With `model`: the Tenant's name for the model's endpoint."""
    model: str | None
    """As it stands in the Tenant or the Agent. None, by model: no model was asked, or it is not known which."""

    @classmethod
    def of(cls, line: UsageLine) -> Self:
        """The view of `line`."""
        return cls(
            **cls.fields_of(line.count), day=line.day, agent=line.agent, endpoint=line.endpoint, model=line.model
        )


_COUNT: dict[str, JsonValue] = {
    "turns": 120,
    "limitedTurns": 2,
    "promptTokens": 81000,
    "completionTokens": 9300,
    "totalTokens": 90300,
    "estimatedTokens": 410,
    "unpricedTokens": 0,
    "costs": [{"currency": "EUR", "amount": "0.01773"}],
}


class UsageReportView(View):
    """What was used from one day to another, and how much of the Tenant's budgets that is."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "from": "2026-11-01",
                    "to": "2026-11-01",
                    "groupBy": "agent",
                    "items": [{**_COUNT, "day": None, "agent": "travel", "endpoint": None, "model": None}],
                    "total": _COUNT,
                    "budgets": [
                        {
                            "limit": "tokensPerMonth",
                            "used": 90300,
                            "most": 5000000,
                            "softAt": 4000000,
                            "level": None,
                            "resetsAt": "2026-12-01T00:00:00Z",
                        }
                    ],
                }
            ]
        }
    )

    since: Annotated[date, Field(alias="from")]
    until: Annotated[date, Field(alias="to")]
    group_by: UsageGroup
    items: list[UsageItem]
    """In the order of what they are about. Groups in which nothing was used are not there."""
    total: UsageCountView
    budgets: list[BudgetView]
    """The Tenant's, as they are now, whatever the days above. Empty: there are none."""

    @classmethod
    def of(cls, report: UsageReport) -> Self:
        """The view of `report`."""
        return cls(
            since=report.since,
            until=report.until,
            group_by=report.group,
            items=[UsageItem.of(line) for line in report.lines],
            total=UsageCountView(**UsageCountView.fields_of(report.total)),
            budgets=[BudgetView.of(state) for state in report.budgets],
        )


class ConversationUsageView(UsageCountView):
    """What one conversation used."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_COUNT,
                    "conversationId": "01890a5d-ac96-774b-bcce-b302099a8057",
                    "budgets": [
                        {
                            "limit": "turnsPerConversation",
                            "used": 120,
                            "most": 140,
                            "softAt": 112,
                            "level": "soft",
                            "resetsAt": None,
                        }
                    ],
                }
            ]
        }
    )

    conversation_id: UUID
    budgets: list[BudgetView]
    """Its agent's. Empty: there are none, or the conversation is there no more."""

    @classmethod
    def of(cls, usage: ConversationUsage) -> Self:
        """The view of `usage`."""
        return cls(
            **cls.fields_of(usage.count),
            conversation_id=usage.conversation_id,
            budgets=[BudgetView.of(state) for state in usage.budgets],
        )
