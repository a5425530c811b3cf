"""Asks models that speak the OpenAI protocol: streams, deadlines, one retry, fallbacks, and errors in our words.

Retrying happens here and nowhere else (the SDK's own is switched off): a failure that may pass is tried once more on the
same candidate as long as nothing was said, then the next candidate is asked. A candidate's `timeout_seconds` bounds its
whole answer, both tries included. Each error names the endpoint; what the vendor said never leaves this module.
"""

import asyncio
import base64
import contextlib
import random
from collections.abc import AsyncGenerator, Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from openai import APIStatusError, AsyncStream
from pydantic import JsonValue

from syntera_crds.contract.agent_config import ModelCandidate

from ..errors import ModelError, ModelRefused, ModelUnavailable, SecretMissing
from ..metrics import Metrics
from ..models.exchange import (
    FinishReason,
    ModelEvent,
    ModelFinished,
    ModelMessage,
    ModelRequest,
    ModelStarted,
    TextDelta,
)
from ..models.files import ModelImage
from ..models.turns import Usage
from ..ports.configuration import Secrets
from ..tracing import NO_TRACER, Tracer
from .model_calls import ModelCalls
from .openai_clients import ClientPool, EndpointClient, resolve
from .openai_errors import unreadable, within

TRIES = 2
RETRY_SECONDS = 0.3
"""Mean pause before the second try."""
LONGEST_PAUSE_SECONDS = 3.0
"""An endpoint that asks for a longer pause is not waited for: the next candidate, or the client, comes first."""
USAGE_SECONDS = 2.0
"""How long to wait for the usage once the answer is whole."""

_FINISH_REASONS: dict[str, FinishReason] = {"length": "length", "content_filter": "content_filter"}

# What passes through must not change what the exchange stands on.
_RESERVED = frozenset({"model", "messages", "stream", "stream_options"})

_T = TypeVar("_T")

log = structlog.get_logger(__name__)


