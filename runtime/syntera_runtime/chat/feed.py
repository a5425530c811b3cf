"""From a task that goes on by itself to a reader who may leave at any time."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

Event = TypeVar("Event")
Item_co = TypeVar("Item_co", covariant=True)


class Source(Protocol[Item_co]):
    """Something that gives events one after the other."""

    async def next(self) -> Item_co | None:
        """The next event as soon as there is one; None after the last. Cancelling loses nothing."""
        ...

    def take_ready(self, most: int) -> Sequence[Item_co]:
        """The events that can be had without waiting, up to so many."""
        ...


class Feed(Generic[Event]):
    """Events of one task for one reader, in order. The task never waits; once the reader left, nothing is kept.

    Cancelling a read loses nothing.
    """

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._news = asyncio.Event()
        self._has_ended = False
        self._has_reader = True

    @property
    def backlog(self) -> int:
        """How many events wait for the reader."""
        return len(self._events)

    def publish(self, event: Event) -> None:
        """Hand an event to the reader, if there still is one."""
        if self._has_reader:
            self._events.append(event)
            self._news.set()

    def end(self) -> None:
        """Say that no event follows."""
        self._has_ended = True
        self._news.set()

    def leave(self) -> None:
        """Stop reading."""
        self._has_reader = False
        self._events.clear()

    async def peek(self) -> Event | None:
        """The next event as soon as there is one, which stays the next; None after the last."""
        while not self._events:
            if self._has_ended:
                return None
            self._news.clear()
            await self._news.wait()
        return self._events[0]

    async def next(self) -> Event | None:
        """The next event as soon as there is one; None after the last."""
        event = await self.peek()
        if event is not None:
            self._events.popleft()
        return event

    def take_ready(self, most: int) -> list[Event]:
        """The events that can be had without waiting, up to so many."""
        return [self._events.popleft() for _ in range(min(most, len(self._events)))]
