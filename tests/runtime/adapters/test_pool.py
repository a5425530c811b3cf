"""The pool: what happens when PostgreSQL, the login or the mounted file is not there."""

import asyncio
import socket
import time
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from syntera_runtime.adapters.postgresql.pool import Pool
from syntera_runtime.errors import StoreUnavailable
from syntera_runtime.metrics import Metrics
from syntera_runtime.otlp import OtlpTracer
from tests.runtime.conftest import PostgresqlStores
from tests.support.postgresql import Database
from tests.support.spans import RecordedSpans, attributes


async def select_one(pool: Pool) -> int:
    async with pool.connection("test") as connection:
        value: int = await connection.fetchval("SELECT 1")
        return value


async def execute(pool: Pool, statement: str) -> None:
    async with pool.connection("test") as connection:
        await connection.execute(statement)


def make_pool(url_file: Path, *, connections: int = 2, seconds: float = 10) -> Pool:
    return Pool(url_file, connections=connections, seconds=seconds, application="test")


def login_of(url_file: Path) -> str:
    return url_file.read_text().split("//")[1].split(":")[0]


async def count_sessions(database: Database, url_file: Path) -> int:
    login = login_of(url_file)
    connection = await asyncpg.connect(database.superuser_dsn)
    try:
        count: int = await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE usename = $1", login)
        return count
    finally:
        await connection.close()


async def test_nothing_is_connected_before_it_is_needed(postgresql_stores: PostgresqlStores) -> None:
    database, url_file = postgresql_stores.database, postgresql_stores.url_file
    assert await count_sessions(database, url_file) == 0
    assert await select_one(postgresql_stores.pool) == 1
    assert await count_sessions(database, url_file) == 1


async def test_sessions_name_what_they_are_for(postgresql_stores: PostgresqlStores) -> None:
    async with postgresql_stores.pool.connection("test") as connection:
        assert await connection.fetchval("SHOW application_name") == "test"


async def test_store_is_unavailable_when_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    file = tmp_path / "url"
    file.write_text(f"postgresql://t:secret@127.0.0.1:{port}/syntera")
    async with make_pool(file) as pool:
        with pytest.raises(StoreUnavailable) as caught:
            await select_one(pool)
    assert caught.value.store == "PostgreSQL"
    assert "secret" not in str(caught.value)


