"""Old rows of real tables go when their time is up, and nothing else: beside people who write, and runtimes that answer."""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from syntera_operator.errors import LeadershipLost, StoreUnavailable
from syntera_operator.stores import retention
from syntera_operator.stores.postgresql import Postgresql, PostgresqlSettings
from syntera_operator.stores.retention import Kept, Retention
from syntera_runtime.errors import ConversationNotFound, MessageNotFound
from syntera_runtime.models.conversations import Feedback, Rating
from syntera_runtime.models.ids import ConversationId, MessageId
from syntera_runtime.models.turns import Ending, TurnOutcome, TurnStart, Usage
from tests.runtime.conftest import PostgresqlStores, make_postgresql_stores
from tests.support.postgresql import Database, TenantLogin

TABLES = ("contacts", "conversations", "turns", "messages", "feedback")
PERIOD = timedelta(days=30)
PERIODS = {Kept.MESSAGES: PERIOD}
OLD, RECENT = timedelta(days=31), timedelta(days=29)


@pytest_asyncio.fixture
async def superuser(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """Sees and writes everything."""
    connection = await database.connect()
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def acme(database: Database) -> TenantLogin:
    """A tenant of the test's own."""
    return await database.make_tenant()


@pytest_asyncio.fixture
async def runtime(database: Database, tmp_path: Path) -> AsyncIterator[PostgresqlStores]:
    """A tenant with its runtime's own adapters."""
    made = await make_postgresql_stores(database, tmp_path)
    yield made
    await made.pool.aclose()


class Past:
    """Writes a tenant's rows as if time had passed since."""

    def __init__(self, superuser: asyncpg.Connection, tenant_id: UUID) -> None:
        self._superuser = superuser
        self._tenant_id = tenant_id

    async def contact(self, age: timedelta, *, seen: timedelta | None = None) -> UUID:
        """A customer, last seen so long ago."""
        contact_id = past_id(age)
        await self._write(
            "INSERT INTO syntera.contacts (tenant_id, id, created_at, last_seen_at) VALUES ($1, $2, now() - $3::interval, now() - $4::interval)",
            contact_id, age, age if seen is None else seen,
        )  # fmt: skip
        return contact_id

    async def act(self, age: timedelta) -> None:
        """An entry of the record of administrative acts."""
        await self._write(
            "INSERT INTO syntera.audit_log (tenant_id, id, at, operation, subject, targets, request_id)"
            " VALUES ($1, $2, now() - $3::interval, 'revokeApiKey', 'key:1', '{}', 'r')",
            past_id(age), age,
        )  # fmt: skip

    async def conversation(self, age: timedelta, *, said: timedelta | None = None, contact: UUID | None = None) -> UUID:
        """A conversation with a greeting, in which something was last said so long ago."""
        conversation_id = past_id(age)
        await self._write(
            "INSERT INTO syntera.conversations (tenant_id, id, agent, contact_id, created_at, updated_at)"
            " VALUES ($1, $2, 'travel', $5, now() - $3::interval, now() - $4::interval)",
            conversation_id, age, age if said is None else said, contact,
        )  # fmt: skip
        await self._write(
            "INSERT INTO syntera.messages (tenant_id, id, conversation_id, role, state, content, created_at)"
            " VALUES ($1, $2, $3, 'assistant', 'complete', 'hello', now() - $4::interval)",
            past_id(age), conversation_id, age,
        )  # fmt: skip
        return conversation_id

    async def turns(self, conversation_id: UUID, age: timedelta, *, number: int = 1) -> list[UUID]:
        """Turns with question, reply and feedback; the replies' ids."""
        turns, questions, replies = ([past_id(age) for _ in range(number)] for _ in range(3))
        await self._write(
            "INSERT INTO syntera.turns (tenant_id, id, conversation_id, agent, agent_revision, state, created_at, ended_at)"
            " SELECT $1, id, $3, 'travel', 1, 'complete', now() - $4::interval, now() - $4::interval FROM unnest($2::uuid[]) AS id",
            turns, conversation_id, age,
        )  # fmt: skip
        for role, ids in (("user", questions), ("assistant", replies)):
            await self._write(
                "INSERT INTO syntera.messages (tenant_id, id, turn_id, conversation_id, role, state, content, created_at)"
                " SELECT $1, id, turn_id, $4, $5, 'complete', 'word', now() - $6::interval"
                " FROM unnest($2::uuid[], $3::uuid[]) AS rows(id, turn_id)",
                ids, turns, conversation_id, role, age,
            )  # fmt: skip
        await self._write(
            "INSERT INTO syntera.feedback (tenant_id, message_id, author, rating) SELECT $1, unnest($2::uuid[]), 'a', 'up'",
            replies,
        )
        return replies

    async def running_turn(self, conversation_id: UUID, age: timedelta, *, lease_ended: timedelta) -> None:
        """A turn with its question, that no pod has ended."""
        turn_id = past_id(age)
        await self._write(
            "INSERT INTO syntera.turns (tenant_id, id, conversation_id, agent, agent_revision, state, created_at,"
            " lease_expires_at) VALUES ($1, $2, $3, 'travel', 1, 'running', now() - $4::interval, now() - $5::interval)",
            turn_id, conversation_id, age, lease_ended,
        )  # fmt: skip
        await self._write(
            "INSERT INTO syntera.messages (tenant_id, id, turn_id, conversation_id, role, state, content, created_at)"
            " VALUES ($1, $2, $3, $4, 'user', 'complete', 'word', now() - $5::interval)",
            past_id(age), turn_id, conversation_id, age,
        )  # fmt: skip

    async def file(self, age: timedelta, *, message: UUID | None, conversation: UUID | None, storage: str) -> UUID:
        """A file with its bytes, those of a bucket left aside."""
        file_id = past_id(age)
        await self._write(
            "INSERT INTO syntera.files (tenant_id, id, conversation_id, message_id, state, storage, name, media_type, bytes, sha256,"
            " created_at) VALUES ($1, $2, $3, $4, 'ready', $5, 'a', 'text/plain', 1, decode(repeat('00', 32), 'hex'), now() - $6::interval)",
            file_id, conversation, message, storage, age,
        )  # fmt: skip
        if storage == "postgresql":
            for number in range(2):
                await self._write(
                    "INSERT INTO syntera.file_chunks (tenant_id, file_id, number, content) VALUES ($1, $2, $3, 'x')",
                    file_id, number,
                )  # fmt: skip
        return file_id

    async def completion(self, age: timedelta) -> None:
        """A chat completion's turn."""
        await self._write(
            "INSERT INTO syntera.turns (tenant_id, id, agent, agent_revision, state, created_at, ended_at)"
            " VALUES ($1, $2, 'travel', 1, 'complete', now() - $3::interval, now() - $3::interval)",
            past_id(age), age,
        )  # fmt: skip

    async def _write(self, statement: str, *arguments: Any) -> None:
        await self._superuser.execute(statement, self._tenant_id, *arguments)


def past_id(age: timedelta) -> UUID:
    """A UUIDv7 of that time."""
    milliseconds = int((datetime.now(UTC) - age).timestamp() * 1000)
    return UUID(int=milliseconds << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62))


