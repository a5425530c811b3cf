"""A thousand answers streamed at once by one replica, which is then killed: do all readers find the rest on the other one?"""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field

import aiohttp
import uvloop

from .chat_load import Messages
from .chat_site import ChatSite, Served, open_chat_site
from .figures import Figure, percentile

_STREAMS = 1000
_STARTED_PER_SECOND = 50
_WORD_SECONDS = 2.0
"""Between two words, so that answers last until the replica is killed."""
_QUESTION = "Tell me everything about every place that you know, from the first to the last, and leave nothing out."
_READ_SECONDS = 5.0
"""How long all streams are open together before the replica is killed."""
_BEGIN_SECONDS = 60.0
_END_SECONDS = 60.0
_ENDS = ("message.completed", "message.failed", "message.stopped")


@dataclass(slots=True)
class _Reader:
    """Reads one conversation's events, and keeps what it saw."""

    messages: str
    """Path of the conversation's messages."""
    numbers: list[int] = field(default_factory=list)
    end: str | None = None
    resumed_seconds: float | None = None
    """Until the first event of the stream that was resumed."""
    faults: list[str] = field(default_factory=list)

    async def send(self, session: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> None:
        """Ask, and read until the end or until the connection breaks."""
        with contextlib.suppress(aiohttp.ClientError):  # what a killed replica leaves of a connection
            async with session.post(f"{url}{self.messages}", json={"content": _QUESTION}, headers=headers) as response:
                if response.status != 200:
                    self.faults.append(f"{response.status} at the beginning")
                    return
                await self._read(response)

    async def resume(self, session: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> None:
        """Read the rest at another replica."""
        events = url + self.messages.replace("/messages", "/events")
        started = time.monotonic()
        async with session.get(events, headers={**headers, "Last-Event-ID": str(self.numbers[-1])}) as response:
            if response.status != 200:
                self.faults.append(f"{response.status} on resuming")
                return
            seen = len(self.numbers)
            while self.end is None and await self._read_event(response):
                if self.resumed_seconds is None and len(self.numbers) > seen:
                    self.resumed_seconds = time.monotonic() - started

    async def _read(self, response: aiohttp.ClientResponse) -> None:
        while self.end is None and await self._read_event(response):
            pass

    async def _read_event(self, response: aiohttp.ClientResponse) -> bool:
        """Read one event, or a comment; False at the end of the stream."""
        fields = {}
        while (line := (await response.content.readline()).decode()) not in ("\n", ""):
            name, _, value = line.rstrip("\n").partition(": ")
            fields[name] = value
        if "id" in fields:
            self.numbers.append(int(fields["id"]))
        if fields.get("event") in _ENDS:
            self.end = fields["event"]
        return bool(line)


def measure() -> list[Figure]:
    """Everything."""
    with open_chat_site() as site, contextlib.ExitStack() as stack:
        one, other = site.runtime("bench-0"), site.runtime("bench-1")
        for each in (one, other):
            stack.enter_context(each.running())
        site.provider.behave(delaySeconds=0, wordDelaySeconds=_WORD_SECONDS)
        return uvloop.run(_measure(site, one, other))


async def _measure(site: ChatSite, one: Served, other: Served) -> list[Figure]:
    headers = {**site.headers, "Accept": "text/event-stream"}
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=600, sock_connect=30)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        door = Messages(one.url, site.key)
        readers = [_Reader((await door.start(session)).removeprefix(one.url)) for _ in range(_STREAMS)]
        async with asyncio.TaskGroup() as sending:
            for reader in readers:
                sending.create_task(reader.send(session, one.url, headers))
                await asyncio.sleep(1 / _STARTED_PER_SECOND)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_BEGIN_SECONDS):
                    while any(not reader.numbers for reader in readers):  # noqa: ASYNC110 - each may be the last
                        await asyncio.sleep(0.1)
            await asyncio.sleep(_READ_SECONDS)
            memory, cut = one.resident_mebibytes(), sum(reader.end is None for reader in readers)
            one.kill()
        failed = sum(bool(reader.faults) or not reader.numbers for reader in readers)
        resumed = [reader for reader in readers if reader.end is None and reader.numbers]
        async with asyncio.timeout(_END_SECONDS), asyncio.TaskGroup() as resuming:
            for reader in resumed:
                resuming.create_task(reader.resume(session, other.url, headers))
    is_whole = [_is_whole(reader) for reader in readers]
    waits = [reader.resumed_seconds for reader in resumed if reader.resumed_seconds is not None]
    return [
        Figure(f"streams open at once on one replica, of {_STREAMS:,}", cut, "", at_least=_STREAMS, at_most=_STREAMS),
        Figure(f"{_STREAMS:,} open streams: errors", failed, "", at_least=0, at_most=0),
        Figure(f"{_STREAMS:,} open streams: memory of the replica (RSS)", memory, "MiB", at_most=300),
        Figure(
            "after kill -9: streams that went on at the other replica, to their ends, nothing twice",
            sum(is_whole),
            "",
            at_least=_STREAMS,
            at_most=_STREAMS,
        ),
        Figure("after kill -9: until the end of a turn was told, p95", percentile(waits, 95), "s", at_most=30),
    ]


def _is_whole(reader: _Reader) -> bool:
    """Whether the end came, and no event twice or out of order."""
    rising = all(one < other for one, other in zip(reader.numbers, reader.numbers[1:], strict=False))
    return reader.end is not None and rising and not reader.faults
