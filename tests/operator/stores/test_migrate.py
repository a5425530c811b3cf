"""Migrations as the operator runs them: a process of its own, exit codes for every end."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
import zipfile
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic import command
from alembic.config import Config
from alembic.operations import Operations
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from syntera_operator.stores import migrate as migrations
from syntera_operator.stores.migrate import main
from syntera_operator.stores.postgresql import Postgresql, PostgresqlSettings
from syntera_operator.stores.register import Register
from tests.support.postgresql import REPOSITORY, Database, PostgresqlServer, PostgresqlServers

from .conftest import connected

NEWEST = max(path.name[:4] for path in Path(migrations.__file__).parent.glob("migrations/versions/[0-9]*.py"))
"""The newest revision."""


class Runner:
    """Runs the command as its process would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture) -> None:
        self._monkeypatch = monkeypatch
        self._log = log
        log.set_level(logging.INFO)
        for name in os.environ:
            if name.startswith("SYNTERA_"):
                monkeypatch.delenv(name)

    async def __call__(self, url: str | None, *, password_file: Path | None = None) -> int:
        """The exit code."""
        if url is not None:
            self._monkeypatch.setenv("SYNTERA_POSTGRESQL_URL", url)
        if password_file is not None:
            self._monkeypatch.setenv("SYNTERA_POSTGRESQL_PASSWORD_FILE", str(password_file))
        return await asyncio.to_thread(main)

    @property
    def said(self) -> str:
        """What the command logged."""
        return "\n".join(record.getMessage() for record in self._log.records if record.name == "syntera.migrate")

    @property
    def gave_tracebacks(self) -> bool:
        """Whether it logged any."""
        return any(record.exc_info for record in self._log.records)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Runner:
    """The command, in this process."""
    return Runner(monkeypatch, caplog)


async def schema(database: Database) -> list[tuple[str, ...]]:
    """Every column, constraint, index and policy of the schema, and who wrote the tables' catalogue rows."""
    async with connected(database.superuser_dsn) as superuser:
        rows = await superuser.fetch(
            """
            SELECT 'column' AS kind, attrelid::regclass::text || '.' || attname AS what,
              format_type(atttypid, atttypmod) || ' ' || attnotnull AS how, a.xmin::text AS written
            FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
            WHERE relnamespace = 'syntera'::regnamespace AND attnum > 0
            UNION ALL
            SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid), xmin::text
            FROM pg_constraint WHERE connamespace = 'syntera'::regnamespace
            UNION ALL
            SELECT 'policy', polrelid::regclass || '.' || polname, pg_get_expr(polqual, polrelid), xmin::text FROM pg_policy
            ORDER BY 1, 2
            """
        )
    return [tuple(row) for row in rows]


async def test_schema_is_made_once_and_left_alone_the_second_time(server: PostgresqlServer, run: Runner) -> None:
    database = await server.create_database()
    await database.bootstrap()

    assert await run(database.operator_dsn) == os.EX_OK
    made = await schema(database)
    assert await run(database.operator_dsn) == os.EX_OK

    assert run.said.splitlines() == [f"schema was empty and is {NEWEST}", f"schema was {NEWEST} and is {NEWEST}"]
    assert "messages.content" in str(made)
    assert await schema(database) == made