async def count(superuser: asyncpg.Connection, tenant_id: UUID) -> dict[str, int]:
    """How many rows the tenant has in each table; those that have none are left out."""
    found = {
        table: await superuser.fetchval(f"SELECT count(*) FROM syntera.{table} WHERE tenant_id = $1", tenant_id)
        for table in TABLES
    }
    return {table: number for table, number in found.items() if number}


async def expire(
    postgresql: Postgresql, tenant: str, *, now: datetime | None = None, periods: Mapping[Kept, timedelta] = PERIODS
) -> dict[str, int]:
    """One round; the rows deleted in each table."""
    total: Counter[str] = Counter()
    async for rows in Retention(postgresql).expire(tenant, periods, now=now or datetime.now(UTC)):
        total.update(rows)
    return {table: number for table, number in total.items() if number}


async def name_of(superuser: asyncpg.Connection, tenant_id: UUID) -> str:
    return str(await superuser.fetchval("SELECT name FROM syntera.tenants WHERE id = $1", tenant_id))


async def wait_for_lock(superuser: asyncpg.Connection, database: Database) -> None:
    """Wait until somebody waits for a lock."""
    async with asyncio.timeout(20):
        while not await superuser.fetchval(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock')",
            database.name,
        ):
            await superuser.execute("SELECT pg_stat_clear_snapshot()")  # which lasts as long as a transaction
            await asyncio.sleep(0.01)


