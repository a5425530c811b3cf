"""What sockets are told: one of them by this process, or all in a room by every process."""

from collections.abc import Iterable
from typing import Any

from socketio import AsyncServer

from ...models.ids import ContactId, ConversationId
from ...views.base import View

STAFF = "staff"
"""The room of those who see everybody's conversations."""
NAMESPACE = "/"


def room_of_contact(contact_id: ContactId) -> str:
    """Where a customer hears of their conversations."""
    return f"contact:{contact_id}"


def room_of(conversation_id: ConversationId) -> str:
    """Where those are who have joined a conversation."""
    return f"conversation:{conversation_id}"


class Outlet:
    """Speaks to the sockets of one server, and through it to those of the tenant's other processes."""

    def __init__(self, server: AsyncServer) -> None:
        self._server = server

    async def tell(self, sid: str, event: str, data: object) -> None:
        """Tell one socket of this process, without a way around."""
        await self._server.emit(event, data, to=sid, namespace=NAMESPACE, ignore_queue=True)

    async def tell_rooms(self, rooms: Iterable[str], event: str, view: View, *, but: str | None = None) -> None:
        """Tell whoever is in one of the rooms, in any process, except one socket."""
        await self._server.emit(event, render(view), room=list(rooms), namespace=NAMESPACE, skip_sid=but)

    async def enter(self, sid: str, room: str) -> None:
        """Put a socket of this process into a room."""
        await self._server.enter_room(sid, room, namespace=NAMESPACE)

    async def leave(self, sid: str, room: str) -> None:
        """Take it out."""
        await self._server.leave_room(sid, room, namespace=NAMESPACE)

    def backlog(self, sid: str) -> int:
        """How many packets wait until the socket's client has taken those before."""
        engine = self._server.eio.sockets.get(self._server.manager.eio_sid_from_sid(sid, NAMESPACE))
        return 0 if engine is None else int(engine.queue.qsize())

    def knows(self, sid: str) -> bool:
        """Whether there is such a socket, or one is being opened."""
        return self._server.manager.eio_sid_from_sid(sid, NAMESPACE) is not None

    def has(self, sid: str) -> bool:
        """Whether there is such a socket on a connection that is still there."""
        engine = self._server.eio.sockets.get(self._server.manager.eio_sid_from_sid(sid, NAMESPACE))
        return engine is not None and not engine.closed and not engine.closing

    async def end(self, sid: str) -> None:
        """End a socket of this process for good; its client does not come again by itself."""
        await self._server.disconnect(sid, namespace=NAMESPACE, ignore_queue=True)

    async def hang_up(self, sid: str) -> None:
        """Close the connection of a socket of this process; its client comes again by itself."""
        engine_sid = self._server.manager.eio_sid_from_sid(sid, NAMESPACE)
        if engine_sid is not None:  # the library takes None for everybody
            await self._server.eio.disconnect(engine_sid)


def render(view: View) -> Any:
    """A view as a value of JSON."""
    return view.model_dump(mode="json", by_alias=True)
