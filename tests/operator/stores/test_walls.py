"""PostgreSQL's walls, tried with tenant A's real login against tenant B, whose ids and names A knows."""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio
from asyncpg import (
    FeatureNotSupportedError,
    ForeignKeyViolationError,
    InsufficientPrivilegeError,
    InvalidAuthorizationSpecificationError,
)

from syntera_crds.contract.names import tenant_login
from tests.support.postgresql import DEDICATED_SERVER_SQL, Database, TenantLogin

from .conftest import add_conversation, add_knowledge, add_webhook, connected

TENANT_TABLES = (
    "api_keys",
    "contacts",
    "conversations",
    "turns",
    "messages",
    "files",
    "file_chunks",
    "outbox",
    "webhooks",
    "webhook_deliveries",
    "knowledge_bases",
    "knowledge_indexes",
    "knowledge_documents",
    "knowledge_texts",
    "knowledge_index_documents",
    "knowledge_chunks",
    "knowledge_vectors",
    "knowledge_words",
    "knowledge_syncs",
)
SAID, SESSION, KEY = "said by B in confidence", "a session of B", "lookup-of-b"
"""What a row, a session and a key of B's hold and nobody else's."""


class Two(NamedTuple):
    """Two tenants with a conversation and an API key each; A attacks, B's ids are known to it."""

    a: TenantLogin
    b: TenantLogin
    conversation: UUID
    """B's."""
    turn: UUID
    """B's."""

    @property
    def marks(self) -> set[str]:
        """What tells of B, wherever it is read; its login's name is no secret, see docs/stores.md."""
        ids = (self.b.tenant_id, self.conversation, self.turn)
        return {*map(str, ids), self.conversation.hex, self.turn.hex, self.b.name, SAID, SESSION, KEY}

    def fill(self, statement: str) -> str:
        """The statement with what A knows of B in it."""
        return statement.format(
            a=self.a.tenant_id,
            b=self.b.tenant_id,
            role_a=tenant_login(self.a.tenant_id),
            role_b=tenant_login(self.b.tenant_id),
            conversation=self.conversation,
            turn=self.turn,
        )


EVERYTHING = """
    SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND n.nspname NOT LIKE 'pg_toast%'
    UNION ALL
    SELECT format('%I.%I()', n.nspname, p.proname) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE p.prokind = 'f' AND p.pronargs = 0 AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
      -- They change the server or wait, and return nothing.
      AND p.proname !~ '^(pg_(switch_wal|reload_conf|rotate_logfile|promote|log_standby_snapshot|wal_replay_.*|stat_reset.*))$'
"""


async def _tells(connection: asyncpg.Connection, source: str, marks: set[str]) -> bool:
    """Whether somebody finds one of the marks in a table, a view or a function's answer; not if it is refused."""
    attempt = connection.transaction()
    await attempt.start()
    try:
        rows = await connection.fetch(f"SELECT found::text FROM {source} AS found", timeout=60)
    except asyncpg.PostgresError:
        return False
    finally:
        await attempt.rollback()
    text = "\n".join(row[0] or "" for row in rows)
    return any(mark in text for mark in marks)


@pytest.fixture(scope="session")
def two(database: Database) -> Two:
    """The tenants, shared by all attacks on one version."""
    return asyncio.run(_make_two(database))


@pytest_asyncio.fixture
async def attacker(two: Two) -> AsyncIterator[asyncpg.Connection]:
    """A's own connection, in a transaction that is never committed."""
    async with connected(two.a.dsn) as connection:
        attempt = connection.transaction()
        await attempt.start()
        yield connection
        await attempt.rollback()


