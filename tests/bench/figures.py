"""What a benchmark found, and the page that keeps it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value."""

    what: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    reference: float | None = None
    """The same, measured in the same run, of what it is compared with."""
    compared_with: str = ""

    @property
    def aim(self) -> str:
        """What is asked for, empty where nothing is."""
        if self.at_most is not None and self.at_most == self.at_least:
            return f"= {_number(self.at_most)}"
        if self.at_most is not None:
            return f"≤ {_number(self.at_most)}"
        return "" if self.at_least is None else f"≥ {_number(self.at_least)}"

    @property
    def is_met(self) -> bool:
        """Whether the aim is reached; true where there is none."""
        is_low_enough = self.at_most is None or self.value <= self.at_most
        return is_low_enough and (self.at_least is None or self.value >= self.at_least)

    @property
    def ratio(self) -> float | None:
        """The value as a part of its reference."""
        return self.value / self.reference if self.reference else None


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of `values` that at least `percent` % of them do not exceed (nearest rank).

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values")
    ranked = sorted(values)
    return ranked[max(0, math.ceil(percent / 100 * len(ranked)) - 1)]


def render(figures: Sequence[Figure]) -> str:
    """A Markdown table."""
    lines = ["| what | value | aim | | reference in the same run | ratio |", "|---|---|---|---|---|---|"]
    for figure in figures:
        met = "" if not figure.aim else "met" if figure.is_met else "**missed**"
        reference = "" if figure.reference is None else f"{_number(figure.reference)} ({figure.compared_with})"
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        value = f"{_number(figure.value)} {figure.unit}"
        lines.append(f"| {figure.what} | {value} | {figure.aim} | {met} | {reference} | {ratio} |")
    return "\n".join(lines)


def _number(value: float) -> str:
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
