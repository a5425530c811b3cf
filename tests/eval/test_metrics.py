"""The figures of rankings."""

import math

import pytest

from .metrics import METRICS, Rank, estimate, estimate_gain, ndcg_at_10, recall_at_5, reciprocal_rank_at_10


@pytest.mark.parametrize(
    ("rank", "recall", "reciprocal", "ndcg"),
    [
        (1, 1, 1, 1),
        (2, 1, 1 / 2, 1 / math.log2(3)),
        (5, 1, 1 / 5, 1 / math.log2(6)),
        (6, 0, 1 / 6, 1 / math.log2(7)),
        (10, 0, 1 / 10, 1 / math.log2(11)),
        (11, 0, 0, 0),
        (None, 0, 0, 0),
    ],
)
def test_figures_of_a_rank(rank: Rank, recall: float, reciprocal: float, ndcg: float) -> None:
    assert recall_at_5(rank) == recall
    assert reciprocal_rank_at_10(rank) == pytest.approx(reciprocal)
    assert ndcg_at_10(rank) == pytest.approx(ndcg)


def test_interval_holds_the_mean_and_is_the_same_each_time() -> None:
    values = [0.0] * 60 + [1.0] * 40
    found = estimate(values)
    assert found.low < found.mean == 0.4 < found.high
    # The normal approximation of a share: 1.96 standard errors either way.
    assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt(0.4 * 0.6 / 100), rel=0.15)
    assert estimate(values) == found


def test_interval_of_equal_values_is_a_point() -> None:
    assert estimate([0.5] * 10).low == estimate([0.5] * 10).high == 0.5


def test_nothing_has_no_mean() -> None:
    with pytest.raises(ValueError, match="no mean"):
        estimate([])


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_gain_is_counted_question_by_question(metric: object) -> None:
    assert callable(metric)
    always = estimate_gain([1] * 20, [None] * 20, metric)
    assert (always.mean, always.is_above_zero) == (1, True)
    assert not estimate_gain([1, None] * 10, [None, 1] * 10, metric).is_above_zero