async def test_migrations_take_turns_when_several_run_at_once(
    server: PostgresqlServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    database = await server.create_database()
    await database.bootstrap()

    # Alembic knows one migration at a time in a process: without turns these would stumble over each other.
    await asyncio.gather(*(database.migrate() for _ in range(3)))

    assert sum("schema was empty" in record.getMessage() for record in caplog.records) == 1


async def test_schema_of_a_later_release_is_left_alone(server: PostgresqlServer, run: Runner) -> None:
    database = await server.create_ready_database()
    async with connected(database.superuser_dsn) as superuser:
        await superuser.execute("UPDATE syntera.alembic_version SET version_num = '9999'")

    assert await run(database.operator_dsn) == os.EX_OK
    assert "later release" in run.said


async def migrate_to(database: Database, revision: str) -> None:
    """Bring an empty database to the schema of an earlier release."""

    def upgrade(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", "syntera_operator.stores:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    settings = migrations.MigrationSettings(postgresql_url=database.operator_dsn)
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: migrations._connect(settings), poolclass=NullPool
    )
    try:
        async with engine.connect() as connection:
            await connection.run_sync(upgrade)
    finally:
        await engine.dispose()


async def test_run_that_is_cut_off_beside_everybodys_writes_goes_on_the_next_time(
    server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a revision does outside of its transaction stays when it is cut off there."""
    database = await server.create_database()
    await database.bootstrap()
    execute, left = Operations.execute, 0

    def execute_and_end(self: Operations, statement: Any, *args: Any, **options: Any) -> None:
        nonlocal left
        execute(self, statement, *args, **options)
        if " CONCURRENTLY " in str(statement):
            left -= 1
            if left == 0:
                raise ConnectionAbortedError

    monkeypatch.setattr(Operations, "execute", execute_and_end)
    cuts = 0
    for allowed in count(1):
        left = allowed
        try:
            await migrate_to(database, NEWEST)
        except ConnectionAbortedError:
            cuts += 1
        else:
            break
    assert cuts > 5
    monkeypatch.undo()
    whole = await server.create_ready_database()
    assert [row[:3] for row in await schema(database)] == [row[:3] for row in await schema(whole)]


async def test_knowledge_is_made_whole_wherever_its_making_was_cut_off(
    server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tables are one transaction, what is added to the files another, and its functions the last."""
    database = await server.create_database()
    await database.bootstrap()
    execute, at = Operations.execute, ""

    def execute_and_end(self: Operations, statement: Any, *args: Any, **options: Any) -> None:
        execute(self, statement, *args, **options)
        if at in str(statement):
            raise ConnectionAbortedError

    for place in (
        "CREATE TABLE syntera.knowledge_syncs",
        "ADD COLUMN IF NOT EXISTS knowledge_base_id",
        "COLUMN syntera.files.knowledge_base_id",
        "CREATE FUNCTION syntera.search_knowledge",
    ):
        at = place
        monkeypatch.setattr(Operations, "execute", execute_and_end)
        with pytest.raises(ConnectionAbortedError):
            await migrate_to(database, NEWEST)
        monkeypatch.undo()
    await database.migrate()
    whole = await server.create_ready_database()
    assert [row[:3] for row in await schema(database)] == [row[:3] for row in await schema(whole)]


async def test_rows_of_the_release_before_are_kept_and_mean_the_same(server: PostgresqlServer) -> None:
    database = await server.create_database()
    await database.bootstrap()
    await migrate_to(database, "0001")
    tenant = await database.make_tenant()
    postgresql = Postgresql(PostgresqlSettings(url=database.operator_dsn))
    key = await Register(postgresql).ensure_admin_key(tenant.tenant_id, current=None)
    insert = "INSERT INTO syntera.conversations (tenant_id, id, agent) VALUES ($1, gen_random_uuid(), 'travel')"
    async with connected(tenant.dsn) as own:
        await own.execute(insert, tenant.tenant_id)

    await database.migrate()

    assert await Register(postgresql).ensure_admin_key(tenant.tenant_id, current=key) == key
    await postgresql.aclose()
    async with connected(tenant.dsn) as own:
        await own.execute(insert, tenant.tenant_id)  # a pod of the release before goes on
        owners = await own.fetch("SELECT contact_id FROM syntera.conversations")
        stored = await own.fetchrow("SELECT made_by, agents, allowed_origins, created_by FROM syntera.api_keys")
    assert [row["contact_id"] for row in owners] == [None, None]
    assert stored is not None
    assert tuple(stored) == ("operator", None, [], None)


async def test_migration_of_the_outbox_can_be_done_again_when_it_was_cut_off(server: PostgresqlServer) -> None:
    database = await server.create_database()
    await database.bootstrap()
    await migrate_to(database, "0009")
    tenant = await database.make_tenant()
    insert = "INSERT INTO syntera.conversations (tenant_id, id, agent) VALUES ($1, gen_random_uuid(), 'travel')"
    async with connected(tenant.dsn) as own:
        await own.execute(insert, tenant.tenant_id)
    async with connected(database.superuser_dsn) as superuser:
        # As it is when a lock was in the way of one of the triggers.
        await superuser.execute("UPDATE syntera.alembic_version SET version_num = '0008'")
        await superuser.execute("DROP TRIGGER tell_of_insert ON syntera.messages")

    await migrate_to(database, "0009")

    async with connected(tenant.dsn) as own:
        await own.execute(insert, tenant.tenant_id)
        assert await own.fetchval("SELECT count(*) FROM syntera.outbox WHERE type = 'conversation.created'") == 2
    async with connected(database.superuser_dsn) as superuser:
        assert await superuser.fetchval("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'tell_of_%'") == 10


async def test_turns_of_the_release_before_are_kept_and_can_be_stopped(server: PostgresqlServer) -> None:
    database = await server.create_database()
    await database.bootstrap()
    await migrate_to(database, "0001")
    tenant = await database.make_tenant()
    async with connected(tenant.dsn) as own:
        await own.execute(
            """
            WITH conversation AS (
              INSERT INTO syntera.conversations (tenant_id, id, agent) VALUES ($1, gen_random_uuid(), 'travel') RETURNING id
            ), turn AS (
              INSERT INTO syntera.turns (tenant_id, id, conversation_id, agent, agent_revision, state, ended_at)
              SELECT $1, gen_random_uuid(), id, 'travel', 1, 'complete', now() FROM conversation RETURNING id
            )
            INSERT INTO syntera.messages (tenant_id, id, conversation_id, turn_id, role, state, content)
            SELECT $1, gen_random_uuid(), conversation.id, turn.id, 'user', 'complete', 'hello' FROM conversation, turn
            """,
            tenant.tenant_id,
        )

    await database.migrate()

    async with connected(tenant.dsn) as own:
        turn = await own.fetchrow("SELECT state, first_event, last_event, request_key FROM syntera.turns")
        assert turn is not None
        assert tuple(turn) == ("complete", None, None, None)
        found = await own.fetch("SELECT c.state, c.title, c.revision FROM syntera.conversations AS c")
        assert [tuple(row) for row in found] == [("active", None, 1)]
        assert len(await own.fetch("SELECT * FROM syntera.search_conversations('hello')")) == 1
        assert await own.fetchval("SELECT parts FROM syntera.messages") is None
        await own.execute("UPDATE syntera.turns SET state = 'stopped', last_event = 7")
        with pytest.raises(asyncpg.CheckViolationError):
            await own.execute("UPDATE syntera.turns SET state = 'gone'")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await own.execute("UPDATE syntera.turns SET first_event = 7")


async def test_turn_that_runs_while_the_schema_changes_is_counted_and_one_that_had_ended_is_not(
    server: PostgresqlServer,
) -> None:
    database = await server.create_database()
    await database.bootstrap()
    await migrate_to(database, "0006")
    tenant = await database.make_tenant()
    begin = """
        INSERT INTO syntera.turns (tenant_id, id, agent, agent_revision, state, lease_expires_at)
        VALUES ($1, gen_random_uuid(), 'travel', 1, 'running', now() + interval '1 minute')
    """
    # As pods of that release end turns.
    end = """
        UPDATE syntera.turns SET state = 'complete', endpoint = 'main', model = 'small', prompt_tokens = 7,
          completion_tokens = 2, lease_expires_at = NULL, ended_at = now()
        WHERE state = 'running'
    """
    async with connected(tenant.dsn) as own:
        await own.execute(begin, tenant.tenant_id)
        await own.execute(end)
        await own.execute(begin, tenant.tenant_id)

    await database.migrate()

    async with connected(tenant.dsn) as own:
        await own.execute(end)
        counted = await own.fetch("SELECT turns, prompt_tokens, completion_tokens, currency FROM syntera.usage_days")
        assert [tuple(row) for row in counted] == [(1, 7, 2, "")]
        assert await own.fetchval("SELECT sum(tokens) FROM syntera.usage_totals") == 9


async def test_password_comes_from_the_file_when_there_is_one(database: Database, run: Runner, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(database.operator_dsn.split(":")[2].partition("@")[0] + "\n")
    url = database.dsn("syntera_operator", "wrong")

    assert await run(url) == os.EX_NOPERM
    assert await run(url, password_file=file) == os.EX_OK


async def test_exit_code_says_unavailable_when_nobody_listens(run: Runner) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]

        assert await run(f"postgresql://x:y@127.0.0.1:{port}/syntera") == os.EX_UNAVAILABLE
    assert not run.gave_tracebacks


async def test_exit_code_says_unavailable_when_a_table_is_locked(
    server: PostgresqlServer, run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = await server.create_ready_database()
    monkeypatch.setattr(migrations, "_LOCK_TIMEOUT_SECONDS", 1)
    async with connected(database.superuser_dsn) as superuser, superuser.transaction():
        await superuser.execute("LOCK TABLE syntera.alembic_version IN ACCESS EXCLUSIVE MODE")

        assert await run(database.operator_dsn) == os.EX_UNAVAILABLE


async def test_exit_code_says_unavailable_when_another_migration_goes_on(
    server: PostgresqlServer, database: Database, run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "_TURN_TIMEOUT_SECONDS", 1)
    async with connected(database.operator_dsn) as other:
        await other.execute(f"SELECT pg_advisory_lock({migrations._ADVISORY_LOCK})")

        assert await run(database.operator_dsn) == os.EX_UNAVAILABLE


async def test_exit_code_says_refused_when_the_bootstrap_was_not_run(server: PostgresqlServer, run: Runner) -> None:
    ready = await server.create_database()
    await ready.bootstrap()
    database = await server.create_database()

    assert await run(database.operator_dsn) == os.EX_NOPERM
    assert not run.gave_tracebacks


@pytest.mark.parametrize(("url", "said"), [(None, "postgresql_url"), ("nonsense", "invalid DSN")])
async def test_exit_code_says_configuration_when_the_url_is_missing_or_malformed(
    run: Runner, url: str | None, said: str
) -> None:
    assert await run(url) == os.EX_CONFIG
    assert said in run.said


async def test_exit_code_says_defect_when_a_revision_fails(server: PostgresqlServer, run: Runner) -> None:
    database = await server.create_database()
    await database.bootstrap()
    async with connected(database.superuser_dsn) as superuser:
        await superuser.execute("CREATE TABLE syntera.messages (in_the_way int)")

    assert await run(database.operator_dsn) == os.EX_SOFTWARE
    assert run.gave_tracebacks
    async with connected(database.superuser_dsn) as superuser:
        assert await superuser.fetchval("SELECT to_regclass('syntera.tenants')") is None


async def test_migrations_run_from_an_installed_wheel(postgresql_servers: PostgresqlServers, wheel: Path) -> None:
    database = await postgresql_servers.get(18).create_database()
    await database.bootstrap()

    code, said = await run_process(database.operator_dsn, installed=wheel)

    assert code == 0, said
    assert f"is {NEWEST}" in said


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the distribution's wheel installs."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True, timeout=120)
    installed = folder / "installed"
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        archive.extractall(installed)
    return installed


async def run_process(url: str, *, installed: Path) -> tuple[int | None, str]:
    """The command as a process of what is installed in a folder: its exit code and what it said."""
    environment = {**os.environ, "SYNTERA_POSTGRESQL_URL": url, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "syntera_operator.stores.migrate"]
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, cwd=installed, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    return process.returncode, said.decode()
