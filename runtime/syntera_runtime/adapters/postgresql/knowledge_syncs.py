"""Syncs and the versions of an index that they fill, and the lock under which all of it is written.

The lock of a knowledge base is an advisory one of a connection of its own, taken by a function of the owner's, because tenants
may take none themselves. A connection that is lost has lost it; from then on nothing more is written.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from datetime import timedelta

import asyncpg
from asyncpg import Record

from ...errors import StoreUnavailable
from ...ids import new_id
from ...models.ids import KnowledgeBaseId, TenantId
from ...models.knowledge import (
    Index,
    IndexModel,
    IndexStorage,
    KnowledgeBase,
    Sync,
)
from .knowledge_editor import SYNC_COLUMNS, ensure_knowledge_base, read_sync
from .knowledge_reader import FIND_KNOWLEDGE_BASE
from .knowledge_rows import (
    INDEX_COLUMNS,
    clean,
    read_index,
    write_json,
)
from .pool import STORE, Connection, Pool, is_lost

_KEPT_SYNCS = 50

_STEP = 200
"""Documents whose chunks are deleted by one statement."""

_PULSE_SECONDS = 60.0
"""How often the connection that holds the lock is used, so that nothing between here and the server takes it for dead."""

_COUNT_SECONDS = 600.0
"""Words of large indexes are counted for long: a hundred thousand chunks take some ten seconds."""

_BEGIN_SYNC = f"""
INSERT INTO syntera.knowledge_syncs (tenant_id, id, knowledge_base_id, trigger, revision) VALUES ($1, $2, $3, $4, $5)
RETURNING {SYNC_COLUMNS}
"""  # noqa: S608  # the columns are a constant

_KILL_SYNCS = """
UPDATE syntera.knowledge_syncs SET state = 'failed', ended_at = now(), failure = 'killed'
WHERE tenant_id = $1 AND knowledge_base_id = $2 AND state = 'running'
"""

_REPORT_SYNC = """
UPDATE syntera.knowledge_syncs SET state = $3, ended_at = $4, index_number = $5, estimated_tokens = $6, counts = $7,
  failures = $8, failure = $9, message = $10
