"""What is told of each request to a model: one count by outcome, and one span.

The span speaks the language of OpenTelemetry's conventions for generative AI and holds none of the text, neither way.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal
from urllib.parse import urlsplit

from syntera_crds.contract.agent_config import ModelAccess

from ..errors import code_of
from ..metrics import Metrics
from ..models.exchange import ModelEvent, ModelFinished, ModelStarted
from ..tracing import Attributes, Span, Tracer

_MODEL_NAME = re.compile(r"[A-Za-z0-9._:/@+-]{1,128}")
"""What a server may call its model, as far as it is believed: no sentence fits."""

Operation = Literal["chat", "embeddings", "rerank"]
"""As the conventions spell it; they have no name for judging passages."""


class ModelCall:
    """One request under way."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._started = time.monotonic()

    def note_usage(self, input_tokens: int) -> None:
        """Take how many tokens the endpoint counted."""
        self._span.set({"gen_ai.usage.input_tokens": input_tokens})

    def note(self, event: ModelEvent) -> None:
        """Take what matters from what the model says; the text does not."""
        match event:
            case ModelStarted(model=model):
                self._span.set({"gen_ai.response.time_to_first_chunk": round(time.monotonic() - self._started, 6)})
                if _MODEL_NAME.fullmatch(model):
                    self._span.set({"gen_ai.response.model": model})
            case ModelFinished(finish_reason=reason, usage=usage):
                self._span.set({"gen_ai.response.finish_reasons": (reason,)})
                if usage is not None:
                    self._span.set({"gen_ai.usage.input_tokens": usage.prompt_tokens})
                    self._span.set({"gen_ai.usage.output_tokens": usage.completion_tokens})


class ModelCalls:
    """Records requests to models."""

    def __init__(self, metrics: Metrics, tracer: Tracer) -> None:
        self._metrics = metrics
        self._tracer = tracer

    @contextmanager
    def record(self, candidate: ModelAccess, *, operation: Operation = "chat") -> Iterator[ModelCall]:
        """Around one request to a candidate."""
        outcome = "complete"
        try:
            with self._tracer.call(f"{operation} {candidate.model}", _describe(candidate, operation)) as span:
                yield ModelCall(span)
        except BaseException as error:
            outcome = code_of(error)
            raise
        finally:
            self._metrics.model_requests.labels(candidate.endpoint, outcome).inc()

    def retried(self, candidate: ModelAccess) -> None:
        """The same candidate is asked once more."""
        self._metrics.model_retries.labels(candidate.endpoint).inc()

    def left(self, candidate: ModelAccess) -> None:
        """Another candidate is asked, because this one gave no answer."""
        self._metrics.model_fallbacks.labels(candidate.endpoint).inc()


def _describe(candidate: ModelAccess, operation: Operation) -> Attributes:
    return {
        **_describe_server(candidate.base_url),
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "openai",  # whose protocol it is; the address tells whose server
        "gen_ai.request.model": candidate.model,
        "gen_ai.request.stream": operation == "chat",
        "syntera.model_endpoint": candidate.endpoint,
    }


def _describe_server(url: str) -> Attributes:
    try:
        address = urlsplit(url)
        port = address.port or (443 if address.scheme == "https" else 80)
    except ValueError:  # the request is going to say so
        return {}
    return {"server.address": address.hostname or "", "server.port": port}
