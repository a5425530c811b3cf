"""Requests for pages: polite, bounded, conditional, each hop of a redirect looked at before it is made.

There is one request at a time, so no site has more than one connection of ours. What a page may be, and whether it is wanted,
others decide.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Protocol

import aiohttp

from ...egress.targets import TargetRefused
from ...models.knowledge import Failing
from .robots import USER_AGENT
from .web_bodies import BodyBroken, BodyTooLarge, read_body, to_unicode
from .web_urls import authority_of, normalize

_MOST_HOPS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRIES = 3
_LONGEST_WAIT_SECONDS = 60
"""A server that wants a longer pause before it is asked again is asked by the next sync."""
_HEADERS = {"User-Agent": USER_AGENT, "Accept-Encoding": "gzip", "Accept": "text/html, */*;q=0.8"}


class Http(Protocol):
    """What `GuardedHttp` does."""

    def request(
        self, method: str, url: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """See `GuardedHttp`."""
        ...


OpenHttp = Callable[[Iterable[str]], AbstractAsyncContextManager[Http]]
"""Opens the guarded HTTP for a source that names these URLs (`EgressPolicy.for_reading`)."""


class PageMissed(Exception):
    """A page cannot be had this time."""

    def __init__(self, reason: Failing, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class PageSkipped(Exception):
    """A redirect leads to where nobody wants to go; the message says why."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said in the end."""

    url: str
    """Where the redirects led."""
    status: int
    media_type: str | None = None
    """In lower case, without parameters."""
    is_unicode: bool = False
    """Whether the content is UTF-8 with a byte order mark, because the server has named its encoding."""
    content: bytes = field(default=b"", repr=False)
    size: int = 0
    """Of the content as it came, unpacked."""
    etag: str | None = None
    last_modified: str | None = None
    robots_tags: tuple[str, ...] = ()
    """Headers `X-Robots-Tag`."""

    @property
    def modified_at(self) -> datetime | None:
        """When the page was changed last, if the server says so."""
        return _read_date(self.last_modified)


class Pace:
    """Pauses between two requests to one site."""

    def __init__(self, *, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]) -> None:
        self._clock = clock
        self._sleep = sleep
        self._pauses: dict[str, float] = {}
        self._free_at: dict[str, float] = {}

    def ask_for(self, authority: str, seconds: float) -> None:
        """The pause that the site wants."""
        self._pauses[authority] = seconds

    async def wait(self, authority: str, *, default_seconds: float) -> None:
        """Return when the site may be asked."""
        now = self._clock()
        free_at = max(now, self._free_at.get(authority, now))
        self._free_at[authority] = free_at + max(default_seconds, self._pauses.get(authority, 0.0))
        if free_at > now:
            await self._sleep(free_at - now)


