"""HTML: what a page has to say, without its menus, with headings, lists, tables and listings; and any other HTML as text.

trafilatura, which finds the main content of pages, is used for what a page says of itself. For its content it is too greedy here:
of documentation (the Debian handbook, measured) it drops most headings and up to half of the text, which is right for news and wrong
for a knowledge base. So everything stays but what the page itself calls navigation, and lists that hold links and little else.
"""

import re
from collections.abc import Iterator

from lxml import etree, html
from trafilatura.metadata import extract_metadata

from ...models.knowledge import Extracted
from .composition import Composition, build_title, one_line
from .dates import read_date
from .languages import read_declared
from .tables import CellCount, build_table

FEWEST_LINKS = 3
MOST_LINKED = 0.8
"""Share of a list's text that is links, from which on it is a menu."""
LEAST_LEFT = 0.3
"""Of a page's text when menus are left out. Where less would be, the lists of links are what the page is for."""

_SKIPPED = frozenset(
    {"button", "head", "iframe", "input", "math", "noscript", "object", "script", "select", "style", "svg", "template"}
    | {"textarea"}
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
_LANDMARKS = "//main | //*[@role='main']"
_NAVIGATION = (
    "//nav | //aside | //footer | //*[@role='navigation' or @role='banner' or @role='contentinfo' or @role='search']"
    " | //header[not(ancestor::main or ancestor::article) and not(.//h1 or .//h2)]"
)
_HIDDEN = "//*[@hidden or @aria-hidden='true' or contains(translate(@style, ' ', ''), 'display:none')]"
_ANCHORS = frozenset({"\u00b6", "#", "\u00a7", "\U0001f517", "\u2191"})
"""Texts of links that lead to the place where they stand, or back from a footnote."""
_DECLARATION = re.compile(r"\A\s*<\?xml[^<>]*\?>")
_SPACES = re.compile(r"\s+")


def read_web_page(text: str) -> Extracted:
    """A page: its content, and what it says of itself."""
    tree = parse_html(text)
    if tree is None:
        return Extracted("")
    known = extract_metadata(tree, date_config={"original_date": False, "extensive_search": False})
    language = read_declared(tree.get("lang") or tree.get("xml:lang"))
    composition = _compose_page(tree)
    return Extracted(
        composition.text,
        composition.marks,
        title=build_title(known.title),
        language=language,
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
    _drop([link for link in tree.iter("a") if "".join(link.itertext()).strip() in _ANCHORS])
    return tree


def compose_html(tree: html.HtmlElement) -> Composition:
    """All visible text of a tree."""
    composition = Composition()
    _HtmlReader(composition).read(tree)
    return composition


def _compose_page(tree: html.HtmlElement) -> Composition:
    _drop(tree.xpath(_HIDDEN))
    landmarks = tree.xpath(_LANDMARKS)
    content = landmarks[0] if len(landmarks) == 1 else tree
    whole = compose_html(content)
    _drop(content.xpath(f".{_NAVIGATION.replace(' | //', ' | .//')}"))
    _drop(list(_find_menus(content)))
    without_menus = compose_html(content)
    return without_menus if len(without_menus.text) >= LEAST_LEFT * len(whole.text) else whole


def _drop(elements: list[html.HtmlElement]) -> None:
    for element in elements:
        if element.getparent() is not None:
            element.drop_tree()


def _find_menus(content: html.HtmlElement) -> Iterator[html.HtmlElement]:
    """Lists of links. Only those that stand in no other list: their text is counted once."""
    for listed in content.iter(*_LISTS):
        if next(listed.iterancestors(*_LISTS), None) is not None:
            continue
        links = [len(one_line("".join(link.itertext()))) for link in listed.iter("a")]
        if len(links) >= FEWEST_LINKS and sum(links) >= MOST_LINKED * len(one_line("".join(listed.itertext()))):
            yield listed


class _HtmlReader:
    """Walks a tree. libxml2 bounds its depth at 256, and drops what is deeper."""

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
            self._visit_inline(element)
            return
        self._flush()
        if tag in _HEADINGS:
            self._composition.add_heading(_HEADINGS[tag], _build_text(element))
        elif tag in _LISTS:
            self._composition.add_block("\n".join(_list_lines(element, depth=0)))
        elif tag == "table" and not _is_layout(element):
            self._composition.add_block(build_table(self._rows(element)))
        elif tag == "pre":
            self._composition.add_block(_build_listing(element))
        else:
            self._visit_children(element)
            self._flush()

    def _visit_inline(self, element: html.HtmlElement) -> None:
        if element.tag == "br":
            self._inline.append("\n")
        else:
            self._visit_children(element)

    def _visit_children(self, element: html.HtmlElement) -> None:
        self._inline.append(_SPACES.sub(" ", element.text or ""))
        for child in element:
            self._visit(child)
            self._inline.append(_SPACES.sub(" ", child.tail or ""))

    def _flush(self) -> None:
        if self._inline:
            lines = (one_line(line) for line in "".join(self._inline).split("\n"))
            self._composition.add_block("\n".join(line for line in lines if line))
            self._inline.clear()

    def _rows(self, table: html.HtmlElement) -> list[list[str]]:
        rows: list[list[str]] = []
        for row in table.iter("tr"):
            cells = [_build_text(cell) for cell in row if cell.tag in ("td", "th")]
            self._cells.take(cells)
            rows.append(cells)
        return rows


def _is_layout(table: html.HtmlElement) -> bool:
    """Whether a table only places what is in it."""
    return next(table.iterdescendants("table", "pre", *_HEADINGS), None) is not None


def _build_listing(element: html.HtmlElement) -> str:
    listing = "".join(element.itertext()).strip("\n")
    fence = "```"
    while fence in listing:
        fence += "`"
    return f"{fence}\n{listing}\n{fence}" if listing.strip() else ""


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
            is_word_part = child.tag in _INLINE and child.tag != "br"
            # Cells, paragraphs and the like are words of their own.
            texts += _texts_outside(child, left_out) if is_word_part else [" ", *_texts_outside(child, left_out), " "]
        texts.append(child.tail or "")
    return texts


def _build_text(element: html.HtmlElement) -> str:
    return one_line("".join(_texts_outside(element, frozenset())))
