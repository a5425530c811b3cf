"""What a question is asked by, and how chunks are ranked by words."""

from uuid import UUID

import pytest

from syntera_runtime.models.ids import ChunkId

from .words import (
    RANKINGS,
    Occurrence,
    Said,
    Words,
    ask_all,
    ask_in_own_language,
    ask_uncommon,
    bm25,
    rank_chunks,
    rarity,
)

THE_BAGS = [
    Said("the", "en", []),
    Said("the", "de", ["the"]),
    Said("bags", "en", ["bag"]),
    Said("bags", "de", ["bags"]),
]
ONE, TWO, THREE = (ChunkId(UUID(int=number)) for number in (1, 2, 3))


def make_occurrence(*, times: int = 1, times_in_headings: int = 0, length: float = 1) -> Occurrence:
    return Occurrence(times, times_in_headings, rank=0.06, rank_by_length=0.01, rank_by_variety=0.01, length=length)


def test_question_is_asked_in_every_language_without_what_one_passes_over() -> None:
    assert ask_all(THE_BAGS, "en") == {"the", "bag", "bags"}
    assert ask_uncommon(THE_BAGS, "en") == {"bag", "bags"}
    assert ask_in_own_language(THE_BAGS, "de") == {"the", "bags"}


def test_question_of_common_words_alone_is_asked_by_them() -> None:
    assert ask_uncommon(THE_BAGS[:2], "en") == {"the"}


def test_rare_word_counts_for_more_than_a_common_one() -> None:
    places = {"rare": {TWO: make_occurrence()}, "common": {ONE: make_occurrence(), THREE: make_occurrence()}}
    for ranking in RANKINGS:
        assert rank_chunks(Words(10, places), frozenset({"rare", "common", "unknown"}), ranking.weigh) == [
            TWO,
            ONE,
            THREE,
        ]


def test_words_add_up() -> None:
    places = {"bag": {ONE: make_occurrence(), TWO: make_occurrence()}, "heavy": {TWO: make_occurrence()}}
    assert rank_chunks(Words(10, places), frozenset(places), lambda _all, _holding, _found: 1) == [TWO, ONE]


def test_bm25_is_that_of_its_authors() -> None:
    """Robertson and Zaragoza, The Probabilistic Relevance Framework (2009), equation 3.15, with a weight that is never negative."""
    assert bm25(100, 10, make_occurrence(times=2, length=1)) == pytest.approx(2.2637 * 2 * 2.2 / 3.2, abs=0.001)
    assert bm25(100, 10, make_occurrence(times=2, length=2)) == pytest.approx(2.2637 * 2 * 2.2 / 4.1, abs=0.001)
    twice = make_occurrence(times=2, times_in_headings=1)
    assert bm25(100, 10, twice, headings=1) == bm25(100, 10, make_occurrence(times=3))


def test_rarity_never_is_nothing() -> None:
    assert 0 < rarity(10, 10) < rarity(10, 5)
