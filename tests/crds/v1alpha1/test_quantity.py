"""Amounts: their values, and that everything the type takes has one."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from syntera_crds.v1alpha1.quantity import MAX_LENGTH, PATTERN, Quantity, parse_quantity


@pytest.mark.parametrize(
    ("amount", "value"),
    [
        (0, "0"),
        (3, "3"),
        ("2", "2"),
        ("1.5", "1.5"),
        ("100m", "0.1"),
        ("0.001m", "0.000001"),
        ("2k", "2000"),
        ("1M", "1000000"),
        ("1Ki", "1024"),
        ("512Mi", "536870912"),
        ("1.5Gi", "1610612736"),
        ("8E", "8000000000000000000"),
    ],
)
def test_value_of_an_amount(amount: int | str, value: str) -> None:
    assert parse_quantity(amount) == Decimal(value)


def test_larger_amounts_are_cut_as_kubernetes_cuts_them() -> None:
    assert parse_quantity("10E") == parse_quantity("999999999999Ei") == 2**63 - 1


@pytest.mark.parametrize("amount", ["", "1.", ".5", "-1", "1e3", "1 Gi", "1gi", "Mi", "\u0661", -1, 10**15 + 1])
def test_what_is_no_amount_is_refused(amount: int | str) -> None:
    with pytest.raises(ValueError, match="is not an amount"):
        parse_quantity(amount)


@given(st.integers(0, 10**15) | st.from_regex(PATTERN, fullmatch=True))
def test_every_amount_that_the_type_takes_has_a_value_and_a_bounded_length(amount: int | str) -> None:
    assert TypeAdapter(Quantity).validate_python(amount) == amount
    assert parse_quantity(amount) >= 0
    assert len(str(amount)) <= MAX_LENGTH


@given(st.integers(0, 10**12 - 1), st.integers(0, 10**12 - 1))
def test_order_is_that_of_the_numbers(one: int, other: int) -> None:
    assert (parse_quantity(f"{one}m") <= parse_quantity(f"{other}m")) == (one <= other)
    assert (parse_quantity(one) <= parse_quantity(f"{other}Ki")) == (one <= other * 1024)
