"""PDF: the text of each page in its order, paragraphs put together from lines, headings where letters are larger than the text's.

A PDF knows no paragraphs, headings or tables: it places letters. What is told here is told by where lines stand and how large
they are. What stands on top or at the bottom of most pages is left out.
"""

import ctypes
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pypdfium2
import pypdfium2.raw as pdfium

from ...models.knowledge import Extracted
from .archives import read_title
from .composition import Composition, one_line
from .dates import read_pdf_date
from .faults import MOST_CHARACTERS, MOST_PAGES, Fault, Unreadable
from .languages import read_declared

HEADING_RATIO = 1.15
"""How much larger than the text's the letters of a heading are at least."""
LONGEST_HEADING = 200
MOST_LEVELS = 4
MOST_HEADINGS = 0.3
"""Of all lines. Where more are large, size says nothing."""
PARAGRAPH_GAP = 0.65
"""Free space between two lines, in heights of a line, from which on the second begins a paragraph."""
FULL_LINE = 0.85
"""Share of a page's width from which on a line is taken to go on in the next one."""
LEAST_LETTERS = 2
"""Letters and digits per page, on average. Scans have none, or a stamp with their number."""
REPEATED_ON = 0.6
"""Share of the pages that a line must stand on to be a header or footer."""
FEWEST_PAGES = 4
"""With fewer, what repeats may be meant so."""
_EDGE_LINES = 2
"""Lines at the top and the bottom of a page that may be headers and footers."""

_BROKEN_WORD = re.compile("[\x02\ufffe\u00ad]$")
"""How pdfium marks a word that is divided at the end of a line."""
_BULLET = re.compile(r"[\u2022\u2023\u25aa\u25cf\u25e6\u2043\u00b7\uf0b7\u2013-]\s+(?=\S)")
_NUMBERED = re.compile(r"(?:\d{1,3}|[a-z])[.)]\s+(?=\S)")
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    height: float
    """Of its letters, in points; 0: not known."""
    top: float
    bottom: float
    right: float


def read_pdf(content: bytes) -> Extracted:
    """A PDF document.

    Raises:
        Unreadable: It is encrypted, damaged, too long, or has no text.
    """
    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        encrypted = error.err_code == pdfium.FPDF_ERR_PASSWORD
        raise Unreadable(Fault.ENCRYPTED if encrypted else Fault.BROKEN) from error
    with document:
        if len(document) > MOST_PAGES:
            raise Unreadable(Fault.MANY_PAGES)
        pages = list(_read_pages(document))
        _check_text(pages)
        pages = _without_edges(pages)
        known = document.get_metadata_dict()
        language = _read_language(document)
    composition = _compose(pages)
    return Extracted(
        composition.text,
        composition.marks,
        title=read_title(known.get("Title")) or _find_title(composition),
        language=language,
        modified_at=read_pdf_date(known.get("ModDate", "")) or read_pdf_date(known.get("CreationDate", "")),
    )


def _read_pages(document: pypdfium2.PdfDocument) -> Iterator[list[_Line]]:
    characters = 0
    for index in range(len(document)):
        try:
            page = document[index]
        except pypdfium2.PdfiumError:
            # One damaged page does not make the others unreadable.
            yield []
            continue
        text_page = page.get_textpage()
        lines = list(_read_lines(text_page))
        text_page.close()
        page.close()
        characters += sum(len(line.text) for line in lines)
        if characters > MOST_CHARACTERS:
            raise Unreadable(Fault.MUCH_TEXT)
        yield lines


def _read_lines(text_page: pypdfium2.PdfTextPage) -> Iterator[_Line]:
    text = text_page.get_text_range()
    start = 0
    for raw in text.split("\r\n"):
        stripped = raw.strip()
        if stripped:
            first = start + len(raw) - len(raw.lstrip())
            yield _measure(text_page, stripped, first)
        start += len(raw) + 2


def _measure(text_page: pypdfium2.PdfTextPage, text: str, first: int) -> _Line:
    """Where a line stands, by its first and its last letter."""
    begin = _read_box(text_page, first)
    end = _read_box(text_page, first + len(text) - 1)
    if begin is None or end is None:
        return _Line(text, 0, 0, 0, 0)
    return _Line(text, round(2 * (begin.top - begin.bottom)) / 2, begin.top, begin.bottom, end.right)


def _read_box(text_page: pypdfium2.PdfTextPage, text_index: int) -> pdfium.FS_RECTF | None:
    index = pdfium.FPDFText_GetCharIndexFromTextIndex(text_page, text_index)
    box = pdfium.FS_RECTF()
    # The loose box is as high as the font, whatever letter it is, and knows the page's scale as the font's size does not.
    found = index >= 0 and pdfium.FPDFText_GetLooseCharBox(text_page, index, ctypes.byref(box))
    return box if found else None


def _check_text(pages: Sequence[Sequence[_Line]]) -> None:
    letters = sum(character.isalnum() for lines in pages for line in lines for character in line.text)
    if letters < LEAST_LETTERS * len(pages):
        raise Unreadable(Fault.SCANNED)