async def _make_two(database: Database) -> Two:
    tenants = [await database.make_tenant(), await database.make_tenant()]
    for tenant in tenants:
        async with connected(tenant.dsn) as own:
            await add_conversation(own, tenant, messages=3)
            await add_webhook(own, tenant)
            await add_knowledge(own, tenant, content=SAID if tenant is tenants[1] else "mine")
    async with connected(database.superuser_dsn) as superuser:
        await superuser.executemany(
            "INSERT INTO syntera.api_keys (tenant_id, id, kind, lookup, hash, name, made_by, scopes)"
            " VALUES ($1, gen_random_uuid(), 'sk', $2, sha256('x'), 'key', 'operator', '{admin}')",
            [*((tenant.tenant_id, "samelook") for tenant in tenants), (tenants[1].tenant_id, KEY)],
        )
        await superuser.execute(
            "UPDATE syntera.messages SET content = $1 WHERE tenant_id = $2", SAID, tenants[1].tenant_id
        )
        # Statistics of every column, most common values included.
        await superuser.execute("ANALYZE")
        turn = await superuser.fetchrow("SELECT * FROM syntera.turns WHERE tenant_id = $1", tenants[1].tenant_id)
    assert turn is not None
    return Two(tenants[0], tenants[1], turn["conversation_id"], turn["id"])


@pytest.mark.parametrize("table", TENANT_TABLES)
async def test_tenant_reads_its_own_rows_and_none_of_others(two: Two, attacker: asyncpg.Connection, table: str) -> None:
    rows = await attacker.fetch(f"SELECT tenant_id FROM syntera.{table}")

    assert {row["tenant_id"] for row in rows} == {two.a.tenant_id}
    assert await attacker.fetchval(f"SELECT count(*) FROM syntera.{table} WHERE tenant_id = $1", two.b.tenant_id) == 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE syntera.conversations SET last_event = 9 WHERE tenant_id = '{b}'",
        "UPDATE syntera.turns SET state = 'failed' WHERE id = '{turn}'",
        "SELECT id FROM syntera.conversations WHERE id = '{conversation}' FOR UPDATE",
        "SELECT count(*) FROM pg_stats WHERE schemaname = 'syntera' HAVING count(*) > 0",
    ],
)
async def test_foreign_rows_are_not_there_when_they_are_named(
    two: Two, attacker: asyncpg.Connection, statement: str
) -> None:
    assert (await attacker.execute(two.fill(statement))).split()[-1] == "0"