WHERE tenant_id = $1 AND id = $2
"""

_GIVE_UP_INDEXES = """
UPDATE syntera.knowledge_indexes SET state = 'retired', retired_at = now()
WHERE tenant_id = $1 AND knowledge_base_id = $2 AND state = 'building' AND fingerprint <> $3
"""

_FIND_INDEX = f"""
SELECT {INDEX_COLUMNS} FROM syntera.knowledge_indexes AS i
WHERE i.tenant_id = $1 AND i.knowledge_base_id = $2 AND i.fingerprint = $3 AND i.doomed_at IS NULL
ORDER BY array_position(ARRAY['active', 'building', 'retired'], i.state), i.number DESC LIMIT 1
"""  # noqa: S608

_TAKE_UP_INDEX = f"""
UPDATE syntera.knowledge_indexes AS i SET state = 'building', retired_at = NULL
WHERE i.tenant_id = $1 AND i.id = $2 RETURNING {INDEX_COLUMNS}
"""  # noqa: S608

_NOTE_MODEL = f"""
UPDATE syntera.knowledge_indexes AS i SET embedding = $3
WHERE i.tenant_id = $1 AND i.id = $2 AND i.embedding IS DISTINCT FROM $3 RETURNING {INDEX_COLUMNS}
"""  # noqa: S608

_NEXT_NUMBER = """
UPDATE syntera.knowledge_bases SET last_index = last_index + 1 WHERE tenant_id = $1 AND id = $2 RETURNING last_index
"""

_ADD_INDEX = f"""
INSERT INTO syntera.knowledge_indexes AS i (
  tenant_id, id, knowledge_base_id, number, fingerprint, dimensions, storage, pinecone_host, embedding
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING {INDEX_COLUMNS}
"""  # noqa: S608

_LIST_INDEXES = f"""
SELECT {INDEX_COLUMNS} FROM syntera.knowledge_indexes AS i
WHERE i.tenant_id = $1 AND i.knowledge_base_id = $2 ORDER BY i.number
"""  # noqa: S608

_RETIRE_ACTIVE = """
UPDATE syntera.knowledge_indexes SET state = 'retired', retired_at = now()
WHERE tenant_id = $1 AND knowledge_base_id = $2 AND state = 'active' AND id <> $3
"""

_ACTIVATE = """
UPDATE syntera.knowledge_indexes SET state = 'active', activated_at = now(), retired_at = NULL
WHERE tenant_id = $1 AND id = $2 AND state <> 'active'
"""

_DOOM_EXPIRED = f"""
UPDATE syntera.knowledge_indexes AS i SET doomed_at = coalesce(i.doomed_at, now())
WHERE i.tenant_id = $1 AND i.knowledge_base_id = $2 AND i.state = 'retired' AND (
  i.doomed_at IS NOT NULL OR i.activated_at IS NULL OR i.retired_at <= now() - $3::interval
) RETURNING {INDEX_COLUMNS}
"""  # noqa: S608


class KnowledgeSyncs:
    """The part of `KnowledgeWriter` that is not about documents, on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._holders: dict[KnowledgeBaseId, Connection] = {}

    @asynccontextmanager
    async def lock(self, tenant_id: TenantId, name: str) -> AsyncIterator[KnowledgeBase | None]:
        """See `KnowledgeWriter`."""
        async with self._pool.connection("hold_knowledge_base", is_background=True) as connection:
            await ensure_knowledge_base(connection, name)
            row = await connection.fetchrow(FIND_KNOWLEDGE_BASE, tenant_id, clean(name))
            base_id = None if row is None else KnowledgeBaseId(row["base_id"])
            if base_id is None or not await connection.fetchval("SELECT syntera.lock_knowledge_base($1)", base_id):
                yield None
                return
            # Read again: whoever had the lock until now may have changed it, or erased it.
            row = await connection.fetchrow(FIND_KNOWLEDGE_BASE, tenant_id, clean(name))
            self._holders[base_id] = connection
            pulse = asyncio.create_task(_keep_alive(connection))
            try:
                yield None if row is None else _read_base(row, name)
            finally:
                pulse.cancel()
                await asyncio.gather(pulse, return_exceptions=True)
                del self._holders[base_id]
                if not is_lost(connection):
                    await connection.execute("SELECT syntera.unlock_knowledge_base($1)", base_id)

    async def begin_sync(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, *, trigger: str, revision: int
    ) -> Sync:
        """See `KnowledgeWriter`."""
        async with self._transaction("begin_sync") as connection:
            await connection.execute(_KILL_SYNCS, tenant_id, knowledge_base_id)
            await connection.execute("SELECT syntera.prune_syncs($1, $2)", knowledge_base_id, _KEPT_SYNCS)
            values = (tenant_id, new_id(), knowledge_base_id, clean(trigger), revision)
            row = await connection.fetchrow(_BEGIN_SYNC, *values)
        assert row is not None
        return read_sync(row)

    async def report_sync(self, tenant_id: TenantId, sync: Sync) -> None:
        """See `KnowledgeWriter`."""
        failures = [
            {
                "source": failure.source,
                "document": failure.document,
                "reason": failure.reason,
                "message": failure.message,
            }
            for failure in sync.failures
        ]
        values = (sync.state, sync.ended_at, sync.index_number, sync.estimated_tokens, write_json(asdict(sync.counts)))
        texts = (write_json(failures), sync.failure, None if sync.message is None else clean(sync.message))
        async with self._connection("report_sync") as connection:
            await connection.execute(_REPORT_SYNC, tenant_id, sync.id, *values, *texts)

    async def open_index(
        self,
        tenant_id: TenantId,
        knowledge_base_id: KnowledgeBaseId,
        *,
        fingerprint: str,
        dimensions: int,
        pinecone_host: str | None = None,
        embedding: IndexModel | None = None,
    ) -> Index:
        """See `KnowledgeWriter`."""
        async with self._transaction("open_index") as connection:
            await connection.execute(_GIVE_UP_INDEXES, tenant_id, knowledge_base_id, fingerprint)
            row = await connection.fetchrow(_FIND_INDEX, tenant_id, knowledge_base_id, fingerprint)
            if row is not None and row["state"] == "retired":
                row = await connection.fetchrow(_TAKE_UP_INDEX, tenant_id, row["id"])
            model = None if embedding is None else write_json(asdict(embedding))
            if row is None:
                number = await connection.fetchval(_NEXT_NUMBER, tenant_id, knowledge_base_id)
                storage = IndexStorage.COMMON if pinecone_host is None else IndexStorage.PINECONE
                values = (new_id(), knowledge_base_id, number, fingerprint, dimensions, storage, pinecone_host, model)
                row = await connection.fetchrow(_ADD_INDEX, tenant_id, *values)
            elif model is not None:
                row = await connection.fetchrow(_NOTE_MODEL, tenant_id, row["id"], model) or row
        assert row is not None
        return read_index(row)

    async def finish_index(self, tenant_id: TenantId, index: Index) -> None:  # noqa: ARG002  # the function knows the tenant
        """See `KnowledgeWriter`."""
        async with self._connection("finish_index") as connection:
            await connection.execute("SELECT syntera.analyze_knowledge($1)", index.id, timeout=_COUNT_SECONDS)
            await connection.execute("SELECT syntera.count_words($1)", index.id, timeout=_COUNT_SECONDS)

    async def activate_index(self, tenant_id: TenantId, index: Index) -> None:
        """See `KnowledgeWriter`."""
        async with self._transaction("activate_index") as connection:
            await connection.execute(_RETIRE_ACTIVE, tenant_id, index.knowledge_base_id, index.id)
            await connection.execute(_ACTIVATE, tenant_id, index.id)

    async def list_expired_indexes(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, *, kept: timedelta
    ) -> Sequence[Index]:
        """See `KnowledgeWriter`."""
        async with self._connection("list_expired_indexes") as connection:
            rows = await connection.fetch(_DOOM_EXPIRED, tenant_id, knowledge_base_id, kept)
        return sorted((read_index(row) for row in rows), key=lambda index: index.number)

    async def drop_index(self, tenant_id: TenantId, index: Index) -> None:  # noqa: ARG002  # the function knows the tenant
        """See `KnowledgeWriter`."""
        is_more = True
        while is_more:
            async with self._connection("drop_index") as connection:
                is_more = await connection.fetchval("SELECT syntera.erase_index($1, $2)", index.id, _STEP)

    async def erase(self, tenant_id: TenantId, name: str) -> bool:
        """See `KnowledgeWriter`."""
        async with self._connection("erase_knowledge_base") as connection:
            row = await connection.fetchrow(FIND_KNOWLEDGE_BASE, tenant_id, clean(name))
            if row is None:
                return False
            is_more: bool = await connection.fetchval(
                "SELECT syntera.erase_knowledge_base($1, $2)", row["base_id"], _STEP
            )
        return is_more

    async def list_indexes(self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId) -> Sequence[Index]:
        """See `KnowledgeWriter`."""
        async with self._connection("list_indexes") as connection:
            rows = await connection.fetch(_LIST_INDEXES, tenant_id, knowledge_base_id)
        return [read_index(row) for row in rows]

    @asynccontextmanager
    async def _connection(self, operation: str) -> AsyncIterator[Connection]:
        for holder in self._holders.values():
            if is_lost(holder):
                raise StoreUnavailable("The connection that held the knowledge base is lost. Sync again.", store=STORE)
        async with self._pool.connection(operation) as connection:
            yield connection

    @asynccontextmanager
    async def _transaction(self, operation: str) -> AsyncIterator[Connection]:
        async with self._connection(operation) as connection, connection.transaction():
            yield connection


async def _keep_alive(connection: Connection) -> None:
    """Use a connection now and then; a lost one shows by being closed."""
    with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        while not is_lost(connection):
            await asyncio.sleep(_PULSE_SECONDS)
            await connection.execute("SELECT")


def _read_base(row: Record, name: str) -> KnowledgeBase:
    active = None if row["id"] is None else read_index(row)
    return KnowledgeBase(id=KnowledgeBaseId(row["base_id"]), name=name, active=active)