def make_start() -> TurnStart:
    return TurnStart(agent="travel", agent_revision=1, lease=timedelta(seconds=30))


# ---- What goes, and what stays ----


async def test_old_part_of_a_conversation_goes_and_the_rest_stays(
    postgresql: Postgresql, superuser: asyncpg.Connection, acme: TenantLogin
) -> None:
    past = Past(superuser, acme.tenant_id)
    contact = await past.contact(OLD)
    conversation = await past.conversation(OLD, said=RECENT, contact=contact)
    await past.turns(conversation, OLD, number=2)
    await past.turns(conversation, RECENT)

    deleted = await expire(postgresql, acme.name)

    assert deleted == {"turns": 2, "messages": 5, "feedback": 2}
    assert await count(superuser, acme.tenant_id) == {
        "contacts": 1, "conversations": 1, "turns": 1, "messages": 2, "feedback": 1
    }  # fmt: skip


async def test_conversation_in_which_nothing_was_said_since_goes_with_its_customer(
    postgresql: Postgresql, superuser: asyncpg.Connection, acme: TenantLogin
) -> None:
    past = Past(superuser, acme.tenant_id)
    conversation = await past.conversation(OLD, contact=await past.contact(OLD))
    await past.turns(conversation, OLD)
    await past.conversation(OLD)
    await past.completion(OLD)

    deleted = await expire(postgresql, acme.name)

    assert deleted == {"turns": 2, "messages": 4, "feedback": 1, "conversations": 2, "contacts": 1}
    assert await count(superuser, acme.tenant_id) == {}


async def test_conversations_that_go_are_told_like_those_that_people_delete(
    postgresql: Postgresql, superuser: asyncpg.Connection, acme: TenantLogin
) -> None:
    past = Past(superuser, acme.tenant_id)
    contact = await past.contact(OLD)
    gone, kept = await past.conversation(OLD, contact=contact), await past.conversation(OLD, said=RECENT)
    for conversation in (gone, kept):
        await past.turns(conversation, OLD)
    await superuser.execute("DELETE FROM syntera.outbox WHERE tenant_id = $1", acme.tenant_id)

    await expire(postgresql, acme.name)

    told = await superuser.fetch(
        "SELECT type, conversation_id, contact_id, payload FROM syntera.outbox WHERE tenant_id = $1", acme.tenant_id
    )
    assert [tuple(row) for row in told] == [("conversation.deleted", gone, contact, '{"agent": "travel"}')]


async def test_other_tenants_rows_and_recent_ones_and_api_keys_stay(
    postgresql: Postgresql, superuser: asyncpg.Connection, acme: TenantLogin, database: Database
) -> None:
    other = await database.make_tenant()
    for tenant, age in ((acme, RECENT), (other, OLD)):
        past = Past(superuser, tenant.tenant_id)
        await past.turns(await past.conversation(age, contact=await past.contact(age)), age)
        await past.completion(age)
    await superuser.execute(
        "INSERT INTO syntera.api_keys (tenant_id, id, kind, lookup, hash, name, made_by, scopes, created_at)"
        " VALUES ($1, $2, 'sk', 'lookup', decode(repeat('00', 32), 'hex'), 'key', 'operator', '{}', now() - $3::interval)",
        acme.tenant_id, past_id(OLD), OLD,
    )  # fmt: skip

    deleted = await expire(postgresql, acme.name)

    whole = {"contacts": 1, "conversations": 1, "turns": 2, "messages": 3, "feedback": 1}
    assert deleted == {}
    assert await count(superuser, acme.tenant_id) == whole
    assert await count(superuser, other.tenant_id) == whole
    assert await superuser.fetchval("SELECT count(*) FROM syntera.api_keys WHERE tenant_id = $1", acme.tenant_id) == 1