@pytest.mark.parametrize(
    "statement",
    [
        # Foreign rows.
        "INSERT INTO syntera.conversations (tenant_id, id, agent) VALUES ('{b}', gen_random_uuid(), 'x')",
        "INSERT INTO syntera.messages (tenant_id, id, conversation_id, role, state, content)"
        " VALUES ('{b}', gen_random_uuid(), '{conversation}', 'user', 'complete', 'x')",
        # The same answer whether B's row exists or not: no oracle in the unique key.
        "INSERT INTO syntera.conversations (tenant_id, id, agent) VALUES ('{b}', '{conversation}', 'x')",
        "INSERT INTO syntera.conversations (tenant_id, id, agent) VALUES ('{b}', '{conversation}', 'x')"
        " ON CONFLICT (tenant_id, id) DO NOTHING",
        # Handing rows over.
        "UPDATE syntera.conversations SET tenant_id = '{b}'",
        "UPDATE syntera.conversations SET id = gen_random_uuid()",
        # What tenants do not do at all.
        "DELETE FROM syntera.messages",
        "DELETE FROM syntera.conversations",
        "UPDATE syntera.messages SET content = 'x'",
        # Nor keys as the operator's, or other keys than were made.
        "INSERT INTO syntera.api_keys (tenant_id, id, kind, lookup, hash, name, made_by, scopes)"
        " VALUES ('{a}', gen_random_uuid(), 'sk', 'mylookup', sha256('y'), 'mine', 'operator', '{{admin}}')",
        "UPDATE syntera.api_keys SET made_by = 'operator'",
        "UPDATE syntera.api_keys SET scopes = '{{admin}}'",
        "UPDATE syntera.api_keys SET hash = sha256('y')",
        "UPDATE syntera.contacts SET external_id = 'x'",
        "TRUNCATE syntera.messages",
        # Platform tables.
        "SELECT * FROM syntera.tenants",
        "SELECT * FROM syntera.erasure_receipts",
        "SELECT * FROM syntera.alembic_version",
        "UPDATE syntera.tenants SET login_role = '{role_a}' WHERE id = '{b}'",
        # Another role.
        "SET ROLE {role_b}",
        "SET ROLE syntera_tenant",
        "SET ROLE syntera_owner",
        "SET ROLE syntera_maintenance",
        "SET ROLE syntera_operator",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION {role_b}",
        "SET SESSION AUTHORIZATION syntera_operator",
        "ALTER ROLE {role_b} PASSWORD 'stolen'",
        "ALTER ROLE {role_b} SET search_path = x",
        "ALTER ROLE {role_a} CONNECTION LIMIT 1000",
        "ALTER ROLE {role_a} BYPASSRLS",
        "CREATE ROLE accomplice",
        "GRANT syntera_tenant TO {role_b}",
        "GRANT {role_b} TO {role_a}",
        "GRANT SELECT ON syntera.tenants TO {role_a}",
        "SELECT rolpassword FROM pg_authid",
        # Lifting the walls.
        "ALTER TABLE syntera.messages NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE syntera.messages DISABLE ROW LEVEL SECURITY",
        "CREATE POLICY all_of_it ON syntera.messages USING (true)",
        "CREATE OR REPLACE FUNCTION syntera.current_tenant() RETURNS uuid LANGUAGE sql RETURN '{b}'::uuid",
        # A place of one's own, to shadow names in or to fill.
        "CREATE TABLE public.mine (id int)",
        "CREATE TABLE syntera.mine (id int)",
        "CREATE TABLE extensions.mine (id int)",
        "CREATE TEMPORARY TABLE tenants (id uuid, login_role name, released_at timestamptz)",
        "SELECT * INTO TEMPORARY copied FROM syntera.messages",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql RETURN 1",
        "CREATE FUNCTION pg_temp.mine() RETURNS int LANGUAGE sql RETURN 1",
        "CREATE EVENT TRIGGER mine ON ddl_command_start EXECUTE FUNCTION syntera.current_tenant()",
        "CREATE PUBLICATION mine FOR TABLE syntera.messages",
        "CREATE STATISTICS mine ON content, role FROM syntera.messages",
        "CREATE TRIGGER mine BEFORE INSERT ON syntera.messages EXECUTE FUNCTION syntera.current_tenant()",
        "CREATE RULE mine AS ON INSERT TO syntera.messages DO NOTHING",
        "ALTER DATABASE postgres CONNECTION LIMIT 0",
        "DROP OWNED BY {role_b}",
        "REASSIGN OWNED BY {role_b} TO {role_a}",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {role_b} GRANT SELECT ON TABLES TO PUBLIC",
        "SET session_replication_role = replica",
        "SET log_min_messages = debug5",
        "ALTER EXTENSION vector UPDATE",
        "DROP EXTENSION vector",
        "DO $$ BEGIN PERFORM 1; END $$",
        "SELECT lo_create(0)",
        "SELECT lo_from_bytea(0, 'x')",
        "SELECT pg_logical_emit_message(false, 'x', 'x')",
        # Stopping others.
        "LOCK TABLE syntera.conversations IN ACCESS EXCLUSIVE MODE",
        "LOCK TABLE syntera.turns IN SHARE MODE",
        "LOCK TABLE syntera.messages IN SHARE UPDATE EXCLUSIVE MODE",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_try_advisory_lock(1, 1)",
        "SELECT pg_advisory_xact_lock_shared(1)",
        "SELECT pg_terminate_backend(pid) FROM generate_series(1, 100000) AS pid WHERE pid <> pg_backend_pid()",
        # Looking at others.
        "SELECT * FROM pg_stat_activity",
        "SELECT * FROM pg_stat_user_tables",
        "SELECT * FROM pg_stat_all_indexes",
        "SELECT * FROM pg_stat_database",
        "SELECT * FROM pg_locks",
        "SELECT pg_stat_get_live_tuples('syntera.messages'::regclass)",
        "SELECT pg_total_relation_size('syntera.messages')",
        "SELECT pg_database_size(current_database())",
        "SELECT * FROM pg_statistic",
        # Files and programs.
        "COPY syntera.messages TO '/tmp/stolen'",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT pg_read_file('PG_VERSION')",
    ],
)
async def test_tenant_is_refused(two: Two, attacker: asyncpg.Connection, statement: str) -> None:
    with pytest.raises((InsufficientPrivilegeError, InvalidAuthorizationSpecificationError)):
        await attacker.execute(two.fill(statement))


