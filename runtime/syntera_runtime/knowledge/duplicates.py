"""Texts that say the same again, as pure functions: mirrored pages, boilerplate, versions of one document."""

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

SHINGLE_WORDS = 4
"""Words in a row that are compared."""
SAME_FROM = 0.85
"""Share of the shorter text's shingles in the longer one from which the shorter one says nothing new. Below some 0.8, steps of
instructions for two systems would count as the same."""

_WORD = re.compile(r"\w+")
Item = TypeVar("Item")


def drop_duplicates(items: Sequence[Item], text: Callable[[Item], str]) -> list[Item]:
    """The items without those whose text nearly stands in one before them."""
    kept: list[tuple[Item, frozenset[int]]] = []
    for item in items:
        shingles = _shingle(text(item))
        if not any(_is_same(shingles, other) for _, other in kept):
            kept.append((item, shingles))
    return [item for item, _ in kept]


def _shingle(text: str) -> frozenset[int]:
    """Hashes of each few words in a row; of a text with fewer words, of all of it."""
    words = _WORD.findall(text.casefold())
    last = max(len(words) - SHINGLE_WORDS, 0)
    return frozenset(hash(tuple(words[start : start + SHINGLE_WORDS])) for start in range(last + 1))


def _is_same(one: frozenset[int], other: frozenset[int]) -> bool:
    return len(one & other) >= SAME_FROM * min(len(one), len(other))
