"""What answers cost, as pure functions on integers."""

from decimal import Decimal

from syntera_crds.contract.agent_config import ModelPrice

from ..models.turns import Usage
from ..models.usage import Cost

_MILLIONTHS = 1_000_000
"""Prices have at most six decimals, and stand for a million tokens."""
_BILLIONTHS = 1_000_000_000


def cost_of(usage: Usage, price: ModelPrice | None) -> Cost | None:
    """What an answer cost, rounded up to a billionth of the currency's unit. None: nobody has said what the model costs."""
    if price is None:
        return None
    # Millionths of the unit for a million tokens are 10^-12 of it for one.
    trillionths = usage.prompt_tokens * _millionths(price.input_per_million_tokens)
    trillionths += usage.completion_tokens * _millionths(price.output_per_million_tokens)
    return Cost(-(-trillionths // 1000), price.currency)


def render_amount(cost: Cost) -> str:
    """The amount as a decimal number: `0.0015`."""
    whole, billionths = divmod(cost.billionths, _BILLIONTHS)
    return f"{whole}.{billionths:09}".rstrip("0").rstrip(".")


def _millionths(amount: str) -> int:
    return int(Decimal(amount) * _MILLIONTHS)