@pytest.mark.parametrize("statement", ["CREATE DATABASE mine", "ALTER SYSTEM SET log_statement = 'all'"])
async def test_tenant_is_refused_what_stands_outside_of_transactions(two: Two, statement: str) -> None:
    async with connected(two.a.dsn) as attacker:
        with pytest.raises(InsufficientPrivilegeError):
            await attacker.execute(statement)


async def test_copy_from_is_refused_because_it_knows_no_policies(two: Two, attacker: asyncpg.Connection) -> None:
    with pytest.raises(FeatureNotSupportedError):
        await attacker.copy_records_to_table(
            "conversations", schema_name="syntera", columns=["tenant_id", "id", "agent"], records=[]
        )


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO syntera.conversations (tenant_id, id, agent) VALUES ('{b}', '{known}', 'x')",
        "INSERT INTO syntera.conversations (tenant_id, id, agent) VALUES ('{b}', '{known}', 'x') ON CONFLICT DO NOTHING",
        "INSERT INTO syntera.messages (tenant_id, id, conversation_id, role, state, content)"
        " VALUES ('{b}', gen_random_uuid(), '{known}', 'user', 'complete', 'x')",
        "INSERT INTO syntera.messages (tenant_id, id, conversation_id, role, state, content)"
        " VALUES ('{a}', gen_random_uuid(), '{known}', 'user', 'complete', 'x')",
        "UPDATE syntera.conversations SET last_event = 9 WHERE id = '{known}'",
        "SELECT * FROM syntera.conversations WHERE id = '{known}'",
    ],
)
async def test_answer_is_the_same_to_the_letter_whether_the_foreign_row_exists_or_not(
    two: Two, attacker: asyncpg.Connection, statement: str
) -> None:
    answers = set()
    for known in (two.conversation, UUID(int=0)):
        nested = attacker.transaction()
        await nested.start()
        try:
            said = await attacker.execute(two.fill(statement.replace("{known}", str(known))))
        except asyncpg.PostgresError as exc:
            said = f"{exc.sqlstate} {exc} {exc.detail}".replace(str(known), "known")
        await nested.rollback()
        answers.add(said)

    assert len(answers) == 1


@pytest.mark.parametrize("known", ["{conversation}", "00000000-0000-0000-0000-000000000000"])
async def test_foreign_key_answers_the_same_whether_the_foreign_row_exists_or_not(
    two: Two, attacker: asyncpg.Connection, known: str
) -> None:
    with pytest.raises(ForeignKeyViolationError):
        await attacker.execute(
            two.fill(
                "INSERT INTO syntera.messages (tenant_id, id, conversation_id, role, state, content)"
                f" VALUES ('{{a}}', gen_random_uuid(), '{known}', 'user', 'complete', 'x')"
            )
        )


async def test_same_id_and_lookup_as_a_foreign_row_are_free(two: Two, attacker: asyncpg.Connection) -> None:
    await attacker.execute(
        "INSERT INTO syntera.conversations (tenant_id, id, agent) VALUES ($1, $2, 'x')",
        two.a.tenant_id,
        two.conversation,
    )


