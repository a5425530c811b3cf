"""What the API answers of what was used; see `models`."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, TypeAlias
from uuid import UUID

from pydantic import Field

from ..models.usage import UsageGroup
from .models import Answer, BudgetOrText, LimitLevelOrText

UsageGroupOrText: TypeAlias = Annotated[UsageGroup | str, Field(union_mode="left_to_right")]


class Cost(Answer):
    """An amount of money."""

    currency: str
    """ISO 4217."""
    amount: Decimal


class BudgetState(Answer):
    """How much of one limit is used."""

    limit: BudgetOrText
    used: int
    most: int
    soft_at: int
    """From here on it is nearly used up."""
    level: LimitLevelOrText | None = None
    """None: there is room."""
    resets_at: datetime | None = None
    """When counting begins anew. None: never."""


class UsageCount(Answer):
    """What was used."""

    turns: int
    """Without those that met a limit and asked no model."""
    limited_turns: int = 0
    """Those."""
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    estimated_tokens: int = 0
    """How many of all tokens are estimated."""
    unpriced_tokens: int = 0
    """How many of all tokens have no price: what they cost is not in `costs`."""
    costs: list[Cost] = []
    """One of each currency."""


class UsageItem(UsageCount):
    """What was used in one group. Fields that the group is not about are None."""

    day: date | None = None
    agent: str | None = None
    endpoint: str | None = None
    model: str | None = None
    """None, by model: no model was asked, or it is not known which."""


class UsageReport(Answer):
    """What was used from one day to another, and how much of the Tenant's budgets that is."""

    since: Annotated[date, Field(alias="from")]
    until: Annotated[date, Field(alias="to")]
    group_by: UsageGroupOrText
    items: list[UsageItem]
    total: UsageCount
    budgets: list[BudgetState] = []
    """As they are now, whatever the days above."""


class ConversationUsage(UsageCount):
    """What one conversation used."""

    conversation_id: UUID
    budgets: list[BudgetState] = []
    """Its agent's."""
