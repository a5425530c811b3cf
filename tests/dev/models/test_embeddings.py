"""Embeddings without a model."""

import math

import pytest

from syntera_dev.models.embeddings import embed


def similarity(left: str, right: str) -> float:
    return sum(a * b for a, b in zip(embed(left, dimensions=384), embed(right, dimensions=384), strict=True))


@pytest.mark.parametrize("text", ["", "!?", "Refunds are possible", "ß"])
@pytest.mark.parametrize("dimensions", [1, 8, 384])
def test_vector_has_length_one(text: str, dimensions: int) -> None:
    vector = embed(text, dimensions=dimensions)
    assert len(vector) == dimensions
    assert math.isclose(math.hypot(*vector), 1)


def test_texts_with_common_words_are_nearer() -> None:
    near = similarity("can I get a refund", "refunds: how to get one")
    assert near > similarity("can I get a refund", "the weather in Oslo") + 0.1


def test_case_makes_no_difference() -> None:
    assert math.isclose(similarity("Refund", "REFUND"), 1)
