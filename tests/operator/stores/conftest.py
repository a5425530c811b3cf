"""Stores as the operator finds them, on every version that is supported."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
import pytest_asyncio

from syntera_kube import BeforeWrite
from syntera_operator.stores.postgresql import Postgresql, PostgresqlSettings
from syntera_operator.stores.redis_acl import RedisSettings
from syntera_operator.stores.tenant_stores import TenantStores
from tests.support.postgresql import VERSIONS, Database, PostgresqlServer, PostgresqlServers, TenantLogin
from tests.support.redis_server import RedisServer, redis_binaries


@pytest.fixture(scope="session", params=VERSIONS, ids="postgresql-{}".format)
def server(postgresql_servers: PostgresqlServers, request: pytest.FixtureRequest) -> PostgresqlServer:
    """A server of each version."""
    return postgresql_servers.get(request.param)


@pytest.fixture(scope="session")
def database(server: PostgresqlServer) -> Database:
    """A ready database on each version; tests make tenants of their own in it."""
    return asyncio.run(server.create_ready_database())


@pytest.fixture(scope="session", params=sorted(redis_binaries()))
def any_redis(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """Valkey, and Redis where the machine has it."""
    running = RedisServer(redis_binaries()[request.param])
    running.start()
    yield running
    running.remove()


@pytest_asyncio.fixture
async def postgresql(database: Database) -> AsyncIterator[Postgresql]:
    """The operator's way into the database."""
    opened = Postgresql(PostgresqlSettings(url=database.operator_dsn))
    yield opened
    await opened.aclose()


@pytest_asyncio.fixture
async def stores(database: Database, redis_server: RedisServer) -> AsyncIterator[TenantStores]:
    """What the operator works with."""
    async with make_stores(database, redis_server.url) as made:
        yield made


def make_stores(
    database: Database, redis_url: str, *, deadline_seconds: float = 10, before_use: BeforeWrite = lambda: None
) -> TenantStores:
    """Stores with the settings that a test is about."""
    return TenantStores(
        PostgresqlSettings(url=database.operator_dsn, deadline_seconds=deadline_seconds),
        RedisSettings(url=redis_url, deadline_seconds=deadline_seconds),
        before_use=before_use,
    )


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection that is closed again."""
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def add_conversation(connection: asyncpg.Connection, tenant: TenantLogin, *, messages: int = 1) -> None:
    """A contact's conversation with a finished turn, some messages with feedback and a file of one piece, and an administrative
    act, written as the tenant or by somebody who may."""
    await connection.execute(
        """
        WITH contact AS (
          INSERT INTO syntera.contacts (tenant_id, id) VALUES ($1, gen_random_uuid()) RETURNING id
        ), conversation AS (
          INSERT INTO syntera.conversations (tenant_id, id, agent, contact_id)
          SELECT $1, gen_random_uuid(), 'travel', id FROM contact RETURNING id
        ), turn AS (
          INSERT INTO syntera.turns (tenant_id, id, conversation_id, agent, agent_revision, state, ended_at)
          SELECT $1, gen_random_uuid(), id, 'travel', 1, 'complete', now() FROM conversation RETURNING id
        ), message AS (
          INSERT INTO syntera.messages (tenant_id, id, conversation_id, turn_id, role, state, content)
          SELECT $1, gen_random_uuid(), conversation.id, turn.id, 'user', 'complete', 'hello'
          FROM conversation, turn, generate_series(1, $2)
          RETURNING id
        ), file AS (
          INSERT INTO syntera.files (tenant_id, id, conversation_id, message_id, storage, name)
          SELECT $1, gen_random_uuid(), conversation.id, message.id, 'postgresql', 'beach.png'
          FROM conversation, message LIMIT 1
          RETURNING id
        ), piece AS (
          INSERT INTO syntera.file_chunks (tenant_id, file_id, number, content) SELECT $1, id, 0, 'x' FROM file
        ), act AS (
          INSERT INTO syntera.audit_log (tenant_id, id, at, operation, subject, targets, request_id)
          VALUES ($1, gen_random_uuid(), now(), 'revokeApiKey', 'somebody', '{}', 'request')
        )
        INSERT INTO syntera.feedback (tenant_id, message_id, author, rating) SELECT $1, id, 'somebody', 'up' FROM message
        """,
        tenant.tenant_id,
        messages,
    )


async def add_webhook(connection: asyncpg.Connection, tenant: TenantLogin) -> None:
    """An endpoint with a delivery, and the reader that made it, written as the tenant."""
    await connection.execute(
        """
        WITH reader AS (
          INSERT INTO syntera.outbox_readers (tenant_id, name) VALUES ($1, 'webhooks')
        ), webhook AS (
          INSERT INTO syntera.webhooks (tenant_id, id, url, created_by)
          VALUES ($1, gen_random_uuid(), 'https://hooks.example/', 'somebody') RETURNING id
        )
        INSERT INTO syntera.webhook_deliveries (tenant_id, id, webhook_id, event_id, type, occurred_at)
        SELECT $1, gen_random_uuid(), id, gen_random_uuid(), 'webhook.test', now() FROM webhook
        """,
        tenant.tenant_id,
    )
