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
Shingles = frozenset[tuple[str, ...]]


def drop_duplicates(items: Sequence[Item], text: Callable[[Item], str], *, most: int | None = None) -> list[Item]:
    """The items without those whose text nearly stands in one before them; with `most`, the first so many of these."""
    kept: list[tuple[Item, Shingles]] = []
    for item in items:
        if len(kept) == most:
            break
        shingles = _shingle(text(item))
        if not any(_is_same(shingles, other) for _, other in kept):
            kept.append((item, shingles))
    return [item for item, _ in kept]


def _shingle(text: str) -> Shingles:
    """Each few words in a row; of a text with fewer words, all of it."""
    words = _WORD.findall(text.casefold())
    if len(words) <= SHINGLE_WORDS:
        return frozenset({tuple(words)})
    return frozenset(zip(*(words[start:] for start in range(SHINGLE_WORDS)), strict=False))


def _is_same(one: Shingles, other: Shingles) -> bool:
    return len(one & other) >= SAME_FROM * min(len(one), len(other))
