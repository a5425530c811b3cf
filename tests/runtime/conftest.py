"""Stores for runtime tests: in memory and in PostgreSQL, behind the same protocols."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.adapters.memory_files import MemoryBlobs
from syntera_runtime.adapters.postgresql.api_keys import PostgresqlApiKeys
from syntera_runtime.adapters.postgresql.blobs import PostgresqlBlobs
from syntera_runtime.adapters.postgresql.contacts import PostgresqlContacts
from syntera_runtime.adapters.postgresql.conversations import PostgresqlConversations
from syntera_runtime.adapters.postgresql.deliveries import PostgresqlDeliveries
from syntera_runtime.adapters.postgresql.directory import PostgresqlDirectory
from syntera_runtime.adapters.postgresql.editor import PostgresqlEditor
from syntera_runtime.adapters.postgresql.event_subjects import PostgresqlEventSubjects
from syntera_runtime.adapters.postgresql.files import PostgresqlFiles
from syntera_runtime.adapters.postgresql.outbox import PostgresqlOutbox
from syntera_runtime.adapters.postgresql.pool import Pool
from syntera_runtime.adapters.postgresql.turns import PostgresqlTurns
from syntera_runtime.adapters.postgresql.usage import PostgresqlUsage
from syntera_runtime.adapters.postgresql.webhooks import PostgresqlWebhooks
from syntera_runtime.ids import new_id
from syntera_runtime.models.identity import StoredApiKey
from syntera_runtime.models.ids import TenantId
from syntera_runtime.ports.conversations import ConversationDirectory, ConversationEditor, ConversationStore
from syntera_runtime.ports.files import BlobStore, FileStore
from syntera_runtime.ports.identity import ApiKeyStore, ContactStore, KeyRegister
from syntera_runtime.ports.outbox import Outbox
from syntera_runtime.ports.turns import TurnStore
from syntera_runtime.ports.usage import UsageStore
from syntera_runtime.ports.webhooks import DeliveryStore, EventSubjects, WebhookStore
from tests.support.postgresql import VERSIONS, Database, PostgresqlServers


@dataclass(frozen=True, slots=True)
class Stores:
    """All stores of one tenant."""

    tenant_id: TenantId
    api_keys: ApiKeyStore
    key_register: KeyRegister
    contacts: ContactStore
    conversations: ConversationStore
    turns: TurnStore
    put_api_key: Callable[[StoredApiKey], Awaitable[None]]
    """Stores a key as the operator does."""
    directory: ConversationDirectory
    editor: ConversationEditor
    usage: UsageStore
    files: FileStore
    blobs: BlobStore
    age_files: Callable[[timedelta], Awaitable[None]]
    """Lets all files be that much older."""
    outbox: Outbox
    webhooks: WebhookStore
    deliveries: DeliveryStore
    subjects: EventSubjects


def make_memory_stores(store: MemoryStore | None = None) -> Stores:
    """A new tenant of `store`, or of a store of its own."""
    store = store or MemoryStore()
    tenant_id = TenantId(new_id())

    async def put_api_key(key: StoredApiKey) -> None:
        store.put_api_key(tenant_id, key)

    async def age_files(by: timedelta) -> None:
        store.files.age(tenant_id, by)

    return Stores(
        tenant_id,
        api_keys=store,
        key_register=store,
        contacts=store,
        conversations=store,
        turns=store,
        put_api_key=put_api_key,
        directory=store,
        editor=store,
        usage=store,
        files=store.files,
        blobs=MemoryBlobs(),
        age_files=age_files,
        outbox=store.outbox,
        webhooks=store.webhooks,
        deliveries=store.webhooks,
        subjects=store,
    )


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
    pool = await Pool(url_file, connections=4, seconds=20, application="test").__aenter__()
    tenant_id = TenantId(login.tenant_id)

    async def put_api_key(key: StoredApiKey) -> None:
        await insert_api_key(database, tenant_id, key)

    async def age_files(by: timedelta) -> None:
        async with connected(database.superuser_dsn) as connection:
            await connection.execute(
                "UPDATE syntera.files SET created_at = created_at - $2::interval WHERE tenant_id = $1", tenant_id, by
            )

    api_keys = PostgresqlApiKeys(pool)
    stores = Stores(
        tenant_id,
        api_keys=api_keys,
        key_register=api_keys,
        contacts=PostgresqlContacts(pool),
        conversations=PostgresqlConversations(pool),
        turns=PostgresqlTurns(pool),
        put_api_key=put_api_key,
        directory=PostgresqlDirectory(pool),
        editor=PostgresqlEditor(pool),
        usage=PostgresqlUsage(pool),
        files=PostgresqlFiles(pool),
        blobs=PostgresqlBlobs(pool),
        age_files=age_files,
        outbox=PostgresqlOutbox(pool),
        webhooks=PostgresqlWebhooks(pool),
        deliveries=PostgresqlDeliveries(pool),
        subjects=PostgresqlEventSubjects(pool),
    )
    return PostgresqlStores(stores, pool, url_file, database)


async def insert_api_key(database: Database, tenant_id: UUID, key: StoredApiKey) -> None:
    """Store a key as the operator does."""
    async with connected(database.superuser_dsn) as connection:
        await connection.execute(
            "INSERT INTO syntera.api_keys (tenant_id, id, kind, lookup, hash, name, made_by, scopes, expires_at, revoked_at,"
            " agents, allowed_origins) VALUES ($1, $2, $3, $4, $5, 'test', 'operator', $6, $7, $8, $9, $10)",
            tenant_id,
            key.id,
            key.kind.value,
            key.lookup,
            key.hash,
            sorted(key.scopes),
            key.expires_at,
            key.revoked_at,
            None if key.agents is None else sorted(key.agents),
            sorted(key.allowed_origins),
        )


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the test's own."""
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
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
