"""Requests to the API: credentials, deadlines, repetitions, and errors as ours."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, TypeAlias, TypeVar
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx2
from pydantic import BaseModel, ValidationError

from syntera_crds import __version__

from .errors import ApiError, ConnectionFailed, UnexpectedAnswer, build_api_error
from .models import Answer, Problem
from .retries import Retries

Credentials: TypeAlias = str | Callable[[], Awaitable[str]]
"""A key or token, or what gives the one that holds now; it is asked before each request."""


class Location(Protocol):
    """Where an API is, if that may change."""

    def url(self) -> str:
        """Where it is now. It is asked before each request."""
        ...

    def renew(self) -> object:
        """Nobody listened there; the next request comes soon."""
        ...


Parsed = TypeVar("Parsed", bound=BaseModel)
Given = TypeVar("Given")


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of the API."""

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    """As JSON."""
    content: bytes | AsyncIterable[bytes] | None = None
    """As it is, in place of `body`."""
    headers: Mapping[str, str] = field(default_factory=dict)
    is_repeatable: bool = True
    """Whether doing it twice is the same as doing it once."""
    is_spent: Callable[[], bool] = lambda: False
    """Whether it can be sent no more, because something of its content is gone."""
    seconds: float | None = None
    """Deadline of the request with all its repetitions. None: the client's."""


class _OpenAIError(Answer):
    message: str
    code: str | None = None


class _OpenAIFailure(Answer):
    error: _OpenAIError


@dataclass(frozen=True, slots=True)
class FixedLocation:
    """Where an API always is."""

    base_url: str

    def url(self) -> str:
        """See `Location`."""
        return self.base_url.rstrip("/")

    def renew(self) -> None:
        """See `Location`."""


class Caller:
    """Sends requests to one API."""

    def __init__(
        self,
        location: Location | str,
        credentials: Credentials,
        *,
        retries: Retries,
        http: httpx2.AsyncClient,
        request_seconds: float,
    ) -> None:
        self._location = FixedLocation(location) if isinstance(location, str) else location
        self._credentials = credentials
        self._retries = retries
        self._http = http
        self._request_seconds = request_seconds

    @property
    def can_renew(self) -> bool:
        """Whether other credentials may be had when these end."""
        return not isinstance(self._credentials, str)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def call(self, request: Request) -> bytes:
        """The answer's body.

        Raises:
            ApiError: The API refused it or failed.
            ConnectionFailed: There was no answer in time.
        """

        async def ask(url: str) -> bytes:
            response = await self._send(request, url)
            try:
                return await response.aread()
            finally:
                await response.aclose()

        return await self._patiently(ask, request, self._retries)

    async def get(self, kind: type[Parsed], request: Request) -> Parsed:
        """The answer.

        Raises:
            ApiError: The API refused it or failed.
            ConnectionFailed: There was no answer in time.
            UnexpectedAnswer: The answer is none of the API's.
        """
        return parse(kind, await self.call(request))

    @contextlib.asynccontextmanager
    async def open(self, request: Request, *, retries: Retries | None = None) -> AsyncIterator[httpx2.Response]:
        """The answer, whose body is still to be read. Cuts come as httpx2's errors: what they mean is for who reads to know.

        Raises:
            ApiError: The API refused it or failed.
            ConnectionFailed: There was no answer in time.
        """
        response = await self._patiently(lambda url: self._send(request, url), request, retries or self._retries)
        try:
            yield response
        finally:
            await response.aclose()

    @contextlib.asynccontextmanager
    async def stream(self, request: Request, *, retries: Retries | None = None) -> AsyncIterator[httpx2.EventSource]:
        """Server-sent events. Cuts come as with `open`.

        Raises:
            ApiError: The API refused it or failed.
            ConnectionFailed: There was no answer in time.
            UnexpectedAnswer: The answer is no such stream.
        """
        async with self.open(request, retries=retries) as response:
            media_type = response.headers.get("content-type", "").partition(";")[0]
            if media_type != "text/event-stream":
                raise _unexpected()
            yield httpx2.EventSource(response, max_event_size=None)

    async def _patiently(self, ask: Callable[[str], Awaitable[Given]], request: Request, retries: Retries) -> Given:
        url = ""
        seconds = self._request_seconds if request.seconds is None else request.seconds
        controller = retries.controller(is_repeatable=request.is_repeatable, is_spent=request.is_spent)

        async def ask_there() -> Given:
            nonlocal url
            url = self._location.url()
            try:
                return await ask(url)
            except httpx2.ConnectError:
                self._location.renew()
                raise

        try:
            async with asyncio.timeout(seconds):
                return await controller(ask_there)
        except TimeoutError:
            raise ConnectionFailed(f"The tenant's API at {url} did not answer within {seconds:g} seconds.") from None
        except (httpx2.TransportError, httpx2.DecodingError) as exc:
            raise ConnectionFailed(
                f"The tenant's API at {url} does not answer: {str(exc) or type(exc).__name__}."
            ) from None

    async def _send(self, request: Request, url: str) -> httpx2.Response:
        token = self._credentials if isinstance(self._credentials, str) else await self._credentials()
        built = self._http.build_request(
            request.method,
            url + request.path,
            params={name: value for name, value in request.query.items() if value is not None},
            json=request.body,
            content=request.content,
            headers={
                "Authorization": f"Bearer {token}",
                "User-Agent": f"syntera-python/{__version__}",
                **request.headers,
            },
        )
        response = await self._http.send(built, stream=True)
        if response.is_success:
            return response
        try:
            raise _read_error(response, await response.aread())
        finally:
            await response.aclose()