class OpenAIChatModels:
    """The port `ChatModels` through the `openai` SDK."""

    def __init__(
        self,
        secrets: Secrets,
        *,
        clients: ClientPool | None = None,
        metrics: Metrics | None = None,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._secrets = secrets
        self._calls = ModelCalls(metrics or Metrics(), tracer)
        self._clients = clients or ClientPool()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._clients.aclose()

    async def stream(
        self, candidates: Sequence[ModelCandidate], request: ModelRequest
    ) -> AsyncGenerator[ModelEvent, None]:
        """The answer of the first candidate that gives one; see the port.

        Raises:
            ModelUnavailable: The last candidate could not be reached or is overloaded, or an answer broke off.
            ModelTimeout: The last candidate did not answer in time, or an answer took too long.
            ModelRefused: The last candidate refused the credentials or the request, or cannot be asked as configured.
            SecretMissing: The last candidate needs a Secret that is not there.
        """
        failure: ModelError | SecretMissing = ModelRefused("The agent names no model.")
        for position, candidate in enumerate(candidates):
            if position > 0:
                self._calls.left(candidates[position - 1])
            deadline = asyncio.get_running_loop().time() + candidate.timeout_seconds
            for number in range(TRIES):
                started = False
                if number > 0:
                    self._calls.retried(candidate)
                try:
                    with self._calls.record(candidate) as call:
                        async with contextlib.aclosing(
                            self._ask(candidate, request, deadline=deadline, position=position)
                        ) as events:
                            async for event in events:
                                started = True
                                call.note(event)
                                yield event
                    return
                except (ModelError, SecretMissing) as exc:
                    if started:
                        raise
                    failure = exc
                log.warning("model did not answer", endpoint=candidate.endpoint, code=failure.code, attempt=number + 1)
                if not await _pause(failure, tries_left=TRIES - number - 1, deadline=deadline):
                    break
        raise failure

    async def _ask(
        self, candidate: ModelCandidate, request: ModelRequest, *, deadline: float, position: int
    ) -> AsyncGenerator[ModelEvent, None]:
        """One request to one candidate. The first event comes with the first text."""
        settings = resolve(candidate, self._secrets)
        model, said, finish_reason, usage = candidate.model, False, None, None
        async with (
            self._clients.borrow(settings, endpoint=candidate.endpoint) as client,
            await _within(deadline, candidate, _open(client, candidate, request)) as stream,
        ):
            while (
                part := await _next_part(stream, candidate, deadline=deadline, whole=bool(finish_reason))
            ) is not None:
                model = part.model or model
                usage = part.usage or usage
                if part.text:
                    if not said:
                        said = True
                        yield ModelStarted(endpoint=candidate.endpoint, model=model, candidate=position)
                    yield TextDelta(part.text)
                if part.finish_reason and not finish_reason:
                    finish_reason = part.finish_reason
                    deadline = min(deadline, asyncio.get_running_loop().time() + USAGE_SECONDS)
        finished = ModelFinished(_check_end(finish_reason, candidate, said=said), usage)
        if not said:
            yield ModelStarted(endpoint=candidate.endpoint, model=model, candidate=position)
        yield finished


def build_body(candidate: ModelCandidate, request: ModelRequest) -> dict[str, JsonValue]:
    """Merge what the client asks for with what the agent prescribes, which wins; of two token bounds, the smaller."""
    bounds = [bound for bound in (candidate.max_output_tokens, request.max_output_tokens) if bound is not None]
    ours: dict[str, JsonValue | None] = {
        "temperature": request.temperature if candidate.temperature is None else candidate.temperature,
        "top_p": request.top_p if candidate.top_p is None else candidate.top_p,
        candidate.max_tokens_parameter: min(bounds, default=None),
    }
    set_by_us = {name: value for name, value in ours.items() if value is not None}
    stop: dict[str, JsonValue] = {"stop": list(request.stop)} if request.stop else {}
    merged = {**request.extra, **stop, **candidate.parameters, **set_by_us}
    return {name: value for name, value in merged.items() if name not in _RESERVED}


def build_message(candidate: ModelCandidate, message: ModelMessage) -> dict[str, JsonValue]:
    """A message of the prompt as the candidate takes it: with its images, or in words that say that there are some."""
    if not message.images:
        return {"role": message.role, "content": message.content}
    if not candidate.takes_images:
        notes = [f"[The user attached the image {image.name!r}, which you cannot see]" for image in message.images]
        return {"role": message.role, "content": "\n\n".join(filter(None, (message.content, *notes)))}
    text: list[JsonValue] = [{"type": "text", "text": message.content}] if message.content else []
    shown: list[JsonValue] = [{"type": "image_url", "image_url": {"url": _data_url(image)}} for image in message.images]
    return {"role": message.role, "content": [*text, *shown]}


def _data_url(image: ModelImage) -> str:
    return f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"


@dataclass(frozen=True, slots=True)
class _Part:
    """What one chunk of a stream says."""

    model: str | None
    text: str
    finish_reason: str | None
    usage: Usage | None


async def _open(client: EndpointClient, candidate: ModelCandidate, request: ModelRequest) -> AsyncStream[object]:
    """Send the request and read the head of the answer, without `stream_options` where the server knows none."""
    if client.knows_stream_options:
        try:
            return await _create(client, candidate, request, {"stream_options": {"include_usage": True}})
        except APIStatusError as exc:
            if exc.status_code not in {400, 422} or "stream_options" not in str(exc.body):
                raise
        client.knows_stream_options = False
        log.info("model endpoint does not report usage", endpoint=candidate.endpoint)
    return await _create(client, candidate, request, {})


async def _create(
    client: EndpointClient, candidate: ModelCandidate, request: ModelRequest, options: dict[str, JsonValue]
) -> AsyncStream[object]:
    """Ask by the SDK's general call: its own for chat builds an object of every chunk, which takes longer than all the rest."""
    body = {
        "model": candidate.model,
        "messages": [build_message(candidate, message) for message in request.messages],
        "stream": True,
        **build_body(candidate, request),
        **options,
    }
    return await client.openai.post(
        "/chat/completions",
        body=body,
        options={"headers": client.headers, "security": {"bearer_auth": True}},
        cast_to=object,
        stream=True,
        stream_cls=AsyncStream[object],
    )


async def _next_part(
    stream: AsyncStream[object], candidate: ModelCandidate, *, deadline: float, whole: bool
) -> _Part | None:
    """The next chunk, None at the end. Once the answer is `whole`, a failure is its end too: only usage was to come."""
    try:
        chunk = await _within(deadline, candidate, anext(stream, None))
        return None if chunk is None else _read(chunk, candidate)
    except ModelError:
        if whole:
            return None
        raise


async def _within(deadline: float, candidate: ModelCandidate, work: Awaitable[_T]) -> _T:
    return await within(deadline, candidate, work, aim="finish its answer", seconds=candidate.timeout_seconds)


def _read(chunk: Any, candidate: ModelCandidate) -> _Part:
    """Take what is of use of a chunk's JSON, which may be anything."""
    try:
        first: dict[str, Any] = next((choice for choice in chunk.get("choices") or () if not choice.get("index")), {})
        delta = first.get("delta") or {}
        usage = chunk.get("usage")
        return _Part(
            model=chunk.get("model"),
            text="".join(text for text in (delta.get("content"), delta.get("refusal")) if isinstance(text, str)),
            finish_reason=first.get("finish_reason"),
            usage=Usage(int(usage["prompt_tokens"]), int(usage["completion_tokens"])) if usage else None,
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise unreadable(candidate) from None


def _check_end(finish_reason: str | None, candidate: ModelCandidate, *, said: bool) -> FinishReason:
    """Tell a whole answer from one that broke off or says nothing."""
    endpoint = candidate.endpoint
    if finish_reason is None:
        raise ModelUnavailable(f"The model endpoint {endpoint!r} broke off its answer.", endpoint=endpoint)
    if not said and finish_reason == "length":
        raise ModelRefused(
            f"The model of endpoint {endpoint!r} used up its bound on output tokens before it said anything. Raise the"
            " agent's maxOutputTokens.",
            endpoint=endpoint,
        )
    if not said and finish_reason != "content_filter":
        raise ModelUnavailable(f"The model endpoint {endpoint!r} gave an empty answer.", endpoint=endpoint)
    return _FINISH_REASONS.get(finish_reason, "stop")


async def _pause(failure: ModelError | SecretMissing, *, tries_left: int, deadline: float) -> bool:
    """Wait before another try of the same candidate and return True, or False where none makes sense."""
    if not tries_left or not isinstance(failure, ModelUnavailable):
        return False
    asked_for = failure.retry_after_seconds
    seconds = asked_for if asked_for is not None else RETRY_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
    if seconds > min(LONGEST_PAUSE_SECONDS, deadline - asyncio.get_running_loop().time()):
        return False
    await asyncio.sleep(seconds)
    return True
