"""How an operation of the public API is reached: first who may, then the body, bounded in size and time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from email.message import Message
from typing import Any

import pydantic_core
from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from ..errors import BodyTooLarge, FileTooLarge, MalformedBody, RequestTimeout, UnsupportedMediaType
from ..services import ApiLimits
from .audit import recorded
from .auth import authorise
from .context import services_of
from .limits import limited
from .permissions import requirement_of

UPLOAD_SECONDS = 600.0
"""How long a file may take to come: 100 MiB do with some 1.4 Mbit/s."""
_DISCARD_FACTOR = 16
"""How many times the size of the largest body is read and thrown away so that its sender gets to read the answer."""


class ApiRoute(APIRoute):
    """Asks who may and counts, then reads and parses the body itself, so that neither unknown callers nor those who ask too
    much make the process work."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See `APIRoute`.

        Raises:
            LookupError: Nothing says who may call the operation.
        """
        answer, requirement = super().get_route_handler(), requirement_of(self.operation_id)

        async def answer_authorised(request: Request) -> Response:
            async with limited(request, self.operation_id):
                await authorise(request, requirement)
            async with recorded(request, self.operation_id or "", requirement) as outcome:
                answered = await answer(await self.read(request))
                outcome.status = answered.status_code
                return answered

        return answer_authorised

    async def read(self, request: Request) -> Request:
        """The request with its body read and parsed.

        Raises:
            BodyTooLarge, RequestTimeout: The body is too large, or does not come.
            UnsupportedMediaType, MalformedBody: It is no JSON.
        """
        return await _read_json(request, services_of(request).limits)


class UploadRoute(ApiRoute):
    """Leaves a body of any kind to the operation, which reads it by `read_upload` while it comes."""

    async def read(self, request: Request) -> Request:
        """The request as it is."""
        return request


def check_guarded(routers: Iterable[APIRouter]) -> None:
    """Return if every route of the routers asks who may.

    Raises:
        LookupError: One does not.
    """
    open_routes = [route for router in routers for route in router.routes if not isinstance(route, ApiRoute)]
    if open_routes:
        paths = [getattr(route, "path", str(route)) for route in open_routes]
        raise LookupError(f"the routes {paths} ask nobody who may call them")


class _ReadRequest(Request):
    """A request whose body was read and parsed already."""

    def __init__(self, request: Request, body: bytes, value: object) -> None:
        super().__init__(request.scope, request.receive)
        self._raw = body
        self._value = value

    async def body(self) -> bytes:
        return self._raw

    async def json(self) -> object:
        return self._value


async def _read_json(request: Request, limits: ApiLimits) -> Request:
    if request.method == "GET":
        return request
    body = await _read_body(request, limits)
    if not body:
        return _ReadRequest(request, b"", None)
    if not _is_json(request.headers.get("content-type", "")):
        raise UnsupportedMediaType
    try:
        # Refuses NaN, halves of surrogate pairs, and nesting deeper than some 200 levels.
        value = pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise MalformedBody(f"The body is not valid JSON: {error}.") from None
    return _ReadRequest(request, body, value)


async def _read_body(request: Request, limits: ApiLimits) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.body_bytes:
        # Who asks before sending has sent nothing, and would be told to go on by our reading.
        if request.headers.get("expect", "").lower() != "100-continue":
            await _discard(request.stream(), limits)
        raise _too_large(limits)
    chunks = request.stream()
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in chunks:
                body += chunk
                if len(body) > limits.body_bytes:
                    break
    except TimeoutError:
        raise RequestTimeout from None
    if len(body) > limits.body_bytes:
        await _discard(chunks, limits)
        raise _too_large(limits)
    return bytes(body)


async def read_upload(request: Request, limits: ApiLimits, *, most_bytes: int) -> AsyncIterator[bytes]:
    """A body as it comes, in pieces; each may take as long as a whole body of the usual kind, all of them
    `UPLOAD_SECONDS`.

    Raises:
        FileTooLarge: It has more bytes than may be, or says so.
        RequestTimeout: It does not come.
        ClientDisconnect: The client left.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most_bytes:
        if request.headers.get("expect", "").lower() != "100-continue":
            await _discard(request.stream(), limits)
        raise _file_too_large(most_bytes)
    pieces, taken = request.stream(), 0
    ends_at = asyncio.get_running_loop().time() + UPLOAD_SECONDS
    while True:
        try:
            async with asyncio.timeout_at(min(ends_at, asyncio.get_running_loop().time() + limits.body_seconds)):
                piece = await anext(pieces, None)
        except TimeoutError:
            raise RequestTimeout from None
        if piece is None:
            return
        taken += len(piece)
        if taken > most_bytes:
            await _discard(pieces, limits)
            raise _file_too_large(most_bytes)
        yield piece


async def _discard(chunks: AsyncIterator[bytes], limits: ApiLimits) -> None:
    """Read on and forget, within bounds: closing on a client that still sends resets the connection, and the answer with it."""
    left = _DISCARD_FACTOR * limits.body_bytes
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in chunks:
                left -= len(chunk)
                if left < 0:
                    return


def _is_json(content_type: str) -> bool:
    parsed = Message()
    parsed["content-type"] = content_type
    return parsed.get_content_type() == "application/json"


def _too_large(limits: ApiLimits) -> BodyTooLarge:
    return BodyTooLarge(f"The body may have at most {limits.body_bytes} bytes.")


def _file_too_large(most_bytes: int) -> FileTooLarge:
    return FileTooLarge(f"A file may have at most {most_bytes} bytes.")
