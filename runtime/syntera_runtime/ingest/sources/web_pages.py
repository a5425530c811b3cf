"""What a page says of itself in its HTML: title, canonical URL, links, and what robots may do with it.

The page is read as a stream, without a tree, so its size bounds the memory.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from lxml import etree

from .robots import TOKEN
from .web_urls import normalize

_MOST_LINKS = 2000
_MOST_TITLE = 300
_PIECE_BYTES = 64 * 1024
_NOT_FOR_US = frozenset({"nofollow", "none"})
_REFRESH = "url="


@dataclass(frozen=True, slots=True)
class PageFacts:
    """Of one page."""

    title: str | None = None
    canonical: str | None = None
    links: tuple[str, ...] = ()
    """In their usual spelling, none twice, in order. Empty where robots must not follow them."""
    may_be_indexed: bool = True


def read_page(content: bytes, *, url: str, is_unicode: bool, robots_tags: Iterable[str]) -> PageFacts:
    """What an HTML page says.

    Args:
        content: The page, broken as it may be.
        url: Where it was read.
        is_unicode: Whether it is in UTF-8 for certain; else it says itself.
        robots_tags: Headers that say more of what robots may do.
    """
    reader = _Reader(url)
    parser = etree.HTMLParser(target=reader, encoding="utf-8" if is_unicode else None)
    try:
        for position in range(0, len(content), _PIECE_BYTES):
            parser.feed(content[position : position + _PIECE_BYTES])
        parser.close()
    except (etree.LxmlError, ValueError):
        pass  # what came before the break counts
    rules = reader.rules | read_robots_tags(robots_tags)
    return PageFacts(
        title=_clean("".join(reader.title)) or None,
        canonical=reader.canonical,
        links=() if rules & _NOT_FOR_US else tuple(reader.links),
        may_be_indexed=not rules & {"noindex", "none"},
    )


def read_robots_tags(tags: Iterable[str]) -> frozenset[str]:
    """Rules for us and for everybody in headers `X-Robots-Tag`: `noindex, nofollow`, `syntera: noindex`."""
    rules: set[str] = set()
    for tag in tags:
        name, colon, rest = tag.partition(":")
        is_named = bool(colon) and not {" ", ","} & set(name.strip()) and not name.strip().startswith("unavailable")
        if is_named and name.strip().lower() != TOKEN.lower():
            continue
        rules |= _read_rules(rest if is_named else tag)
    return frozenset(rules)


def _clean(title: str) -> str:
    printable = "".join(character for character in title if character.isprintable() or character.isspace())
    return " ".join(printable.split())[:_MOST_TITLE].strip()


def _read_rules(text: str) -> set[str]:
    return {rule.strip().lower() for rule in text.split(",")}


class _Reader:
    """Gets the page's elements as they begin and end."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._base = url
        self._is_in_title = False
        self._title_left = 4 * _MOST_TITLE
        self.title: list[str] = []
        self.canonical: str | None = None
        self.links: dict[str, None] = {}
        self.rules: set[str] = set()

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """See lxml's parser targets."""
        match tag:
            case "title":
                self._is_in_title = not self.title
            case "base":
                self._base = normalize(attributes.get("href", ""), base=self._url) or self._base
            case "link":
                self._take_link(attributes)
            case "meta":
                self._take_meta(attributes)
            case "a" | "area" if "href" in attributes:
                if "nofollow" not in attributes.get("rel", "").lower().split():
                    self._add(attributes["href"])
            case _:
                pass

    def end(self, tag: str) -> None:
        """See lxml's parser targets."""
        if tag == "title":
            self._is_in_title = False

    def data(self, text: str) -> None:
        """See lxml's parser targets."""
        if self._is_in_title and self._title_left > 0:
            self.title.append(text[: self._title_left])
            self._title_left -= len(text)

    def comment(self, text: str) -> None:
        """See lxml's parser targets."""

    def close(self) -> None:
        """See lxml's parser targets."""

    def _take_link(self, attributes: dict[str, str]) -> None:
        if "canonical" in attributes.get("rel", "").lower().split() and self.canonical is None:
            self.canonical = normalize(attributes.get("href", ""), base=self._base)

    def _take_meta(self, attributes: dict[str, str]) -> None:
        if attributes.get("name", "").lower() in ("robots", TOKEN.lower()):
            self.rules |= _read_rules(attributes.get("content", ""))
        if attributes.get("http-equiv", "").lower() == "refresh":
            content = attributes.get("content", "")
            at = content.lower().find(_REFRESH)
            if at >= 0:
                self._add(content[at + len(_REFRESH) :].strip("'\" "))

    def _add(self, href: str) -> None:
        if len(self.links) < _MOST_LINKS and (link := normalize(href, base=self._base)) is not None:
            self.links[link] = None
