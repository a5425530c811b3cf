"""Spans of what the runtime does, for whoever wants to see where the time of an answer went. Off unless asked for.

OpenTelemetry's SDK is known to `otlp` alone, which is imported only where the environment asks for traces: SDK and exporter
cost memory and a slower start, which an installation without a collector need not pay.

Into a span go ids, names that administrators chose, numbers and codes of errors. Never a message, a prompt, an answer, a
path or query that a client made up, a key, or a vendor's words.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Protocol

Attributes = Mapping[str, str | int | float | bool | Sequence[str]]

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Variables that say where traces go; one of them switches them on."""


class Span(Protocol):
    """Something that takes time."""

    @property
    def trace_id(self) -> str | None:
        """By which the logs of the same work are found; None where nothing is recorded."""

    def set(self, attributes: Attributes) -> None:
        """Say more of it."""

    def rename(self, name: str) -> None:
        """Call it otherwise, now that it is known what it is."""

    def fail(self, code: str) -> None:
        """Mark it as failed, where no exception tells."""


class Tracer(Protocol):
    """Makes spans."""

    def serve(self, name: str, *, traceparent: str | None, is_trusted: bool) -> AbstractContextManager[Span]:
        """Work on a request that came in.

        Args:
            name: what to call it until it is known.
            traceparent: the request's header of that name (W3C Trace Context).
            is_trusted: go on with the caller's trace. Else the request begins a trace of its own, so that no caller
                decides what is recorded here, and that of the caller is only linked.
        """

    def span(self, name: str, attributes: Attributes) -> AbstractContextManager[Span]:
        """Work that takes as long as the block. What begins inside is below it; an exception marks it as failed."""

    def call(self, name: str, attributes: Attributes) -> AbstractContextManager[Span]:
        """A question to somebody else that takes as long as the block. An exception marks it as failed."""


class _NoSpan:
    trace_id = None

    def set(self, attributes: Attributes) -> None:
        """Keep nothing."""

    def rename(self, name: str) -> None:
        """Keep nothing."""

    def fail(self, code: str) -> None:
        """Keep nothing."""


class _NoTracer:
    def serve(self, name: str, *, traceparent: str | None, is_trusted: bool) -> AbstractContextManager[Span]:
        del name, traceparent, is_trusted
        return _NOWHERE

    def span(self, name: str, attributes: Attributes) -> AbstractContextManager[Span]:
        del name, attributes
        return _NOWHERE

    call = span


_NOWHERE: AbstractContextManager[Span] = nullcontext(_NoSpan())
NO_TRACER: Tracer = _NoTracer()
"""Makes no spans."""


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Whether OpenTelemetry's own variables ask for traces: they name a collector, and nothing switches it off."""
    is_off = (
        environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or environment.get("OTEL_TRACES_EXPORTER") == "none"
    )
    return not is_off and any(environment.get(name) for name in ENDPOINTS)


@asynccontextmanager
async def tracing(resource: Attributes, *, environment: Mapping[str, str] = os.environ) -> AsyncIterator[Tracer]:
    """A tracer for the length of the block; spans that are not sent by its end have a moment left, then they are lost.

    `resource` describes the process. Where spans go, and how many of all, is said by OpenTelemetry's own variables.
    """
    if not is_wanted(environment):
        yield NO_TRACER
        return
    from .otlp import OtlpTracer, close, open_provider  # noqa: PLC0415 - only who wants traces pays for the import

    provider = open_provider(resource)
    try:
        yield OtlpTracer(provider)
    finally:
        await asyncio.to_thread(close, provider)
