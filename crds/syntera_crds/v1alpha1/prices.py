"""The part of a Tenant that says what models cost."""

from typing import Annotated

from pydantic import Field

from .common import Model
from .rules import matching

Currency = Annotated[
    str,
    Field(min_length=3, max_length=3),
    matching("^[A-Z]{3}$", "must be three capital letters such as EUR or USD (ISO 4217)"),
]
Price = Annotated[
    str,
    Field(min_length=1, max_length=13),
    matching(
        r"^(0|[1-9][0-9]{0,5})(\.[0-9]{1,6})?$",
        "must be an amount below 1000000 such as '0.15' or '3', in quotes, with at most six decimals",
    ),
]


class ModelPrice(Model):
    """What one model costs, in the Tenant's currency."""

    model: Annotated[str, Field(min_length=1, max_length=256)]
    """Name of the model, as Agents or the endpoint's `chat` write it."""
    input_per_million_tokens: Price
    """Price of a million tokens of questions, for example `'0.15'`."""
    output_per_million_tokens: Price
    """Price of a million tokens of answers, for example `'0.60'`."""
