"""Texts that say the same again, as pure functions: mirrored pages, boilerplate, versions of one document."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import TypeVar

SHINGLE_WORDS = 4
"""Words in a row that are compared."""
SAME_FROM = 0.85
"""Share of the shorter text's shingles in the longer one from which the shorter one says nothing new. Below some 0.8, steps of
instructions for two systems would count as the same."""

_WORD = re.compile(r"\w+")
Item = TypeVar("Item")


def drop_duplicates(items: Sequence[Item], text: Callable[[Item], str], *, most: int | None = None) -> list[Item]:
    """The items without those whose text nearly stands in one before them; with `most`, the first so many of these."""
    kept: list[Item] = []
    seen = _Seen()
    for item in items:
        if len(kept) == most:
            break
        if seen.take(_shingle(text(item))):
            kept.append(item)
    return kept


class _Seen:
    """The texts that were kept, found by what they share with another: most share nothing, and are not looked at."""

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self._first: dict[int, int] = {}
        """By shingle, the first text that has it."""
        self._more: defaultdict[int, list[int]] = defaultdict(list)
        """Further ones."""

    def take(self, shingles: set[int]) -> bool:
        """Take a text in. False: it says nothing new, and is not."""
        known = shingles & self._first.keys()
        shared = Counter(map(self._first.__getitem__, known))
        for shingle in known & self._more.keys():
            shared.update(self._more[shingle])
        if any(count >= SAME_FROM * min(len(shingles), self._sizes[text]) for text, count in shared.items()):
            return False
        taken = len(self._sizes)
        self._sizes.append(len(shingles))
        self._first.update(dict.fromkeys(shingles - known, taken))
        for shingle in known:
            self._more[shingle].append(taken)
        return True


def _shingle(text: str) -> set[int]:
    """Hashes of each few words in a row; of a text with fewer words, of all of it."""
    words = _WORD.findall(text.casefold())
    if len(words) <= SHINGLE_WORDS:
        return {hash(tuple(words))}
    return set(map(hash, zip(*(words[start:] for start in range(SHINGLE_WORDS)), strict=False)))
