"""An HTTP server that says exactly the bytes a test wants, pauses and cut connections included."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Seen:
    """A request that came in."""

    target: str
    """As it stands in the request line: a path, or a whole URL from a client that takes us for a proxy."""
    headers: dict[str, str]
    """Names in lower case."""
    body: Any
    """Parsed, if it is JSON; of a form the text."""


class RawServer:
    """Answers the next request with the next script; the last one is repeated. Then it closes the connection."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.url = ""
        self._scripts: list[Sequence[bytes | float]] = []

    def will_answer(self, *scripts: Sequence[bytes | float]) -> None:
        """Each script is what is written for one request; a number is a pause in seconds."""
        self._scripts = list(scripts)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            self.seen.append(await _read_request(reader))
            script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
            for step in script:
                if isinstance(step, bytes):
                    writer.write(step)
                    await writer.drain()
                else:
                    await asyncio.sleep(step)


@contextlib.asynccontextmanager
async def raw_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    """A server on a loopback port."""
    server = RawServer()
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(server.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listening = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    port = listening.sockets[0].getsockname()[1]
    server.url = f"{'https' if tls else 'http'}://localhost:{port}"
    try:
        yield server
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listening.wait_closed()


def head(status: int = 200, content_type: str = "text/event-stream", **headers: str) -> bytes:
    """The beginning of an answer whose end is the end of the connection."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Type: {content_type}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def event(data: object) -> bytes:
    """One event of a stream; text is sent as it is."""
    return f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


def said(text: str | None, finish_reason: str | None = None, **more: object) -> bytes:
    """The event of one piece of text."""
    choice = {"index": 0, "delta": {"content": text} if text is not None else {}, "finish_reason": finish_reason}
    return event({"object": "chat.completion.chunk", "model": "served-1", "choices": [choice]} | more)


def answered(status: int, body: object = None, **headers: str) -> list[bytes]:
    """A whole answer in JSON."""
    return [head(status, "application/json", **headers), json.dumps(body).encode()]


DONE = event("[DONE]")
USAGE = event(
    {"model": "served-1", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}}
)
ANSWER = [head(), said("Hel"), said("lo"), said(None, "stop"), USAGE, DONE]


async def _read_request(reader: asyncio.StreamReader) -> Seen:
    text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    request_line, *lines = text.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    is_form = headers.get("content-type") == "application/x-www-form-urlencoded"
    read = body.decode() if is_form else json.loads(body or b"null")
    return Seen(target=request_line.split(" ")[1], headers=headers, body=read)
