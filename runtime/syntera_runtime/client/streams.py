"""A conversation's events over as many connections as it takes: each once, in order, whatever is cut.

The first connection may be a message's own stream; each later one asks for the events after the last that came, of which any
pod knows. As long as nothing has come, the first request is made again, which its `Idempotency-Key` makes harmless.
"""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from uuid import UUID

import httpx2

from .calls import Caller, Request
from .errors import ConnectionFailed, ReplyLost
from .events import EndOfTurn, Event, read_end, read_event, reply_of
from .retries import Retries, pause

LIVELY_SECONDS = 5
"""A connection that was open for so long and ended cleanly was no failure: streams of events end after a minute."""


class EventReader:
    """Reads one conversation's events."""

    def __init__(self, caller: Caller, conversation_path: str, *, retries: Retries) -> None:
        self._caller = caller
        self._path = conversation_path
        self._retries = retries
        self._last: int | None = None

    async def read_reply(self, request: Request) -> AsyncGenerator[Event, None]:
        """The events of the turn that the request begins, until its last.

        Raises:
            ConnectionFailed: The events were cut off, and could not be had elsewhere.
            ReplyLost: The turn has ended, and the server has forgotten how.
            ApiError: The credentials have ended.
        """
        reply_id: UUID | None = None
        async with aclosing(self._read(request)) as events:
            async for event in events:
                told = reply_of(event)
                if reply_id is not None and told is not None and told != reply_id:
                    raise ReplyLost("The reply's events are gone: read it from the list of messages.")
                reply_id = reply_id or told
                yield event
                if isinstance(event, EndOfTurn):
                    return

    async def follow(self, after: int | None) -> AsyncGenerator[Event, None]:
        """All events that come.

        Raises:
            ConnectionFailed: They were cut off, and could not be had elsewhere.
            ApiError: The credentials have ended.
        """
        self._last = after
        async with aclosing(self._read(self._resumption())) as events:
            async for event in events:
                yield event

    async def _read(self, first: Request) -> AsyncGenerator[Event, None]:
        cuts = 0
        while True:
            request = first if self._last is None else self._resumption()
            began = time.monotonic()
            try:
                async with self._caller.stream(request, retries=self._retries) as events:
                    async for sent in events:
                        if (end := read_end(sent)) is not None:
                            if self._caller.can_renew:
                                break
                            raise end
                        event = read_event(sent)
                        if self._last is not None and event.number <= self._last:
                            continue
                        self._last = event.number
                        cuts = 0
                        yield event
                is_failure = time.monotonic() - began < LIVELY_SECONDS
            except httpx2.TransportError:
                is_failure = True
            if is_failure:
                cuts += 1
                await self._pause(cuts)

    async def _pause(self, cuts: int) -> None:
        """Wait before the next connection; the first after one that gave something is made at once."""
        if cuts >= self._retries.attempts:
            raise ConnectionFailed("The connection was lost again and again before the events came.")
        if cuts > 1:
            await pause(self._retries.wait_seconds(cuts - 1))

    def _resumption(self) -> Request:
        headers = {"Accept": "text/event-stream"}
        if self._last is not None:
            headers["Last-Event-ID"] = str(self._last)
        return Request("GET", f"{self._path}/events", headers=headers)
