"""The official JavaScript client, driven from tests: see `tests/javascript/sockets.js`."""

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from tests.support.javascript import NODE, install


class JavaScriptSockets:
    """Sockets by name, all in one process of Node.js."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._ids = count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._news = asyncio.Condition()
        self.told: list[tuple[str, str, Any]] = []
        """Name of the socket, name of the event, data."""

    async def open(self, name: str, url: str, token: str, **options: object) -> None:
        """Begin to connect."""
        await self._command({"do": "open", "name": name, "url": url, "token": token, "options": options})

    async def ask(self, name: str, event: str, **data: object) -> Any:
        """Send an event and give its answer."""
        asked = next(self._ids)
        self._answers[asked] = asyncio.get_running_loop().create_future()
        await self._command({"do": "ask", "id": asked, "name": name, "event": event, "data": data})
        async with asyncio.timeout(30):
            return await self._answers[asked]

    async def wait_for(
        self, name: str, event: str, wanted: Callable[[Any], bool] = lambda _: True, *, seconds: float = 30
    ) -> Any:
        """The data of the first such event of a socket, come or to come."""
        async with asyncio.timeout(seconds), self._news:
            while not (found := [data for data in self.of(name, event) if wanted(data)]):
                await self._news.wait()
            return found[0]

    def of(self, name: str, *events: str) -> list[Any]:
        """What a socket was told in events of these names."""
        return [data for socket, event, data in self.told if socket == name and event in events]

    async def _command(self, command: dict[str, object]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        await self._process.stdin.drain()

    async def read(self) -> None:
        """Take in what it says, until it ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            said = json.loads(line)
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said["answer"])
                continue
            async with self._news:
                self.told.append((said["name"], said["event"], said.get("data")))
                self._news.notify_all()


@asynccontextmanager
async def javascript_sockets() -> AsyncIterator[JavaScriptSockets]:
    """The client, ready to open sockets."""
    folder = await asyncio.to_thread(install)
    process = await asyncio.create_subprocess_exec(NODE, "sockets.js", cwd=folder, stdin=PIPE, stdout=PIPE, limit=2**20)
    sockets = JavaScriptSockets(process)
    reading = asyncio.create_task(sockets.read())
    try:
        yield sockets
    finally:
        process.kill()
        await process.wait()
        await reading