async def test_customer_who_was_seen_since_or_has_a_conversation_stays(
    postgresql: Postgresql, superuser: asyncpg.Connection, acme: TenantLogin
) -> None:
    past = Past(superuser, acme.tenant_id)
    seen = await past.contact(OLD, seen=RECENT)
    talking = await past.contact(OLD)
    await past.conversation(RECENT, contact=talking)
    await past.contact(OLD)

    assert await expire(postgresql, acme.name) == {"contacts": 1}
    left = await superuser.fetch("SELECT id FROM syntera.contacts WHERE tenant_id = $1", acme.tenant_id)
    assert {row["id"] for row in left} == {seen, talking}


async def test_turn_that_runs_stays_with_its_question_and_conversation(
    postgresql: Postgresql, superuser: asyncpg.Connection, acme: TenantLogin
) -> None:
    past = Past(superuser, acme.tenant_id)
    conversation = await past.conversation(OLD)
    await past.running_turn(conversation, OLD, lease_ended=RECENT)

    assert await expire(postgresql, acme.name) == {"messages": 1}
    assert await count(superuser, acme.tenant_id) == {"conversations": 1, "turns": 1, "messages": 1}


async def test_turn_that_nobody_ended_for_the_whole_period_goes(
    postgresql: Postgresql, superuser: asyncpg.Connection, acme: TenantLogin
) -> None:
    """As in a tenant that was suspended."""
    past = Past(superuser, acme.tenant_id)
    await past.running_turn(await past.conversation(OLD), OLD, lease_ended=OLD)

    assert await expire(postgresql, acme.name) == {"turns": 1, "messages": 2, "conversations": 1}


async def test_clock_that_is_ahead_deletes_nothing_too_early(
    postgresql: Postgresql, superuser: asyncpg.Connection, acme: TenantLogin
) -> None:
    past = Past(superuser, acme.tenant_id)
    await past.turns(await past.conversation(RECENT), RECENT)

    assert await expire(postgresql, acme.name, now=datetime.now(UTC) + timedelta(days=365)) == {}


async def test_row_of_a_pod_whose_clock_is_behind_is_as_old_as_the_server_says(
    postgresql: Postgresql, superuser: asyncpg.Connection, acme: TenantLogin
) -> None:
    await superuser.execute(
        "INSERT INTO syntera.conversations (tenant_id, id, agent) VALUES ($1, $2, 'travel')",
        acme.tenant_id,
        past_id(OLD),
    )
    await superuser.execute(
        "INSERT INTO syntera.turns (tenant_id, id, agent, agent_revision, state, ended_at)"
        " VALUES ($1, $2, 'travel', 1, 'complete', now())",
        acme.tenant_id, past_id(OLD),
    )  # fmt: skip

    assert await expire(postgresql, acme.name) == {}


async def test_nothing_goes_of_a_tenant_that_is_released_or_unknown_or_has_no_period(
    postgresql: Postgresql, superuser: asyncpg.Connection, acme: TenantLogin
) -> None:
    await Past(superuser, acme.tenant_id).conversation(OLD)

    assert await expire(postgresql, "nobody") == {}
    assert await expire(postgresql, acme.name, periods={}) == {}
    await superuser.execute("UPDATE syntera.tenants SET released_at = now() WHERE id = $1", acme.tenant_id)
    assert await expire(postgresql, acme.name) == {}
    assert await count(superuser, acme.tenant_id) == {"conversations": 1, "messages": 1}


