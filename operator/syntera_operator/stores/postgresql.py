"""The operator's way into PostgreSQL: one small pool, a deadline on each use, errors in our words.

It logs in as `syntera_operator`, which by itself may only make logins. Whatever touches rows becomes
`syntera_maintenance` for the length of one transaction, whatever makes or drops tables `syntera_owner`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from syntera_kube import BeforeWrite

from .faults import POSTGRESQL, StoreObserver, observed, postgresql_faults
from .passwords import password_source

Session: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

_POOL_SIZE = 4
"""Statements are short, and every connection of the operator's is one that tenants cannot have."""
_IDLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresqlSettings:
    """Where PostgreSQL is and what tenants get of it."""

    url: str
    """DSN of the operator's login."""
    password_file: Path | None = None
    """Overrules a password in `url`; read anew for each connection."""
    tenant_url: str | None = None
    """Where tenants connect, without login; None: where the operator does."""
    connection_limit: int = 20
    """Connections that one tenant may hold open."""
    deadline_seconds: float = 10.0
    """For each use of the server."""


class Postgresql:
    """The pool. Opens no connection before it is used and none at all while nobody asks.

    `before_use` is asked before each use: it raises to forbid it, and gives the seconds that it may take at most, or None.
    """

    def __init__(
        self,
        settings: PostgresqlSettings,
        *,
        before_use: BeforeWrite = lambda: None,
        observer: StoreObserver | None = None,
    ) -> None:
        self.settings = settings
        self._before_use = before_use
        self._observer = observer
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A connection as the operator's login, for short work within the deadline.

        Raises:
            StoreUnavailable: PostgreSQL does not answer within the deadline.
            StoreRefused: PostgreSQL refused.
            LeadershipLost: this process may touch nothing more.
        """
        allowed = self._before_use()
        deadline = self.settings.deadline_seconds if allowed is None else min(self.settings.deadline_seconds, allowed)
        with observed(POSTGRESQL, self._observer), postgresql_faults():
            pool = await self._open_pool()
            # Given to acquire as well: it bounds how long a connection that was cut off may take to be given back.
            async with asyncio.timeout(deadline), pool.acquire(timeout=deadline) as connection:
                yield connection

    @asynccontextmanager
    async def maintenance(self) -> AsyncIterator[Session]:
        """A transaction as `syntera_maintenance`, which sees every tenant's rows.

        Raises:
            StoreUnavailable: PostgreSQL does not answer within the deadline.
            StoreRefused: PostgreSQL refused.
        """
        async with self.session() as connection, connection.transaction():
            await connection.execute("SET LOCAL ROLE syntera_maintenance")
            yield connection

    @asynccontextmanager
    async def owner(self) -> AsyncIterator[Session]:
        """A transaction as `syntera_owner`, which makes and drops tables; of their rows it sees none.

        Raises:
            StoreUnavailable: PostgreSQL does not answer within the deadline.
            StoreRefused: PostgreSQL refused.
        """
        async with self.session() as connection, connection.transaction():
            await connection.execute("SET LOCAL ROLE syntera_owner")
            yield connection

    @asynccontextmanager
    async def long_session(self, seconds: float) -> AsyncIterator[asyncpg.Connection]:
        """A connection of its own as the operator's login, for work that takes longer than the deadline: at most so many seconds.

        Whether this process may work is asked once, so another one may lead before it ends: the work has to bear that.

        Raises:
            StoreUnavailable: PostgreSQL does not answer, or it took longer.
            StoreRefused: PostgreSQL refused.
            LeadershipLost: this process may touch nothing more.
        """
        self._before_use()
        with observed(POSTGRESQL, self._observer), postgresql_faults():
            async with asyncio.timeout(seconds):
                connection = await asyncpg.connect(
                    self.settings.url,
                    password=password_source(self.settings.password_file),
                    timeout=self.settings.deadline_seconds,
                    server_settings={"application_name": "syntera-operator"},
                )
                try:
                    yield connection
                except BaseException:
                    # Not closed politely: whoever is cut off in a long statement does not wait for its end.
                    connection.terminate()
                    raise
                await connection.close()

    async def logs_in(self, *, user: str, password: str) -> bool:
        """Whether somebody else can log in to the same database.

        Raises:
            StoreUnavailable: PostgreSQL does not answer within the deadline.
            StoreRefused: Another reason than the password keeps them out.
        """
        with observed(POSTGRESQL, self._observer), postgresql_faults():
            try:
                async with asyncio.timeout(self.settings.deadline_seconds):
                    connection = await asyncpg.connect(self.settings.url, user=user, password=password)
                    await connection.close()
            except asyncpg.InvalidPasswordError:
                return False
            except asyncpg.TooManyConnectionsError:
                # Counted after the password was found right: all that the login may have are open.
                return True
        return True

    async def aclose(self) -> None:
        """Close the pool."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None

    async def _open_pool(self) -> "asyncpg.Pool[asyncpg.Record]":
        if self._pool is None:
            self._pool = asyncpg.create_pool(
                self.settings.url,
                password=password_source(self.settings.password_file),
                min_size=0,
                max_size=_POOL_SIZE,
                max_inactive_connection_lifetime=_IDLE_SECONDS,
                server_settings={"application_name": "syntera-operator"},
            )
            await self._pool
        return self._pool
