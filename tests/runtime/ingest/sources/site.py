"""Websites on this machine, under names that only the tests' resolver knows, and time that passes when somebody sleeps."""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from syntera_crds.contract.knowledge_config import Source, WebSource
from syntera_runtime.adapters.guarded_http import GuardedHttp
from syntera_runtime.egress.targets import EgressPolicy
from syntera_runtime.ingest.items import Fetched, Item, Known, Missed, Same
from syntera_runtime.ingest.sources.web import WebLimits, WebPages
from syntera_runtime.ingest.sources.web_http import OpenHttp
from syntera_runtime.models.knowledge import KnownDocument
from tests.support.servers import free_port

GOOD, BAD = "127.0.0.2", "127.0.0.1"
"""Two addresses of this machine, of which the policy allows the first."""

HTML = "text/html; charset=utf-8"
Writing = Callable[[asyncio.StreamWriter], Awaitable[None]]


class NamedResolver(AbstractResolver):
    """Every name has the good address, but for those that a test says otherwise of."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        """Args:
        answers: For the first part of a name its answers, one after the other; the last one for ever.
        """
        self.answers = {name: list(each) for name, each in answers.items()}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        told = self.answers.get(host.partition(".")[0], [[GOOD]])
        addresses = told.pop(0) if len(told) > 1 else told[0]
        return [
            ResolveResult(
                hostname=host,
                host=one,
                port=port,
                family=socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for one in addresses
        ]

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Request:
    """What a site was asked."""

    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Page:
    """What a site answers."""

    body: bytes | str | Writing = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": HTML})


@dataclass(slots=True)
class Site:
    """A server at both addresses; what it does not have is 404."""

    port: int
    pages: dict[str, Page | list[Page]] = field(default_factory=dict)
    """A list: one after the other, the last one for ever."""
    requests: list[Request] = field(default_factory=list)
    addresses: set[str] = field(default_factory=set)
    """Which were connected to."""
    make: Callable[[str], Page | None] = lambda _: None
    """Pages that are made up as they are asked for."""
    serving: set[asyncio.Task[Any]] = field(default_factory=set)

    def url(self, path: str = "/", *, host: str = "docs.example") -> str:
        """Of one of its pages."""
        return f"http://{host}:{self.port}{path}"

    def asked(self) -> list[str]:
        """For what, robots.txt left out."""
        return [one.path for one in self.requests if one.path != "/robots.txt"]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """See `asyncio.start_server`."""
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        self.addresses.add(writer.get_extra_info("sockname")[0])
        try:
            await self._answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.serving.discard(task)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
        path = line.split(" ")[1]
        headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
        self.requests.append(Request(path, headers))
        page = self.pages.get(path) or self.make(path) or Page("not there", 404)
        if isinstance(page, list):
            page = page.pop(0) if len(page) > 1 else page[0]
        head = [f"HTTP/1.1 {page.status} X", *(f"{name}: {value}" for name, value in page.headers.items())]
        writer.write(("\r\n".join([*head, "Connection: close"]) + "\r\n\r\n").encode())
        if callable(page.body):
            await page.body(writer)
        else:
            writer.write(page.body.encode() if isinstance(page.body, str) else page.body)
        await writer.drain()


@asynccontextmanager
async def running_site() -> AsyncIterator[Site]:
    """A site with no page."""
    site = Site(free_port())
    async with await asyncio.start_server(site.serve, [GOOD, BAD], site.port):
        yield site
        for task in list(site.serving):
            task.cancel()
        await asyncio.gather(*site.serving, return_exceptions=True)


@dataclass(slots=True)
class Time:
    """Passes when somebody sleeps."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def clock(self) -> float:
        """See `time.monotonic`."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """See `asyncio.sleep`."""
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


class KnownPages(dict[str, Known]):
    """What a sync would know of documents by their paths, and `SourceDocuments` of their links alone."""

    def __init__(self, documents: Iterable[Fetched] = ()) -> None:
        super().__init__({one.path: Known(b"hash", one.validators) for one in documents})
        self._links = {one.path: one.links for one in documents}

    async def pages(self) -> AsyncGenerator[Sequence[KnownDocument], None]:
        """See `SourceDocuments`."""
        pages: Sequence[Sequence[KnownDocument]] = ()
        for page in pages:
            yield page

    async def find(self, path: str) -> KnownDocument | None:
        """See `SourceDocuments`."""
        raise AssertionError(f"a source asks for the links of {path!r}, not for the document")

    async def find_links(self, path: str) -> Sequence[str] | None:
        """See `SourceDocuments`."""
        return self._links[path]

    def forget_links(self) -> None:
        """As when somebody takes all documents out."""
        self._links = dict.fromkeys(self._links)


def make_source(**web: object) -> Source:
    """A web source that asks often."""
    return Source(name="site", web=WebSource.model_validate({"requests_per_second": 1000, **web}))


def opening(
    *,
    resolver: NamedResolver | None = None,
    policy: EgressPolicy | None = None,
    trust: ssl.SSLContext | None = None,
) -> OpenHttp:
    """Guarded HTTP to the good address, if the policy says nothing else."""
    allowed = policy or EgressPolicy(networks=[ip_network(f"{GOOD}/32")], never=())

    def open_http(urls: Iterable[str]) -> AbstractAsyncContextManager[GuardedHttp]:
        reading = allowed.for_reading(urls)
        return aclosing(GuardedHttp(lambda: reading, resolver=resolver or NamedResolver(), trust=trust))

    return open_http


async def read(
    source: Source,
    *,
    known: KnownPages | None = None,
    limits: WebLimits | None = None,
    time: Time | None = None,
    resolver: NamedResolver | None = None,
    policy: EgressPolicy | None = None,
) -> list[Item]:
    """Everything that the source says, each path once."""
    time, known = time or Time(), KnownPages() if known is None else known
    pages = WebPages(
        source,
        opening(resolver=resolver, policy=policy),
        known,
        limits=limits or WebLimits(),
        clock=time.clock,
        sleep=time.sleep,
    )
    async with asyncio.timeout(60):
        items = [item async for item in pages.read(known)]
    paths = [item.path for item in items]
    assert len(paths) == len(set(paths))
    return items


def fetched(items: Sequence[Item]) -> dict[str, Fetched]:
    """Documents that were fetched, by their paths."""
    return {item.path: item for item in items if isinstance(item, Fetched)}


def same(items: Sequence[Item]) -> set[str]:
    """Documents that are as they were."""
    return {item.path for item in items if isinstance(item, Same)}


def missed(items: Sequence[Item]) -> dict[str | None, Missed]:
    """What was missed, by its path."""
    return {item.path: item for item in items if isinstance(item, Missed)}


def remember(items: Sequence[Item]) -> KnownPages:
    """What a sync would know of these the next time."""
    return KnownPages(fetched(items).values())
