"""Pages of websites: a walk from the start URLs and the sitemap, breadth first.

What a page's document is called: its canonical URL, where it names one of the same sites, else the URL that was read in the end.

A page that cannot be had may hide others, unless its links are known from before. Such a page, a start URL or a sitemap makes
the whole source one that was missed, so that nothing is taken for gone. Of a page that is no document links are never known: where
such a one does not answer, known pages that were not come by are missed. Pages that are not there (404, 410), that robots must
not index, or that robots.txt forbids are no documents.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from syntera_crds.contract.knowledge_config import Source, WebSource

from ...models.knowledge import DocumentFacts, Failing
from ..items import Fetched, Item, Known, Missed, Same, SourceDocuments
from .deadline import Deadline
from .globs import Globs
from .web_bodies import BodyTooLarge
from .web_gate import Gate, shorten
from .web_http import Answer, OpenHttp, PageClient, PageMissed, PageSkipped
from .web_kinds import is_html, is_read
from .web_memory import Memory
from .web_pages import PageFacts, read_page, read_robots_tags
from .web_sitemaps import MOST_BYTES as MOST_SITEMAP_BYTES
from .web_sitemaps import Sitemap, SitemapBroken, read_sitemap
from .web_urls import Sites, name_of, normalize, path_of

_GONE = frozenset({404, 410})
_MOST_SITEMAPS = 50
_PAGES_READ_FOR_ONE = 4
"""How many pages are asked for at most for each that may become a document: there are such without text for us."""
_PAGES_KNOWN_FOR_ONE = 20
"""How many URLs are remembered at most for each page that may be read."""
_MOST_UNFOLLOWED = 100_000
"""Links that are remembered of pages that the sitemap alone had named."""
_SECONDS_FOR_ONE = 0.5
"""What a page takes besides the pause before it."""
_LEAST_SECONDS, _MOST_SECONDS = 3600.0, 12 * 3600.0
_GIVES_UP_AFTER = 5
"""Pages that could not be had, one after the other."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WebLimits:
    """What a walk may take."""

    page_bytes: int = 25 * 1024 * 1024
    page_seconds: float = 60.0
    """For each try."""
    seconds: float | None = None
    """For the whole source. None: as its pages need at its pace, and half as much again; an hour at least, twelve at most."""


