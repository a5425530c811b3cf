"""Server-sent events from a feed.

FastAPI encodes them; its streaming operations are not used, because they answer 200 before they know whether there is
anything to stream.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from starlette.types import Receive, Scope, Send

from ..chat.feed import Feed

MEDIA_TYPE = "text/event-stream"
_PING = format_sse_event(comment="ping")
"""A comment: clients ignore it, proxies see life."""

Event = TypeVar("Event")


class EventStream(StreamingResponse):
    """The events of a feed as they come, until it ends or the client leaves."""

    media_type = MEDIA_TYPE

    def __init__(
        self,
        feed: Feed[Event],
        *,
        render: Callable[[Event], bytes],
        ping_seconds: float,
        on_close: Callable[[], None],
    ) -> None:
        headers = {"X-Accel-Buffering": "no"}  # nginx would hold the events back
        super().__init__(_encode(feed, render, ping_seconds), headers=headers)
        self._on_close = on_close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream. However it ends, `on_close` is told, at once and not when the generator is collected."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_close()


async def _encode(feed: Feed[Event], render: Callable[[Event], bytes], ping_seconds: float) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(ping_seconds):
                event = await feed.next()
        except TimeoutError:
            yield _PING
            continue
        if event is None:
            return
        yield render(event)
