"""Chat completions."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response

from ...chat.completions import Completion, Completions
from ...chat.events import CompletionEnded, CompletionEvent, CompletionFailed
from ...chat.feed import Source
from ...errors import ClientDisconnected
from ...models.exchange import ModelRequest
from ...models.identity import Principal
from ..auth import Asker, AskerSession
from ..context import ServicesOfRequest
from ..limits import StreamSlot
from ..routing import ApiRoute
from ..streams import MEDIA_TYPE, EventStream
from .answers import AnswerMessage, ChatCompletion, Choice, CompletionUsage, Head
from .errors import openai_responses
from .requests import ChatCompletionRequest
from .streaming import ChunkRenderer

router = APIRouter(route_class=ApiRoute, tags=["openai"])
Awaited = TypeVar("Awaited")


@router.post(
    "/v1/chat/completions",
    operation_id="createChatCompletion",
    response_model=ChatCompletion,
    responses={
        200: {
            "description": "The answer: whole, or with `stream` as server-sent events whose data are "
            "of the schema `Chunk`, ended by `[DONE]`, or by an `ErrorChunk` where it fails.",
            "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
        },
        **openai_responses(400, 404, 408, 413, 415, 502, 503, 504),
    },
)
async def create_chat_completion(
    *,
    asked: ChatCompletionRequest,
    request: Request,
    services: ServicesOfRequest,
    asker: Asker,
    session: AskerSession,
    take_slot: StreamSlot,
) -> Response | ChatCompletion:
    """Let the agent that `model` names answer. Nothing of the text is stored, only the turn and its usage.

    A client that leaves before the end stops the answer.
    """
    if asked.stream:
        await take_slot()
    wanted = await _read(asked, services.completions, asker)
    completion = await services.completions.start(asker, agent=asked.model, request=wanted)
    if not asked.stream:
        return await _whole_answer(completion, request)
    await _await_first_event(completion, request, seconds=services.limits.ping_seconds)
    renderer = ChunkRenderer(completion.turn, with_usage=asked.wants_usage_chunk)
    source: Source[CompletionEvent] = completion.feed
    return EventStream(
        source,
        render=renderer.render,
        watching=partial(services.session_watch.watch, session),
        render_end=lambda error: renderer.render(CompletionFailed(error)),
        ping_seconds=services.limits.ping_seconds,
        on_close=completion.abandon,
        open_streams=services.metrics.streams_open,
    )


async def _read(asked: ChatCompletionRequest, completions: Completions, asker: Principal) -> ModelRequest:
    """What is asked. Images are looked at only where a model takes them, and beside the event loop."""
    if not asked.has_images:
        return asked.to_model()
    completions.check_images(asker, agent=asked.model)
    return await asyncio.to_thread(asked.to_model)


async def _await_first_event(completion: Completion, request: Request, *, seconds: float) -> None:
    """Wait a little before the stream is opened: a model that cannot answer then still gets its own status code."""
    try:
        with suppress(TimeoutError):
            first = await _unless_departed(request, completion.feed.peek(), seconds=seconds)
            if isinstance(first, CompletionFailed):
                raise first.error
    except BaseException:  # there will be no stream that could abandon it, be this handler cancelled or failed
        completion.abandon()
        raise


async def _whole_answer(completion: Completion, request: Request) -> ChatCompletion:
    try:
        ended = await _unless_departed(request, _last_event(completion))
    finally:
        completion.abandon()
    if isinstance(ended, CompletionFailed):
        raise ended.error
    return ChatCompletion(
        **Head.of(ended.turn).model_dump(),
        choices=[Choice(message=AnswerMessage.of(ended), finish_reason=ended.finish_reason)],
        usage=None if ended.turn.usage is None else CompletionUsage.of(ended.turn.usage),
    )


async def _last_event(completion: Completion) -> CompletionEnded | CompletionFailed:
    while True:
        event = await completion.feed.next()
        if isinstance(event, CompletionEnded | CompletionFailed):
            return event


async def _unless_departed(
    request: Request, awaited: Coroutine[Any, Any, Awaited], *, seconds: float | None = None
) -> Awaited:
    """What is awaited.

    Raises:
        ClientDisconnected: The client left before.
        TimeoutError: It took longer than `seconds`.
    """
    task = asyncio.create_task(awaited)
    departure = asyncio.create_task(_await_departure(request))
    try:
        await asyncio.wait((task, departure), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientDisconnected if departure.done() else TimeoutError
    finally:
        task.cancel()
        departure.cancel()


async def _await_departure(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
