"""Stores as the operator finds them, on every version that is supported."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from uuid import UUID

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


async def add_knowledge(connection: asyncpg.Connection, tenant: TenantLogin, *, content: str = "one") -> UUID:
    """A knowledge base with one of everything, but two chunks that share a word, written as the tenant; the id of its index."""
    base = await connection.fetchval("SELECT syntera.ensure_knowledge_base(gen_random_uuid(), 'handbook')")
    index: UUID = await connection.fetchval(
        """
        INSERT INTO syntera.knowledge_indexes (tenant_id, id, knowledge_base_id, number, fingerprint, dimensions, storage)
        VALUES ($1, gen_random_uuid(), $2, 1, 'f', 3, 'common') RETURNING id
        """,
        tenant.tenant_id, base,
    )  # fmt: skip
    await connection.execute(
        """
        WITH document AS (
          INSERT INTO syntera.knowledge_documents (
            tenant_id, id, knowledge_base_id, source, path, path_hash, title, media_type, audience, state
          ) VALUES ($1, gen_random_uuid(), $2, 'docs', $4, sha256('a'), $4, 'text/plain', '{public}', 'indexed') RETURNING id
        ), text AS (
          INSERT INTO syntera.knowledge_texts (tenant_id, document_id, text) SELECT $1, id, $4 FROM document
        ), held AS (
          INSERT INTO syntera.knowledge_index_documents (tenant_id, index_id, document_id, content_hash, reader, chunks)
          SELECT $1, $3, id, sha256('a'), 'r', 2 FROM document
        ), chunk AS (
          INSERT INTO syntera.knowledge_chunks (
            tenant_id, index_id, document_id, position, id, hash, starts, ends, overlap, tokens, language, headings, content
          ) SELECT $1, $3, document.id, n, gen_random_uuid(), substr(sha256('a'), 1, 16), 0, 1, 0, 1, '', '{}',
            'shared ' || CASE n WHEN 1 THEN $4::text ELSE '' END
          FROM document, generate_series(1, 2) AS n
        ), vector AS (
          INSERT INTO syntera.knowledge_vectors (tenant_id, index_id, hash, vector)
          VALUES ($1, $3, substr(sha256('a'), 1, 16), '[1,0,0]'::extensions.halfvec)
        )
        INSERT INTO syntera.knowledge_syncs (tenant_id, id, knowledge_base_id, trigger, revision, failures)
        VALUES ($1, gen_random_uuid(), $2, 'request', 1, jsonb_build_array($4::text))
        """,
        tenant.tenant_id, base, index, content,
    )  # fmt: skip
    await connection.execute("SELECT syntera.count_words($1)", index)
    await connection.execute("UPDATE syntera.knowledge_indexes SET state = 'active' WHERE id = $1", index)
    return index
