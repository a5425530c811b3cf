"""Finds the numbers of passages that an answer cites, as `[1]` or `[1, 2]`, while it comes. Pure.

What stands in code is no citation: `items[1]` there is an index.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

_TOKEN = re.compile(r"`|\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]")
_MARKER = re.compile(r"(?:(?<![ \t])[ \t]+)?\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]")
"""With all the space before it; from within a long space nobody looks for its end again."""
_LONGEST = 64
"""A bracket that is open for longer than this is no marker."""
_FENCES = ("```", "~~~")


@dataclass(frozen=True, slots=True)
class Marker:
    """Numbers in brackets."""

    start: int
    """In the whole text, in characters."""
    end: int
    numbers: tuple[int, ...]


class MarkerScanner:
    """Reads one answer, piece by piece."""

    def __init__(self) -> None:
        self._before = 0
        """Characters before the line."""
        self._line = ""
        self._read_to = 0
        """Up to where the line is read."""
        self._is_fenced = False
        self._is_code = False
        self._in_code: list[Marker] = []
        """Markers behind a backtick that may never be closed, and then opens no code."""

    def feed(self, text: str) -> list[Marker]:
        """The markers that stand in the answer from here on."""
        found: list[Marker] = []
        for index, piece in enumerate(text.split("\n")):
            if index:
                found += self.flush()
            self._line += piece
            found += self._read()
        return found

    def flush(self) -> list[Marker]:
        """The markers that are certain now that the line has ended."""
        found = self._in_code
        if self._line.lstrip().startswith(_FENCES):
            self._is_fenced, found = not self._is_fenced, []
        self._before += len(self._line) + 1
        self._line, self._read_to, self._is_code, self._in_code = "", 0, False, []
        return found

    def _read(self) -> list[Marker]:
        if self._is_fenced or self._line.lstrip().startswith(_FENCES):
            return []
        found: list[Marker] = []
        for token in _TOKEN.finditer(self._line, self._read_to):
            self._read_to = token.end()
            if token[1] is None:
                self._in_code.clear()
                self._is_code = not self._is_code
            else:
                marker = Marker(self._before + token.start(), self._before + token.end(), _numbers(token[1]))
                (self._in_code if self._is_code else found).append(marker)
        begun = self._line.find("[", self._read_to)
        self._read_to = begun if begun >= 0 and len(self._line) - begun <= _LONGEST else len(self._line)
        return found


def find_markers(text: str) -> Sequence[Marker]:
    """All markers of a whole answer, in their order."""
    scanner = MarkerScanner()
    return sorted((*scanner.feed(text), *scanner.flush()), key=lambda marker: marker.start)


def drop_markers(text: str, numbers: Collection[int]) -> str:
    """The text without the markers of these numbers, with the space before them."""
    if not numbers:
        return text

    def rest_of(marker: re.Match[str]) -> str:
        return "" if all(number in numbers for number in _numbers(marker[1])) else marker[0]

    return _MARKER.sub(rest_of, text)


def _numbers(listed: str) -> tuple[int, ...]:
    return tuple(int(number) for number in listed.split(","))
