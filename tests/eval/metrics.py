"""Figures of a ranking, pure: how high the first passage stands that answers a question, over many questions.

A question has one answer, which may stand in several places: the first place that is found counts, further ones neither help nor
harm. So `recall@5` is the share of questions whose answer is among the first five passages, `MRR@10` the mean of 1/rank, and
`nDCG@10` the mean of 1/log2(1 + rank), each 0 where the answer is not among the first ten.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

Rank = int | None
"""Of the first passage with an answer, from 1; None: there is none among those that were found."""

_SAMPLES = 2000
_SHARE = 0.95
_SEED = 20261129
"""So that the same ranks always give the same intervals."""


def recall_at_5(rank: Rank) -> float:
    """1 if the answer is among the first five."""
    return 1.0 if rank is not None and rank <= 5 else 0.0


def reciprocal_rank_at_10(rank: Rank) -> float:
    """1/rank."""
    return 1.0 / rank if rank is not None and rank <= 10 else 0.0


def ndcg_at_10(rank: Rank) -> float:
    """The gain, discounted by the logarithm of the rank; the best ranking has 1."""
    return 1.0 / math.log2(1 + rank) if rank is not None and rank <= 10 else 0.0


METRICS: dict[str, Callable[[Rank], float]] = {
    "recall@5": recall_at_5,
    "MRR@10": reciprocal_rank_at_10,
    "nDCG@10": ndcg_at_10,
}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with the interval that holds 95 of 100 means of questions drawn anew (percentile bootstrap)."""

    mean: float
    low: float
    high: float

    @property
    def is_above_zero(self) -> bool:
        """Of a difference: chance alone does not explain it."""
        return self.low > 0


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of figures, one for each question."""
    if not values:
        raise ValueError("there is no mean of nothing")
    chance = random.Random(_SEED)
    means = sorted(fmean(chance.choices(values, k=len(values))) for _ in range(_SAMPLES))
    cut = round(_SAMPLES * (1 - _SHARE) / 2)
    return Estimate(fmean(values), means[cut], means[-1 - cut])


def estimate_gain(better: Sequence[Rank], other: Sequence[Rank], metric: Callable[[Rank], float]) -> Estimate:
    """How much one way of searching has over another on the same questions, drawn in pairs."""
    return estimate([metric(one) - metric(two) for one, two in zip(better, other, strict=True)])
