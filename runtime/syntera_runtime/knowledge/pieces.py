"""What a document's text is made of: the smallest pieces that are not cut apart, with their places in the text.

It reads the Markdown-like text that extraction writes: headings, paragraphs, list items, tables, fenced code. A piece is a sentence
of a paragraph, a list item, a row of a table, a line of code, a heading. What is larger than a bound is cut further: at sentences,
then at spaces, then anywhere. All pieces together hold every character that is no space, in order.

One pass over the lines, each expression linear in what it reads, one piece at a time in memory: the text may be anything. A Markdown parser would tell lines where
places in the text are wanted, and reads text that a hostile author has nested without end.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from ..models.tokens import BYTES_OF_A_TOKEN

_HEADING = re.compile(r"#{1,6}(?:\s|$)")
_FENCE = re.compile(r"(`{3,}|~{3,})")
_ITEM = re.compile(r"(?:[-*+•]|\d{1,9}[.)])\s")
# A run of marks is tried from its first one alone, so that a million of them take no longer than a million letters.
_SENTENCE_END = re.compile(
    r"(?<![.!?…])[.!?…]++[\"'”’»)\]]{0,8}+\s+|(?<![。！？｡])[。！？｡]++[」』”’）]{0,8}+\s*"  # noqa: RUF001  # ends of sentences
)
_ABBREVIATION = re.compile(
    r"(?:^|\W)(?:\w|\d{1,3}|Dr|Mr|Mrs|Ms|Prof|St|Nr|No|Art|vs|bzw|ca|etc|cf|Fig|Abb|vgl|resp|approx)$"
)
_LOOK_AT = 64
"""Characters of a line that tell what it is."""
_LOOK_BACK = 12
"""Characters before a full stop that tell an abbreviation."""
_JOINERS = "\u200d\ufe0e\ufe0f"
_MOST_BACK = 16
"""Characters that a cut goes back at most to leave a letter with its accents whole."""


class Kind(StrEnum):
    """What a piece is."""

    HEADING = "heading"
    SENTENCE = "sentence"
    ITEM = "item"
    ROW = "row"
    CODE = "code"


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the text that begins and ends with something else than space."""

    start: int
    end: int
    kind: Kind
    block: int
    """The number of the paragraph, list, table or code that it is part of."""


@dataclass(frozen=True, slots=True)
class _Block:
    """Lines that belong together."""

    start: int
    end: int
    kind: Kind
    number: int


def cut_into_pieces(text: str, *, most_tokens: int, piece_tokens: int) -> Iterator[Piece]:
    """All pieces, in order.

    Args:
        text: Any text.
        most_tokens: A piece of more is cut further.
        piece_tokens: Into parts of at most as many.
    """
    for block in _find_blocks(text):
        if block.kind is Kind.SENTENCE:
            spans = _sentences(text, block.start, block.end)
        else:
            spans = iter([(block.start, block.end)])
        for start, end in spans:
            for part_start, part_end in _bound(text, start, end, most_tokens=most_tokens, piece_tokens=piece_tokens):
                stripped = _strip(text, part_start, part_end)
                if stripped is not None:
                    yield Piece(*stripped, block.kind, block.number)


def _find_blocks(text: str) -> Iterator[_Block]:
    """Lines, joined where they are one paragraph or one item of a list."""
    number, open_block, fence = 0, None, ""
    previous: Kind | None = None
    for start, end in _lines(text):
        line = text[start:end].lstrip()[:_LOOK_AT]
        kind = _kind_of_line(line, fence=fence)
        is_continued = open_block is not None and kind is Kind.SENTENCE and bool(line)
        if open_block is not None and is_continued:
            open_block = _Block(open_block.start, end, open_block.kind, open_block.number)
            continue
        if open_block is not None:
            yield open_block
            open_block = None
        if fence and (closing := _FENCE.match(line)) and closing[1].startswith(fence):
            fence = ""
        elif not fence and (opening := _FENCE.match(line)):
            fence = opening[1]
        if not line:
            if not fence:
                previous = None
            continue
        if kind is not previous or kind in (Kind.HEADING, Kind.SENTENCE):
            number += 1
        previous = kind
        block = _Block(start, end, kind, number)
        if kind in (Kind.SENTENCE, Kind.ITEM):
            open_block = block
        else:
            yield block
    if open_block is not None:
        yield open_block


def _kind_of_line(line: str, *, fence: str) -> Kind:
    if fence or _FENCE.match(line):
        return Kind.CODE
    if _HEADING.match(line):
        return Kind.HEADING
    if line.startswith("|"):
        return Kind.ROW
    return Kind.ITEM if _ITEM.match(line) else Kind.SENTENCE


def _lines(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield start, end
        start = end + 1


def _sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    begin = start
    for found in _SENTENCE_END.finditer(text, start, end):
        following = text[found.end() : found.end() + 1]
        if following.islower() or (
            found[0][0] == "." and _ABBREVIATION.search(text[max(begin, found.start() - _LOOK_BACK) : found.start()])
        ):
            continue
        yield begin, found.end()
        begin = found.end()
    yield begin, end


def _bound(text: str, start: int, end: int, *, most_tokens: int, piece_tokens: int) -> Iterator[tuple[int, int]]:
    """The span, or parts of it where it has too many tokens."""
    if end - start <= most_tokens * BYTES_OF_A_TOKEN // 4 or _fits(text, start, end, most_tokens):
        yield start, end
        return
    pending: int | None = None
    for sentence_start, sentence_end in _sentences(text, start, end):
        begin = sentence_start if pending is None else pending
        if _fits(text, begin, sentence_end, piece_tokens):
            pending = begin
            continue
        if pending is not None:
            yield pending, sentence_start
        if _fits(text, sentence_start, sentence_end, piece_tokens):
            pending = sentence_start
            continue
        pending = None
        yield from _at_spaces(text, sentence_start, sentence_end, piece_tokens)
    if pending is not None:
        yield pending, end


def _fits(text: str, start: int, end: int, tokens: int) -> bool:
    most = tokens * BYTES_OF_A_TOKEN
    return end - start <= most and len(text[start:end].encode("utf-8", "surrogatepass")) <= most


def _at_spaces(text: str, start: int, end: int, tokens: int) -> Iterator[tuple[int, int]]:
    most = tokens * BYTES_OF_A_TOKEN
    while start < end:
        part = text[start : min(end, start + most)].encode("utf-8", "surrogatepass")[:most]
        # The bytes may end within a character; what is left of it is no character.
        length = len(part.decode("utf-8", "ignore"))
        stop = min(end, start + max(1, length))
        if stop < end:
            stop = _space_before(text, start, stop) or _whole_letter(text, start, stop)
        yield start, stop
        start = stop


def _space_before(text: str, start: int, stop: int) -> int | None:
    """The end of the last space in the second half of a span."""
    middle = start + (stop - start) // 2
    return next((position for position in range(stop, middle, -1) if text[position - 1].isspace()), None)


def _whole_letter(text: str, start: int, stop: int) -> int:
    for position in range(stop, max(start, stop - _MOST_BACK), -1):
        before, after = text[position - 1], text[position]
        if not unicodedata.combining(after) and after not in _JOINERS and before != "\u200d":
            return position
    return stop


def _strip(text: str, start: int, end: int) -> tuple[int, int] | None:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return (start, end) if start < end else None
