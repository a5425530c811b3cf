"""HTML: the main content of a page as Markdown; and any HTML as text where no main content can be told."""

import re

import trafilatura
from lxml import etree, html
from trafilatura.metadata import extract_metadata

from ...models.knowledge import Extracted
from .composition import Composition, build_title, clean, one_line
from .dates import read_date
from .languages import read_declared
from .markdown import mark_headings
from .tables import CellCount, build_table

LEAST_SHARE = 0.2
"""Of a page's visible text that its main content has. With less, what was found is a teaser or a cookie notice, and the whole
is taken."""

_SKIPPED = frozenset(
    {
        "script",
        "style",
        "noscript",
        "template",
        "nav",
        "footer",
        "svg",
        "math",
        "head",
        "iframe",
        "object",
        "select",
        "button",
    }
)
_INLINE = frozenset(
    {
        "a",
        "abbr",
        "b",
        "bdi",
        "bdo",
        "big",
        "br",
        "cite",
        "code",
        "data",
        "del",
        "dfn",
        "em",
        "font",
        "i",
        "img",
        "ins",
        "kbd",
    }
    | {
        "label",
        "mark",
        "q",
        "s",
        "samp",
        "small",
        "span",
        "strike",
        "strong",
        "sub",
        "sup",
        "time",
        "tt",
        "u",
        "var",
        "wbr",
    }
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_LISTS = frozenset({"ul", "ol"})
_DECLARATION = re.compile(r"\A\s*<\?xml[^<>]*\?>")


def read_web_page(text: str) -> Extracted:
    """A page: its main content without menus and footers, and what it says of itself."""
    tree = parse_html(text)
    if tree is None:
        return Extracted("")
    known = extract_metadata(tree, date_config={"original_date": False, "extensive_search": False})
    whole = compose_html(tree)
    found = trafilatura.extract(
        tree,
        output_format="markdown",
        include_comments=False,
        include_formatting=True,
        include_tables=True,
        favor_recall=True,
    )
    main, marks = mark_headings(clean(found or ""))
    if len(main) < LEAST_SHARE * len(whole.text):
        main, marks = whole.text, whole.marks
    return Extracted(
        main,
        marks,
        title=build_title(known.title),
        language=read_declared(tree.get("lang") or tree.get("{http://www.w3.org/XML/1998/namespace}lang")),
        modified_at=read_date(known.date),
    )


def parse_html(text: str) -> html.HtmlElement | None:
    """A page's tree; None: it has no element. Entities of its own are not expanded, nothing is fetched, and depth is bounded."""
    parser = html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, no_network=True, huge_tree=False)
    content = _DECLARATION.sub("", text).encode("utf-8", "replace")
    try:
        tree = html.document_fromstring(content, parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError):
        return None
    assert isinstance(tree, html.HtmlElement)
    return tree


def compose_html(tree: html.HtmlElement) -> Composition:
    """All visible text of a tree: headings, paragraphs, lists, tables, listings."""
    composition = Composition()
    _HtmlReader(composition).read(tree)
    return composition


class _HtmlReader:
    """Walks a tree. libxml2 bounds its depth at 256, or ends with an error."""

    def __init__(self, composition: Composition) -> None:
        self._composition = composition
        self._cells = CellCount()
        self._inline: list[str] = []

    def read(self, tree: html.HtmlElement) -> None:
        self._visit(tree)
        self._flush()

    def _visit(self, element: html.HtmlElement) -> None:
        tag = element.tag
        if not isinstance(tag, str) or tag in _SKIPPED:
            return
        if tag in _INLINE:
            self._visit_children(element, before="\n" if tag == "br" else "")
            return
        self._flush()
        if tag in _HEADINGS:
            self._composition.add_heading(_HEADINGS[tag], _build_text(element))
        elif tag in _LISTS:
            self._composition.add_block("\n".join(_list_lines(element, depth=0)))
        elif tag == "table":
            self._composition.add_block(build_table(self._rows(element)))
        elif tag == "pre":
            self._composition.add_block(f"```\n{''.join(element.itertext()).strip(chr(10))}\n```")
        else:
            self._visit_children(element)
            self._flush()

    def _visit_children(self, element: html.HtmlElement, *, before: str = "") -> None:
        self._inline.append(before)
        self._inline.append(element.text or "")
        for child in element:
            self._visit(child)
            self._inline.append(child.tail or "")

    def _flush(self) -> None:
        if self._inline:
            # Line breaks of the source are spaces, those of `br` are the only ones that stand alone in a piece.
            pieces = (piece if piece == "\n" else re.sub(r"\s+", " ", piece) for piece in self._inline)
            lines = (one_line(line) for line in "".join(pieces).split("\n"))
            self._composition.add_block("\n".join(line for line in lines if line))
            self._inline.clear()

    def _rows(self, table: html.HtmlElement) -> list[list[str]]:
        rows: list[list[str]] = []
        for row in table.iter("tr"):
            cells = [_build_text(cell) for cell in row if cell.tag in ("td", "th")]
            self._cells.take(cells)
            rows.append(cells)
        return rows


def _list_lines(element: html.HtmlElement, *, depth: int) -> list[str]:
    lines: list[str] = []
    number = 0
    for item in element:
        if item.tag in _LISTS:
            lines += _list_lines(item, depth=depth + 1)
        elif item.tag == "li":
            number += 1
            mark = f"{number}." if element.tag == "ol" else "-"
            lines += _item_lines(item, mark=mark, depth=depth)
    return lines


def _item_lines(item: html.HtmlElement, *, mark: str, depth: int) -> list[str]:
    nested = [child for child in item.iter(*_LISTS) if next(child.iterancestors("li"), None) is item]
    text = one_line("".join(_texts_outside(item, frozenset(nested))))
    below = [line for child in nested for line in _list_lines(child, depth=depth + 1)]
    return [f"{'  ' * depth}{mark} {text}", *below] if text else below


def _texts_outside(element: html.HtmlElement, left_out: frozenset[html.HtmlElement]) -> list[str]:
    texts = [element.text or ""]
    for child in element:
        if child not in left_out and child.tag not in _SKIPPED:
            texts += _texts_outside(child, left_out)
            texts.append("" if child.tag in _INLINE and child.tag != "br" else " ")
        texts.append(child.tail or "")
    return texts


def _build_text(element: html.HtmlElement) -> str:
    return one_line("".join(_texts_outside(element, frozenset())))
