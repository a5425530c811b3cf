"""Connections to PostgreSQL as the tenant's own login.

The URL is read from its mounted file for every new connection, so a rotated password needs no restart. No connection is
held while nothing happens. Whatever shows that the server is away becomes `StoreUnavailable`; everything else is a
fault of ours and passes.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from ...errors import StoreUnavailable

STORE = "PostgreSQL"

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

IDLE_SECONDS = 60.0
"""An idle connection is closed after this: a thousand tenants share the server's connections."""

_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.OperatorInterventionError,
    asyncpg.PostgresConnectionError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""The server cannot be reached, is starting, stopping, full or read-only, or does not know the login (any more)."""


class Pool:
    """A few connections, opened when they are needed."""

    def __init__(self, url_file: Path, *, connections: int, seconds: float, application: str) -> None:
        self._url_file = url_file
        self._seconds = seconds
        self._application = application
        self._pool = asyncpg.create_pool(
            min_size=0,
            max_size=connections,
            max_inactive_connection_lifetime=IDLE_SECONDS,
            connect=self._connect,
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

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection, for statements that need no transaction.

        Raises:
            StoreUnavailable: The server is away, or no connection became free in time.
        """
        try:
            async with self._pool.acquire(timeout=self._seconds) as connection:
                yield connection
        except _AWAY as error:
            raise StoreUnavailable("PostgreSQL does not answer. Try again later.", store=STORE) from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection with an open transaction.

        Raises:
            StoreUnavailable: As `connection`.
        """
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def _connect(self, *_no_url: Any, **options: Any) -> Any:
        """asyncpg hands over what it would have given its own `connect`."""
        settings = {"application_name": self._application}
        return await asyncpg.connect(_read_url(self._url_file), server_settings=settings, **options)


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


async def _keep_session(_connection: object) -> None:
    """asyncpg would reset the session with a statement after each use; ours never change it."""
