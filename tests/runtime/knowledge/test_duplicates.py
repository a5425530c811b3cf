"""Texts that say the same again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntera_runtime.knowledge.duplicates import drop_duplicates

RULE = "Bookings can be cancelled free of charge until forty-eight hours before the departure of the first flight."


def kept(*texts: str) -> list[str]:
    return drop_duplicates(texts, str)


def test_text_that_stands_in_an_earlier_one_goes() -> None:
    whole = f"{RULE} After that a fee of thirty euros is due for each passenger, children included."
    assert kept(whole, RULE) == [whole]


def test_text_that_differs_in_case_and_punctuation_alone_goes() -> None:
    assert kept(RULE, RULE.upper().replace(".", "!")) == [RULE]


@pytest.mark.parametrize(
    "other", [RULE.replace("forty-eight", "twelve").replace("first", "last"), "Pets fly for free.", ""]
)
def test_text_that_says_something_else_stays(other: str) -> None:
    assert kept(RULE, other) == [RULE, other]


_WORDS = st.lists(st.sampled_from("abc"), max_size=25).map(" ".join)


@given(st.lists(_WORDS, max_size=12))
def test_each_is_compared_with_all_before_it(texts: list[str]) -> None:
    def shingles(text: str) -> set[tuple[str, ...]]:
        words = text.split()
        return {tuple(words[start : start + 4]) for start in range(max(1, len(words) - 3))}

    expected: list[str] = []
    for text in texts:
        sizes = [(len(shingles(text) & shingles(other)), len(shingles(other))) for other in expected]
        if not any(shared >= 0.85 * min(len(shingles(text)), size) for shared, size in sizes):
            expected.append(text)
    assert kept(*texts) == expected


def test_no_more_are_looked_at_than_are_wanted() -> None:
    looked_at: list[str] = []

    def read(text: str) -> str:
        looked_at.append(text)
        return text

    assert drop_duplicates(["one", "one", "two", "three"], read, most=2) == ["one", "two"]
    assert looked_at == ["one", "one", "two"]


def test_short_texts_are_compared_as_a_whole() -> None:
    assert kept("Yes, always", "Yes, never", "yes always") == ["Yes, always", "Yes, never"]