@pytest.mark.parametrize(
    "statement",
    [
        "RESET ROLE",
        "RESET SESSION AUTHORIZATION",
        "SET ROLE {role_a}",
        "SET ROLE NONE",
        "SET row_security = off",
        "RESET ALL",
    ],
)
async def test_identity_stays_when_a_harmless_setting_is_tried(
    two: Two, attacker: asyncpg.Connection, statement: str
) -> None:
    await attacker.execute(two.fill(statement))

    assert await attacker.fetchval("SELECT syntera.current_tenant()") == two.a.tenant_id


async def test_row_security_off_is_an_error_and_no_way_round(two: Two, attacker: asyncpg.Connection) -> None:
    await attacker.execute("SET row_security = off")

    with pytest.raises(InsufficientPrivilegeError):
        await attacker.fetch("SELECT * FROM syntera.messages")


async def test_search_path_cannot_slip_another_table_under_the_function(two: Two, attacker: asyncpg.Connection) -> None:
    await attacker.execute("SET search_path = pg_temp, public, syntera")

    assert await attacker.fetchval("SELECT current_tenant()") == two.a.tenant_id


async def test_leaking_function_in_a_condition_sees_no_foreign_row(two: Two, attacker: asyncpg.Connection) -> None:
    # A division by zero for each foreign row that the condition would meet.
    await attacker.fetch(two.fill("SELECT 1 FROM syntera.messages WHERE 1 / (tenant_id <> '{b}')::int = 1"))


async def test_nothing_that_can_be_read_in_the_database_tells_of_another_tenant(
    database: Database, two: Two, attacker: asyncpg.Connection
) -> None:
    """Every table and view there is, and every function without arguments, while B is at work."""
    async with connected(database.superuser_dsn) as superuser, connected(two.b.dsn) as busy:
        await busy.execute(f"SET application_name = '{SESSION}'")
        at_work = busy.transaction()
        await at_work.start()
        await busy.execute("SELECT * FROM syntera.conversations FOR UPDATE")
        sources = [row[0] for row in await superuser.fetch(EVERYTHING)]
        to_superuser = {source for source in sources if await _tells(superuser, source, two.marks)}
        to_attacker = {source for source in sources if await _tells(attacker, source, two.marks)}
        await at_work.rollback()

    # The marks are there to be found, in rows, statistics, sessions and locks; so silence means something.
    assert {"syntera.messages", "syntera.tenants", "pg_catalog.pg_stats", "pg_catalog.pg_stat_activity"} <= to_superuser
    assert to_attacker == set()


async def test_notifications_are_the_only_channel_between_tenants(two: Two) -> None:
    # PostgreSQL has no privilege for LISTEN; hence nothing of ours may ever be sent by NOTIFY.
    heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def hear(*received: object) -> None:
        heard.set_result(str(received[-1]))

    async with connected(two.a.dsn) as listening, connected(two.b.dsn) as other:
        await listening.add_listener("anything", hear)
        await other.execute("NOTIFY anything, 'whatever'")

        assert await asyncio.wait_for(heard, timeout=30) == "whatever"
        await listening.remove_listener("anything", hear)


async def test_login_that_is_mapped_to_no_tenant_sees_nothing(database: Database, two: Two) -> None:
    async with connected(database.superuser_dsn) as superuser:
        await superuser.execute("CREATE ROLE unmapped LOGIN PASSWORD 'unmapped' IN ROLE syntera_tenant")
        try:
            async with connected(database.dsn("unmapped", "unmapped")) as connection:
                assert await connection.fetchval("SELECT syntera.current_tenant()") is None
                for table in TENANT_TABLES:
                    assert await connection.fetch(f"SELECT * FROM syntera.{table}") == []
                with pytest.raises(InsufficientPrivilegeError):
                    await connection.execute(two.fill("INSERT INTO syntera.conversations VALUES ('{b}', '{b}', 'x')"))
        finally:
            await superuser.execute("DROP ROLE unmapped")


