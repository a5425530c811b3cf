"""What was used of models, what that cost, and the limits that it counts for."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Cost:
    """An amount of money, as an integer: money is never a float."""

    billionths: int
    """Of the currency's unit."""
    currency: str
    """ISO 4217."""


class Budget(StrEnum):
    """Limits on what may be used, by their names in the Tenant and the Agent."""

    TOKENS_PER_MONTH = "tokensPerMonth"
    TOKENS_PER_USER_PER_DAY = "tokensPerUserPerDay"
    TOKENS_PER_CONVERSATION = "tokensPerConversation"
    TURNS_PER_CONVERSATION = "turnsPerConversation"


class LimitLevel(StrEnum):
    """How much of a budget is used."""

    SOFT = "soft"
    """It is nearly used up: the agent may answer with another model or a shorter history."""
    HARD = "hard"
    """It is used up: no model is asked."""


@dataclass(frozen=True, slots=True)
class LimitMet:
    """The limit that a turn met when it began."""

    budget: Budget
    level: LimitLevel


@dataclass(frozen=True, slots=True)
class Spent:
    """What counted for the limits of a turn when it began. Turns that ran then are not in it."""

    month_tokens: int = 0
    """Of everybody."""
    person_tokens: int = 0
    """Of the person who asks, today; 0 for programs."""
    conversation_tokens: int = 0
    conversation_turns: int = 0


@dataclass(frozen=True, slots=True)
class BudgetState:
    """How much of one budget is used."""

    budget: Budget
    used: int
    most: int
    soft_at: int
    """From here on it is nearly used up."""
    resets_at: datetime | None
    """When counting begins anew; None: never."""

    @property
    def level(self) -> LimitLevel | None:
        """None: there is room."""
        if self.used >= self.most:
            return LimitLevel.HARD
        return LimitLevel.SOFT if self.used >= self.soft_at else None


@dataclass(frozen=True, slots=True)
class UsageCount:
    """What was used in all."""

    turns: int = 0
    """Without those that met a limit and asked no model."""
    limited_turns: int = 0
    """Those."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated_tokens: int = 0
    """How many of these are estimated, because the endpoint did not say."""
    unpriced_tokens: int = 0
    """How many of these cost nobody knows what."""
    costs: tuple[Cost, ...] = ()
    """One of each currency, by its name."""

    def __add__(self, other: "UsageCount") -> "UsageCount":
        """Both together."""
        sums: dict[str, int] = {}
        for cost in (*self.costs, *other.costs):
            sums[cost.currency] = sums.get(cost.currency, 0) + cost.billionths
        return UsageCount(
            turns=self.turns + other.turns,
            limited_turns=self.limited_turns + other.limited_turns,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            estimated_tokens=self.estimated_tokens + other.estimated_tokens,
            unpriced_tokens=self.unpriced_tokens + other.unpriced_tokens,
            costs=tuple(Cost(sums[currency], currency) for currency in sorted(sums)),
        )

    @property
    def total_tokens(self) -> int:
        """Questions and answers together."""
        return self.prompt_tokens + self.completion_tokens


class UsageGroup(StrEnum):
    """What usage is told by."""

    DAY = "day"
    AGENT = "agent"
    MODEL = "model"
    """A model of an endpoint."""


@dataclass(frozen=True, slots=True)
class UsageLine:
    """What was used in one group; the fields that the group is not about are None."""

    count: UsageCount
    day: date | None = None
    agent: str | None = None
    endpoint: str | None = None
    model: str | None = None
    """None, in groups of models: no model was asked, or nobody knows which."""
