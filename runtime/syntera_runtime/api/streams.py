"""Server-sent events from a feed.

FastAPI encodes them; its streaming operations are not used, because they answer 200 before they know whether there is
anything to stream.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from prometheus_client import Gauge
from starlette.types import Receive, Scope, Send

from ..chat.feed import Source
from ..errors import SynteraError

MEDIA_TYPE = "text/event-stream"
_PING = format_sse_event(comment="ping")
"""A comment: clients ignore it, proxies see life."""

_AT_ONCE = 64
"""How many events are sent together where a reader is behind: each time they are sent costs as much as making them."""

Event = TypeVar("Event")
Watching = Callable[[Callable[[SynteraError], None]], AbstractContextManager[None]]
"""Looks after the reader's credentials for the length of a block, and tells once if they end; see `SessionWatch.watch`."""


class EventStream(StreamingResponse):
    """The events of a feed as they come, until it ends, the client leaves, or the client's credentials end."""

    media_type = MEDIA_TYPE

    def __init__(
        self,
        feed: Source[Event],
        *,
        render: Callable[[Event], bytes],
        watching: Watching,
        render_end: Callable[[SynteraError], bytes],
        ping_seconds: float,
        on_close: Callable[[], None],
        open_streams: Gauge,
        headers: Mapping[str, str] | None = None,
        most_seconds: float | None = None,
    ) -> None:
        """Prepare.

        Args:
            render_end: What the client gets last when its credentials end.
            most_seconds: How long the stream may last; who wants more asks again. None: as long as the feed.
        """
        headers = {"X-Accel-Buffering": "no", **(headers or {})}  # nginx would hold the events back
        self._end = _End()
        told = _encode(feed, render, ping_seconds, most_seconds, end=self._end, render_end=render_end)
        super().__init__(told, headers=headers)
        self._watching = watching
        self._on_close = on_close
        self._open_streams = open_streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream. However it ends, `on_close` is told, at once and not when the generator is collected."""
        try:
            with self._open_streams.track_inprogress(), self._watching(self._end.tell):
                await super().__call__(scope, receive, send)
        finally:
            self._on_close()


class _End:
    """Why a stream is over before its feed is; ends the waiting for the next event."""

    def __init__(self) -> None:
        self.error: SynteraError | None = None
        self._waiting: asyncio.Timeout | None = None

    def tell(self, error: SynteraError) -> None:
        self.error = error
        if self._waiting is not None:
            self._waiting.reschedule(asyncio.get_running_loop().time())

    @contextmanager
    def ends(self, waiting: asyncio.Timeout) -> Iterator[None]:
        self._waiting = waiting
        try:
            yield
        finally:
            self._waiting = None


async def _encode(
    feed: Source[Event],
    render: Callable[[Event], bytes],
    ping_seconds: float,
    most_seconds: float | None,
    *,
    end: _End,
    render_end: Callable[[SynteraError], bytes],
) -> AsyncIterator[bytes]:
    ends_at = math.inf if most_seconds is None else time.monotonic() + most_seconds
    while end.error is None and (left := ends_at - time.monotonic()) > 0:
        try:
            async with asyncio.timeout(min(ping_seconds, left)) as waiting:
                with end.ends(waiting):
                    event = await feed.next()
        except TimeoutError:
            if end.error is None:
                yield _PING
            continue
        if event is None:
            return
        yield b"".join(map(render, (event, *feed.take_ready(_AT_ONCE))))
    if end.error is not None:
        yield render_end(end.error)