async def test_every_table_that_holds_old_rows_back_is_thought_of(superuser: asyncpg.Connection) -> None:
    """A new one is one more line in EXPIRING, or its rows go with those that they refer to (ON DELETE)."""
    rows = await superuser.fetch(
        "SELECT conrelid::regclass::text AS referring, confrelid::regclass::text AS referred FROM pg_constraint"
        " WHERE contype = 'f' AND confdeltype IN ('a', 'r') AND confrelid = ANY ($1::regclass[])",
        [f"syntera.{expiring.table}" for expirings in retention.EXPIRING.values() for expiring in expirings],
    )

    assert {(row["referring"], row["referred"]) for row in rows} == {
        ("syntera.turns", "syntera.conversations"),
        ("syntera.messages", "syntera.conversations"),
        ("syntera.messages", "syntera.turns"),
        ("syntera.feedback", "syntera.messages"),
        ("syntera.conversations", "syntera.contacts"),
        ("syntera.file_chunks", "syntera.files"),
    }


@pytest.mark.parametrize("storage", ["postgresql", "s3"])
async def test_files_of_documents_stay_as_long_as_their_knowledge_base(
    postgresql: Postgresql, superuser: asyncpg.Connection, acme: TenantLogin, storage: str
) -> None:
    past = Past(superuser, acme.tenant_id)
    kept = await past.file(OLD, message=None, conversation=None, storage=storage)
    await superuser.execute("UPDATE syntera.files SET knowledge_base_id = gen_random_uuid() WHERE id = $1", kept)
    before = await superuser.fetchval("SELECT count(*) FROM syntera.file_chunks WHERE file_id = $1", kept)

    assert await expire(postgresql, acme.name) == {}

    assert await superuser.fetchval("SELECT state FROM syntera.files WHERE id = $1", kept) == "ready"
    assert await superuser.fetchval("SELECT count(*) FROM syntera.file_chunks WHERE file_id = $1", kept) == before


@pytest.mark.parametrize("storage", ["postgresql", "s3"])
async def test_files_go_with_their_messages_without_a_pod(
    postgresql: Postgresql, superuser: asyncpg.Connection, acme: TenantLogin, storage: str
) -> None:
    """As in a tenant that is suspended. What is in a bucket only its pods can remove: they are told."""
    past = Past(superuser, acme.tenant_id)
    conversation = await past.conversation(OLD, said=RECENT)
    [old] = await past.turns(conversation, OLD)
    [recent] = await past.turns(conversation, RECENT)
    gone = [
        await past.file(OLD, message=old, conversation=conversation, storage=storage),
        await past.file(OLD, message=None, conversation=None, storage=storage),
    ]
    kept = [
        await past.file(OLD, message=recent, conversation=conversation, storage=storage),
        await past.file(RECENT, message=None, conversation=None, storage=storage),
    ]

    deleted = await expire(postgresql, acme.name)

    files = await superuser.fetch("SELECT id, state FROM syntera.files WHERE tenant_id = $1", acme.tenant_id)
    chunks = await superuser.fetch("SELECT file_id FROM syntera.file_chunks WHERE tenant_id = $1", acme.tenant_id)
    assert {row["id"] for row in files if row["state"] == "ready"} == set(kept)
    if storage == "postgresql":
        assert (deleted["files"], deleted["file_chunks"], len(files)) == (2, 4, 2)
        assert sorted(row["file_id"] for row in chunks) == sorted(kept * 2)
    else:
        assert "files" not in deleted
        assert {row["id"] for row in files if row["state"] == "doomed"} == set(gone)


async def test_acts_have_a_period_of_their_own(
    postgresql: Postgresql, superuser: asyncpg.Connection, acme: TenantLogin
) -> None:
    past = Past(superuser, acme.tenant_id)
    for age in (OLD, RECENT):
        await past.act(age)
    assert await expire(postgresql, acme.name, periods={Kept.AUDIT: PERIOD}) == {"audit_log": 1}
    [left] = await superuser.fetch("SELECT at FROM syntera.audit_log WHERE tenant_id = $1", acme.tenant_id)
    assert datetime.now(UTC) - left["at"] < PERIOD


