"""Stores for runtime tests: in memory and in PostgreSQL, behind the same protocols."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.adapters.postgresql.api_keys import PostgresqlApiKeys
from syntera_runtime.adapters.postgresql.conversations import PostgresqlConversations
from syntera_runtime.adapters.postgresql.pool import Pool
from syntera_runtime.adapters.postgresql.turns import PostgresqlTurns
from syntera_runtime.ids import new_id
from syntera_runtime.models import StoredApiKey, TenantId
from syntera_runtime.ports import ApiKeyStore, ConversationStore, TurnStore
from tests.support.postgresql import VERSIONS, Database, PostgresqlServers


@dataclass(frozen=True, slots=True)
class Stores:
    """All stores of one tenant."""

    tenant_id: TenantId
    api_keys: ApiKeyStore
    conversations: ConversationStore
    turns: TurnStore
    put_api_key: Callable[[StoredApiKey], Awaitable[None]]
    """Stores a key as the operator does."""


def make_memory_stores(store: MemoryStore | None = None) -> Stores:
    """A new tenant of `store`, or of a store of its own."""
    store = store or MemoryStore()
    tenant_id = TenantId(new_id())

    async def put_api_key(key: StoredApiKey) -> None:
        store.put_api_key(tenant_id, key)

    return Stores(tenant_id, store, store, store, put_api_key)


@dataclass(frozen=True, slots=True)
class PostgresqlStores:
    """One tenant's stores on a real server, with its own login."""

    stores: Stores
    pool: Pool
    url_file: Path
    database: Database


async def make_postgresql_stores(database: Database, folder: Path) -> PostgresqlStores:
    """A new tenant of `database`; close its pool."""
    login = await database.make_tenant()
    url_file = folder / f"postgresql-url-{login.tenant_id}"
    url_file.write_text(login.dsn)
    pool = await Pool(url_file, connections=4, seconds=5, application="test").__aenter__()
    tenant_id = TenantId(login.tenant_id)

    async def put_api_key(key: StoredApiKey) -> None:
        await insert_api_key(database, tenant_id, key)

    stores = Stores(
        tenant_id, PostgresqlApiKeys(pool), PostgresqlConversations(pool), PostgresqlTurns(pool), put_api_key
    )
    return PostgresqlStores(stores, pool, url_file, database)


async def insert_api_key(database: Database, tenant_id: UUID, key: StoredApiKey) -> None:
    """Store a key; tenants may not."""
    connection = await asyncpg.connect(database.superuser_dsn)
    try:
        await connection.execute(
            "INSERT INTO syntera.api_keys (tenant_id, id, kind, lookup, hash, name, made_by, scopes, expires_at, revoked_at)"
            " VALUES ($1, $2, $3, $4, $5, 'test', 'tenant', $6, $7, $8)",
            tenant_id,
            key.id,
            key.kind.value,
            key.lookup,
            key.hash,
            sorted(key.scopes),
            key.expires_at,
            key.revoked_at,
        )
    finally:
        await connection.close()


@pytest.fixture
async def postgresql_stores(database: Database, tmp_path: Path) -> AsyncIterator[PostgresqlStores]:
    """A tenant of its own in the session's database."""
    made = await make_postgresql_stores(database, tmp_path)
    yield made
    await made.pool.aclose()


@pytest.fixture(scope="session")
def oldest_database(postgresql_servers: PostgresqlServers) -> Database:
    """As `database`, on the oldest PostgreSQL that is supported."""
    return asyncio.run(postgresql_servers.get(min(VERSIONS)).create_ready_database())


@pytest.fixture
async def oldest_postgresql_stores(oldest_database: Database, tmp_path: Path) -> AsyncIterator[PostgresqlStores]:
    """A tenant of its own in that database."""
    made = await make_postgresql_stores(oldest_database, tmp_path)
    yield made
    await made.pool.aclose()


@pytest.fixture(params=["memory", "postgresql_stores", "oldest_postgresql_stores"])
def stores(request: pytest.FixtureRequest) -> Stores:
    """Each implementation of the stores in turn."""
    # Not async: the fixtures behind it run an event loop of their own while they start a server.
    if request.param == "memory":
        return make_memory_stores()
    made: PostgresqlStores = request.getfixturevalue(request.param)
    return made.stores
