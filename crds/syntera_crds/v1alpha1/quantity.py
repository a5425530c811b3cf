"""Amounts in Kubernetes' notation: the type for models, and their value for comparisons.

A subset that people write: no signs, no exponents and three decimals at most, so that Python and the API server always
agree on which of two amounts is larger.
"""

import re
from decimal import Decimal
from typing import Annotated

from pydantic import Field

from .rules import Rule

_LARGEST = Decimal(2**63 - 1)
"""Kubernetes cuts larger amounts to this."""
_LARGEST_INTEGER = 10**15
_FACTORS = {
    "": Decimal(1),
    "m": Decimal(1) / 1000,
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}
PATTERN = r"^[0-9]{1,12}(\.[0-9]{1,3})?(m|[kMGTPE]|[KMGTPE]i)?$"
MAX_LENGTH = 18

_number = re.compile(r"[0-9.]+")


def _is_quantity(value: int | str) -> bool:
    return re.fullmatch(PATTERN, value) is not None if isinstance(value, str) else 0 <= value <= _LARGEST_INTEGER


Quantity = Annotated[
    int | str,
    Field(json_schema_extra={"maxLength": MAX_LENGTH}),
    Rule(
        f"type(self) == int ? self >= 0 && self <= {_LARGEST_INTEGER} : self.matches(r'{PATTERN}')",
        "must be an amount such as 2, 500m, 1.5 or 512Mi, not negative",
        holds=_is_quantity,
    ),
]
"""An amount such as `100m`, `512Mi` or `2`."""


def parse_quantity(amount: int | str) -> Decimal:
    """The value of a `Quantity` that a model has checked.

    Raises:
        ValueError: it is none.
    """
    if not _is_quantity(amount):
        raise ValueError(f"{amount!r} is not an amount")
    text = str(amount)
    number = _number.match(text)
    assert number is not None
    return min(Decimal(number[0]) * _FACTORS[text[number.end() :]], _LARGEST)
