"""What answers cost: exact, on integers."""

from decimal import ROUND_CEILING, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntera_crds.contract.agent_config import ModelPrice
from syntera_runtime.models.turns import Usage
from syntera_runtime.models.usage import Cost
from syntera_runtime.usage.costs import cost_of, render_amount


def make_price(input_: str = "0.15", output: str = "0.6") -> ModelPrice:
    return ModelPrice(currency="EUR", input_per_million_tokens=input_, output_per_million_tokens=output)


@pytest.mark.parametrize(
    ("usage", "price", "billionths"),
    [
        (Usage(1_000_000, 0), make_price("0.15"), 150_000_000),
        (Usage(0, 1_000_000), make_price(output="0.6"), 600_000_000),
        (Usage(7, 2), make_price(), 2250),
        (Usage(0, 0), make_price(), 0),
        (Usage(7, 2), make_price("0", "0"), 0),
        (Usage(1, 0), make_price("0.000001"), 1),  # a thousandth of a billionth, rounded up
        (Usage(2**31, 2**31), make_price("999999.999999", "999999.999999"), 4_294_967_295_995_705_033),
    ],
)
def test_cost_is_exact_and_rounded_up(usage: Usage, price: ModelPrice, billionths: int) -> None:
    assert cost_of(usage, price) == Cost(billionths, "EUR")


def test_cost_is_unknown_without_a_price() -> None:
    assert cost_of(Usage(7, 2), None) is None


_PRICES = st.decimals(0, Decimal("999999.999999"), places=6).map(lambda price: f"{price:f}")


@given(st.integers(0, 2**31), st.integers(0, 2**31), _PRICES, _PRICES)
def test_cost_is_what_decimals_say(prompt: int, completion: int, input_: str, output: str) -> None:
    cost = cost_of(Usage(prompt, completion), make_price(input_, output))
    exact = (prompt * Decimal(input_) + completion * Decimal(output)) * 1000
    assert cost is not None
    assert cost.billionths == int(exact.to_integral_value(ROUND_CEILING))
    assert cost.billionths < 2**63  # as the store's column


@pytest.mark.parametrize(
    ("billionths", "text"),
    [(0, "0"), (1, "0.000000001"), (1_500_000, "0.0015"), (10_000_000_000, "10"), (12_300_000_000, "12.3")],
)
def test_amount_is_a_decimal_number(billionths: int, text: str) -> None:
    assert render_amount(Cost(billionths, "EUR")) == text