def once(key: str | None) -> dict[str, str]:
    """What lets a request be sent again: the key that the caller gives, or one of our own."""
    return {"Idempotency-Key": key or str(uuid4())}


def segment(name: UUID | str) -> str:
    """A name or an id as a part of a path.

    Raises:
        NotFound: It has a slash in it, so nothing can be called so. Servers take `%2F` for a slash, and would answer something else.
    """
    text = str(name)
    if "/" in text:
        raise build_api_error(
            Problem(code="not-found", detail=f"Nothing can be called {text!r}.", status=404), status=404
        )
    return quote(text, safe="")


def parse(kind: type[Parsed], data: str | bytes) -> Parsed:
    """What the API said.

    Raises:
        UnexpectedAnswer: It is something else.
    """
    try:
        return kind.model_validate_json(data)
    except ValidationError:
        raise _unexpected() from None


def _unexpected() -> UnexpectedAnswer:
    return UnexpectedAnswer("The server's answers are not those of a tenant's API; is the URL right?")


def _read_error(response: httpx2.Response, body: bytes) -> ApiError:
    return build_api_error(
        _read_problem(response, body),
        status=response.status_code,
        request_id=response.headers.get("x-request-id"),
        retry_after_seconds=_read_retry_after(response.headers.get("retry-after")),
    )


def _read_problem(response: httpx2.Response, body: bytes) -> Problem:
    """The problem; where a proxy or another server answered, one that says so."""
    status = response.status_code
    with contextlib.suppress(ValidationError):
        return Problem.model_validate_json(body)
    with contextlib.suppress(ValidationError):
        error = _OpenAIFailure.model_validate_json(body).error
        return Problem(code=error.code or "", detail=error.message, status=status, retryable=status >= 502)
    detail = f"{response.url.host} answered HTTP {status}; is this a tenant's API?"
    return Problem(code="", detail=detail, status=status, retryable=status >= 502)


def _read_retry_after(text: str | None) -> float | None:
    """Seconds; our API never writes the form with a date, a proxy in front of it may."""
    if text is None:
        return None
    if text.strip().isascii() and text.strip().isdecimal():
        return float(text)
    with contextlib.suppress(ValueError):
        at = parsedate_to_datetime(text)
        return max(0.0, at.timestamp() - time.time())
    return None
