"""Connections to PostgreSQL as the tenant's own login.

The URL is read from its mounted file for every new connection, so a rotated password needs no restart. No connection is
held while nothing happens. Whatever shows that the server is away becomes `StoreUnavailable`; everything else is a
fault of ours and passes.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from ...errors import StoreUnavailable
from ...metrics import Metrics
from ...tracing import NO_TRACER, Tracer

STORE = "PostgreSQL"

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

IDLE_SECONDS = 60.0
"""An idle connection is closed after this: a thousand tenants share the server's connections."""

_EF_SEARCH = 100
"""Candidates that HNSW keeps; see docs/decisions/0032-where-vectors-and-words-are-searched.md."""

_SESSION = f"SET jit = off; SET hnsw.ef_search = {_EF_SEARCH}; SET hnsw.iterative_scan = relaxed_order"
"""What each session begins with: no statement here is worth compiling, and where more vectors are asked for than candidates are
kept, HNSW goes on where it was. Sent as statements, since poolers refuse settings of extensions when a connection is opened."""

_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.ClientConfigurationError,
    asyncpg.InternalClientError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.OperatorInterventionError,
    asyncpg.PostgresConnectionError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.TransactionRollbackError,
)
"""The server cannot be reached, is starting, stopping, full or read-only, does not know the login (any more), or has taken a
transaction back because others were in its way."""


class Pool:
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
        self._metrics = metrics or Metrics()
        self._tracer = tracer
        self._url_file = url_file
        self._seconds = seconds
        self._application = application
        self._used_at = time.monotonic()
        self._pool = asyncpg.create_pool(
            min_size=0,
            max_size=connections,
            max_inactive_connection_lifetime=IDLE_SECONDS,
            connect=self._connect,
            init=_begin_session,
            reset=_keep_session,
            timeout=seconds,
            command_timeout=seconds,
        )

    async def __aenter__(self) -> Self:
        await self._pool  # makes the pool ready; with no minimum it connects to nothing
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections; those still in use are ended."""
        self._pool.terminate()

    @property
    def size(self) -> int:
        """How many connections are open."""
        return self._pool.get_size()

    @property
    def idle(self) -> int:
        """How many of these nobody uses."""
        return self._pool.get_idle_size()

    @property
    def quiet_seconds(self) -> float:
        """For how long nobody but background work has used it."""
        return time.monotonic() - self._used_at

    @asynccontextmanager
    async def connection(self, operation: str, *, is_background: bool = False) -> AsyncIterator[Connection]:
        """A connection, for statements that need no transaction. `operation` names, for metrics and traces, what for.

        Args:
            is_background: Nobody has asked for it, so the pool stays quiet.

        Raises:
            StoreUnavailable: The server is away, or no connection became free in time.
        """
        with (
            self._metrics.use_of_store(STORE, operation),
            self._tracer.call(operation, {"db.system.name": "postgresql", "db.operation.name": operation}),
        ):
            try:
                async with self._acquire() as connection:
                    yield connection
            finally:
                if not is_background:
                    self._used_at = time.monotonic()

    @asynccontextmanager
    async def transaction(self, operation: str, *, is_background: bool = False) -> AsyncIterator[Connection]:
        """A connection with an open transaction.

        Raises:
            StoreUnavailable: As `connection`.
        """
        async with self.connection(operation, is_background=is_background) as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def _acquire(self) -> AsyncIterator[Connection]:
        started = time.monotonic()
        try:
            async with self._pool.acquire(timeout=self._seconds) as connection:
                self._metrics.store_wait_seconds.labels(STORE).observe(time.monotonic() - started)
                try:
                    yield connection
                except asyncpg.InterfaceError as error:
                    # Of a lost connection, or of a wrong use of a sound one: the second is a fault of ours.
                    if is_lost(connection):
                        raise _away() from error
                    raise
        except _AWAY as error:
            raise _away() from error

    async def _connect(self, *_no_url: Any, **options: Any) -> Any:
        """asyncpg hands over what it would have given its own `connect`."""
        settings = {"application_name": self._application}
        return await asyncpg.connect(_read_url(self._url_file), server_settings=settings, **options)


def is_lost(connection: Connection) -> bool:
    """Whether a connection that was handed out has been cut off."""
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # the pool has taken it back
        return True


def _away() -> StoreUnavailable:
    return StoreUnavailable("PostgreSQL does not answer. Try again later.", store=STORE)


def _read_url(file: Path) -> str:
    try:
        url = file.read_text().strip()
    except OSError as error:
        raise StoreUnavailable(
            f"The file with PostgreSQL's URL, {str(file)!r}, is not readable.", store=STORE
        ) from error
    if not url:
        raise StoreUnavailable(f"The file with PostgreSQL's URL, {str(file)!r}, is empty.", store=STORE)
    return url


async def _begin_session(connection: asyncpg.Connection) -> None:
    await connection.execute(_SESSION)


async def _keep_session(_connection: object) -> None:
    """asyncpg would reset the session with a statement after each use; ours never change it."""
