"""One HTTP session with the API server: authentication, deadlines, retries, typed errors.

This is the one layer that retries. It does so for lost connections, 429 and 5xx, a few times, with jitter, as the
server's `Retry-After` asks, never past the request's deadline, and only where doing it twice does no harm. Everything
else is for the caller to decide. Knows nothing of kinds.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
import orjson
from aiohttp.abc import AbstractStreamWriter

from .config import ClusterConfig
from .decoding import decode
from .errors import KubeError, ServerError, TooManyRequests, Unauthorized, Unreachable, error_from_status

DEFAULT_TIMEOUT_SECONDS = 30.0
_ATTEMPTS = 4
_FIRST_DELAY_SECONDS = 0.1
_TOKEN_REREAD_SECONDS = 60.0
"""The kubelet replaces a token at 80 % of its life of ten minutes or more."""

BeforeWrite = Callable[[], float | None]
"""Asked before each attempt to write, and again when its body goes out: a process may have stood still between the two.
Raises to forbid it; gives the seconds that it may take at most, or None."""

_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `idempotent` says that sending it twice has the effect of sending it once."""

    method: str
    path: str
    params: Mapping[str, str] | None = None
    body: Any = None
    content_type: str = "application/json"
    accept: str = "application/json"
    idempotent: bool = True

    @property
    def is_watch(self) -> bool:
        """Whether the answer is a stream of changes."""
        return self.params is not None and "watch" in self.params


RequestObserver = Callable[[Request, int, float], None]
"""Told of each attempt: the request, the HTTP status (0: no answer) and the seconds until the answer was there, of a stream
until it began."""


