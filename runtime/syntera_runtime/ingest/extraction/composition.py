"""How the text of a document is put together: clean, and with marks that say where headings and pages begin."""

import re
import unicodedata

from ...models.knowledge import Mark
from .faults import MOST_CHARACTERS, Fault, Unreadable

LONGEST_TITLE = 300
LONGEST_HEADING = 200
"""Of a heading in a path; in the text it stands in full."""
MOST_TAGS = 50
LONGEST_TAG = 100
DEEPEST = 6
"""Levels of headings, as Markdown has them."""

_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f"
    # Soft hyphens, zero-width spaces and joiners of words, and byte order marks break words for the search.
    "\u00ad\u200b\u2060-\u2064\ufeff\ufff9-\ufffb\ufffe\uffff"
    # Overrides of direction and tags show people another text than models read.
    "\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]"
)
_SURROGATES = re.compile("[\ud800-\udfff]")
_SPACES = re.compile(r"\s+")


def clean(text: str) -> str:
    """The text in NFC, without what nobody can see, lines ended by `\\n`."""
    text = _LINE_ENDS.sub("\n", text)
    text = _INVISIBLE.sub("", text)
    text = _SURROGATES.sub("\ufffd", text)
    return unicodedata.normalize("NFC", text)


def is_clean(text: str) -> bool:
    """Whether `clean` would leave the text as it is."""
    return not any(found.search(text) for found in (_LINE_ENDS, _INVISIBLE, _SURROGATES)) and unicodedata.is_normalized(
        "NFC", text
    )


def one_line(text: str) -> str:
    """The text on one line."""
    return _SPACES.sub(" ", clean(text)).strip()


def build_title(text: object) -> str | None:
    """A title of what a document says, or None where it says nothing."""
    if not isinstance(text, str):
        return None
    return one_line(text[: 4 * LONGEST_TITLE])[:LONGEST_TITLE].rstrip() or None


class Composition:
    """A text that grows block by block; between two blocks is an empty line."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0
        self._marks: list[Mark] = []
        self._path: list[tuple[int, str]] = []
        self._page: int | None = None
        self._page_is_new = False

    def begin_page(self, number: int) -> None:
        """What follows is on this page. One without text leaves no mark."""
        self._page = number
        self._page_is_new = True

    def add_heading(self, level: int, text: str) -> None:
        """Put a heading; level 1 is the outermost."""
        line = one_line(text)
        if not line:
            return
        level = max(1, min(level, DEEPEST))
        while self._path and self._path[-1][0] >= level:
            self._path.pop()
        self._path.append((level, line[:LONGEST_HEADING]))
        self._add(f"{'#' * level} {line}", is_heading=True)

    def add_block(self, text: str) -> None:
        """Put a paragraph, a list or a table."""
        block = "\n".join(line.rstrip() for line in clean(text).split("\n")).strip("\n")
        if block.strip():
            self._add(block)

    @property
    def text(self) -> str:
        """All of it so far."""
        return "".join(self._pieces)

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Of all of it so far."""
        return tuple(self._marks)

    def _add(self, block: str, *, is_heading: bool = False) -> None:
        if self._pieces:
            self._append("\n\n")
        if is_heading or self._page_is_new:
            self._marks.append(Mark(self._length, tuple(title for _, title in self._path), self._page))
            self._page_is_new = False
        self._append(block)

    def _append(self, piece: str) -> None:
        self._length += len(piece)
        if self._length > MOST_CHARACTERS:
            raise Unreadable(Fault.MUCH_TEXT)
        self._pieces.append(piece)
