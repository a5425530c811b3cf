"""A port in front of a server that a test can shut, so that the server seems to be down, or freeze, so that it never answers."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Self

from tests.support.servers import free_port

_START_SECONDS = 30
_LAST_TURNS_SECONDS = 0.05
"""For connections that were accepted just before, and for aborted ones, which close in a later turn of the loop."""


class Gate:
    """Passes bytes to and from a port of the loopback address; use it as a context manager."""

    def __init__(self, target_port: int) -> None:
        self.port = free_port()
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="gate", daemon=True)
        self._server: asyncio.Server | None = None
        self._is_open = False
        self._connections: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_SECONDS)
        self._loop.close()

    @contextmanager
    def shut(self) -> Iterator[None]:
        """Break and refuse all connections for the length of the block."""
        self._do(self._shut())
        try:
            yield
        finally:
            self._do(self._open())

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let connections be made and nothing pass for the length of the block."""
        self._loop.call_soon_threadsafe(self._flowing.clear)
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._flowing.set)

    def _do(self, step: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(step, self._loop).result(_START_SECONDS)

    async def _open(self) -> None:
        self._is_open = True
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)

    async def _shut(self) -> None:
        self._is_open = False
        if self._server is not None:
            # A connection that was accepted in this very turn is attached to the server in the next: to one that is closed by
            # then it cannot be, and asyncio would leave its socket open.
            for listener in self._server.sockets:
                self._loop.remove_reader(listener.fileno())
            await asyncio.sleep(_LAST_TURNS_SECONDS)
            self._server.close()
            self._server = None
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _end(self) -> None:
        await self._shut()
        await asyncio.sleep(_LAST_TURNS_SECONDS)
        await self._shut()
        await asyncio.sleep(_LAST_TURNS_SECONDS)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._is_open:  # it was accepted just before
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
            try:
                ways = (self._pump(reader, there_writer), self._pump(there_reader, writer))
                await asyncio.gather(*ways, return_exceptions=True)
            finally:
                there_writer.transport.abort()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(64 * 1024):
            await self._flowing.wait()
            writer.write(chunk)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()