async def test_what_persons_used_goes_and_what_all_used_stays(
    postgresql: Postgresql, superuser: asyncpg.Connection, acme: TenantLogin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_WINDOW_ROWS", 2)
    today = datetime.now(UTC).date()
    counts = [
        (subject, today - age) for subject in ("", "contact:1", "contact:2", "contact:3") for age in (OLD, RECENT)
    ]
    for subject, since in counts:
        await superuser.execute(
            "INSERT INTO syntera.usage_totals (tenant_id, subject, since, slot, tokens) VALUES ($1, $2, $3, 0, 7)",
            acme.tenant_id, subject, since,
        )  # fmt: skip
    assert await expire(postgresql, acme.name) == {"usage_totals": 3}
    rows = await superuser.fetch("SELECT subject, since FROM syntera.usage_totals WHERE tenant_id = $1", acme.tenant_id)
    kept = [(subject, since) for subject, since in counts if not subject or since == today - RECENT]
    assert sorted(tuple(row) for row in rows) == sorted(kept)


# ---- Batches ----


async def test_many_rows_go_in_batches(
    postgresql: Postgresql, superuser: asyncpg.Connection, acme: TenantLogin
) -> None:
    past = Past(superuser, acme.tenant_id)
    for _ in range(4):
        await past.turns(await past.conversation(OLD), OLD, number=2500)

    batches = [rows async for rows in Retention(postgresql).expire(acme.name, PERIODS, now=datetime.now(UTC))]

    assert await count(superuser, acme.tenant_id) == {}
    turns = [rows["turns"] for rows in batches if rows.get("turns")]
    assert (sum(turns), max(turns)) == (10_000, 500)


async def test_rows_that_stay_do_not_keep_those_behind_them(
    postgresql: Postgresql, superuser: asyncpg.Connection, acme: TenantLogin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_WINDOW_ROWS", 2)
    past = Past(superuser, acme.tenant_id)
    for _ in range(5):
        await past.contact(timedelta(days=40), seen=RECENT)
    for _ in range(3):
        await past.contact(OLD)

    assert await expire(postgresql, acme.name) == {"contacts": 3}


async def test_round_that_was_cut_off_between_batches_is_finished_by_the_next_leader(
    database: Database, superuser: asyncpg.Connection, acme: TenantLogin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_WINDOW_ROWS", 10)
    past = Past(superuser, acme.tenant_id)
    await past.turns(await past.conversation(OLD), OLD, number=50)
    uses_left = 4

    def before_use() -> None:
        nonlocal uses_left
        uses_left -= 1
        if uses_left < 0:
            raise LeadershipLost

    first, second = (
        Postgresql(PostgresqlSettings(url=database.operator_dsn), before_use=asked)
        for asked in (before_use, lambda: None)
    )
    with pytest.raises(LeadershipLost):
        await expire(first, acme.name)
    assert (await count(superuser, acme.tenant_id))["turns"] == 20
    await expire(second, acme.name)

    assert await count(superuser, acme.tenant_id) == {}
    await first.aclose()
    await second.aclose()


async def test_batch_that_was_cut_off_leaves_whole_turns(
    postgresql: Postgresql, superuser: asyncpg.Connection, acme: TenantLogin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_WINDOW_ROWS", 10)
    past = Past(superuser, acme.tenant_id)
    await past.turns(await past.conversation(OLD), OLD, number=30)
    delete, calls = retention._delete, 0

    async def lose_the_second(connection: Any, *arguments: Any, **named: Any) -> Mapping[str, int]:
        nonlocal calls
        calls += 1
        deleted = await delete(connection, *arguments, **named)
        if calls == 2:
            server_process = await connection.fetchval("SELECT pg_backend_pid()")
            await superuser.execute("SELECT pg_terminate_backend($1)", server_process)
            await connection.fetchval("SELECT 1")
        return deleted

    monkeypatch.setattr(retention, "_delete", lose_the_second)
    with pytest.raises(StoreUnavailable):
        await expire(postgresql, acme.name)
    assert await count(superuser, acme.tenant_id) == {
        "conversations": 1, "turns": 20, "messages": 41, "feedback": 20
    }  # fmt: skip

    await expire(postgresql, acme.name)
    assert await count(superuser, acme.tenant_id) == {}


# ---- Beside others ----


async def test_row_that_somebody_holds_is_passed_over_and_goes_next_time(
    postgresql: Postgresql, superuser: asyncpg.Connection, acme: TenantLogin
) -> None:
    past = Past(superuser, acme.tenant_id)
    conversation = await past.conversation(OLD, said=RECENT)
    await past.turns(conversation, OLD, number=3)
    async with superuser.transaction():
        await superuser.fetch("SELECT FROM syntera.turns WHERE tenant_id = $1 LIMIT 1 FOR UPDATE", acme.tenant_id)

        assert await expire(postgresql, acme.name) == {"turns": 2, "messages": 5, "feedback": 2}

    assert await expire(postgresql, acme.name) == {"turns": 1, "messages": 2, "feedback": 1}


async def test_feedback_that_is_given_meanwhile_leaves_the_batch_for_the_next_round(
    postgresql: Postgresql, superuser: asyncpg.Connection, acme: TenantLogin
) -> None:
    past = Past(superuser, acme.tenant_id)
    [reply] = await past.turns(await past.conversation(OLD, said=RECENT), OLD)
    async with superuser.transaction():
        await superuser.execute(
            "INSERT INTO syntera.feedback (tenant_id, message_id, author, rating) VALUES ($1, $2, 'b', 'down')",
            acme.tenant_id, reply,
        )  # fmt: skip

        assert await expire(postgresql, acme.name) == {"messages": 1}

    assert await expire(postgresql, acme.name) == {"turns": 1, "messages": 2, "feedback": 2}


async def test_feedback_that_is_stored_while_its_reply_is_waited_for_goes_too(
    postgresql: Postgresql,
    superuser: asyncpg.Connection,
    acme: TenantLogin,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retention, "_LOCK_TIMEOUT", "20s")
    past = Past(superuser, acme.tenant_id)
    [reply] = await past.turns(await past.conversation(OLD, said=RECENT), OLD)
    async with superuser.transaction():
        await superuser.execute(
            "INSERT INTO syntera.feedback (tenant_id, message_id, author, rating) VALUES ($1, $2, 'b', 'down')",
            acme.tenant_id, reply,
        )  # fmt: skip
        expiring = asyncio.create_task(expire(postgresql, acme.name))
        await wait_for_lock(superuser, database)

    assert await expiring == {"turns": 1, "messages": 3, "feedback": 2}


async def test_conversation_in_which_a_turn_begins_at_that_moment_stays(
    postgresql: Postgresql, superuser: asyncpg.Connection, runtime: PostgresqlStores
) -> None:
    tenant_id = runtime.stores.tenant_id
    tenant = await name_of(superuser, tenant_id)
    conversation = await Past(superuser, tenant_id).conversation(OLD)
    async with superuser.transaction():  # a turn's first statement, not committed yet
        await superuser.execute("UPDATE syntera.conversations SET updated_at = now() WHERE id = $1", conversation)

        assert await expire(postgresql, tenant) == {"messages": 1}

    assert await expire(postgresql, tenant) == {}
    begun = await runtime.stores.turns.begin_turn(
        tenant_id, ConversationId(conversation), owner=None, start=make_start(), content="Hi", history=5
    )
    assert begun.history == ()


async def test_turn_that_begins_while_its_conversation_is_deleted_finds_none(
    postgresql: Postgresql,
    superuser: asyncpg.Connection,
    runtime: PostgresqlStores,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tenant_id = runtime.stores.tenant_id
    tenant = await name_of(superuser, tenant_id)
    conversation = await Past(superuser, tenant_id).conversation(OLD)
    hold = _hold_after_deleting(monkeypatch, "conversations")
    expiring = asyncio.create_task(expire(postgresql, tenant))
    await hold.reached.wait()
    begin = runtime.stores.turns.begin_turn(
        tenant_id, ConversationId(conversation), owner=None, start=make_start(), content="Hi", history=5
    )
    beginning = asyncio.create_task(begin)
    await wait_for_lock(superuser, database)

    hold.go_on.set()

    with pytest.raises(ConversationNotFound):
        await beginning
    assert await expiring == {"messages": 1, "conversations": 1}


async def test_feedback_on_a_reply_that_is_being_deleted_is_told_so(
    postgresql: Postgresql,
    superuser: asyncpg.Connection,
    runtime: PostgresqlStores,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tenant_id = runtime.stores.tenant_id
    tenant = await name_of(superuser, tenant_id)
    past = Past(superuser, tenant_id)
    conversation = await past.conversation(OLD, said=RECENT)
    [reply] = await past.turns(conversation, OLD)
    hold = _hold_after_deleting(monkeypatch, "turns")
    expiring = asyncio.create_task(expire(postgresql, tenant))
    await hold.reached.wait()
    feedback = Feedback(MessageId(reply), "b", Rating.UP, None, datetime.now(UTC))
    giving = asyncio.create_task(runtime.stores.editor.put_feedback(tenant_id, ConversationId(conversation), feedback))
    await wait_for_lock(superuser, database)

    hold.go_on.set()

    with pytest.raises(MessageNotFound):
        await giving
    assert await expiring == {"turns": 1, "messages": 3, "feedback": 1}


async def test_turns_of_runtimes_and_rounds_of_retention_go_on_beside_one_another(
    postgresql: Postgresql, superuser: asyncpg.Connection, runtime: PostgresqlStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old conversations are spoken in while they are deleted: each turn ends, or its conversation is gone altogether."""
    monkeypatch.setattr(retention, "_WINDOW_ROWS", 3)
    stores, tenant_id = runtime.stores, runtime.stores.tenant_id
    tenant = await name_of(superuser, tenant_id)
    past = Past(superuser, tenant_id)
    conversations = [await past.conversation(OLD) for _ in range(40)]
    for conversation in conversations:
        await past.turns(conversation, OLD, number=2)

    async def speak(conversation: UUID) -> bool:
        try:
            begun = await stores.turns.begin_turn(
                tenant_id, ConversationId(conversation), owner=None, start=make_start(), content="Hi", history=5
            )
        except ConversationNotFound:
            return False
        await stores.turns.end_turn(
            tenant_id,
            begun,
            outcome=TurnOutcome(endpoint="stand-in", model="echo", usage=Usage(1, 1)),
            ending=Ending(text="Hello", last_event=begun.last_event + 3),
        )
        return True

    rounds = asyncio.create_task(expire(postgresql, tenant))
    spoken = await asyncio.gather(*(speak(one) for one in reversed(conversations)))
    await rounds
    await expire(postgresql, tenant)

    left = await superuser.fetch(
        "SELECT c.id, array_agg(m.role ORDER BY m.id) AS roles FROM syntera.conversations AS c"
        " LEFT JOIN syntera.messages AS m ON m.conversation_id = c.id WHERE c.tenant_id = $1 GROUP BY c.id",
        tenant_id,
    )
    answered = {one for one, was_answered in zip(reversed(conversations), spoken, strict=True) if was_answered}
    assert {row["id"] for row in left} == answered
    assert all(row["roles"] == ["user", "assistant"] for row in left)
    assert (await count(superuser, tenant_id)).get("turns", 0) == len(answered)


class _Hold:
    """Stops a transaction after its deletions, before it is committed."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()


def _hold_after_deleting(monkeypatch: pytest.MonkeyPatch, table: str) -> _Hold:
    hold, delete = _Hold(), retention._delete

    async def delete_and_wait(
        connection: Any, tenant_id: UUID, expiring: retention.Expiring, *arguments: Any, **named: Any
    ) -> Mapping[str, int]:
        deleted = await delete(connection, tenant_id, expiring, *arguments, **named)
        if expiring.table == table:
            hold.reached.set()
            await hold.go_on.wait()
        return deleted

    monkeypatch.setattr(retention, "_delete", delete_and_wait)
    return hold
