"""A tenant's whole life in its stores: made, released, taken back, erased, with stores that come and go."""

import asyncio
import json
import socket
import subprocess
import sys
import time
from uuid import UUID, uuid4

import asyncpg
import pytest
import redis.asyncio

from syntera_crds.contract.names import redis_key_prefix, tenant_login
from syntera_operator.errors import LeadershipLost, StoreRefused, StoreUnavailable
from syntera_operator.stores import erasure
from syntera_operator.stores.postgresql import PostgresqlSettings
from syntera_operator.stores.redis_acl import RedisSettings
from syntera_operator.stores.tenant_stores import TenantStores
from tests.support.postgresql import Database, TenantLogin
from tests.support.redis_server import RedisServer

from .catalogue import PLATFORM_TABLES
from .conftest import add_conversation, add_knowledge, add_webhook, connected, make_stores

USAGE = ("usage_days", "usage_totals", "usage_conversations")
FILES = ("files", "file_chunks")
KNOWLEDGE = (
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
TABLES = (
    "api_keys",
    "contacts",
    "conversations",
    "turns",
    "messages",
    "feedback",
    "outbox",
    "outbox_readers",
    "webhooks",
    "webhook_deliveries",
    "audit_log",
    *FILES,
    *USAGE,
    *KNOWLEDGE,
)
KNOWN = {**dict.fromkeys(KNOWLEDGE, 1), "knowledge_chunks": 2}
"""Words are counted where two chunks hold them."""
ONE_OF_EACH = {**dict.fromkeys(TABLES, 1), "outbox": 7, **KNOWN}
"""The outbox tells of each of the others that people see, and of a turn that it ran once more."""


async def make_tenant(stores: TenantStores, *, conversations: int = 1, messages: int = 1) -> tuple[TenantLogin, str]:
    """A tenant with everything it may have, and its Redis URL."""
    name = f"tenant-{uuid4().hex[:8]}"
    tenant_id = await stores.identify(name)
    login = TenantLogin(tenant_id, name, await stores.ensure_database(tenant_id, current_url=None))
    cache_url = await stores.ensure_cache(tenant_id, current_url=None)
    await stores.ensure_admin_key(tenant_id, current=None)
    async with connected(login.dsn) as own:
        for _ in range(conversations):
            await add_conversation(own, login, messages=messages)
        # What a turn used is counted when it ends.
        await own.execute("UPDATE syntera.turns SET state = 'running', lease_expires_at = now(), ended_at = NULL")
        await own.execute("UPDATE syntera.turns SET state = 'complete', prompt_tokens = 1, ended_at = now()")
        await add_webhook(own, login)
        await add_knowledge(own, login)
    async with redis.asyncio.Redis.from_url(cache_url) as client:
        await client.set(f"{redis_key_prefix(tenant_id)}key", "value")
    return login, cache_url


async def count_rows(database: Database, tenant_id: UUID) -> dict[str, int]:
    """How many rows of the tenant each table holds."""
    async with connected(database.superuser_dsn) as superuser:
        return {
            table: await superuser.fetchval(f"SELECT count(*) FROM syntera.{table} WHERE tenant_id = $1", tenant_id)
            for table in TABLES
        }


async def role_exists(database: Database, tenant_id: UUID) -> bool:
    async with connected(database.superuser_dsn) as superuser:
        found = await superuser.fetch("SELECT FROM pg_roles WHERE rolname = $1", tenant_login(tenant_id))
    return bool(found)


async def test_stores_are_not_touched_when_this_process_does_not_lead(
    database: Database, redis_server: RedisServer
) -> None:
    def refuse() -> float:
        raise LeadershipLost

    name, tenant_id = f"tenant-{uuid4().hex[:8]}", uuid4()
    async with make_stores(database, redis_server.url, before_use=refuse) as stores:
        for use in (
            stores.identify(name),
            stores.ensure_database(tenant_id, current_url=None),
            stores.ensure_cache(tenant_id, current_url=None),
            stores.ensure_admin_key(tenant_id, current=None),
            stores.release(tenant_id),
            stores.erase(tenant_id),
        ):
            with pytest.raises(LeadershipLost):
                await use

    assert not await role_exists(database, tenant_id)
    async with make_stores(database, redis_server.url) as stores:
        assert await stores.find(name) is None


async def test_use_of_a_store_gets_only_the_time_that_is_left_of_the_lease(database: Database) -> None:
    with socket.socket() as black_hole:
        black_hole.bind(("127.0.0.1", 0))
        black_hole.listen()
        port = black_hole.getsockname()[1]
        settings = PostgresqlSettings(url=f"postgresql://x:y@127.0.0.1:{port}/x")
        redis_settings = RedisSettings(url=f"redis://x:y@127.0.0.1:{port}/0")
        async with TenantStores(settings, redis_settings, before_use=lambda: 0.3) as stores:
            started = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await stores.find("acme")
            with pytest.raises(StoreUnavailable):
                await stores.ensure_cache(uuid4(), current_url=None)

    assert time.monotonic() - started < 10  # the stores' own deadlines are 10 seconds each


async def test_tables_under_test_are_all_tables_of_tenants(database: Database) -> None:
    async with connected(database.superuser_dsn) as superuser:
        rows = await superuser.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'syntera'")

    assert {row["tablename"] for row in rows} - PLATFORM_TABLES == set(TABLES)


async def test_released_tenant_has_no_way_in_and_keeps_its_rows(stores: TenantStores, database: Database) -> None:
    tenant, cache_url = await make_tenant(stores)
    before = await count_rows(database, tenant.tenant_id)

    for _ in range(2):
        await stores.release(tenant.tenant_id)

    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await asyncpg.connect(tenant.dsn)
    async with redis.asyncio.Redis.from_url(cache_url) as client:
        with pytest.raises(redis.exceptions.AuthenticationError):
            await client.ping()
    assert await count_rows(database, tenant.tenant_id) == before == ONE_OF_EACH


async def test_tenant_that_comes_back_finds_its_rows(stores: TenantStores, database: Database) -> None:
    tenant, _ = await make_tenant(stores)
    await stores.release(tenant.tenant_id)

    assert await stores.identify(tenant.name) == tenant.tenant_id
    url = await stores.ensure_database(tenant.tenant_id, current_url=None)
    cache_url = await stores.ensure_cache(tenant.tenant_id, current_url=None)

    async with connected(url) as own:
        assert await own.fetchval("SELECT count(*) FROM syntera.messages") == 1
    async with redis.asyncio.Redis.from_url(cache_url) as client:
        assert await client.get(f"{redis_key_prefix(tenant.tenant_id)}key") == b"value"


async def test_erased_tenant_leaves_a_receipt_and_nothing_else(
    stores: TenantStores, database: Database, redis_server: RedisServer
) -> None:
    tenant, _ = await make_tenant(stores, conversations=2, messages=3)
    other, other_cache = await make_tenant(stores)

    receipt = await stores.erase(tenant.tenant_id)

    assert receipt.completed_at is not None
    assert receipt.tenant_name == tenant.name
    assert receipt.rows == {
        "api_keys": 1,
        "contacts": 2,
        "conversations": 2,
        "turns": 2,
        "messages": 6,
        "feedback": 6,
        "usage_days": 1,
        "usage_totals": 1,
        "usage_conversations": 2,
        "audit_log": 2,
        "files": 2,
        "file_chunks": 2,
        "outbox": 22,
        "outbox_readers": 1,
        "webhooks": 1,
        "webhook_deliveries": 1,
        **KNOWN,
        "redis keys": 1,
    }
    assert await count_rows(database, tenant.tenant_id) == dict.fromkeys(TABLES, 0)
    assert not await role_exists(database, tenant.tenant_id)
    assert await stores.find(tenant.name) is None
    async with redis.asyncio.Redis.from_url(redis_server.url, decode_responses=True) as operator:
        assert [key async for key in operator.scan_iter(f"{redis_key_prefix(tenant.tenant_id)}*")] == []
        assert tenant_login(tenant.tenant_id) not in await operator.acl_users()
    # The neighbour lives on.
    assert await count_rows(database, other.tenant_id) == ONE_OF_EACH
    assert await stores.ensure_database(other.tenant_id, current_url=other.dsn) == other.dsn
    assert await stores.ensure_cache(other.tenant_id, current_url=other_cache) == other_cache


async def test_erasing_again_gives_the_same_receipt(stores: TenantStores) -> None:
    tenant, _ = await make_tenant(stores)
    receipt = await stores.erase(tenant.tenant_id)

    assert await stores.erase(tenant.tenant_id) == receipt


async def test_same_name_is_a_new_tenant_after_an_erasure(stores: TenantStores) -> None:
    tenant, _ = await make_tenant(stores)
    await stores.erase(tenant.tenant_id)

    assert await stores.identify(tenant.name) != tenant.tenant_id


async def test_erasing_somebody_unknown_is_refused(stores: TenantStores) -> None:
    with pytest.raises(StoreRefused, match="no tenant"):
        await stores.erase(uuid4())


async def test_erasing_ends_open_sessions_first(stores: TenantStores, database: Database) -> None:
    tenant, _ = await make_tenant(stores)
    session = await asyncpg.connect(tenant.dsn)
    transaction = session.transaction()
    await transaction.start()
    await add_conversation(session, tenant)

    receipt = await stores.erase(tenant.tenant_id)

    assert receipt.rows["conversations"] == 1
    assert await count_rows(database, tenant.tenant_id) == dict.fromkeys(TABLES, 0)
    await session.close()


async def test_erasure_goes_on_where_it_was_cut_off(
    database: Database, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "_BATCH_ROWS", 2)
    async with make_stores(database, redis_server.url) as stores:
        tenant, _ = await make_tenant(stores, messages=9)
        batches = 0
        erase_batch = erasure.Erasure._erase_batch

        async def fail_at_the_third(self: erasure.Erasure, tenant_id: UUID, table: str) -> int:
            nonlocal batches
            batches += 1
            if batches == 3:
                raise StoreUnavailable(store="PostgreSQL")
            return await erase_batch(self, tenant_id, table)

        monkeypatch.setattr(erasure.Erasure, "_erase_batch", fail_at_the_third)
        with pytest.raises(StoreUnavailable):
            await stores.erase(tenant.tenant_id)
        async with connected(database.superuser_dsn) as superuser:
            interrupted = await superuser.fetchrow(
                "SELECT rows, completed_at FROM syntera.erasure_receipts WHERE tenant_id = $1", tenant.tenant_id
            )
        assert interrupted is not None
        assert interrupted["completed_at"] is None
        erased_so_far = sum(json.loads(interrupted["rows"]).values())
        assert 0 < erased_so_far < 24
        assert await stores.find(tenant.name) == tenant.tenant_id

        receipt = await stores.erase(tenant.tenant_id)

    assert receipt.rows == {
        "api_keys": 1,
        "contacts": 1,
        "conversations": 1,
        "turns": 1,
        "messages": 9,
        "feedback": 9,
        **dict.fromkeys(USAGE, 1),
        "audit_log": 1,
        "files": 1,
        "file_chunks": 1,
        "outbox": 23,
        "outbox_readers": 1,
        "webhooks": 1,
        "webhook_deliveries": 1,
        **KNOWN,
        "redis keys": 1,
    }
    assert receipt.completed_at is not None


async def test_erasure_waits_for_redis_and_is_finished_when_it_is_back(database: Database) -> None:
    server = RedisServer(RedisServer.default_binary())
    server.start()
    async with make_stores(database, server.url) as stores:
        tenant, _ = await make_tenant(stores)
        server.stop()

        with pytest.raises(StoreUnavailable) as caught:
            await stores.erase(tenant.tenant_id)
        assert caught.value.store == "Redis"
        assert await stores.find(tenant.name) == tenant.tenant_id
        with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
            await asyncpg.connect(tenant.dsn)

        server.start()
        assert (await stores.erase(tenant.tenant_id)).completed_at is not None
    server.remove()


@pytest.mark.parametrize(
    "call",
    ["find", "identify", "ensure_database", "ensure_cache", "ensure_admin_key", "release", "erase", "cache_run_id"],
)
async def test_every_call_says_that_its_store_is_away_within_the_deadline(call: str) -> None:
    nowhere = Database(
        port=1,
        name="syntera",
        superuser_dsn="",
        operator_dsn="postgresql://syntera_operator:x@127.0.0.1:1/syntera",
    )
    arguments: dict[str, tuple[tuple[object, ...], dict[str, object]]] = {
        "find": (("x",), {}),
        "identify": (("x",), {}),
        "ensure_database": ((uuid4(),), {"current_url": None}),
        "ensure_cache": ((uuid4(),), {"current_url": None}),
        "ensure_admin_key": ((uuid4(),), {"current": None}),
        "release": ((uuid4(),), {}),
        "erase": ((uuid4(),), {}),
        "cache_run_id": ((), {}),
    }
    positional, named = arguments[call]
    async with make_stores(nowhere, "redis://syntera_operator:x@127.0.0.1:1/0", deadline_seconds=1) as stores:
        started = time.monotonic()

        with pytest.raises(StoreUnavailable) as caught:
            await getattr(stores, call)(*positional, **named)

    assert caught.value.store == ("Redis" if "cache" in call else "PostgreSQL")
    assert time.monotonic() - started < 10


async def test_many_tenants_at_once_get_a_login_each(database: Database, redis_server: RedisServer) -> None:
    # All of them wait for the same few connections, and that counts.
    async with make_stores(database, redis_server.url, deadline_seconds=120) as stores:
        made = await asyncio.gather(*(make_tenant(stores) for _ in range(25)))

    assert len({tenant.tenant_id for tenant, _ in made}) == 25


async def test_two_leaders_at_once_agree_on_one_identity(database: Database, redis_server: RedisServer) -> None:
    name = f"tenant-{uuid4().hex[:8]}"
    async with make_stores(database, redis_server.url) as one, make_stores(database, redis_server.url) as two:
        answers = await asyncio.gather(*(leader.identify(name) for leader in (one, two) * 4), return_exceptions=True)
        found = await one.find(name)

    assert {answer for answer in answers if isinstance(answer, UUID)} == {found}
    assert all(isinstance(answer, UUID | StoreUnavailable) for answer in answers)


def test_stores_keep_the_migrations_libraries_out_of_the_operator_s_memory() -> None:
    program = "import sys, syntera_operator.stores.tenant_stores; print({'alembic', 'sqlalchemy'} & set(sys.modules))"

    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)

    assert loaded.stdout.strip() == "set()"
