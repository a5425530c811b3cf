"""How an operation of the public API is reached: first the credentials, then the body, bounded in size and time."""

import asyncio
from collections.abc import Callable, Coroutine
from email.message import Message
from typing import Any

import pydantic_core
from fastapi import Request, Response
from fastapi.routing import APIRoute

from ..errors import BodyTooLarge, MalformedBody, RequestTimeout, UnsupportedMediaType
from ..services import ApiLimits
from .auth import authenticate
from .context import services_of


class ApiRoute(APIRoute):
    """Authenticates, then reads and parses the body itself, so that no unknown caller makes the process work."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See `APIRoute`."""
        answer = super().get_route_handler()

        async def answer_authenticated(request: Request) -> Response:
            await authenticate(request)
            return await answer(await _read_json(request, services_of(request).limits))

        return answer_authenticated


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
        raise _too_large(limits)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.body_bytes:
                    raise _too_large(limits)
    except TimeoutError:
        raise RequestTimeout from None
    return bytes(body)


def _is_json(content_type: str) -> bool:
    parsed = Message()
    parsed["content-type"] = content_type
    return parsed.get_content_type() == "application/json"


def _too_large(limits: ApiLimits) -> BodyTooLarge:
    return BodyTooLarge(f"The body may have at most {limits.body_bytes} bytes.")
