"""Makes vectors by models that speak the OpenAI protocol: deadlines, one more try, and errors in our words.

Vectors come in base64, a fifth of their size as numbers, where the server knows how. What it sends is checked: as many as were asked
for, of the dimensions that the knowledge base is made for, of finite numbers; and brought to length one.
"""

import asyncio
import base64
import binascii
import math
import random
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul
from typing import Any

import structlog
from openai import APIStatusError
from pydantic import JsonValue

from syntera_crds.contract.knowledge_config import EmbeddingModel

from ..errors import ModelError, ModelRefused, ModelUnavailable
from ..metrics import Metrics
from ..models.knowledge import Vector
from ..models.tokens import estimate_tokens
from ..ports.configuration import Secrets
from ..tracing import NO_TRACER, Tracer
from .model_calls import ModelCalls
from .openai_clients import ClientPool, EndpointClient, resolve
from .openai_errors import unreadable, within

TRIES = 2
RETRY_SECONDS = 0.3
"""Mean pause before another try."""
LONGEST_PAUSE_SECONDS = 3.0
"""An endpoint that asks for a longer pause is not waited for."""

_UNIT_TOLERANCE = 1e-4
"""By how much a length may differ from one; single precision and rounding of the server's make more than nothing."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EmbeddedTexts:
    """What the port calls `Embedded`."""

    vectors: Sequence[Vector]
    tokens: int
    is_estimated: bool


class OpenAIEmbedder:
    """The port `Embedder` through the `openai` SDK."""

    def __init__(
        self,
        secrets: Secrets,
        *,
        tries: int = TRIES,
        clients: ClientPool | None = None,
        metrics: Metrics | None = None,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            secrets: Where keys are looked up, for each request anew.
            tries: 1 for callers that try again themselves.
            clients: Those to share; they are closed with this.
            metrics: Where requests are counted.
            tracer: Where they are traced.
        """
        self._secrets = secrets
        self._tries = tries
        self._calls = ModelCalls(metrics or Metrics(), tracer)
        self._clients = clients or ClientPool()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._clients.aclose()

    async def embed(
        self, model: EmbeddingModel, texts: Sequence[str], *, seconds: float | None = None
    ) -> EmbeddedTexts:
        """See `Embedder`."""
        bound = model.timeout_seconds if seconds is None else min(seconds, model.timeout_seconds)
        deadline = asyncio.get_running_loop().time() + bound
        for tries_left in range(self._tries - 1, -1, -1):
            try:
                with self._calls.record(model, operation="embeddings") as call:
                    embedded = await self._ask(model, texts, deadline=deadline, seconds=bound)
                    if not embedded.is_estimated:
                        call.note_usage(embedded.tokens)
                    return embedded
            except ModelUnavailable as failure:
                pause = _choose_pause(failure, deadline=deadline)
                if not tries_left or pause is None:
                    raise
            self._calls.retried(model)
            await asyncio.sleep(pause)
        raise AssertionError("a try either returns or raises")

    async def _ask(
        self, model: EmbeddingModel, texts: Sequence[str], *, deadline: float, seconds: float
    ) -> EmbeddedTexts:
        """One request.

        Raises:
            ModelUnavailable, ModelTimeout, ModelRefused, SecretMissing: As the port says.
        """
        settings = resolve(model, self._secrets)
        async with self._clients.borrow(settings, endpoint=model.endpoint) as client:
            answer = await within(deadline, model, _post(client, model, texts), aim="embed", seconds=seconds)
        return _read(answer, model, texts)


async def _post(client: EndpointClient, model: EmbeddingModel, texts: Sequence[str]) -> object:
    body: dict[str, JsonValue] = {"model": model.model, "input": list(texts)}
    if model.sends_dimensions:
        body["dimensions"] = model.dimensions
    if client.knows_encoding:
        try:
            return await _send(client, {**body, "encoding_format": "base64"})
        except APIStatusError as exc:
            if exc.status_code not in {400, 422} or "encoding_format" not in str(exc.body):
                raise
        client.knows_encoding = False
        log.info("model endpoint does not encode vectors", endpoint=model.endpoint)
    return await _send(client, body)


async def _send(client: EndpointClient, body: dict[str, JsonValue]) -> object:
    # The SDK's own method for embeddings builds an object of every vector, by numpy if that is there.
    return await client.openai.post(
        "/embeddings",
        body=body,
        options={"headers": client.headers, "security": {"bearer_auth": True}},
        cast_to=object,
    )


def _read(answer: Any, model: EmbeddingModel, texts: Sequence[str]) -> EmbeddedTexts:
    """Take the vectors of an answer's JSON, which may be anything.

    Raises:
        ModelUnavailable: It cannot be read.
        ModelRefused: The vectors have other dimensions.
    """
    try:
        rows = sorted(answer["data"], key=lambda row: int(row["index"]))
        if [int(row["index"]) for row in rows] != list(range(len(texts))):
            raise unreadable(model)
        vectors = [_normalise(_decode(row["embedding"]), model) for row in rows]
        counted = _read_usage(answer.get("usage"))
    except ModelError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, binascii.Error):
        raise unreadable(model) from None
    tokens = sum(map(estimate_tokens, texts)) if counted is None else counted
    return EmbeddedTexts(vectors, tokens, counted is None)


def _decode(embedding: object) -> "array[float]":
    """The numbers, which are little-endian singles where they come as text."""
    if not isinstance(embedding, str):
        return array("f", embedding)  # type: ignore[call-overload, no-any-return]  # raises where these are no numbers
    numbers = array("f", base64.b64decode(embedding, validate=True))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _normalise(numbers: "array[float]", model: EmbeddingModel) -> Vector:
    if len(numbers) != model.dimensions:
        raise ModelRefused(
            f"The model {model.model!r} of endpoint {model.endpoint!r} makes vectors of {len(numbers)} dimensions, and"
            f" {model.dimensions} are configured. Set embedding.dimensions to what it makes.",
            endpoint=model.endpoint,
        )
    length = math.sqrt(sum(map(mul, numbers, numbers)))
    if not math.isfinite(length) or length == 0:
        raise unreadable(model)
    return numbers if abs(length - 1) < _UNIT_TOLERANCE else array("f", [number / length for number in numbers])


def _read_usage(usage: object) -> int | None:
    """What the endpoint counted; None where it says nothing, or nothing sensible."""
    if not isinstance(usage, dict):
        return None
    counted = usage.get("prompt_tokens") or usage.get("total_tokens")
    return counted if isinstance(counted, int) and counted > 0 else None


def _choose_pause(failure: ModelUnavailable, *, deadline: float) -> float | None:
    """Seconds before another try; None where none makes sense."""
    asked_for = failure.retry_after_seconds
    seconds = asked_for if asked_for is not None else RETRY_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
    is_short = seconds <= min(LONGEST_PAUSE_SECONDS, deadline - asyncio.get_running_loop().time())
    return seconds if is_short else None
