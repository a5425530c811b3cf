"""The Socket.IO server: opens and ends sockets, and gives each event of a client its answer.

WebSocket is its only transport: with long polling each request of a socket would have to reach the same pod. Errors are the
problems of the HTTP API, in `connect_error` and in acknowledgements.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import structlog
from socketio import AsyncServer
from socketio.exceptions import ConnectionRefusedError as SocketRefused
from starlette.types import Receive, Scope, Send

from syntera_crds.contract.api_key import Scope as KeyScope

from ...chat.changes import Change, ChangeKind, ConversationChanged, ConversationsMoved
from ...errors import (
    ClientDisconnected,
    EventUnknown,
    RequestTimeout,
    ShuttingDown,
    StoreUnavailable,
    SynteraError,
    TransportRefused,
)
from ...ids import new_id
from ...models.identity import Principal
from ...services import Services
from ..auth import describe
from ..problems import build_problem, problem_response
from .admission import admit_event, admit_socket, count_event, read, renew_session
from .catalogue import Changed, Credentials, Draining, Marked, Renewed, SessionEnded
from .connections import Connection, connection_of
from .operations import EVENTS, OPERATIONS, RENEW, Desk
from .outlet import NAMESPACE, STAFF, Outlet, render, room_of, room_of_contact
from .packets import TextPacket
from .participations import Participations
from .sockets import Socket

PATH = "/v1/socket.io"
PING_TIMEOUT_SECONDS = 20
ADMIT_SECONDS = 10.0
"""How long an opening may take. The library reads nothing meanwhile, pongs neither, and would close the connection."""
MOST_CHANGES = 10_000
"""Changes of lists that wait to be told; older ones are dropped for newer ones."""
HANG_UP_SECONDS = 2.0
"""How long a client may take to read what it was sent before its connection is closed."""
COME_BACK_SECONDS = 2.0
"""Clients of a process that ends are asked to come back within so long, each at a moment of its own."""

log = structlog.get_logger(__name__)

_NO_LOG = logging.Logger("socketio", logging.CRITICAL)
"""The library logs what clients send."""


class SocketServer:
    """The ASGI app below `PATH`. Somebody must `run` it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._manager = services.open_socket_manager()
        self._server = AsyncServer(
            async_mode="asgi",
            client_manager=self._manager,
            serializer=TextPacket,
            transports=["websocket"],
            cors_allowed_origins=[],  # asked below, of the origins that there are at the moment
            max_http_buffer_size=services.limits.body_bytes,
            ping_interval=services.limits.ping_seconds,
            ping_timeout=PING_TIMEOUT_SECONDS,
            logger=_NO_LOG,
            engineio_logger=_NO_LOG,
        )
        self._server.on("connect", self._open)
        self._server.on("disconnect", self._close)
        self._server.on("*", self._receive)
        self._outlet = Outlet(self._server)
        self._sockets: dict[str, Socket] = {}
        self._participations = Participations(services, self._outlet, sockets=self._sockets.values())
        self._desk = Desk(services, self._participations)
        self._tasks: set[asyncio.Task[None]] = set()
        self._changes: deque[Change] = deque(maxlen=MOST_CHANGES)
        self._has_changes = asyncio.Event()
        self._is_draining = False
        services.changes.listen(self._note)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a connection, or say why not."""
        if scope["type"] != "websocket":
            refusal = problem_response(TransportRefused(), request_id=scope["state"]["request_id"])
            await refusal(scope, receive, send)
        elif self._is_draining:
            # Before the handshake: clients take it for a fault of the network, and try again.
            await send({"type": "websocket.close"})
        else:
            connection = Connection()
            try:
                await connection.serve(self._server.handle_request, scope, receive, send)
            finally:
                # The library says nothing of the end of a connection whose socket was being opened.
                if connection.sid is not None:
                    await self._forget(connection.sid)

    async def run(self) -> None:
        """Keep up what must be until cancelled, then leave nothing behind."""
        # The library does this with the first connection. Sockets of other processes want to be told before that.
        self._server.manager_initialized = True
        self._manager.initialize()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._participations.run())
                group.create_task(self._tell_changes())
        finally:
            await self._aclose()

    async def drain(self, *, seconds: float) -> None:
        """Take no more connections, and send the clients elsewhere, spread over that time."""
        self._is_draining = True
        sockets = list(self._sockets.values())
        for socket in sockets:
            self._start(self._send_away(socket))
            await asyncio.sleep(seconds / len(sockets))

    async def _aclose(self) -> None:
        for socket in list(self._sockets.values()):
            socket.connection.abort()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.shutdown()
        close = getattr(self._manager, "aclose", None)  # the library's own has nothing to close
        if close is not None:
            await close()

    # Connections ------------------------------------------------------------------------------------------------------

    async def _open(self, sid: str, environ: dict[str, Any], auth: object = None) -> None:
        """A client wants a socket."""
        request_id, connection = _begin_log(), connection_of(environ)
        # The library takes a cancelled opening for one that succeeded.
        connection.has_socket()
        error: SynteraError
        connection.sid = sid
        try:
            async with asyncio.timeout(ADMIT_SECONDS):
                await self._admit(sid, connection, environ, auth, request_id=request_id)
            if not self._outlet.has(sid):
                raise ClientDisconnected
        except SynteraError as refusal:
            self._report(refusal)
            error = refusal
        except TimeoutError:
            error = RequestTimeout("The socket could not be opened in time. Try again later.")
        except Exception:
            log.exception("opening of a socket broke")
            error = SynteraError()
        except BaseException:
            connection.wait_for_socket()
            await self._close(sid)
            raise
        else:
            self._services.metrics.socket_connections.labels("success").inc()
            log.info("socket opened")
            return
        connection.wait_for_socket()
        await self._close(sid)
        self._services.metrics.socket_connections.labels(error.code).inc()
        raise SocketRefused(error.code, _problem(error, request_id))

    async def _admit(
        self, sid: str, connection: Connection, environ: dict[str, Any], auth: object, *, request_id: str
    ) -> None:
        services = self._services
        if self._is_draining:
            raise ShuttingDown
        session, address = await admit_socket(services, environ["asgi.scope"], auth)
        structlog.contextvars.bind_contextvars(**describe(session.principal))
        socket = Socket(sid, session, address, request_id, connection, environ.get("HTTP_ORIGIN"))
        self._sockets[sid] = socket  # before anything is held for it, so that `_close` gives back all there is
        await socket.held.enter_async_context(services.stream_slots.hold(session.principal.person))
        socket.held.enter_context(services.metrics.sockets_open.track_inprogress())
        self._watch(socket)
        for room in _rooms_of(session.principal):
            await self._outlet.enter(sid, room)

    async def _close(self, sid: str, *_: object) -> None:
        """A socket has ended, whoever ended it."""
        socket = self._sockets.pop(sid, None)
        if socket is None:
            return
        socket.has_ended = True
        socket.watch.close()
        socket.connection.wait_for_socket()
        await socket.held.aclose()
        await self._participations.leave_all(socket)

    async def _forget(self, sid: str) -> None:
        """A socket's connection is gone: nothing may be left of it, here or in the library."""
        await self._close(sid)
        if self._outlet.knows(sid):
            await self._manager.disconnect(sid, NAMESPACE, ignore_queue=True)

    def _watch(self, socket: Socket) -> None:
        socket.watch.close()
        socket.watch.enter_context(
            self._services.session_watch.watch(
                socket.session, lambda error: self._start(self._end_session(socket, error))
            )
        )

    async def _end_session(self, socket: Socket, error: SynteraError) -> None:
        """The socket's credentials are valid no more."""
        view = SessionEnded(error=build_problem(error, request_id=socket.request_id))
        log.info("socket ended", code=error.code, **describe(socket.principal))
        await self._outlet.tell(socket.sid, "session.ended", render(view))
        await self._outlet.end(socket.sid)
        await self._hang_up_at_last(socket)

    async def _send_away(self, socket: Socket) -> None:
        view = Draining(retry_after_seconds=round(random.uniform(0, COME_BACK_SECONDS), 2))  # noqa: S311  # no secret
        await self._outlet.tell(socket.sid, "server.draining", render(view))
        with suppress(TimeoutError):
            async with asyncio.timeout(HANG_UP_SECONDS):
                await self._outlet.hang_up(socket.sid)
        await self._hang_up_at_last(socket)

    async def _hang_up_at_last(self, socket: Socket) -> None:
        """End a connection whose client does not read that it has ended."""
        await asyncio.sleep(HANG_UP_SECONDS)
        socket.connection.abort()

    # Events of clients ------------------------------------------------------------------------------------------------

    async def _receive(self, event: str, sid: str, *data: object) -> dict[str, Any]:
        """The answer to an event, for the client's acknowledgement."""
        request_id = _begin_log()
        name = event if event in EVENTS else "unknown"
        outcome = "success"
        with self._services.tracer.serve(f"socket {name}", traceparent=None, is_trusted=False) as span:
            try:
                answer = {"data": render(await self._answer(sid, event, data))}
            except SynteraError as error:
                self._report(error)
                outcome, answer = error.code, {"error": _problem(error, request_id)}
            except Exception:
                log.exception("event of a socket broke", socket_event=name)
                outcome, answer = SynteraError.code, {"error": _problem(SynteraError(), request_id)}
            if outcome != "success":
                span.fail(outcome)
        self._services.metrics.socket_events.labels(name, outcome).inc()
        return answer

    async def _answer(self, sid: str, event: str, data: tuple[object, ...]) -> Any:
        socket = self._sockets.get(sid)
        if socket is None or socket.is_closed():
            raise ShuttingDown("The socket has ended.")
        structlog.contextvars.bind_contextvars(**describe(socket.principal))
        socket.begin_work()
        try:
            if event == RENEW:
                await count_event(self._services, socket)
                return await self._renew(socket, read(Credentials, data))
            operation = OPERATIONS.get(event)
            if operation is None:
                await count_event(self._services, socket)
                raise EventUnknown
            await admit_event(self._services, socket, operation)
            return await operation.run(self._desk, socket, read(operation.takes, data))
        finally:
            socket.end_work()

    async def _renew(self, socket: Socket, credentials: Credentials) -> Renewed:
        session = await renew_session(self._services, socket, credentials.token)
        if not socket.is_closed():
            socket.session = session
            self._watch(socket)
        return Renewed()

    def _report(self, error: SynteraError) -> None:
        if isinstance(error, StoreUnavailable):
            self._services.metrics.store_unavailable.labels(error.store).inc()
        if error.status >= 500:
            log.warning("event not served", code=error.code, cause=type(error.__cause__ or error).__name__)

    # Changes of lists -------------------------------------------------------------------------------------------------

    def _note(self, change: Change) -> None:
        self._changes.append(change)
        self._has_changes.set()

    async def _tell_changes(self) -> None:
        while True:
            await self._has_changes.wait()
            self._has_changes.clear()
            while self._changes:
                try:
                    await self._tell_change(self._changes.popleft())
                except Exception:
                    log.exception("telling of a change broke")

    async def _tell_change(self, change: Change) -> None:
        if isinstance(change, ConversationsMoved):
            self._start(self._participations.review_of(change.contact_id))
        elif isinstance(change, ConversationChanged):
            rooms = [STAFF] if change.contact_id is None else [STAFF, room_of_contact(change.contact_id)]
            await self._outlet.tell_rooms(rooms, "conversations.changed", Changed.of(change))
            if change.kind is ChangeKind.DELETED:
                self._start(self._participations.review_in(change.conversation_id))
        else:
            await self._outlet.tell_rooms([room_of(change.conversation_id)], "marks.changed", Marked.told(change))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _rooms_of(principal: Principal) -> list[str]:
    if principal.contact_id is not None:
        return [room_of_contact(principal.contact_id)]
    return [STAFF] if principal.may(KeyScope.CONVERSATIONS_READ) else []


def _begin_log() -> str:
    request_id = str(new_id())
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=request_id)
    return request_id


def _problem(error: SynteraError, request_id: str) -> dict[str, Any]:
    stated: dict[str, Any] = build_problem(error, request_id=request_id).model_dump(
        mode="json", by_alias=True, exclude_none=True
    )
    return stated
