"""Spans of what the operator does, for whoever wants to see where the time of a reconcile went. Off unless asked for.

OpenTelemetry is known to `otlp` alone, which is imported only where the environment asks for traces: SDK and exporter cost
memory and a slower start, which an installation without a collector need not pay.

Into a span go names of objects, ids, numbers and codes of errors. Never a message of an error, a manifest, a credential or
anything that a user wrote.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Protocol

Attributes = Mapping[str, str | int | float | bool]

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Variables that say where traces go; one of them switches them on."""


class Span(Protocol):
    """Something that takes time."""

    @property
    def trace_id(self) -> str | None:
        """By which the logs of the same work are found; None where nothing is recorded."""

    def set(self, attributes: Attributes) -> None:
        """Say more of it."""

    def headers(self) -> dict[str, str]:
        """What a request carries so that its receiver goes on with this trace (W3C Trace Context)."""


class Tracer(Protocol):
    """Makes spans."""

    def span(self, name: str, attributes: Attributes) -> AbstractContextManager[Span]:
        """Work that takes as long as the block. What begins inside is below it; an exception marks it as failed."""

    def call(self, name: str, attributes: Attributes) -> AbstractContextManager[Span]:
        """A question to somebody else that takes as long as the block. An exception marks it as failed."""

    def add_call(self, name: str, attributes: Attributes, *, seconds: float, code: str | None = None) -> None:
        """A question that was answered just now; told only where somebody traces the work that it is part of."""


class _NoSpan:
    trace_id = None

    def set(self, attributes: Attributes) -> None:
        """Keep nothing."""

    def headers(self) -> dict[str, str]:
        return {}


class _NoTracer:
    def span(self, name: str, attributes: Attributes) -> AbstractContextManager[Span]:
        del name, attributes
        return _NOWHERE

    call = span

    def add_call(self, name: str, attributes: Attributes, *, seconds: float, code: str | None = None) -> None:
        """Keep nothing."""


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