async def test_operator_sees_rows_as_maintenance_alone(database: Database, two: Two) -> None:
    async with connected(database.operator_dsn) as operator:
        with pytest.raises(InsufficientPrivilegeError):
            await operator.fetch("SELECT * FROM syntera.messages")
        await operator.execute("SET ROLE syntera_owner")
        assert await operator.fetch("SELECT * FROM syntera.api_keys") == []
        # It may read what its search function reads, and changes nothing without becoming the maintenance role.
        assert await operator.execute("UPDATE syntera.messages SET content = 'x'") == "UPDATE 0"
        assert await operator.execute("DELETE FROM syntera.messages") == "DELETE 0"
        await operator.execute("SET ROLE syntera_maintenance")
        seen = await operator.fetch("SELECT DISTINCT tenant_id FROM syntera.messages")
        assert {two.a.tenant_id, two.b.tenant_id} <= {row["tenant_id"] for row in seen}


@pytest.mark.parametrize("other", ["postgres", "template1"])
async def test_no_other_database_lets_tenants_in_when_the_server_is_dedicated(
    database: Database, two: Two, other: str
) -> None:
    async with connected(database.superuser_dsn) as superuser:
        await superuser.execute(DEDICATED_SERVER_SQL.read_text())

    with pytest.raises(InsufficientPrivilegeError):
        await asyncpg.connect(two.a.dsn, database=other)


async def test_connection_limit_holds(database: Database) -> None:
    tenant = await database.make_tenant()
    async with connected(database.superuser_dsn) as superuser:
        await superuser.execute(f"ALTER ROLE {tenant_login(tenant.tenant_id)} CONNECTION LIMIT 1")

    async with connected(tenant.dsn):
        with pytest.raises(asyncpg.TooManyConnectionsError):
            await asyncpg.connect(tenant.dsn)


async def test_policy_runs_once_a_statement(attacker: asyncpg.Connection) -> None:
    # A handful of rows is read faster without an index.
    await attacker.execute("SET enable_seqscan = off")
    rows = await attacker.fetch("EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM syntera.messages")
    plan = "\n".join(row[0] for row in rows)

    assert plan.count("Output: syntera.current_tenant()") == 1
    assert "Index Cond: (messages.tenant_id = " in plan


async def test_asyncpg_pool_of_a_tenant_can_be_reset(two: Two) -> None:
    # Pools end what a session holds when a connection comes back: that has to stay allowed.
    async with asyncpg.create_pool(two.a.dsn, min_size=1, max_size=1) as pool:
        for _ in range(2):
            async with pool.acquire() as connection:
                await connection.execute("SELECT 1")


async def test_estimates_and_notices_tell_nothing_of_words_that_others_use(database: Database, two: Two) -> None:
    async with connected(two.b.dsn) as victim:
        await victim.execute(
            "INSERT INTO syntera.messages (tenant_id, id, conversation_id, role, state, content)"
            " SELECT $1, gen_random_uuid(), (SELECT id FROM syntera.conversations LIMIT 1), 'user', 'complete',"
            " 'projectzephyr ' || repeat('x', 3000) FROM generate_series(1, 500)",
            two.b.tenant_id,
        )
    async with connected(database.superuser_dsn) as superuser:
        await superuser.execute("ANALYZE syntera.messages")
    async with connected(two.a.dsn) as attacker:
        estimates = [
            (
                await attacker.fetchval(
                    "EXPLAIN SELECT FROM syntera.messages"
                    f" WHERE syntera.search_terms(tenant_id, content) @@ '{word}'::tsquery"
                )
            )
            .partition("rows=")[2]
            .partition(" ")[0]
            for word in ("projectzephyr", "neverused")
        ]
        heard: list[str] = []
        attacker.add_log_listener(lambda _, message: heard.append(str(message)))
        await attacker.execute("SET work_mem = '64kB'")
        await attacker.fetch("SELECT * FROM syntera.search_conversations('projectzephyr')")
    assert estimates[0] == estimates[1]
    assert heard == []
