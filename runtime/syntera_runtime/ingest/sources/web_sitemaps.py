"""Sitemaps, as sitemaps.org has them: lists of pages, lists of such lists, by XML or a URL a line, packed or not.

They are somebody else's XML: no entity is resolved, no file or address is read for it, and it is read as a stream.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

from .web_bodies import BodyBroken, unpack_gzip
from .web_urls import normalize

MOST_BYTES = 50 * 1024 * 1024
"""Of one, unpacked: the most that the protocol allows."""
MOST_PAGES = 50_000
"""In one, as the protocol has it."""
_PIECE_BYTES = 64 * 1024
_MOST_URL = 4096


class SitemapBroken(Exception):
    """It cannot be read."""


@dataclass(frozen=True, slots=True)
class Sitemap:
    """What one says. URLs in their usual spelling, none twice."""

    pages: tuple[str, ...] = ()
    sitemaps: tuple[str, ...] = ()


def read_sitemap(content: bytes) -> Sitemap:
    """Its pages and the sitemaps that it names.

    Raises:
        SitemapBroken: It is no sitemap, or not whole.
        BodyTooLarge: It unpacks to more than is read.
    """
    try:
        content = unpack_gzip(content, most_bytes=MOST_BYTES)
    except BodyBroken:
        raise SitemapBroken from None
    if not content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"<", b"\xff\xfe", b"\xfe\xff")):
        return Sitemap(pages=tuple(_spell(content.decode("utf-8-sig", "replace").splitlines())))
    reader = _Reader()
    parser = etree.XMLParser(
        target=reader, resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, recover=False
    )
    try:
        for position in range(0, len(content), _PIECE_BYTES):
            parser.feed(content[position : position + _PIECE_BYTES])
        parser.close()
    except (etree.LxmlError, ValueError):
        raise SitemapBroken from None
    if reader.root not in ("urlset", "sitemapindex"):
        raise SitemapBroken
    found = tuple(_spell(reader.found))
    return Sitemap(pages=found) if reader.root == "urlset" else Sitemap(sitemaps=found)


def _spell(urls: list[str]) -> Iterator[str]:
    seen = set()
    for text in urls[:MOST_PAGES]:
        url = normalize(text) if text.strip() else None
        if url is not None and url not in seen:
            seen.add(url)
            yield url


class _Reader:
    """Collects the texts of `loc` that stand right below an entry."""

    def __init__(self) -> None:
        self.root: str | None = None
        self.found: list[str] = []
        self._depth = 0
        self._entry = ""
        self._text: list[str] | None = None
        self._length = 0

    def start(self, tag: str, _: dict[str, str]) -> None:
        """See lxml's parser targets."""
        name = tag.rpartition("}")[2]
        if self.root is None:
            self.root = name
        if self._depth == 1:
            self._entry = name
        is_place = self._depth == 2 and name == "loc" and self._entry in ("url", "sitemap")
        self._text, self._length = ([] if is_place else None), 0
        self._depth += 1

    def data(self, text: str) -> None:
        """See lxml's parser targets."""
        if self._text is not None and self._length <= _MOST_URL:
            self._text.append(text)
            self._length += len(text)

    def end(self, _: str) -> None:
        """See lxml's parser targets."""
        self._depth -= 1
        if self._text is not None and self._length <= _MOST_URL and len(self.found) < MOST_PAGES:
            self.found.append("".join(self._text))
        self._text = None

    def doctype(self, *_: str | None) -> None:
        """A sitemap has none, and entities are declared there."""
        raise SitemapBroken

    def close(self) -> None:
        """See lxml's parser targets."""