class WebPages:
    """`DocumentSource` of a web source."""

    def __init__(
        self,
        source: Source,
        open_http: OpenHttp,
        documents: SourceDocuments,
        *,
        limits: WebLimits = WebLimits(),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Nothing is opened before it is read."""
        assert source.web is not None
        self._source = source
        self._web = source.web
        self._open_http = open_http
        self._documents = documents
        self._limits = limits
        self._clock = clock
        self._sleep = sleep

    async def read(self, known: Mapping[str, Known]) -> AsyncGenerator[Item, None]:
        """See `DocumentSource`."""
        web = self._web
        async with self._open_http([*web.urls, *([] if web.sitemap is None else [web.sitemap])]) as http:
            client = PageClient(
                http,
                requests_per_second=web.requests_per_second,
                page_seconds=self._limits.page_seconds,
                clock=self._clock,
                sleep=self._sleep,
            )
            walk = _Walk(
                self._source,
                web,
                client=client,
                memory=Memory(known, web, self._documents),
                limits=self._limits,
                clock=self._clock,
            )
            async with aclosing(walk.items()) as items:
                async for item in items:
                    yield item


class _Walk:
    """One walk through the sites."""

    def __init__(
        self,
        source: Source,
        web: WebSource,
        *,
        client: PageClient,
        memory: Memory,
        limits: WebLimits,
        clock: Callable[[], float],
    ) -> None:
        self._source = source
        self._web = web
        self._client = client
        self._memory = memory
        self._limits = limits
        self._seconds = limits.seconds or _reckon_seconds(web)
        self._deadline = Deadline(self._seconds, clock)
        self._globs = Globs(web.include, web.exclude)
        self._starts = list(dict.fromkeys(normalize(url) or url for url in web.urls))
        self._sitemap = None if web.sitemap is None else normalize(web.sitemap) or web.sitemap
        named = (*self._starts, *([] if self._sitemap is None else [self._sitemap]))
        self._sites = Sites(url for url in named if normalize(url) is not None)
        self._gate = Gate(self._sites, client)
        self._queue: deque[str] = deque()
        self._depths: dict[str, int | None] = {}
        """Of every URL that is known: links from a start URL; None: the sitemap alone names it, and its links are not followed."""
        self._unfollowed: dict[str, Sequence[str]] = {}
        """Links of pages that the sitemap alone had named when they were read."""
        self._links_left = _MOST_UNFOLLOWED
        self._visited: set[str] = set()
        self._named: set[str] = set()
        """Paths of the documents so far."""
        self._hiding: str | None = None
        """A page that was not read, and of which nobody knows what it leads to."""
        self._whole: Missed | None = None
        self._misses_in_a_row = 0

    async def items(self) -> AsyncGenerator[Item, None]:
        """Everything that is found, and at the end whether the source was missed as a whole."""
        for url in self._starts:
            self._reach(url, depth=0)
        try:
            await self._read_sitemaps()
        except PageMissed as missed:
            self._miss_all(missed.reason, missed.message)
        asked = 0
        most = self._web.max_pages
        while self._queue and len(self._named) < most and asked < _PAGES_READ_FOR_ONE * most and self._may_go_on():
            url = self._queue.popleft()
            if url in self._visited:
                continue
            asked += 1
            item = await self._take(url)
            if item is not None and item.path is not None and item.path not in self._named:
                self._named.add(item.path)
                with self._deadline.paused():
                    yield item
        if self._queue:
            log.info("website walk ended before its end", source=self._source.name, pages=len(self._named))
        elif self._hiding is not None:
            for item in self._find_hidden(self._hiding):
                with self._deadline.paused():
                    yield item
        if self._whole is not None:
            yield self._whole

    # --- which pages ---

    def _may_go_on(self) -> bool:
        if self._deadline.is_over:
            self._miss_all(
                Failing.TOOK_TOO_LONG,
                f"Reading the site takes longer than {self._seconds / 60:g} minutes: lower maxPages, or choose pages by"
                " include; its robots.txt may ask for long pauses.",
            )
            return False
        if self._misses_in_a_row >= _GIVES_UP_AFTER:
            self._miss_all(Failing.UNAVAILABLE, "The site answers no more; the next sync tries again.")
            return False
        return True

    def _reach(self, url: str, *, depth: int | None) -> None:
        """A page that may have to be read, or whose links may have to be followed after all."""
        if url in self._depths:
            if self._depths[url] is None and depth is not None:
                self._depths[url] = depth
                self._follow(self._unfollowed.pop(url, ()), depth)
        elif len(self._depths) < _PAGES_KNOWN_FOR_ONE * max(self._web.max_pages, len(self._starts)):
            self._depths[url] = depth
            self._queue.append(url)

    def _follow(self, links: Iterable[str], depth: int | None) -> None:
        if depth is None or depth >= self._web.max_depth:
            return
        for link in map(self._sites.secure, links):
            if self._sites.has(link) and self._globs.has(path_of(link)):
                self._reach(link, depth=depth + 1)

    async def _read_sitemaps(self) -> None:
        """Reach the pages that the sitemap names.

        Raises:
            PageMissed: One of the sitemaps cannot be read.
        """
        waiting, seen = deque([self._sitemap] if self._sitemap else []), set[str]()
        pages = 0
        while waiting and pages < self._web.max_pages and self._may_go_on():
            url = waiting.popleft()
            if url in seen:
                continue
            if len(seen) >= _MOST_SITEMAPS:
                raise PageMissed(Failing.TOO_LARGE, f"The sitemap names more than {_MOST_SITEMAPS} others.")
            seen.add(url)
            sitemap = await self._read_sitemap(url)
            waiting.extend(one for one in sitemap.sitemaps if self._sites.has(one))
            for page in map(self._sites.secure, sitemap.pages):
                if self._sites.has(page) and self._globs.has(path_of(page)) and pages < self._web.max_pages:
                    pages += page not in self._depths
                    self._reach(page, depth=None)

    async def _read_sitemap(self, url: str) -> Sitemap:
        try:
            await self._gate.check(url)
            answer = await self._get(url, most_bytes=MOST_SITEMAP_BYTES)
            if answer.status != 200:
                raise PageMissed(*_judge(answer.status))
            return await asyncio.to_thread(read_sitemap, answer.content)
        except (SitemapBroken, BodyTooLarge):
            raise PageMissed(Failing.BROKEN, f"The sitemap {shorten(url)} is none that can be read.") from None
        except PageSkipped as skipped:
            raise PageMissed(
                Failing.REFUSED, f"The sitemap {shorten(url)} cannot be read: {skipped.message}."
            ) from None
        except PageMissed as missed:
            raise PageMissed(missed.reason, f"The sitemap {shorten(url)} cannot be read. {missed.message}") from None

    # --- one page ---

    async def _take(self, url: str) -> Item | None:
        """The page's document; None: it is none, nobody wants it, or where it leads was visited."""
        self._visited.add(url)
        if self._is_left_out(url):
            return None
        is_start = url in self._starts
        try:
            await self._gate.check(url)
            answer = await self._get(
                url, most_bytes=self._limits.page_bytes, is_wanted=is_read, conditions=self._memory.conditions
            )
            if answer.status not in (200, 304) and answer.status not in _GONE:
                raise PageMissed(*_judge(answer.status))
        except PageSkipped as skipped:
            if is_start:
                self._miss_all(Failing.REFUSED, f"The start URL {shorten(url)} is not read: {skipped.message}.")
            return None
        except PageMissed as missed:
            return await self._miss(url, missed, is_start=is_start)
        self._misses_in_a_row = 0
        if answer.status in _GONE:
            if is_start:
                self._miss_all(
                    Failing.NOT_FOUND, f"The start URL {shorten(url)} is not there (status {answer.status})."
                )
            return None
        if answer.url != url:
            if answer.url in self._visited:
                return None
            self._visited.add(answer.url)
            if self._depths.get(answer.url) is None:
                self._depths[answer.url] = self._depths[url]
        return await (self._keep(answer) if answer.status == 304 else self._read(answer, is_start=is_start))

    def _is_left_out(self, url: str) -> bool:
        """Whether somebody has taken the page's document out, and nothing will be asked of what it leads to."""
        remembered = self._memory.of(url)
        if remembered is None or not remembered.is_excluded:
            return False
        may_be_followed = self._depths[url] is None and self._starts and self._web.max_depth
        return not (may_be_followed or self._leads_on(url))

    async def _miss(self, url: str, missed: PageMissed, *, is_start: bool) -> Missed:
        """What it means that a page cannot be had."""
        self._misses_in_a_row += missed.reason is Failing.UNAVAILABLE
        remembered = self._memory.of(url)
        links = None if remembered is None else await self._memory.find_links(remembered)
        self._follow(links or (), self._depths[url])
        hides = remembered is not None and links is None and self._leads_on(url)
        if is_start or hides:
            self._miss_all(
                missed.reason, f"{shorten(url)} cannot be read, and neither what it leads to. {missed.message}"
            )
        if remembered is None and missed.reason is Failing.UNAVAILABLE and self._leads_on(url):
            self._hiding = self._hiding or url
        return Missed(url if remembered is None else remembered.path, missed.reason, missed.message)

    def _find_hidden(self, hiding: str) -> Iterator[Missed]:
        """Pages that are known, still wanted, and may be behind the one that did not answer."""
        for url, remembered in self._memory.pages():
            path = remembered.path
            is_settled = url in self._visited or path in self._named or normalize(path) is None
            if not is_settled and self._sites.has(path) and self._globs.has(path_of(path)):
                message = f"No page leads to it but perhaps {shorten(hiding)}, whose links are not known this time."
                yield Missed(path, Failing.UNAVAILABLE, message)

    def _leads_on(self, url: str) -> bool:
        depth = self._depths[url]
        return depth is not None and depth < self._web.max_depth

    async def _keep(self, answer: Answer) -> Item | None:
        """A page that is as it was."""
        remembered = self._memory.of(answer.url)
        if remembered is None or not remembered.conditions():
            return Missed(
                answer.url, Failing.BROKEN, "The server says that the page is as before, but nobody asked that."
            )
        links = await self._memory.find_links(remembered)
        if links is None and self._leads_on(answer.url):  # somebody has taken it out since
            self._hiding = self._hiding or answer.url
        self._pass_on(answer.url, links or ())
        return Same(remembered.path) if self._globs.has(path_of(remembered.path)) else None

    async def _read(self, answer: Answer, *, is_start: bool) -> Item | None:
        """A page with its content; None: it is no document."""
        if not is_read(answer):
            return _unsupported(answer) if is_start or self._depths[answer.url] is None else None
        page = PageFacts(may_be_indexed=not read_robots_tags(answer.robots_tags) & {"noindex", "none"})
        if is_html(answer):
            page = await asyncio.to_thread(
                read_page,
                answer.content,
                url=answer.url,
                is_unicode=answer.is_unicode,
                robots_tags=answer.robots_tags,
            )
        links = tuple(link for link in page.links if self._sites.has(link))
        self._pass_on(answer.url, links)
        path = answer.url
        if page.canonical is not None and self._sites.has(page.canonical):
            path = self._sites.secure(page.canonical)
        if not page.may_be_indexed or not self._globs.has(path_of(path)):
            return None
        name = name_of(path)
        facts = DocumentFacts(
            title=page.title or name,
            url=path,
            media_type=answer.media_type or "application/octet-stream",
            language=self._source.language,
            audience=frozenset(self._source.audience),
            tags=frozenset(self._source.tags),
            modified_at=answer.modified_at,
            size=answer.size,
        )
        kept = links if self._web.urls and self._web.max_depth else ()
        validators = self._memory.make_validators(answer, path, kept)
        return Fetched(path, answer.content, facts, name, validators, kept if validators else None)

    def _pass_on(self, url: str, links: Sequence[str]) -> None:
        depth = self._depths[url]
        if depth is None and self._starts and self._links_left >= len(links):
            self._links_left -= len(links)
            self._unfollowed[url] = links
        self._follow(links, depth)

    def _miss_all(self, reason: Failing, message: str) -> None:
        """The first reason counts."""
        self._whole = self._whole or Missed(None, reason, message[:512])

    # --- requests ---

    async def _get(
        self,
        url: str,
        *,
        most_bytes: int,
        is_wanted: Callable[[Answer], bool] = lambda _: True,
        conditions: Callable[[str], Mapping[str, str]] = lambda _: {},
    ) -> Answer:
        """See `PageClient.get`; the source's time bounds all of it."""
        try:
            async with asyncio.timeout(self._deadline.left()):
                return await self._client.get(
                    url,
                    most_bytes=most_bytes,
                    check_hop=self._gate.check_hop,
                    is_wanted=is_wanted,
                    conditions=conditions,
                )
        except TimeoutError:
            raise PageMissed(Failing.TOOK_TOO_LONG, "The time for the whole source is over.") from None


def _reckon_seconds(web: WebSource) -> float:
    needed = web.max_pages * (_SECONDS_FOR_ONE + 1 / web.requests_per_second)
    return min(max(_LEAST_SECONDS, 1.5 * needed), _MOST_SECONDS)


def _judge(status: int) -> tuple[Failing, str]:
    if status in (401, 403, 407, 451):
        return Failing.REFUSED, f"The server refuses the page with status {status}."
    if status in _GONE:
        return Failing.NOT_FOUND, f"It is not there (status {status})."
    return Failing.UNAVAILABLE, f"The server answers with status {status}."


def _unsupported(answer: Answer) -> Missed:
    what = (answer.media_type or "unknown")[:100]
    return Missed(answer.url, Failing.UNSUPPORTED, f"Documents of the type {what!r} are not read.")
