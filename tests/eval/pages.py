"""HTML pages of the corpus as text with headings, in the form in which a sync's readers hand documents over.

A reader of its own, so that figures of the search do not move with what is read out of HTML: navigation goes, everything else
stays, in order.
"""

import re
from collections.abc import Iterator

from lxml import html
from lxml.html import HtmlElement

from syntera_runtime.models.knowledge import Extracted, Mark

_NAVIGATION = (
    "//script|//style|//nav|//header|//footer|//div[contains(@class,'navheader')]|//div[contains(@class,'navfooter')]"
    "|//div[contains(@class,'sphinxsidebar')]|//div[contains(@class,'related')]|//ul[contains(@class,'docnav')]|//div[@id='banner']|//p[@id='title']"
    "|//div[@class='toc']|//a[@class='headerlink']"
)
_HEADING = re.compile(r"h([1-6])")
_BLOCKS = frozenset(
    re.findall(
        r"\w+",
        """
        address article aside blockquote body center dd div dl dt fieldset figure form hr li main ol p pre section table tbody
        td tfoot th thead tr ul
        """,
    )
)
_Block = tuple[str, int]
"""Text, and the level of a heading; 0: it is none."""


def read_page(content: bytes, *, language: str) -> Extracted:
    """The text of a page, its headings as `#` lines, with a mark where each begins."""
    root = html.document_fromstring(content, parser=html.HTMLParser(encoding="utf-8"))
    title = " ".join((root.findtext(".//title") or "").split())
    for element in root.xpath(_NAVIGATION):
        if element.getparent() is not None:
            element.drop_tree()
    pieces: list[str] = []
    marks: list[Mark] = []
    path: list[tuple[int, str]] = []
    position = 0
    for text, level in _blocks(root.body):
        piece = f"{'#' * level} {text}" if level else text
        if level:
            path = [*((above, name) for above, name in path if above < level), (level, text)]
            marks.append(Mark(position, tuple(name for _, name in path)))
        pieces.append(piece)
        position += len(piece) + 2
    return Extracted(text="\n\n".join(pieces), marks=tuple(marks), title=title or None, language=language)


def _blocks(element: HtmlElement) -> Iterator[_Block]:
    """The blocks below an element: what stands in line is one, whatever else there is beside it."""
    inline = [element.text or ""]
    for child in element:
        if isinstance(child.tag, str) and (
            _HEADING.fullmatch(child.tag) or child.tag in _BLOCKS or _holds_blocks(child)
        ):
            yield from _paragraph(inline)
            inline = []
            yield from _block(child)
        elif isinstance(child.tag, str):
            inline.append(child.text_content())
        inline.append(child.tail or "")
    yield from _paragraph(inline)


def _block(element: HtmlElement) -> Iterator[_Block]:
    heading = _HEADING.fullmatch(element.tag)
    if heading is not None:
        text = _line(element.text_content())
        if text:
            yield text, int(heading.group(1))
    elif element.tag == "pre":
        text = element.text_content().strip("\n").rstrip()
        if text:
            yield f"```\n{text}\n```", 0
    elif element.tag == "table" and not element.xpath(".//pre|.//table|.//h2|.//h3|.//h4"):
        rows = [[_line(cell.text_content()) for cell in row.xpath("./td|./th")] for row in element.iter("tr")]
        text = "\n".join(_rows([row for row in rows if any(row)]))
        if text:
            yield text, 0
    elif element.tag in {"ul", "ol"} and not element.xpath(".//pre|.//table|.//p|.//ul|.//ol"):
        text = "\n".join(f"- {line}" for item in element.iter("li") if (line := _line(item.text_content())))
        if text:
            yield text, 0
    elif element.tag == "li":
        yield from _item(element)
    else:
        yield from _blocks(element)


def _item(element: HtmlElement) -> Iterator[_Block]:
    """An item of a list that holds more than a line: its first paragraph has the mark."""
    for number, (text, level) in enumerate(_blocks(element)):
        yield (f"- {text}" if number == 0 and not level and not text.startswith("```") else text), level


def _rows(rows: list[list[str]]) -> Iterator[str]:
    for number, row in enumerate(rows):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
        if number == 0:
            yield f"|{' --- |' * len(row)}"


def _paragraph(inline: list[str]) -> Iterator[_Block]:
    text = _line("".join(inline))
    if text:
        yield text, 0


def _holds_blocks(element: HtmlElement) -> bool:
    return any(
        isinstance(each.tag, str) and (each.tag in _BLOCKS or _HEADING.fullmatch(each.tag)) for each in element.iter()
    )


def _line(text: str) -> str:
    return " ".join(text.split())
