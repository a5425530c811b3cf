"""The WebSocket below a socket: what the library leaves open is closed here.

The library closes no connection by itself: it asks the client to. Here a connection ends with its socket, and one that
never becomes a socket, or whose client reads nothing, ends too.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import structlog
from starlette.types import Message, Receive, Scope, Send

from .packets import is_packet

OPEN_SECONDS = 10.0
"""How long a connection may be without a socket."""
SEND_SECONDS = 20.0
"""How long a client may take in nothing that it is sent."""
KEY = "syntera.connection"
"""Where the scope of a connection has it."""

_CLOSE = "1"
"""Engine.IO's packet that closes; clients take the end of the WebSocket for the same, and come again."""
_DISCONNECT = "41"
"""Socket.IO's packet that ends a socket for good; nothing is said on the connection after it."""
_GOING_AWAY = 1001
_NORMAL = 1000

log = structlog.get_logger(__name__)


class Connection:
    """One WebSocket."""

    def __init__(self) -> None:
        self.sid: str | None = None
        """The last socket that was opened on it, or was to be."""
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def serve(
        self, app: Callable[[Scope, Receive, Send], Awaitable[None]], scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Let the library have the connection, until it ends."""
        scope[KEY] = self
        self.wait_for_socket()

        async def receive_packet() -> Message:
            message = await receive()
            if message["type"] == "websocket.receive" and not is_packet(message.get("text")):
                return {"type": "websocket.disconnect", "code": _NORMAL}
            return message

        async def send_packet(message: Message) -> None:
            await self._send(message, send)

        self._task = asyncio.ensure_future(app(scope, receive_packet, send_packet))
        try:
            await self._task
        except asyncio.CancelledError:
            if not self._task.cancelled():
                raise
        except OSError:
            pass  # the client has left
        except Exception:
            log.exception("connection broke")
        finally:
            self.has_socket()

    def wait_for_socket(self) -> None:
        """There is no socket on the connection: give its client some time to open one."""
        self.has_socket()
        self._timer = asyncio.get_running_loop().call_later(OPEN_SECONDS, self.abort)

    def has_socket(self) -> None:
        """There is one, or one is being opened."""
        if self._timer is not None:
            self._timer.cancel()

    def abort(self) -> None:
        """End the connection, whatever its client does."""
        if self._task is not None:
            self._task.cancel()

    async def _send(self, message: Message, send: Send) -> None:
        if self._is_closed:
            raise OSError("the connection is closed")
        text = message.get("text")
        if text != _CLOSE:
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    await send(message)
            except TimeoutError:
                self._is_closed = True
                self.abort()
                raise
        if text in (_CLOSE, _DISCONNECT):
            self._is_closed = True
            await send({"type": "websocket.close", "code": _GOING_AWAY if text == _CLOSE else _NORMAL})


def connection_of(environ: MutableMapping[str, Any]) -> Connection:
    """The connection of a request, as the library hands it on."""
    found: Connection = environ["asgi.scope"][KEY]
    return found
