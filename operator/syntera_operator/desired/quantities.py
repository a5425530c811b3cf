"""The one spelling in which the API server gives an amount back.

It stores `1000m` as `1`, `1024Mi` as `1Gi` and, of resources, no less than thousandths: whoever applies another spelling sees a difference for ever.
"""

from fractions import Fraction
from math import ceil

from syntera_crds.v1alpha1.quantity import parse_quantity

_DECIMAL_SUFFIXES = {-3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P", 18: "E"}
_BINARY_SUFFIXES = {0: "", 1: "Ki", 2: "Mi", 3: "Gi", 4: "Ti", 5: "Pi", 6: "Ei"}


def canonical_quantity(amount: int | str) -> str:
    """The API server's spelling: a whole number with the largest suffix that keeps it whole.

    Raises:
        ValueError: `amount` is none.
    """
    value = Fraction(ceil(parse_quantity(amount) * 1000), 1000)
    if value == 0:
        return "0"
    is_binary = str(amount).endswith("i")
    if is_binary and value >= 1024 and value.denominator == 1:
        return _spell(value, Fraction(1024), _BINARY_SUFFIXES)
    return _spell(value, Fraction(10), _DECIMAL_SUFFIXES)


def larger_quantity(one: int | str, other: int | str) -> int | str:
    """The larger of two amounts, as it was written."""
    return one if parse_quantity(one) >= parse_quantity(other) else other


def smaller_quantity(one: int | str, other: int | str) -> int | str:
    """The smaller of two amounts, as it was written."""
    return one if parse_quantity(one) <= parse_quantity(other) else other


def _spell(value: Fraction, base: Fraction, suffixes: dict[int, str]) -> str:
    exponent = max(exponent for exponent in suffixes if (value / base**exponent).denominator == 1)
    return f"{value / base**exponent}{suffixes[exponent]}"
