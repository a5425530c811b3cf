"""Around every request: its id, the log's context, headers that every answer carries, metrics, and the last catch.

Plain ASGI, because Starlette's wrapper would buffer between a stream and its client.
"""

import re
import time

import structlog
from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import SynteraError
from ..ids import new_id
from ..metrics import Metrics
from .problems import error_response

log = structlog.get_logger(__name__)

REQUEST_ID_HEADER = "X-Request-Id"
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""On every answer that does not say otherwise: answers are data for programs, never a page."""


class RequestScope:
    """Wraps an app. `port` tells the public from the internal one in metrics; only public requests are logged."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, port: str) -> None:
        self._app = app
        self._metrics = metrics
        self._port = port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope).get(REQUEST_ID_HEADER))
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = time.monotonic()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID_HEADER] = request_id
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            status = status or 499
        except Exception:
            log.exception("request failed")
            if status:
                raise  # the answer has begun: all that is left is to break the connection
            await error_response(Request(scope), SynteraError())(scope, receive, send_with_headers)
        finally:
            self._report(scope, status or 499, seconds=time.monotonic() - started)

    def _report(self, scope: Scope, status: int, *, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = getattr(scope.get("route"), "path", "unmatched")
        self._metrics.requests.labels(self._port, method, route, str(status)).inc()
        self._metrics.request_seconds.labels(self._port, method, route).observe(seconds)
        if self._port == "public":
            log.info("request answered", method=method, route=route, status=status, seconds=round(seconds, 4))


def _request_id(given: str | None) -> str:
    """The client's own id where it is harmless in logs and headers, else a new one."""
    return given if given is not None and _SANE_ID.fullmatch(given) else str(new_id())
