"""Which pages' scripts may read the answers (CORS): those of the allowed origins, each named exactly, without cookies.

Starlette's middleware does it, with a list that changes while it runs, and refusals that are problems like all others.
"""

from fastapi import Request, Response
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import OriginNotAllowed
from ..identity.origins import Origins
from .limits import LIMIT_HEADERS
from .problems import error_response

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ACCEPTED_HEADERS = ("Authorization", "Idempotency-Key", "If-Match", "Last-Event-ID", "X-Request-Id")
SHOWN_HEADERS = ("ETag", "Retry-After", *LIMIT_HEADERS, "WWW-Authenticate", "X-Request-Id")
PREFLIGHT_SECONDS = 600
"""How long a browser may remember what it was told; whether a page may use its key is checked with each request."""


class Cors(CORSMiddleware):
    """Starlette's, asking `Origins`."""

    def __init__(self, app: ASGIApp, *, origins: Origins) -> None:
        super().__init__(
            app,
            allow_methods=METHODS,
            allow_headers=ACCEPTED_HEADERS,
            expose_headers=SHOWN_HEADERS,
            max_age=PREFLIGHT_SECONDS,
        )
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight, or let the request be answered and say who may read it."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        origin = headers.get("origin")
        if origin is not None:
            await self._origins.refresh(origin)
            is_preflight = scope["method"] == "OPTIONS" and "access-control-request-method" in headers
            if is_preflight and not self.is_allowed_origin(origin):
                await _refusal(Request(scope))(scope, receive, send)
                return
        await super().__call__(scope, receive, send)

    def is_allowed_origin(self, origin: str) -> bool:
        """See `CORSMiddleware`."""
        return self._origins.allows(origin)


def _refusal(request: Request) -> Response:
    answer = error_response(request, OriginNotAllowed())
    answer.headers["Vary"] = "Origin"
    return answer
