"""Connections to Redis as the tenant's own ACL user.

The URL is read from its mounted file for every new connection, so a rotated password needs no restart, and a file that is
not there yet is as good as a server that is away. Nothing is tried twice here: who uses Redis has another way without it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import redis.asyncio
from redis.asyncio.connection import AbstractConnection, BlockingConnectionPool, Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import RedisError

from ...errors import StoreUnavailable
from ...metrics import Metrics
from ...tracing import NO_TRACER, Tracer

STORE = "Redis"
_LOGIN = ("username", "password")


class RedisClient:
    """A few connections, opened when they are needed."""

    def __init__(
        self,
        url_file: Path,
        *,
        connections: int,
        seconds: float,
        application: str,
        metrics: Metrics | None = None,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        """Prepare; nothing is connected before it is needed.

        Args:
            seconds: How long connecting, waiting for a free connection, and one use may take each.
            application: How the connections name themselves.
        """
        self._url_file = url_file
        self._application = application
        self._seconds = seconds
        self._metrics = metrics or Metrics()
        self._tracer = tracer
        self._client = self._open(connections=connections)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def open_waiting(self, *, seconds: float) -> "WaitingClient":
        """A connection of its own for questions that wait up to `seconds` for their answer."""
        return WaitingClient(self._open(connections=1), seconds=seconds + self._seconds, metrics=self._metrics)

    def open_subscribing(self) -> "redis.asyncio.Redis":
        """A connection of its own to hear what is published. Its faults are the library's; whoever opens it closes it."""
        return self._open(connections=1)

    @asynccontextmanager
    async def operation(
        self, operation: str, *, seconds: float | None = None, is_traced: bool = True
    ) -> AsyncIterator["redis.asyncio.Redis"]:
        """A client for one use. `operation` names, for metrics and traces, what for.

        Args:
            seconds: How long the use may take, where that is less than usual.
            is_traced: Make a span of it. What happens many times a second or for ever is worth none.

        Raises:
            StoreUnavailable: The server is away, full or refuses, or no connection became free in time.
        """
        tracer = self._tracer if is_traced else NO_TRACER
        with (
            self._metrics.use_of_store(STORE, operation),
            tracer.call(operation, {"db.system.name": "redis", "db.operation.name": operation}),
        ):
            async with _translated(self._seconds if seconds is None else seconds):
                yield self._client

    def _open(self, *, connections: int) -> "redis.asyncio.Redis":
        return redis.asyncio.Redis.from_pool(
            _Pool(
                self._url_file,
                metrics=self._metrics,
                max_connections=connections,
                timeout=self._seconds,
                socket_connect_timeout=self._seconds,
                # Uses have their deadline from us. Expected of redis-py's own: a cancelled use ends. Actual (8.1, Python 3.11):
                # it sends under `asyncio.wait_for`, which loses a cancellation that comes when the sending is done.
                socket_timeout=None,
                retry=Retry(NoBackoff(), 0),
                protocol=2,
                driver_info=None,  # tenants may not use CLIENT SETINFO
                client_name=self._application,
            )
        )


class WaitingClient:
    """One connection for questions that take long on purpose: their time says nothing of the server's."""

    def __init__(self, client: "redis.asyncio.Redis", *, seconds: float, metrics: Metrics) -> None:
        self._client = client
        self._seconds = seconds
        self._metrics = metrics

    @asynccontextmanager
    async def operation(self, operation: str) -> AsyncIterator["redis.asyncio.Redis"]:
        """As `RedisClient.operation`, counted but not timed.

        Raises:
            StoreUnavailable: The server is away.
        """
        with self._metrics.use_of_store(STORE, operation, is_timed=False):
            async with _translated(self._seconds):
                yield self._client

    async def aclose(self) -> None:
        """Close the connection."""
        await self._client.aclose()


class _Pool(BlockingConnectionPool):
    """Reads the URL for each connection, and keeps none that was lost: it would go to where the URL led before."""

    def __init__(self, url_file: Path, *, metrics: Metrics, **options: Any) -> None:
        super().__init__(**options)
        self._url_file = url_file
        self._metrics = metrics

    def make_connection(self) -> AbstractConnection:
        """See `ConnectionPool`."""
        given = {name: value for name, value in _read(self._url_file).items() if name not in _LOGIN}
        kind = given.pop("connection_class", Connection)
        made: AbstractConnection = kind(
            **{**self.connection_kwargs, **given, "credential_provider": _Login(self._url_file)}
        )
        return made

    async def get_connection(self, *arguments: Any, **options: Any) -> AbstractConnection:
        """See `ConnectionPool`."""
        started = time.monotonic()
        connection: AbstractConnection = await super().get_connection(*arguments, **options)  # type: ignore[no-untyped-call]  # so in the library
        self._metrics.store_wait_seconds.labels(STORE).observe(time.monotonic() - started)
        return connection

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        """See `ConnectionPool`. One that was cut off while it logged in must not pass for a sound one."""
        try:
            await super().ensure_connection(connection)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise

    async def release(self, connection: AbstractConnection) -> None:
        """See `ConnectionPool`."""
        await super().release(connection)
        if not connection.is_connected and connection in self._available_connections:
            self._available_connections.remove(connection)


class _Login(CredentialProvider):
    def __init__(self, url_file: Path) -> None:
        self._url_file = url_file

    def get_credentials(self) -> tuple[str, str]:
        given = _read(self._url_file)
        return given.get("username", "default"), given.get("password", "")

    async def get_credentials_async(self) -> tuple[str, str]:
        return self.get_credentials()


def refused(error: RedisError) -> StoreUnavailable:
    """What it means that Redis answers a part of a use with an error: it is full, or read-only, or its rights are others."""
    unavailable = StoreUnavailable("Redis refuses. Try again later.", store=STORE)
    unavailable.__cause__ = error
    return unavailable


@asynccontextmanager
async def _translated(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except (OSError, RedisError) as error:  # a timeout is an OSError
        raise StoreUnavailable("Redis does not answer. Try again later.", store=STORE) from error


def _read(file: Path) -> Mapping[str, Any]:
    """What the URL says, as arguments of a connection."""
    try:
        given: Mapping[str, Any] = parse_url(file.read_text().strip())
    except (OSError, ValueError) as error:
        raise StoreUnavailable(f"The file {str(file)!r} holds no URL of Redis.", store=STORE) from (
            error if isinstance(error, OSError) else None  # the other may quote the password
        )
    return given