class PageClient:
    """Asks for pages."""

    def __init__(
        self,
        http: Http,
        *,
        requests_per_second: float,
        page_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Args:
        page_seconds: For one try of one request, its body included.
        """
        self._http = http
        self._pause = 1 / requests_per_second
        self._page_seconds = page_seconds
        self._sleep = sleep
        self.pace = Pace(clock=clock, sleep=sleep)

    async def get(
        self,
        url: str,
        *,
        most_bytes: int,
        check_hop: Callable[[str], Awaitable[None]],
        is_cut: bool = False,
        is_wanted: Callable[[Answer], bool] = lambda _: True,
        conditions: Callable[[str], Mapping[str, str]] = lambda _: {},
    ) -> Answer:
        """What the server says of a page.

        Args:
            url: In its usual spelling.
            most_bytes: Of the body.
            check_hop: Raises `PageSkipped` where a redirect must not be followed to a URL.
            is_cut: Whether the beginning does of a body that has more.
            is_wanted: Told of an answer without its body, whether the body is read.
            conditions: Headers of a conditional request for a URL.

        Raises:
            PageMissed: There is no answer, or none that helps.
            PageSkipped: As `check_hop` does, and for redirects in a circle.
        """
        seen = {url}
        body = _Body(most_bytes, is_cut, is_wanted)
        while True:
            answer, location = await self._try_often(url, body, conditions(url))
            if location is None:
                return answer
            target = normalize(location, base=url)
            if target is None:
                raise PageSkipped("it redirects to something that is no page")
            if target in seen or len(seen) > _MOST_HOPS:
                raise PageSkipped("it redirects in a circle, or too often")
            await check_hop(target)
            seen.add(target)
            url = target

    async def _try_often(self, url: str, body: "_Body", conditions: Mapping[str, str]) -> tuple[Answer, str | None]:
        missed = PageMissed(Failing.UNAVAILABLE, "The server does not answer.")
        for number in range(_TRIES):
            await self.pace.wait(authority_of(url), default_seconds=self._pause)
            wait_seconds = float(2**number)
            try:
                answer, location, retry_after = await self._try(url, body, conditions)
            except _Unanswered as error:
                missed = PageMissed(error.reason, error.message)
            else:
                if answer.status < 500 and answer.status != 429:
                    return answer, location
                missed = PageMissed(Failing.UNAVAILABLE, f"The server answers with status {answer.status}.")
                wait_seconds = max(wait_seconds, retry_after or 0.0)
            if wait_seconds > _LONGEST_WAIT_SECONDS or number == _TRIES - 1:
                break
            await self._sleep(wait_seconds)
        raise missed

    async def _try(
        self, url: str, body: "_Body", conditions: Mapping[str, str]
    ) -> tuple[Answer, str | None, float | None]:
        """One request: the answer, where it redirects to, and when to ask again."""
        try:
            async with (
                asyncio.timeout(self._page_seconds),
                self._http.request("GET", url, headers={**_HEADERS, **conditions}) as response,
            ):
                location = response.headers.get("Location") if response.status in _REDIRECTS else None
                answer = _read_head(url, response)
                if location is None and response.status == 200 and body.is_wanted(answer):
                    answer = await _with_body(answer, response, body)
                return answer, location, _read_retry_after(response.headers.get("Retry-After"))
        except TargetRefused as error:
            raise PageMissed(Failing.REFUSED, f"The page must not be read: {error}.") from None
        except BodyTooLarge:
            raise PageMissed(Failing.TOO_LARGE, f"The page has more than {body.most_bytes} bytes.") from None
        except BodyBroken:
            raise PageMissed(Failing.BROKEN, "The page is packed in a way that is not understood.") from None
        except TimeoutError:
            raise _Unanswered(
                Failing.UNAVAILABLE, f"The page did not come within {self._page_seconds:g} seconds."
            ) from None
        except aiohttp.ClientConnectorCertificateError:
            raise PageMissed(Failing.REFUSED, "The server's certificate is not one that can be trusted.") from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise _Unanswered(Failing.UNAVAILABLE, "The server does not answer, or not by HTTP.") from None


@dataclass(frozen=True, slots=True)
class _Body:
    """Of an answer, what is read."""

    most_bytes: int
    is_cut: bool
    is_wanted: Callable[[Answer], bool]


class _Unanswered(PageMissed):
    """It is worth another try."""


def _read_head(url: str, response: aiohttp.ClientResponse) -> Answer:
    content_type = Message()
    content_type["Content-Type"] = response.headers.get("Content-Type", "")
    return Answer(
        url=url,
        status=response.status,
        media_type=content_type.get_content_type() if response.headers.get("Content-Type") else None,
        etag=response.headers.get("ETag"),
        last_modified=response.headers.get("Last-Modified"),
        robots_tags=tuple(response.headers.getall("X-Robots-Tag", ())),
    )


async def _with_body(answer: Answer, response: aiohttp.ClientResponse, body: _Body) -> Answer:
    if (response.content_length or 0) > body.most_bytes and not body.is_cut:
        raise BodyTooLarge
    content = await read_body(
        response.content.iter_any(),
        packing=response.headers.get("Content-Encoding", ""),
        most_bytes=body.most_bytes,
        is_cut=body.is_cut,
    )
    is_text = (answer.media_type or "").startswith("text/") or answer.media_type == "application/xhtml+xml"
    spelled = to_unicode(content, response.charset) if is_text else content
    return replace(answer, content=spelled, is_unicode=spelled is not content, size=len(content))


def _read_retry_after(text: str | None) -> float | None:
    """Seconds to wait; None: it does not say, or nothing that can be read."""
    if text is None:
        return None
    if text.strip().isascii() and text.strip().isdigit():
        return float(text.strip()[:9])
    at = _read_date(text)
    return None if at is None else max(0.0, (at - datetime.now(UTC)).total_seconds())


def _read_date(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = parsedate_to_datetime(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
