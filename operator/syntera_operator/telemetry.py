"""What the operator's clients do, told to metrics and traces alike. It decides nothing."""

from syntera_kube.transport import Request

from .metrics import Metrics
from .tracing import Attributes, Tracer

_SYSTEMS = {"PostgreSQL": "postgresql", "Redis": "redis"}
"""Stores as OpenTelemetry's conventions spell them."""


class Telemetry:
    """Observers for whoever makes requests."""

    def __init__(self, metrics: Metrics, tracer: Tracer) -> None:
        self._metrics = metrics
        self._tracer = tracer

    def requested(self, request: Request, status: int, seconds: float) -> None:
        """The API server was asked something."""
        self._metrics.requested(request, status, seconds)
        if request.is_watch:
            return
        described: Attributes = {
            "http.request.method": request.method,
            "http.response.status_code": status,
            "url.path": request.path,
        }
        code = str(status) if status >= 400 else None if status else "unreachable"
        self._tracer.add_call(f"{request.method} {resource_in(request.path)}", described, seconds=seconds, code=code)

    def used_store(self, store: str, code: str | None, seconds: float) -> None:
        """A store was used."""
        self._metrics.used_store(store, code, seconds)
        self._tracer.add_call(store, {"db.system.name": _SYSTEMS[store]}, seconds=seconds, code=code)


def resource_in(path: str) -> str:
    """Which kind a path of the API server is about, and which part of it: `agents/status`."""
    parts = path.strip("/").split("/")
    named = parts[3:] if parts[0] == "apis" else parts[2:]
    if len(named) > 2 and named[0] == "namespaces":
        named = named[2:]
    return "/".join(named[::2])
