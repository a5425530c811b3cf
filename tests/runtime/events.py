"""Server-sent events as a client reads them."""

import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import httpx


class Sent(NamedTuple):
    """An event on the wire."""

    number: int
    name: str
    data: Any


class SentEvents:
    """The events of one stream; comments are left out, and from problems the id of the request that reads."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.aiter_lines()

    async def __aiter__(self) -> AsyncIterator[Sent]:
        """The events that come from now on."""
        fields: dict[str, str] = {}
        async for line in self._lines:
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value
            elif not line and fields:
                data = json.loads(fields["data"])
                data.get("error", {}).pop("requestId", None)
                yield Sent(int(fields["id"]), fields["event"], data)
                fields = {}

    async def take(self, count: int) -> list[Sent]:
        """The next events, that many."""
        events: list[Sent] = []
        async for event in self:
            events.append(event)
            if len(events) == count:
                break
        return events

    async def until(self, *names: str) -> list[Sent]:
        """The next events until one of these names, which comes last."""
        events: list[Sent] = []
        async for event in self:
            events.append(event)
            if event.name in names:
                break
        return events