async def test_store_is_unavailable_in_time_when_the_server_does_not_answer(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        file = tmp_path / "url"
        file.write_text(f"postgresql://t:secret@127.0.0.1:{silent.getsockname()[1]}/syntera?sslmode=disable")
        started = time.monotonic()
        async with make_pool(file, seconds=0.2) as pool:
            with pytest.raises(StoreUnavailable):
                await select_one(pool)
        assert time.monotonic() - started < 10


@pytest.mark.parametrize("content", [None, "", "nonsense", "postgresql://nobody:wrong@127.0.0.1:1/syntera"])
async def test_store_is_unavailable_when_the_url_is_of_no_use(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "url"
    if content is not None:
        file.write_text(content)
    async with make_pool(file) as pool:
        with pytest.raises(StoreUnavailable):
            await select_one(pool)


async def test_store_is_unavailable_when_the_password_is_wrong(postgresql_stores: PostgresqlStores) -> None:
    url, login = postgresql_stores.url_file.read_text(), login_of(postgresql_stores.url_file)
    postgresql_stores.url_file.write_text(f"postgresql://{login}:wrong@{url.rpartition('@')[2]}")
    with pytest.raises(StoreUnavailable):
        await select_one(postgresql_stores.pool)


async def test_rotated_password_is_used_without_a_restart(
    postgresql_stores: PostgresqlStores, database: Database
) -> None:
    url, login = postgresql_stores.url_file.read_text(), login_of(postgresql_stores.url_file)
    await select_one(postgresql_stores.pool)
    connection = await asyncpg.connect(database.superuser_dsn)
    try:
        await connection.execute(f"ALTER ROLE {login} PASSWORD 'rotated'")
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", login)
    finally:
        await connection.close()
    postgresql_stores.url_file.write_text(f"postgresql://{login}:rotated@{url.rpartition('@')[2]}\n")
    async with asyncio.timeout(10):
        while True:
            try:
                assert await select_one(postgresql_stores.pool) == 1
                break
            except StoreUnavailable:  # the old connection did not know yet that it was cut
                await asyncio.sleep(0.01)


async def test_caller_waits_no_longer_than_the_deadline_when_all_connections_are_used(
    postgresql_stores: PostgresqlStores,
) -> None:
    async with make_pool(postgresql_stores.url_file, connections=1, seconds=2) as pool, pool.connection("test"):
        with pytest.raises(StoreUnavailable):
            await select_one(pool)


async def test_statement_that_takes_too_long_is_ended(postgresql_stores: PostgresqlStores) -> None:
    async with make_pool(postgresql_stores.url_file, seconds=2) as pool:
        with pytest.raises(StoreUnavailable):
            await execute(pool, "SELECT pg_sleep(30)")
        assert await select_one(pool) == 1


async def test_fault_of_ours_is_not_called_unavailable(postgresql_stores: PostgresqlStores) -> None:
    with pytest.raises(asyncpg.UndefinedTableError):
        await execute(postgresql_stores.pool, "SELECT * FROM nothing")


async def test_wrong_use_of_a_sound_connection_is_a_fault_of_ours(postgresql_stores: PostgresqlStores) -> None:
    with pytest.raises(asyncpg.DataError):
        async with postgresql_stores.pool.connection("test") as connection:
            await connection.fetchval("SELECT $1::int", "seven")
    with pytest.raises(asyncpg.InterfaceError):
        async with postgresql_stores.pool.connection("test") as connection:
            await asyncio.gather(connection.fetchval("SELECT 1"), connection.fetchval("SELECT 2"))


async def test_store_is_unavailable_when_the_connection_was_lost_before(postgresql_stores: PostgresqlStores) -> None:
    async def lose() -> None:
        async with postgresql_stores.pool.connection("test") as connection:
            connection.terminate()
            await connection.fetchval("SELECT 1")

    with pytest.raises(StoreUnavailable):
        await lose()


async def test_transaction_leaves_nothing_behind_when_it_breaks(postgresql_stores: PostgresqlStores) -> None:
    stores = postgresql_stores.stores
    with suppress(ZeroDivisionError):
        async with postgresql_stores.pool.transaction("test") as connection:
            await connection.execute(
                "INSERT INTO syntera.conversations (tenant_id, id, agent) VALUES ($1, $1, 'travel')", stores.tenant_id
            )
            raise ZeroDivisionError
    async with postgresql_stores.pool.connection("test") as connection:
        assert await connection.fetchval("SELECT count(*) FROM syntera.conversations") == 0


async def test_each_use_is_counted_and_measured(postgresql_stores: PostgresqlStores) -> None:
    metrics = Metrics()
    sample = metrics.registry.get_sample_value
    async with Pool(postgresql_stores.url_file, connections=1, seconds=2, application="test", metrics=metrics) as pool:
        assert (pool.size, pool.idle) == (0, 0)
        async with pool.connection("read"):
            assert (pool.size, pool.idle) == (1, 0)
            with pytest.raises(StoreUnavailable):
                async with pool.transaction("write"):
                    raise AssertionError
        assert (pool.size, pool.idle) == (1, 1)

    def count(operation: str, outcome: str) -> float | None:
        labels = {"store": "PostgreSQL", "operation": operation, "outcome": outcome}
        return sample("syntera_store_requests_total", labels)

    assert count("read", "success") == 1
    assert count("write", "store-unavailable") == 1
    assert sample("syntera_store_wait_seconds_count", {"store": "PostgreSQL"}) == 1
    assert sample("syntera_store_request_duration_seconds_count", {"store": "PostgreSQL"}) == 2


async def test_use_is_a_span(postgresql_stores: PostgresqlStores) -> None:
    recorded = RecordedSpans()
    async with Pool(
        postgresql_stores.url_file, connections=1, seconds=10, application="test", tracer=OtlpTracer(recorded.provider)
    ) as pool:
        await select_one(pool)
        with pytest.raises(asyncpg.UndefinedTableError):
            await execute(pool, "SELECT 'xyzzy' FROM nowhere")

    well, badly = recorded.all
    assert attributes(well) == {"db.system.name": "postgresql", "db.operation.name": "test"}
    assert attributes(badly)["error.type"] == "internal-error"
    assert "xyzzy" not in recorded.text()
    assert "nowhere" not in recorded.text()
