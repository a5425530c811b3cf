"""An embedding endpoint in a process of its own that answers at once and keeps count: `python -m tests.support.embedding_server PORT`.

Its vectors come from hashes of the texts, so they mean nothing; equal texts have equal vectors.
"""

import asyncio
import base64
import contextlib
import hashlib
import subprocess
import sys
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from aiohttp import web

from tests.support.servers import bound_to_us, free_port

DIMENSIONS = 64


@dataclass(frozen=True, slots=True)
class Counts:
    """What a server was asked since the counts were taken last."""

    texts: int
    repeated: int
    """Texts that it had been asked before, ever."""
    requests: int
    tokens: int
    seconds: float
    """That it has spent on answers."""


@dataclass(frozen=True, slots=True)
class EmbeddingServer:
    """A hand on a running server."""

    url: str
    client: httpx.Client

    @property
    def base_url(self) -> str:
        """What a model endpoint's `baseURL` is set to."""
        return f"{self.url}/v1"

    def take_counts(self) -> Counts:
        """The counts, which begin anew."""
        return Counts(**self.client.post("/counts").raise_for_status().json())

    def wait_for_requests(self, number: int, *, seconds: float = 60) -> bool:
        """Until it was asked that many times since the counts were taken; false where that takes longer."""
        params = {"requests": number, "seconds": seconds}
        answer = self.client.get("/wait", params=params, timeout=seconds + 30).raise_for_status()
        return bool(answer.json())


@contextlib.contextmanager
def embedding_server(*, seconds: float = 0.0) -> Iterator[EmbeddingServer]:
    """A server that takes that long for each answer."""
    port = free_port()
    command = [sys.executable, "-m", "tests.support.embedding_server", str(port), str(seconds)]
    process = subprocess.Popen(bound_to_us(command, signal="KILL"))
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
        try:
            _wait_until_ready(client, process)
            yield EmbeddingServer(f"http://127.0.0.1:{port}", client)
        finally:
            process.kill()
            process.wait(timeout=30)


def _wait_until_ready(client: httpx.Client, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            client.post("/counts").raise_for_status()
            return
        except httpx.TransportError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the embedding server did not start") from None
            time.sleep(0.05)


class _Server:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._asked: Counter[bytes] = Counter()
        self._counts = Counts(0, 0, 0, 0, 0.0)
        self._changed = asyncio.Condition()

    def build(self) -> web.Application:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.add_routes(
            [
                web.post("/v1/embeddings", self._embed),
                web.post("/counts", self._take_counts),
                web.get("/wait", self._wait),
            ]
        )
        return app

    async def _embed(self, request: web.Request) -> web.Response:
        body = await request.json()
        started = time.perf_counter()
        texts: Sequence[str] = body["input"]
        keys = [hashlib.sha256(text.encode()).digest() for text in texts]
        repeated = sum(self._asked[key] > 0 for key in keys)
        self._asked.update(keys)
        tokens = sum(len(text) // 4 + 1 for text in texts)
        data = [{"index": number, "embedding": _vector(text)} for number, text in enumerate(texts)]
        spent = time.perf_counter() - started
        now = self._counts
        async with self._changed:
            self._counts = Counts(
                now.texts + len(texts),
                now.repeated + repeated,
                now.requests + 1,
                now.tokens + tokens,
                now.seconds + spent,
            )
            self._changed.notify_all()
        await asyncio.sleep(self._seconds)
        return web.json_response({"data": data, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})

    async def _take_counts(self, _: web.Request) -> web.Response:
        taken, self._counts = self._counts, Counts(0, 0, 0, 0, 0.0)
        fields: dict[str, Any] = {name: getattr(taken, name) for name in Counts.__dataclass_fields__}
        return web.json_response(fields)

    async def _wait(self, request: web.Request) -> web.Response:
        wanted = int(request.query["requests"])
        try:
            async with asyncio.timeout(float(request.query["seconds"])), self._changed:
                await self._changed.wait_for(lambda: self._counts.requests >= wanted)
        except TimeoutError:
            return web.json_response(data=False)
        return web.json_response(data=True)


def _vector(text: str) -> str:
    numbers = array("b", hashlib.shake_256(text.encode()).digest(DIMENSIONS))
    return base64.b64encode(array("f", numbers).tobytes()).decode()


if __name__ == "__main__":
    web.run_app(_Server(float(sys.argv[2])).build(), host="127.0.0.1", port=int(sys.argv[1]), print=None)
