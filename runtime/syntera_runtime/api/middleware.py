"""Around every request: its id, the log's context, headers that every answer carries, metrics, its span, and the last catch.

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
from ..tracing import NO_TRACER, Span, Tracer
from .problems import error_response

log = structlog.get_logger(__name__)

REQUEST_ID_HEADER = "X-Request-Id"
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_OF_MACHINES = frozenset({"/healthz", "/readyz", "/metrics"})
"""Paths of the internal port that are asked every few seconds, for ever: no span is worth its place."""
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
    """Wraps an app. `port` tells the public from the internal one in metrics; only public requests are logged.

    A trace goes on from the internal port's callers, which are the operator's pods: nobody else gets there. The public
    port's callers are only linked to: else anybody could have every request recorded, or put his own into a trace of others.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, tracer: Tracer, port: str) -> None:
        self._app = app
        self._metrics = metrics
        self._tracer = tracer
        self._port = port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_internal = self._port == "internal"
        tracer = NO_TRACER if is_internal and scope["path"] in _OF_MACHINES else self._tracer
        with tracer.serve("request", traceparent=headers.get("traceparent"), is_trusted=is_internal) as span:
            await self._answer(scope, receive, send, request_id=_request_id(headers.get(REQUEST_ID_HEADER)), span=span)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, *, request_id: str, span: Span) -> None:
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        if span.trace_id is not None:
            structlog.contextvars.bind_contextvars(trace_id=span.trace_id)
        started = time.monotonic()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID_HEADER] = request_id
                headers.update(scope["state"].get("limit_headers", {}))
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
            self._report(scope, status or 499, seconds=time.monotonic() - started, span=span)

    def _report(self, scope: Scope, status: int, *, seconds: float, span: Span) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = getattr(scope.get("route"), "path", "unmatched")
        self._metrics.requests.labels(self._port, method, route, str(status)).inc()
        self._metrics.request_seconds.labels(self._port, method, route).observe(seconds)
        span.rename(f"{method} {route}")
        span.set(
            {
                "http.request.method": method,
                "http.route": route,
                "http.response.status_code": status,
                "syntera.port": self._port,
            }
        )
        if status >= 500:
            span.fail(str(status))
        if self._port == "public":
            log.info("request answered", method=method, route=route, status=status, seconds=round(seconds, 4))


def _request_id(given: str | None) -> str:
    """The client's own id where it is harmless in logs and headers, else a new one."""
    return given if given is not None and _SANE_ID.fullmatch(given) else str(new_id())
