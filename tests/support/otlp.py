"""A collector of traces: takes OTLP over HTTP as a real one does, and keeps what it was sent."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

_TYPE = "application/x-protobuf"


@dataclass(frozen=True, slots=True)
class SentSpan:
    """A span as it came in."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    is_error: bool
    status_message: str
    events: int
    attributes: dict[str, str]


@dataclass
class Collector:
    """What came in."""

    endpoint: str = ""
    """For `OTEL_EXPORTER_OTLP_ENDPOINT`."""
    spans: list[SentSpan] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Take one batch."""
        assert request.path == "/v1/traces"
        assert request.content_type == _TYPE
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        self.bodies.append(body)
        self.spans += _read(ExportTraceServiceRequest.FromString(body))
        return web.Response(body=ExportTraceServiceResponse().SerializeToString(), content_type=_TYPE)

    async def wait_for(self, is_it: Callable[[SentSpan], bool], *, seconds: float = 30) -> SentSpan:
        """The first span that fits, as soon as it is there."""
        deadline = time.monotonic() + seconds
        while True:
            if found := next(filter(is_it, self.spans), None):
                return found
            assert time.monotonic() < deadline, [(span.service, span.name) for span in self.spans]
            await asyncio.sleep(0.05)


@asynccontextmanager
async def running_collector() -> AsyncIterator[Collector]:
    """Collect until the block ends."""
    collector = Collector()
    app = web.Application()
    app.router.add_post("/{path:.*}", collector.handle)
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    collector.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield collector
    finally:
        await runner.cleanup()


def _read(request: ExportTraceServiceRequest) -> Iterator[SentSpan]:
    for sent in request.resource_spans:
        resource = {one.key: one.value.string_value for one in sent.resource.attributes}
        for scope in sent.scope_spans:
            for span in scope.spans:
                yield SentSpan(
                    service=resource["service.name"],
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    kind=span.kind,
                    is_error=span.status.code == 2,
                    status_message=span.status.message,
                    events=len(span.events),
                    attributes={one.key: str(one.value).strip() for one in span.attributes},
                )
