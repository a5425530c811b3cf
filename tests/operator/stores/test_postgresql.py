"""The operator's pool: deadlines, and errors in our words."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from syntera_operator.errors import StoreRefused, StoreUnavailable
from syntera_operator.stores.postgresql import Postgresql, PostgresqlSettings
from tests.support.postgresql import Database, PostgresqlServer

from .conftest import connected

DEADLINE_SECONDS = 0.5
"""For a server that never answers; one that does may be on a busy machine."""


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port that lets everybody connect and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


async def ask(url: str, *, password_file: Path | None = None, deadline_seconds: float = 30) -> None:
    """One question."""
    settings = PostgresqlSettings(url=url, password_file=password_file, deadline_seconds=deadline_seconds)
    postgresql = Postgresql(settings)
    try:
        async with postgresql.maintenance() as connection:
            await connection.fetch("SELECT * FROM syntera.tenants")
    finally:
        await postgresql.aclose()


async def test_unavailable_when_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(StoreUnavailable, match="PostgreSQL is not available") as caught:
            await ask(f"postgresql://x:y@127.0.0.1:{port}/syntera")

    assert caught.value.retryable
    assert caught.value.store == "PostgreSQL"


async def test_unavailable_within_the_deadline_when_the_server_never_answers(black_hole: int) -> None:
    started = time.monotonic()

    with pytest.raises(StoreUnavailable, match="in time"):
        await ask(f"postgresql://x:y@127.0.0.1:{black_hole}/syntera", deadline_seconds=DEADLINE_SECONDS)

    assert time.monotonic() - started < 10  # asyncpg by itself would wait a minute


async def test_unavailable_and_back_again_when_a_session_hangs(database: Database) -> None:
    # Long enough for the answers of a server that is well.
    postgresql = Postgresql(PostgresqlSettings(url=database.operator_dsn, deadline_seconds=3))
    async with postgresql.session() as connection:
        backend = connection.get_server_pid()
    os.kill(backend, signal.SIGSTOP)
    started = time.monotonic()
    try:
        with pytest.raises(StoreUnavailable, match="in time"):
            async with postgresql.session() as connection:
                await connection.fetchval("SELECT 1")
        assert time.monotonic() - started < 20
    finally:
        os.kill(backend, signal.SIGCONT)

    async with postgresql.session() as connection:
        assert await connection.fetchval("SELECT 1") == 1
    await postgresql.aclose()


async def test_work_goes_on_when_the_server_ended_idle_sessions(database: Database, postgresql: Postgresql) -> None:
    async with postgresql.session() as connection:
        backend = connection.get_server_pid()
    async with connected(database.superuser_dsn) as superuser:
        await superuser.execute("SELECT pg_terminate_backend($1, 5000)", backend)

    async with postgresql.session() as connection:
        assert connection.get_server_pid() != backend


@pytest.mark.parametrize("user", ["syntera_operator", "nobody_we_know"])
async def test_refused_when_the_operator_may_not_log_in(database: Database, user: str) -> None:
    with pytest.raises(StoreRefused, match="password authentication failed") as caught:
        await ask(database.dsn(user, "wrong"))

    assert not caught.value.retryable


async def test_refused_when_the_login_may_not_become_maintenance(database: Database) -> None:
    tenant = await database.make_tenant()

    with pytest.raises(StoreRefused, match=r"permission denied to set role.*bootstrap\.sql"):
        await ask(tenant.dsn)


async def test_unavailable_when_the_schema_is_not_there_yet(server: PostgresqlServer) -> None:
    bootstrapped = await server.create_database()
    await bootstrapped.bootstrap()

    with pytest.raises(StoreUnavailable, match="schema of this release"):
        await ask(bootstrapped.operator_dsn)


async def test_password_is_read_from_the_file_and_overrules_the_url(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(database.operator_dsn.split(":")[2].partition("@")[0])

    await ask(database.dsn("syntera_operator", "wrong"), password_file=file)


async def test_pool_opens_no_more_than_a_few_connections(database: Database, postgresql: Postgresql) -> None:
    async def use() -> int:
        async with postgresql.session() as connection:
            await connection.fetchval("SELECT 1")
            return connection.get_server_pid()

    # Not by the server's own list: sessions of tests before this one stand in it until the server notices their end.
    assert len(set(await asyncio.gather(*(use() for _ in range(50))))) <= 4


async def test_each_use_is_told_with_its_outcome(database: Database) -> None:
    told: list[tuple[str, str | None]] = []

    def observe(store: str, code: str | None, seconds: float) -> None:
        assert 0 <= seconds < 30
        told.append((store, code))

    for url in (database.operator_dsn, "postgresql://x:y@127.0.0.1:1/syntera"):
        postgresql = Postgresql(PostgresqlSettings(url=url, deadline_seconds=30), observer=observe)
        with suppress(StoreUnavailable):
            async with postgresql.session() as connection:
                await connection.fetch("SELECT 1")
        await postgresql.aclose()

    assert told == [("PostgreSQL", None), ("PostgreSQL", "store_unavailable")]


async def test_use_that_was_cut_off_says_nothing_of_the_store(database: Database) -> None:
    told: list[str | None] = []
    postgresql = Postgresql(
        PostgresqlSettings(url=database.operator_dsn), observer=lambda _store, code, _seconds: told.append(code)
    )

    async def sleep() -> None:
        async with postgresql.session() as connection:
            started.set()
            await connection.fetch("SELECT pg_sleep(60)")

    started = asyncio.Event()
    task = asyncio.create_task(sleep())
    await started.wait()
    task.cancel()
    await asyncio.wait([task])
    await postgresql.aclose()

    assert told == ["cancelled"]
