"""Spans that leave the process: OpenTelemetry's SDK, and its exporter for OTLP over HTTP. Imported by `tracing` alone.

Both read their settings from OpenTelemetry's own environment variables. Spans are sent by a thread of the SDK's; a collector
that is away costs the oldest of them and delays nobody.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from syntera_crds import __version__

from .errors import code_of
from .tracing import Attributes, Span

_CLOSE_SECONDS = 1.0
"""What is left is sent for this long at the end. The SDK would take half a minute where the collector is away."""


def open_provider(resource: Attributes) -> TracerProvider:
    """The SDK, sending. What `resource` says of the process, the environment may overrule."""
    described = Resource.create().merge(Resource(resource)).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=described, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def close(provider: TracerProvider) -> None:
    """Send what is left, for a moment."""
    closing = threading.Thread(target=provider.shutdown, daemon=True)
    closing.start()
    closing.join(_CLOSE_SECONDS)


class OtlpTracer:
    """`Tracer` on an SDK's provider."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("syntera_runtime", __version__)

    @contextmanager
    def serve(self, name: str, *, traceparent: str | None, is_trusted: bool) -> Iterator[Span]:
        """See `Tracer`."""
        caller = _caller(traceparent)
        links = [] if caller is None or is_trusted else [trace.Link(caller)]
        parent = Context() if caller is None or not is_trusted else _below(caller)
        with (
            self._tracer.start_as_current_span(
                name,
                context=parent,
                kind=trace.SpanKind.SERVER,
                links=links,
                record_exception=False,
                set_status_on_exception=False,
            ) as span,
            _marked(span),
        ):
            yield _OtlpSpan(span)

    @contextmanager
    def span(self, name: str, attributes: Attributes) -> Iterator[Span]:
        """See `Tracer`."""
        with (
            self._tracer.start_as_current_span(
                name, attributes=attributes, record_exception=False, set_status_on_exception=False
            ) as span,
            _marked(span),
        ):
            yield _OtlpSpan(span)

    @contextmanager
    def call(self, name: str, attributes: Attributes) -> Iterator[Span]:
        """See `Tracer`. Never the current span: it is made in generators, which may end in another context."""
        span = self._tracer.start_span(name, kind=trace.SpanKind.CLIENT, attributes=attributes)
        try:
            with _marked(span):
                yield _OtlpSpan(span)
        finally:
            span.end()


class _OtlpSpan:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def trace_id(self) -> str | None:
        return trace.format_trace_id(self._span.get_span_context().trace_id) if self._span.is_recording() else None

    def set(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def fail(self, code: str) -> None:
        _mark(self._span, code)


def _caller(traceparent: str | None) -> trace.SpanContext | None:
    """Which span a request says it comes from. `tracestate` is left out: it is free text."""
    if traceparent is None:
        return None
    context = TraceContextTextMapPropagator().extract({"traceparent": traceparent}, Context())
    caller = trace.get_current_span(context).get_span_context()
    return caller if caller.is_valid else None


def _below(caller: trace.SpanContext) -> Context:
    return trace.set_span_in_context(trace.NonRecordingSpan(caller), Context())


@contextmanager
def _marked(span: trace.Span) -> Iterator[None]:
    """Mark the span as failed by an exception that leaves the block: by its code, not by its message."""
    try:
        yield
    except BaseException as exc:
        _mark(span, code_of(exc))
        raise


def _mark(span: trace.Span, code: str) -> None:
    span.set_attribute("error.type", code)
    span.set_status(trace.StatusCode.ERROR)