def _without_edges(pages: Sequence[Sequence[_Line]]) -> list[list[_Line]]:
    """Pages without headers and footers: small lines on the edge that most pages have, whatever numbers are in them."""
    if len(pages) < FEWEST_PAGES:
        return [list(lines) for lines in pages]
    most = HEADING_RATIO * _find_body_height([line for lines in pages for line in lines])
    edges = [_find_edges(lines, most) for lines in pages]
    counted = Counter(
        key for lines, at in zip(pages, edges, strict=True) for key in {_edge_key(lines, edge) for edge in at}
    )
    repeated = {key for key, count in counted.items() if count >= REPEATED_ON * len(pages)}
    return [
        [line for at, line in enumerate(lines) if at not in edge or _edge_key(lines, at) not in repeated]
        for lines, edge in zip(pages, edges, strict=True)
    ]


def _find_edges(lines: Sequence[_Line], most_height: float) -> frozenset[int]:
    edges = (*range(len(lines))[:_EDGE_LINES], *range(len(lines))[-_EDGE_LINES:])
    return frozenset(at for at in edges if lines[at].height <= most_height)


def _find_body_height(lines: Sequence[_Line]) -> float:
    """The height of most letters."""
    letters: Counter[float] = Counter()
    for line in lines:
        letters[line.height] += len(line.text)
    return max(letters, key=lambda height: letters[height], default=0)


def _edge_key(lines: Sequence[_Line], at: int) -> str:
    """What is the same on all pages: of the outermost lines all but numbers, of the next ones everything."""
    is_outermost = at in (0, len(lines) - 1)
    return _DIGITS.sub("0", lines[at].text) if is_outermost else lines[at].text


def _compose(pages: Sequence[Sequence[_Line]]) -> Composition:
    levels = _find_levels([line for lines in pages for line in lines])
    composition = Composition()
    for number, lines in enumerate(pages, start=1):
        composition.begin_page(number)
        right = max((line.right for line in lines), default=0)
        for level, paragraph in _group(lines, levels):
            if level:
                composition.add_heading(level, _join(paragraph, right=0))
            else:
                composition.add_block(_join(paragraph, right=right))
    return composition


def _find_levels(lines: Sequence[_Line]) -> dict[float, int]:
    """Heights of letters that headings have, with their levels."""
    body = _find_body_height(lines)
    large = Counter(line.height for line in lines if _may_be_heading(line) and line.height >= HEADING_RATIO * body)
    if body == 0 or sum(large.values()) > MOST_HEADINGS * len(lines):
        return {}
    return {height: min(level, MOST_LEVELS) for level, height in enumerate(sorted(large, reverse=True), start=1)}


def _may_be_heading(line: _Line) -> bool:
    return len(line.text) <= LONGEST_HEADING and any(character.isalpha() for character in line.text)


def _group(lines: Sequence[_Line], levels: dict[float, int]) -> Iterator[tuple[int, list[_Line]]]:
    """Headings with their level, and paragraphs with level 0."""
    group: list[_Line] = []
    level = 0
    for line in lines:
        own = levels.get(line.height, 0) if _may_be_heading(line) else 0
        if group and (own != level or _begins_paragraph(group[-1], line)):
            yield level, group
            group = []
        level = own
        group.append(line)
    if group:
        yield level, group


def _begins_paragraph(before: _Line, line: _Line) -> bool:
    gap = before.bottom - line.top
    return gap > PARAGRAPH_GAP * max(line.height, 1) or line.bottom > before.top


def _join(lines: Sequence[_Line], *, right: float) -> str:
    """The lines of a paragraph: one that fills the width goes on in the next, a short one ends there."""
    joined = ""
    for number, line in enumerate(lines):
        text = _BULLET.sub("- ", line.text, count=1) if _BULLET.match(line.text) else line.text
        if number == 0:
            joined = text
        elif _BROKEN_WORD.search(joined):
            joined = joined[:-1] + text
        elif _begins_item(text) or lines[number - 1].right < FULL_LINE * right:
            joined += f"\n{text}"
        else:
            joined += f" {text}"
    return joined


def _begins_item(text: str) -> bool:
    return text.startswith("- ") or _NUMBERED.match(text) is not None


def _find_title(composition: Composition) -> str | None:
    """The first heading of the outermost level, if the document begins with it."""
    first = composition.marks[0] if composition.marks else None
    return one_line(first.headings[0]) if first is not None and first.headings else None


def _read_language(document: pypdfium2.PdfDocument) -> str | None:
    buffer = (ctypes.c_ushort * 32)()
    size = pdfium.FPDFCatalog_GetLanguage(document, buffer, ctypes.sizeof(buffer))
    if not 2 < size <= ctypes.sizeof(buffer):
        return None
    return read_declared(bytes(buffer)[: size - 2].decode("utf-16-le", "ignore"))
