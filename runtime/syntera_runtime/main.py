"""The process: settings, logs, two HTTP servers on one event loop, and an orderly end.

On SIGTERM the process becomes unready at once, goes on accepting while it is taken out of the Service, lets running
answers finish, stores the ends of those that could not, and closes everything in reverse order.
"""

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

import structlog
import uvicorn
import uvloop
from fastapi import FastAPI

from .api.app import build_public_app
from .api.internal_app import build_internal_app
from .api.sockets.server import SocketServer
from .chat.runner import STOP_SECONDS
from .config import Settings, load_settings
from .context import open_services
from .errors import ConfigurationError
from .logs import configure_logging
from .services import Services

log = structlog.get_logger(__name__)

KEEP_ALIVE_SECONDS = 75
"""Longer than proxies keep idle connections (60 s is usual), so that none of them sends into a closing one."""

LEAVE_SECONDS = 2.0
"""Over how much of the end of draining the clients of sockets are sent away: they come back at once, elsewhere by then."""

WRITE_SECONDS = 3.0
"""How long the ends of turns may take to get into the event log at shutdown."""


def main() -> None:
    """Run until SIGTERM or SIGINT. Ends with status 1 where that is not possible."""
    try:
        settings = load_settings()
        configure_logging(settings.log_level, tenant=settings.tenant, pod=settings.pod_name)
        uvloop.run(run(settings))
    except ConfigurationError as error:
        sys.exit(f"syntera-runtime: {error}")
    except Exception:
        log.exception("process failed")
        sys.exit(1)


async def run(settings: Settings) -> None:
    """Build everything, serve, and close everything."""
    async with open_services(settings) as services:
        await serve(services, settings, stop=stop_on_signals())


async def serve(services: Services, settings: Settings, *, stop: asyncio.Event) -> None:
    """Serve both ports until `stop`, then end in order."""
    with (
        closing(_listen(settings.host, settings.public_port)) as public_socket,
        closing(_listen(settings.host, settings.internal_port)) as internal_socket,
    ):
        sockets = SocketServer(services)
        public = _build_server(build_public_app(services, sockets), settings)
        internal = _build_server(build_internal_app(services), settings)
        async with asyncio.TaskGroup() as group:
            public_task = group.create_task(public.serve(sockets=[public_socket]))
            group.create_task(internal.serve(sockets=[internal_socket]))
            sockets_task = group.create_task(sockets.run())
            _spare_collector()
            log.info("serving", public_port=_port(public_socket), internal_port=_port(internal_socket))
            await stop.wait()
            services.lifecycle.is_draining = True
            log.info("draining", seconds=settings.drain_seconds)
            leaving = min(LEAVE_SECONDS, settings.drain_seconds)
            await asyncio.sleep(settings.drain_seconds - leaving)
            await asyncio.gather(asyncio.sleep(leaving), sockets.drain(seconds=leaving))
            public.should_exit = True
            log.info("finishing", seconds=settings.finish_seconds)
            services.followers.close()
            await services.runner.drain(seconds=settings.finish_seconds)
            await services.writers.drain(seconds=WRITE_SECONDS)
            await public_task
            sockets_task.cancel()
            internal.should_exit = True
    log.info("ended")


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _spare_collector() -> None:
    """Let the garbage collector leave alone what is there now, code above all: it stays until the end, and each look at it is a pause."""
    gc.collect()
    gc.freeze()


class _Server(uvicorn.Server):
    """Leaves signals to the process: two servers would each take them for themselves, and stop at once."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _build_server(app: FastAPI, settings: Settings) -> _Server:
    bound = settings.finish_seconds + STOP_SECONDS + 1  # a stream ends a moment after its turn
    return _Server(
        uvicorn.Config(
            app,
            http="httptools",
            ws="websockets-sansio",
            ws_max_size=settings.max_body_bytes,
            ws_ping_interval=None,  # Socket.IO has its own
            ws_per_message_deflate=False,  # costs some 100 KiB a connection, for messages of a hundred bytes
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=round(bound),
        )
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


def _port(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port
