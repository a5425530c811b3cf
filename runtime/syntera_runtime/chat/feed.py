"""From a task that goes on by itself to a reader who may leave at any time."""

import asyncio
from typing import Generic, TypeVar

Event = TypeVar("Event")


class Feed(Generic[Event]):
    """Events of one task for one reader, in order. The task never waits; once the reader left, nothing is kept."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._has_reader = True

    def publish(self, event: Event) -> None:
        """Hand an event to the reader, if there still is one."""
        if self._has_reader:
            self._queue.put_nowait(event)

    def end(self) -> None:
        """Say that no event follows."""
        self._queue.put_nowait(None)

    def leave(self) -> None:
        """Stop reading."""
        self._has_reader = False
        while not self._queue.empty():
            self._queue.get_nowait()

    async def next(self) -> Event | None:
        """The next event as soon as there is one; None after the last. Cancelling it loses nothing."""
        return await self._queue.get()
