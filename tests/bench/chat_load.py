"""Clients that chat, and how long they wait: with the provider itself, with LiteLLM's proxy, with a runtime by either of its doors.

All are read the same way, piece by piece as they come, so that what the client costs is in every figure alike.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import aiohttp

from .chat_site import AGENT, MODEL

QUESTION = "Where is my booking?"
_TIMEOUT = aiohttp.ClientTimeout(total=120)


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer that was streamed."""

    first_text_seconds: float
    total_seconds: float


class Door(Protocol):
    """A way to ask."""

    async def ask(self, session: aiohttp.ClientSession) -> Answered:
        """Ask once, and read the answer to its end.

        Raises:
            AssertionError: There was none, or not a whole one.
        """
        ...


@dataclass(frozen=True, slots=True)
class Completions:
    """`POST /v1/chat/completions`, streamed."""

    url: str
    model: str
    key: str

    async def ask(self, session: aiohttp.ClientSession) -> Answered:
        """See `Door`."""
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": QUESTION}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        headers = {"Authorization": f"Bearer {self.key}"}
        started = time.monotonic()
        async with session.post(f"{self.url}/v1/chat/completions", json=body, headers=headers) as response:
            return await _read(response, started, is_text=_holds_text, last=b"data: [DONE]")


class Messages:
    """`POST /v1/conversations/{id}/messages`, streamed; each client in a conversation of its own, a new one now and then."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}"}

    async def start(self, session: aiohttp.ClientSession) -> str:
        """Begin a conversation; where its messages go."""
        path = f"{self._url}/v1/agents/{AGENT}/conversations"
        async with session.post(path, headers=self._headers) as response:
            assert response.status == 201, await response.text()
            return f"{self._url}/v1/conversations/{(await response.json())['id']}/messages"

    async def ask(self, session: aiohttp.ClientSession) -> Answered:
        """See `Door`. The conversation is begun before the clock."""
        messages = await self.start(session)
        headers = {**self._headers, "Accept": "text/event-stream"}
        started = time.monotonic()
        async with session.post(messages, json={"content": QUESTION}, headers=headers) as response:
            return await _read(response, started, is_text=_is_delta, last=b"event: message.completed")


async def _read(
    response: aiohttp.ClientResponse, started: float, *, is_text: Callable[[bytes], bool], last: bytes
) -> Answered:
    assert response.status == 200, await response.text()
    first_at = None
    is_whole = False
    async for line in response.content:
        if first_at is None and is_text(line):
            first_at = time.monotonic()
        is_whole = is_whole or line.startswith(last)
    assert first_at is not None, "no text came"
    assert is_whole, "the answer broke off"
    return Answered(first_at - started, time.monotonic() - started)


def _holds_text(line: bytes) -> bool:
    """Whether a line of an OpenAI stream brings text."""
    if not line.startswith(b"data: {"):
        return False
    choices = json.loads(line.removeprefix(b"data: "))["choices"]
    return any(choice["delta"].get("content") for choice in choices)


def _is_delta(line: bytes) -> bool:
    """Whether a line of a runtime's stream announces text."""
    return line.startswith(b"event: message.delta")


def session() -> aiohttp.ClientSession:
    """What all clients of a benchmark share: connections are kept, as a program's are."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=_TIMEOUT, json_serialize=json.dumps)


async def ask_many(door: Door, *, times: int, at_once: int, spread_seconds: float = 0) -> list[Answered]:
    """Ask `times` times, `at_once` clients at once, each again as soon as it has its answer.

    Args:
        spread_seconds: Over how long the clients come. Where an answer takes as long each time, who came at the same moment asks
            at the same moment ever after, as no crowd of strangers does.
    """
    left = times
    answers: list[Answered] = []

    async def client(number: int) -> None:
        nonlocal left
        await asyncio.sleep(spread_seconds * number / at_once)
        while left > 0:
            left -= 1
            answers.append(await door.ask(opened))

    async with session() as opened, asyncio.TaskGroup() as clients:
        for number in range(at_once):
            clients.create_task(client(number))
    return answers


def provider_door(url: str) -> Completions:
    """Straight to the provider."""
    return Completions(url, MODEL, "none")


def firsts(answers: Sequence[Answered]) -> list[float]:
    """Times to the first text, in milliseconds."""
    return [answer.first_text_seconds * 1000 for answer in answers]


def totals(answers: Sequence[Answered]) -> list[float]:
    """Times to the end, in milliseconds."""
    return [answer.total_seconds * 1000 for answer in answers]
