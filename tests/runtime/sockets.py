"""Socket.IO as a client uses it: the library's own client, with every event that came."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import socketio
from fastapi import FastAPI

from syntera_runtime.api.app import build_public_app
from syntera_runtime.api.sockets.server import PATH, SocketServer
from syntera_runtime.services import Services
from tests.runtime.serving import served

ENDS = ("message.completed", "message.failed", "message.stopped")


class Told(NamedTuple):
    """An event that came."""

    name: str
    data: Any


class SocketClient:
    """An open socket of a test."""

    def __init__(self, library: "socketio.AsyncClient") -> None:
        self.library = library
        self.told: list[Told] = []
        self.disconnected: list[str] = []
        self._news = asyncio.Condition()
        library.on("*", self._note)
        library.on("disconnect", self._note_end)

    async def ask(self, event: str, **data: object) -> Any:
        """Send an event and give what its answer says; a problem must not come."""
        answer = await self.try_(event, data)
        assert "data" in answer, answer
        return answer["data"]

    async def refusal(self, event: str, *data: object) -> Any:
        """Send an event and give the problem that must come."""
        answer = await self.try_(event, *data)
        assert "error" in answer, answer
        return answer["error"]

    async def try_(self, event: str, *data: object) -> Any:
        """Send an event and give the answer as it is."""
        return await self.library.call(event, data, timeout=30)

    async def wait_for(self, wanted: Callable[[Told], bool], *, seconds: float = 30) -> Told:
        """The first event of that kind, come or to come."""
        async with asyncio.timeout(seconds), self._news:
            while not (found := [one for one in self.told if wanted(one)]):
                await self._news.wait()
            return found[0]

    async def wait_for_event(self, name: str, *, seconds: float = 30) -> Any:
        """What the first event of that name says."""
        return (await self.wait_for(lambda told: told.name == name, seconds=seconds)).data

    async def wait_for_end(self, *, seconds: float = 30) -> None:
        """Return when the socket has ended."""
        async with asyncio.timeout(seconds), self._news:
            while not self.disconnected:
                await self._news.wait()

    def of_turns(self, conversation_id: str) -> list[tuple[int, str, Any]]:
        """The events of a conversation's turns: number, name, data."""
        return [
            (told.data["number"], told.name, told.data["data"])
            for told in self.told
            if told.name.startswith(("message.", "usage", "retrieval", "citation"))
            and told.data["conversationId"] == conversation_id
        ]

    async def _note(self, event: str, data: Any) -> None:
        async with self._news:
            self.told.append(Told(event, data))
            self._news.notify_all()

    async def _note_end(self, reason: str) -> None:
        async with self._news:
            self.disconnected.append(reason)
            self._news.notify_all()


@asynccontextmanager
async def open_socket(
    url: str, token: str | None, *, headers: dict[str, str] | None = None, reconnection: bool = False
) -> AsyncIterator[SocketClient]:
    """A socket of whoever holds `token`."""
    library = socketio.AsyncClient(reconnection=reconnection)
    client = SocketClient(library)
    await connect(library, url, token, headers=headers)
    try:
        yield client
    finally:
        await library.disconnect()
        await library.shutdown()


async def connect(
    library: "socketio.AsyncClient", url: str, token: str | None, *, headers: dict[str, str] | None = None
) -> None:
    """Connect as the documentation says."""
    await library.connect(
        url,
        auth=None if token is None else {"token": token},
        headers=headers or {},
        transports=["websocket"],
        socketio_path=PATH,
        wait_timeout=30,
    )


async def refused(url: str, token: object, *, headers: dict[str, str] | None = None) -> Any:
    """What a socket that must not open is refused with: the message and data of `connect_error`."""
    library, told = socketio.AsyncClient(reconnection=False), []

    async def note(error: object) -> None:
        told.append(error)

    library.on("connect_error", note)
    try:
        await library.connect(
            url,
            auth=token,
            headers=headers or {},
            transports=["websocket"],
            socketio_path=PATH,
            wait_timeout=30,
        )
    except socketio.exceptions.ConnectionError:
        return told[0]
    finally:
        await library.shutdown()
    raise AssertionError("the socket was opened")


@asynccontextmanager
async def serving_sockets(services: Services) -> AsyncIterator[str]:
    """A server with sockets, as a process runs it; yields its URL."""
    sockets = SocketServer(services)
    app: FastAPI = build_public_app(services, sockets)
    async with asyncio.TaskGroup() as group:
        running = [
            group.create_task(task) for task in (sockets.run(), services.followers.run(), services.session_watch.run())
        ]
        async with served(app) as url:
            yield url
            await sockets.drain(seconds=0)
        for task in running:
            task.cancel()