class Transport:
    """An HTTP session with one API server. Make it inside a running event loop; close it with `aclose`."""

    def __init__(
        self,
        config: ClusterConfig,
        *,
        component: str,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        observer: RequestObserver | None = None,
    ) -> None:
        self._config = config
        self._timeout_seconds = timeout_seconds
        self._observer = observer
        self._token = config.token
        self._token_read_at = -_TOKEN_REREAD_SECONDS
        self._ssl = config.ssl_context()
        self._session = aiohttp.ClientSession(
            # Each watch holds a connection; callers bound how many requests are under way.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
            timeout=_NO_TIMEOUT,
            # Compression costs both sides more time than the network inside a cluster saves.
            headers={"User-Agent": component, "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def send(
        self, request: Request, *, timeout_seconds: float | None = None, before_write: BeforeWrite | None = None
    ) -> Any:
        """The decoded JSON answer.

        Raises:
            KubeError: the typed reason why there is none.
        """
        deadline = time.monotonic() + (timeout_seconds or self._timeout_seconds)
        attempt = 0
        while True:
            attempt += 1
            allowed = before_write() if before_write else None
            remaining = deadline - time.monotonic()
            try:
                seconds = remaining if allowed is None else min(remaining, allowed)
                return await self._attempt(request, seconds, before_write)
            except KubeError as exc:
                delay = _delay_before_retry(exc, request, attempt)
                if delay is None or time.monotonic() + delay >= deadline:
                    raise
            await asyncio.sleep(delay)

    @asynccontextmanager
    async def stream(self, request: Request, *, inactivity_seconds: float) -> AsyncIterator[AsyncIterator[bytes]]:
        """The lines of an endless answer. The stream fails when nothing comes for `inactivity_seconds`.

        Raises:
            KubeError: the server refused, or the connection was lost or silent.
        """
        timeout = aiohttp.ClientTimeout(total=None, connect=self._timeout_seconds, sock_read=inactivity_seconds)
        started, status = time.monotonic(), 0
        try:
            async with self._open(request, timeout=timeout) as response:
                status = response.status
                self._tell(request, status, started)
                await self._raise_for_status(response)
                try:
                    yield _lines(response)
                finally:
                    _hang_up(response)
        except (aiohttp.ClientError, OSError, TimeoutError) as exc:
            if not status:
                self._tell(request, status, started)
            raise Unreachable(f"the stream {request.path!r} broke: {_describe(exc)}") from exc

    async def _attempt(self, request: Request, seconds: float, before_write: BeforeWrite | None) -> Any:
        started = time.monotonic()
        status = 0
        try:
            async with asyncio.timeout(seconds), self._open(request, before_write=before_write) as response:
                status = response.status
                await self._raise_for_status(response)
                body = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as exc:
            raise Unreachable(f"{request.method} {request.path!r} got no answer: {_describe(exc)}") from exc
        finally:
            self._tell(request, status, started)
        try:
            return decode(body) if body else None
        except orjson.JSONDecodeError as exc:
            raise ServerError(f"{request.method} {request.path!r} was answered with something that is no JSON") from exc

    def _tell(self, request: Request, status: int, started: float) -> None:
        if self._observer:
            self._observer(request, status, time.monotonic() - started)

    def _open(
        self,
        request: Request,
        *,
        timeout: aiohttp.ClientTimeout = _NO_TIMEOUT,
        before_write: BeforeWrite | None = None,
    ) -> "aiohttp.client._RequestContextManager":
        headers = {"Accept": request.accept}
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        if token := self._current_token():
            headers["Authorization"] = f"Bearer {token}"
        return self._session.request(
            request.method,
            self._config.server + request.path,
            params=request.params,
            data=None if request.body is None else _Body(orjson.dumps(request.body), before_write),
            headers=headers,
            timeout=timeout,
            ssl=self._ssl if self._ssl is not None else True,
            server_hostname=self._config.tls_server_name,
        )

    async def _raise_for_status(self, response: aiohttp.ClientResponse) -> None:
        if response.status < 400:
            return
        body = await response.read()
        if response.status == 401:
            self._token_read_at = -_TOKEN_REREAD_SECONDS
        raise error_from_body(response.status, body, retry_after=_retry_after(response))

    def _current_token(self) -> str | None:
        file = self._config.token_file
        if file is not None and time.monotonic() - self._token_read_at >= _TOKEN_REREAD_SECONDS:
            try:
                self._token = file.read_text().strip()
            except OSError as exc:
                raise Unreachable(f"cannot read the token file {str(file)!r}: {exc.strerror}") from exc
            self._token_read_at = time.monotonic()
        return self._token


class _Body(aiohttp.BytesPayload):
    """What a request carries. Between the decision to send it and this, its connection is found or made."""

    def __init__(self, value: bytes, before_write: BeforeWrite | None) -> None:
        super().__init__(value)
        self._before_write = before_write

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """To the wire, unless that is forbidden by now: then the connection is closed, and no server acts on half a request."""
        if self._before_write:
            self._before_write()
        await super().write_with_length(writer, content_length)


def error_from_body(status: int, body: bytes, *, retry_after: float | None = None) -> KubeError:
    """The typed error that an answer's `Status` object describes."""
    try:
        described = decode(body)
    except orjson.JSONDecodeError:
        described = None
    if not isinstance(described, dict):
        return error_from_status(status, retry_after=retry_after)
    details = described.get("details") or {}
    if retry_after is None and details.get("retryAfterSeconds"):
        retry_after = float(details["retryAfterSeconds"])
    return error_from_status(
        status, reason=described.get("reason"), message=str(described.get("message") or ""), retry_after=retry_after
    )


def _hang_up(response: aiohttp.ClientResponse) -> None:
    """Drop the connection of a stream that may still have been going: a TLS farewell would linger for half a minute."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    # Not readline(): aiohttp bounds its lines far below the size of a large object.
    rest = b""
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line


def _delay_before_retry(error: KubeError, request: Request, attempt: int) -> float | None:
    """Seconds to wait before the next attempt, None if there must be none."""
    if attempt >= _ATTEMPTS:
        return None
    if isinstance(error, Unauthorized):
        return 0.0 if attempt == 1 else None  # the token may just have been replaced
    if isinstance(error, TooManyRequests):  # refused before anything was done, whatever the request
        pass
    elif not isinstance(error, Unreachable | ServerError) or not request.idempotent:
        return None
    backoff: float = _FIRST_DELAY_SECONDS * 2 ** (attempt - 1)
    return max(error.retry_after or 0.0, backoff * random.uniform(0.5, 1.5))  # noqa: S311 - jitter is no secret


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else None


def _describe(error: BaseException) -> str:
    return str(error) or type(error).__name__
