"""What is said at one replica, heard at the other: five hundred sockets, half of them at each, two in each conversation."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import socketio
import uvloop

from .chat_load import QUESTION, Messages
from .chat_site import ChatSite, Served, open_chat_site
from .figures import Figure, percentile

_PAIRS = 250
_ROUNDS = 10
_ROUND_SECONDS = 1.0
"""Everybody types once in each, at a moment of their own."""
_OPENED_PER_SECOND = 50
_SPOKEN = 100
"""Messages that are sent one after the other."""
_PATIENCE_SECONDS = 10.0


@dataclass(slots=True)
class _Pair:
    """Two sockets in one conversation: one speaks at the first replica, one hears at the second."""

    conversation_id: str
    speaker: "socketio.AsyncClient" = field(default_factory=lambda: socketio.AsyncClient(reconnection=False))
    hearer: "socketio.AsyncClient" = field(default_factory=lambda: socketio.AsyncClient(reconnection=False))
    heard_at: float = 0.0
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    async def open(self, site: ChatSite, one: Served, other: Served) -> None:
        """Connect and join."""
        self.hearer.on("typing", self._note)
        self.hearer.on("message.started", self._note)
        for socket, replica in ((self.speaker, one), (self.hearer, other)):
            await socket.connect(
                replica.url, socketio_path="/v1/socket.io", transports=["websocket"], auth={"token": site.key}
            )
            answer = await socket.call("conversation.join", {"conversationId": self.conversation_id}, timeout=30)
            assert "data" in answer, answer

    async def say(self, event: str, **content: object) -> float:
        """Milliseconds until it is heard.

        Raises:
            TimeoutError: It is not.
        """
        self.heard.clear()
        started = time.monotonic()
        answer = await self.speaker.call(event, {"conversationId": self.conversation_id, **content}, timeout=30)
        assert "data" in answer, answer
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await self.heard.wait()
        return (self.heard_at - started) * 1000

    async def close(self) -> None:
        """Leave."""
        for socket in (self.speaker, self.hearer):
            await socket.disconnect()

    async def _note(self, _data: Any) -> None:
        self.heard_at = time.monotonic()
        self.heard.set()


def measure() -> list[Figure]:
    """Everything."""
    with open_chat_site() as site, contextlib.ExitStack() as stack:
        one, other = site.runtime("bench-0"), site.runtime("bench-1")
        for each in (one, other):
            stack.enter_context(each.running())
        site.provider.behave(delaySeconds=0, wordDelaySeconds=0)
        return uvloop.run(_measure(site, one, other))


async def _measure(site: ChatSite, one: Served, other: Served) -> list[Figure]:
    lost: list[BaseException] = []
    async with _open_pairs(site, one, other) as pairs:
        memory = max(one.resident_mebibytes(), other.resident_mebibytes())
        found = await asyncio.gather(*(_type(pair) for pair in pairs), return_exceptions=True)
        lost = [one for one in found if isinstance(one, BaseException)]
        typed = [latency for one in found if isinstance(one, list) for latency in one]
        spoken = [await pair.say("message.send", content=QUESTION) for pair in pairs[:_SPOKEN]]
    what = f"Socket.IO, {2 * _PAIRS} connections to two replicas"
    return [
        Figure(f"{what}: typing, until it is heard at the other replica, p50", percentile(typed, 50), "ms"),
        Figure(
            f"{what}: typing, until it is heard at the other replica, p95", percentile(typed, 95), "ms", at_most=100
        ),
        Figure(f"{what}: pairs that did not hear", len(lost), "", at_most=0, at_least=0),
        Figure(f"{what}: a message, stored and heard at the other replica, p95", percentile(spoken, 95), "ms"),
        Figure(f"{what}: memory of a replica (RSS)", memory, "MiB"),
    ]


async def _type(pair: _Pair) -> list[float]:
    latencies = []
    for number in range(_ROUNDS):
        pause = random.uniform(0, _ROUND_SECONDS)  # no secret
        await asyncio.sleep(pause)
        latencies.append(await pair.say("typing", isTyping=number % 2 == 0))
        await asyncio.sleep(_ROUND_SECONDS - pause)
    return latencies


@asynccontextmanager
async def _open_pairs(site: ChatSite, one: Served, other: Served) -> AsyncIterator[list[_Pair]]:
    door = Messages(one.url, site.key)
    async with aiohttp.ClientSession() as session:
        pairs = [_Pair((await door.start(session)).split("/")[-2]) for _ in range(_PAIRS)]
    try:
        async with asyncio.TaskGroup() as opening:
            for pair in pairs:
                opening.create_task(pair.open(site, one, other))
                await asyncio.sleep(2 / _OPENED_PER_SECOND)
        yield pairs
    finally:
        await asyncio.gather(*(pair.close() for pair in pairs), return_exceptions=True)
