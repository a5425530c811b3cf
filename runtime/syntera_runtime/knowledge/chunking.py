"""Cuts documents into chunks: by their headings, then at the ends of pieces (see `pieces`), near a number of tokens.

A chunk is a piece of the text as it stands, `text[start:end]`, so that a citation points at exactly what was read: no heading
and no head of a table is repeated in it. The path of headings goes with it, and into what is embedded.

Sections are never mixed, but for tiny ones of the same parent, which say little alone. Within a section a chunk begins with the last
sentences of the one before, so that what is said across a border is found from both sides.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from syntera_crds.contract.knowledge_config import Chunking

from ..models.knowledge import Chunk, Extracted, Mark
from ..models.tokens import BYTES_OF_A_TOKEN
from .pieces import Kind, Piece, cut_into_pieces

VERSION = "2"
"""Grows with every change that cuts documents otherwise, so that they are cut anew."""

MOST_CHUNKS = 50_000
"""Of one document."""

_LARGEST = 2
"""Times the target: what alone is larger is cut wherever it has to be."""
_TINY = 0.25
"""A section of at most this part of the target is joined with the next one of the same parent."""
_FULL = 0.6
"""A chunk with this part of the target ends where the next paragraph, list or table would not fit as a whole."""
_REST = 0.2
"""What is left of a section and is at most this part of the target goes with the chunk before."""
_GRAIN = 1 / 16
"""Pieces that are together at most this part of the target count as one, so that a text of a million words is not a million pieces."""


class TooManyChunks(Exception):
    """A document has more than `MOST_CHUNKS`."""


@dataclass(frozen=True, slots=True)
class _Unit:
    """A piece, or several tiny ones, with the size."""

    piece: Piece
    size: int
    """UTF-8 bytes from its start to that of the next one, spaces between them included."""


@dataclass(frozen=True, slots=True)
class _Section:
    """Pieces below one heading."""

    headings: tuple[str, ...]
    units: Sequence[_Unit]

    @property
    def size(self) -> int:
        return sum(unit.size for unit in self.units)

    @property
    def is_heading_alone(self) -> bool:
        return all(unit.piece.kind is Kind.HEADING for unit in self.units)


def cut(extracted: Extracted, chunking: Chunking) -> tuple[Chunk, ...]:
    """The chunks of a document, in order. Empty: it holds nothing but spaces.

    Together they hold every character that is no space; each has at most `2 x target_tokens` tokens, as estimated.

    Raises:
        TooManyChunks: It is too long.
    """
    target = chunking.target_tokens * BYTES_OF_A_TOKEN
    pieces = cut_into_pieces(
        extracted.text, most_tokens=_LARGEST * chunking.target_tokens, piece_tokens=chunking.target_tokens
    )
    sections = _join_tiny(_split(extracted, _measure(extracted.text, pieces), grain=int(_GRAIN * target)), target)
    pages = _Pages(extracted.marks)
    chunks: list[Chunk] = []
    for section in sections:
        overlap = 0
        for first, last in _pack(section.units, chunking, target):
            start, end = section.units[first].piece.start, section.units[last].piece.end
            if len(chunks) == MOST_CHUNKS:
                raise TooManyChunks
            if chunks:
                overlap = max(0, chunks[-1].end - start)
            chunks.append(
                Chunk(
                    position=len(chunks),
                    start=start,
                    end=end,
                    content=extracted.text[start:end],
                    overlap=overlap,
                    headings=section.headings,
                    page=pages.at(start),
                    last_page=pages.at(end - 1),
                    tokens=_tokens(extracted.text[start:end]),
                )
            )
    return tuple(chunks)


def _tokens(text: str) -> int:
    return -(-_size(text) // BYTES_OF_A_TOKEN)


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _measure(text: str, pieces: Iterable[Piece]) -> Iterator[_Unit]:
    previous: Piece | None = None
    for piece in pieces:
        if previous is not None:
            yield _Unit(previous, _size(text[previous.start : piece.start]))
        previous = piece
    if previous is not None:
        yield _Unit(previous, _size(text[previous.start : previous.end]))


def _split(extracted: Extracted, units: Iterable[_Unit], *, grain: int) -> Iterator[_Section]:
    """One section for each stretch with the same path of headings. A piece belongs to where it begins."""
    borders = _borders(extracted.marks)
    starts = [start for start, _ in borders]
    current: list[_Unit] = []
    number = -1
    for unit in units:
        now = bisect_right(starts, unit.piece.start) - 1
        if now != number and current:
            yield _Section(borders[number][1] if number >= 0 else (), current)
            current = []
        number = now
        if current and (joined := _join_units(current[-1], unit, grain)) is not None:
            current[-1] = joined
        else:
            current.append(unit)
    if current:
        yield _Section(borders[number][1] if number >= 0 else (), current)


def _join_units(first: _Unit, second: _Unit, grain: int) -> _Unit | None:
    """Both as one, where they are tiny; a heading is none with what is below it."""
    one, other = first.piece, second.piece
    if first.size + second.size > grain or (one.kind is Kind.HEADING) != (other.kind is Kind.HEADING):
        return None
    return _Unit(Piece(one.start, other.end, other.kind, other.block), first.size + second.size)


def _borders(marks: Sequence[Mark]) -> list[tuple[int, tuple[str, ...]]]:
    """Where the path of headings changes. Two headings of the same words one after the other have two sections."""
    borders: list[tuple[int, tuple[str, ...]]] = []
    page: int | None = None
    for mark in marks:
        is_page_alone = mark.page != page and borders and borders[-1][1] == mark.headings
        page = mark.page
        if not is_page_alone and not (not borders and not mark.headings):
            borders.append((mark.start, mark.headings))
    return borders


def _join_tiny(sections: Iterable[_Section], target: int) -> Iterator[_Section]:
    held: _Section | None = None
    for section in sections:
        joined = None if held is None else _join(held, section, target)
        if held is not None and joined is None:
            yield held
        held = joined or section
    if held is not None:
        yield held


def _join(first: _Section, second: _Section, target: int) -> _Section | None:
    """Both as one, where the first is tiny and both together are not large; a heading without text always goes with what it
    stands over, because alone it is found and says nothing."""
    units = (*first.units, *second.units)
    if first.is_heading_alone and second.headings[: len(first.headings)] == first.headings:
        return _Section(second.headings, units)
    if first.size > _TINY * target or first.size + second.size > target:
        return None
    parent = _common(first.headings, second.headings)
    are_siblings = (
        bool(first.headings) and len(parent) >= len(first.headings) - 1 and len(parent) >= len(second.headings) - 1
    )
    return _Section(parent, units) if are_siblings else None


def _common(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    common: list[str] = []
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        common.append(one)
    return tuple(common)


def _pack(units: Sequence[_Unit], chunking: Chunking, target: int) -> Iterator[tuple[int, int]]:
    """The first and the last unit of each chunk. Every chunk has one that none before has, so this ends."""
    rests = _rests(units)
    ends = _block_ends(units)
    begin = fresh = 0
    while fresh < len(units):
        last = _fill(units, ends, begin=begin, fresh=fresh, target=target)
        rest = rests[last + 1]
        if rest and rest <= _REST * target and rests[begin] <= (1 + _REST) * target:
            last = len(units) - 1
        yield begin, last
        fresh = last + 1
        if fresh < len(units):
            begin = _step_back(units, fresh, floor=begin, chunking=chunking, target=target)


def _fill(units: Sequence[_Unit], ends: Sequence[int], *, begin: int, fresh: int, target: int) -> int:
    """The last unit of a chunk that begins with `begin` and has `fresh` at least."""
    size = sum(unit.size for unit in units[begin : fresh + 1])
    last = fresh
    while last + 1 < len(units):
        following = units[last + 1]
        is_below_heading = units[last].piece.kind is Kind.HEADING
        if size + following.size > (_LARGEST * target if is_below_heading else target):
            break
        is_new_block = following.piece.block != units[last].piece.block
        if is_new_block and not is_below_heading and size >= _FULL * target and size + ends[last + 1] > target:
            break
        last += 1
        size += following.size
    if last + 1 == len(units):
        return last
    # A heading is not left behind by what it stands over.
    kept = last
    while kept > fresh and units[kept].piece.kind is Kind.HEADING:
        kept -= 1
    return last if units[kept].piece.kind is Kind.HEADING else kept


def _rests(units: Sequence[_Unit]) -> list[int]:
    """From each unit on, how large everything is to the end."""
    rests = [0] * (len(units) + 1)
    for number in range(len(units) - 1, -1, -1):
        rests[number] = rests[number + 1] + units[number].size
    return rests


def _block_ends(units: Sequence[_Unit]) -> list[int]:
    """From each unit on, how large everything is to the end of its block."""
    ends = [0] * len(units)
    for number in range(len(units) - 1, -1, -1):
        is_same = number + 1 < len(units) and units[number + 1].piece.block == units[number].piece.block
        ends[number] = units[number].size + (ends[number + 1] if is_same else 0)
    return ends


def _step_back(units: Sequence[_Unit], fresh: int, *, floor: int, chunking: Chunking, target: int) -> int:
    """Where the next chunk begins: with as many of the last units as its overlap holds."""
    most = min(chunking.overlap_tokens * BYTES_OF_A_TOKEN, _LARGEST * target - units[fresh].size)
    begin, size = fresh, 0
    while begin - 1 > floor and units[begin - 1].piece.kind is not Kind.HEADING:
        size += units[begin - 1].size
        if size > most:
            break
        begin -= 1
    return begin


class _Pages:
    """On which page a position is."""

    def __init__(self, marks: Sequence[Mark]) -> None:
        paged = [mark for mark in marks if mark.page is not None]
        self._starts = [mark.start for mark in paged]
        self._pages = [mark.page for mark in paged]

    def at(self, position: int) -> int | None:
        """None: the format has none, or it is before the first."""
        found = bisect_right(self._starts, position) - 1
        return self._pages[found] if found >= 0 else None
