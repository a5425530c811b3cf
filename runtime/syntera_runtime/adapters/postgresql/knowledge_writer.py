"""What a sync writes: documents with their chunks, and the versions of an index.

The lock of a knowledge base is an advisory one of a connection of its own, taken by a function of the owner's, because tenants
may take none themselves. A connection that is lost has lost it; from then on the writer refuses to write.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import asyncpg
from asyncpg import Record

from syntera_crds.contract.knowledge_config import EmbeddingModel

from ...errors import StoreUnavailable
from ...ids import new_id
from ...models.ids import DocumentId, FileId, IndexId, KnowledgeBaseId, TenantId
from ...models.knowledge import (
    DocumentFacts,
    DocumentFailure,
    DocumentOrigin,
    DocumentState,
    Extracted,
    Index,
    IndexedChunk,
    IndexStorage,
    KnowledgeBase,
    KnownDocument,
    Sync,
)
from .knowledge_editor import SYNC_COLUMNS, hash_path, read_sync
from .knowledge_reader import FIND_KNOWLEDGE_BASE
from .knowledge_rows import (
    FACTS_COLUMNS,
    INDEX_COLUMNS,
    clean,
    facts_values,
    read_document_failure,
    read_extracted,
    read_facts,
    read_index,
    read_origin,
    write_extracted,
    write_json,
)
from .knowledge_vectors import table_of
from .pool import STORE, Connection, Pool, is_lost

_PAGE = 500
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

_NEXT_NUMBER = """
UPDATE syntera.knowledge_bases SET last_index = last_index + 1 WHERE tenant_id = $1 AND id = $2 RETURNING last_index
"""

_ADD_INDEX = f"""
INSERT INTO syntera.knowledge_indexes AS i (tenant_id, id, knowledge_base_id, number, fingerprint, dimensions, storage, embedding)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING {INDEX_COLUMNS}
"""  # noqa: S608

_LIST_INDEXES = f"""
SELECT {INDEX_COLUMNS} FROM syntera.knowledge_indexes AS i
WHERE i.tenant_id = $1 AND i.knowledge_base_id = $2 ORDER BY i.number
"""  # noqa: S608

_KNOWN = f"""
SELECT d.id, d.path_hash, {FACTS_COLUMNS}, d.state, d.failure_reason, d.failure_message, d.content_hash, d.validators, d.file_id,
  h.content_hash AS indexed_hash, coalesce(h.reader, d.reader) AS reader
FROM syntera.knowledge_documents AS d
LEFT JOIN syntera.knowledge_index_documents AS h ON h.tenant_id = $1 AND h.index_id = $3 AND h.document_id = d.id
WHERE d.tenant_id = $1 AND d.knowledge_base_id = $2 AND d.source = $4 AND d.path_hash > $5
ORDER BY d.path_hash LIMIT {_PAGE}
"""  # noqa: S608

_READ_TEXT = "SELECT text, facts FROM syntera.knowledge_texts WHERE tenant_id = $1 AND document_id = $2"

_USED_HASHES = """
SELECT DISTINCT hash FROM syntera.knowledge_chunks WHERE tenant_id = $1 AND index_id = $2 AND hash = ANY ($3::bytea[])
"""

_LOCK_DOCUMENT = """
SELECT id, state, file_id FROM syntera.knowledge_documents WHERE tenant_id = $1 AND id = $2 FOR UPDATE
"""

_ADD_DOCUMENT = """
INSERT INTO syntera.knowledge_documents (
  tenant_id, id, knowledge_base_id, source, path, path_hash, state,
  title, url, media_type, language, audience, tags, modified_at, bytes
) VALUES ($1, $2, $3, $4, $5, $6, 'pending', $7, $8, $9, $10, $11, $12, $13, $14)
ON CONFLICT (tenant_id, knowledge_base_id, source, path_hash) DO NOTHING
"""

_LOCK_ORIGIN = """
SELECT id, state, file_id FROM syntera.knowledge_documents
WHERE tenant_id = $1 AND knowledge_base_id = $2 AND source = $3 AND path_hash = $4 FOR UPDATE
"""

_FACTS = """
title = $3, url = $4, media_type = $5, language = $6, audience = $7, tags = $8, modified_at = $9, bytes = $10,
updated_at = now(), checked_at = now()
"""

_INDEX_DOCUMENT = f"""
UPDATE syntera.knowledge_documents SET {_FACTS}, state = 'indexed', failure_reason = NULL, failure_message = NULL,
  content_hash = $11, validators = $12, characters = $13, reader = $14
WHERE tenant_id = $1 AND id = $2
"""  # noqa: S608

_FAIL_DOCUMENT = f"""
UPDATE syntera.knowledge_documents SET {_FACTS}, state = 'failed', failure_reason = $11, failure_message = $12,
  content_hash = CASE WHEN file_id IS NOT NULL THEN content_hash END, validators = '{{}}', characters = 0, reader = ''
WHERE tenant_id = $1 AND id = $2
"""  # noqa: S608

_TOUCH_DOCUMENT = f"""
UPDATE syntera.knowledge_documents
SET {_FACTS}, validators = CASE WHEN state = 'pending' THEN validators ELSE $11 END
WHERE tenant_id = $1 AND id = $2 AND state <> 'excluded'
"""  # noqa: S608

_PUT_TEXT = """
INSERT INTO syntera.knowledge_texts (tenant_id, document_id, text, facts) VALUES ($1, $2, $3, $4)
ON CONFLICT (tenant_id, document_id) DO UPDATE SET text = excluded.text, facts = excluded.facts
"""

_HOLD_DOCUMENT = """
INSERT INTO syntera.knowledge_index_documents (tenant_id, index_id, document_id, content_hash, reader, chunks)
VALUES ($1, $2, $3, $4, $5, $6)
"""

_ADD_CHUNK = """
INSERT INTO syntera.knowledge_chunks (
  tenant_id, index_id, document_id, language, position, id, hash, starts, ends, overlap, tokens, page, last_page, headings, content
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
"""

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


class PostgresqlKnowledgeWriter:
    """`KnowledgeWriter` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._holders: dict[KnowledgeBaseId, Connection] = {}

    @asynccontextmanager
    async def lock(self, tenant_id: TenantId, name: str) -> AsyncIterator[KnowledgeBase | None]:
        """See `KnowledgeWriter`."""
        async with self._pool.connection("hold_knowledge_base", is_background=True) as connection:
            await connection.fetchval("SELECT syntera.ensure_knowledge_base($1, $2)", new_id(), clean(name))
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
        storage: IndexStorage,
        embedding: EmbeddingModel | None = None,
    ) -> Index:
        """See `KnowledgeWriter`."""
        async with self._transaction("open_index") as connection:
            await connection.execute(_GIVE_UP_INDEXES, tenant_id, knowledge_base_id, fingerprint)
            row = await connection.fetchrow(_FIND_INDEX, tenant_id, knowledge_base_id, fingerprint)
            if row is not None and row["state"] == "retired":
                row = await connection.fetchrow(_TAKE_UP_INDEX, tenant_id, row["id"])
            if row is None:
                number = await connection.fetchval(_NEXT_NUMBER, tenant_id, knowledge_base_id)
                model = None if embedding is None else embedding.model_dump_json(by_alias=True)
                values = (new_id(), knowledge_base_id, number, fingerprint, dimensions, storage, model)
                row = await connection.fetchrow(_ADD_INDEX, tenant_id, *values)
        assert row is not None
        return read_index(row)

    async def known_documents(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, index_id: IndexId, *, source: str
    ) -> AsyncGenerator[Sequence[KnownDocument], None]:
        """See `KnowledgeWriter`."""
        after = b""
        while True:
            async with self._connection("known_documents") as connection:
                rows = await connection.fetch(_KNOWN, tenant_id, knowledge_base_id, index_id, clean(source), after)
            if rows:
                yield [_read_known(row) for row in rows]
            if len(rows) < _PAGE:
                return
            after = rows[-1]["path_hash"]

    async def read_text(self, tenant_id: TenantId, document_id: DocumentId) -> Extracted | None:
        """See `KnowledgeWriter`."""
        async with self._connection("read_text") as connection:
            row = await connection.fetchrow(_READ_TEXT, tenant_id, document_id)
        return None if row is None else read_extracted(row["text"], row["facts"])

    async def known_vectors(self, tenant_id: TenantId, index: Index, hashes: Sequence[bytes]) -> frozenset[bytes]:
        """See `KnowledgeWriter`."""
        if index.storage is IndexStorage.PINECONE:
            return await self.used_hashes(tenant_id, index, hashes)
        statement = f"""
SELECT hash FROM syntera.{table_of(tenant_id, index)}
WHERE tenant_id = $1 AND index_id = $2 AND hash = ANY ($3::bytea[])
"""  # noqa: S608  # the name is derived
        async with self._connection("known_vectors") as connection:
            rows = await connection.fetch(statement, tenant_id, index.id, hashes)
        return frozenset(row["hash"] for row in rows)

    async def put_document(
        self,
        tenant_id: TenantId,
        index: Index,
        *,
        document: KnownDocument | None,
        origin: DocumentOrigin,
        facts: DocumentFacts,
        content_hash: bytes,
        validators: Mapping[str, str],
        extracted: Extracted,
        chunks: Sequence[IndexedChunk],
        reader: str,
    ) -> DocumentId:
        """See `KnowledgeWriter`."""
        async with self._transaction("put_document") as connection:
            if document is None:
                row = await _ensure_document(connection, tenant_id, index.knowledge_base_id, origin, facts)
            else:
                found = await connection.fetchrow(_LOCK_DOCUMENT, tenant_id, document.id)
                if found is None or found["file_id"] != document.file_id:
                    return document.id
                row = found
            made = DocumentId(row["id"])
            if row["state"] == DocumentState.EXCLUDED:
                return made
            content = (content_hash, write_json(validators), len(extracted.text), reader)
            await connection.execute(_INDEX_DOCUMENT, tenant_id, made, *facts_values(facts), *content)
            text = clean(extracted.text)
            await connection.execute(_PUT_TEXT, tenant_id, made, text, write_extracted(extracted))
            await connection.execute("SELECT syntera.take_out_documents($1, $2)", [made], index.id)
            held = (tenant_id, index.id, made, content_hash, reader, len(chunks))
            await connection.execute(_HOLD_DOCUMENT, *held)
            where = (tenant_id, index.id, made, clean(facts.language or ""))
            await connection.executemany(_ADD_CHUNK, [(*where, *_chunk_values(chunk)) for chunk in chunks])
        return made

    async def touch_documents(
        self,
        tenant_id: TenantId,
        changes: Mapping[DocumentId, tuple[DocumentFacts, Mapping[str, str]]],
    ) -> None:
        """See `KnowledgeWriter`."""
        rows = [
            (tenant_id, document_id, *facts_values(facts), write_json(validators))
            for document_id, (facts, validators) in sorted(changes.items())
        ]
        async with self._connection("touch_documents") as connection:
            await connection.executemany(_TOUCH_DOCUMENT, rows)

    async def fail_document(
        self,
        tenant_id: TenantId,
        knowledge_base_id: KnowledgeBaseId,
        index: Index,
        *,
        origin: DocumentOrigin,
        facts: DocumentFacts,
        failure: DocumentFailure,
    ) -> None:
        """See `KnowledgeWriter`."""
        async with self._transaction("fail_document") as connection:
            row = await _ensure_document(connection, tenant_id, knowledge_base_id, origin, facts)
            if row["state"] == DocumentState.EXCLUDED:
                return
            values = (*facts_values(facts), failure.reason, clean(failure.message))
            await connection.execute(_FAIL_DOCUMENT, tenant_id, row["id"], *values)
            await connection.execute("SELECT syntera.take_out_documents($1, $2)", [row["id"]], index.id)
            await connection.execute("SELECT syntera.delete_texts($1)", [row["id"]])

    async def remove_documents(self, tenant_id: TenantId, document_ids: Sequence[DocumentId]) -> None:  # noqa: ARG002
        """See `KnowledgeWriter`."""
        for start in range(0, len(document_ids), _STEP):
            async with self._connection("remove_documents") as connection:
                step = document_ids[start : start + _STEP]
                await connection.execute("SELECT syntera.delete_documents($1)", step)

    async def list_sources(self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId) -> frozenset[str]:
        """See `KnowledgeWriter`."""
        statement = """
SELECT DISTINCT source FROM syntera.knowledge_documents WHERE tenant_id = $1 AND knowledge_base_id = $2
"""
        async with self._connection("list_sources") as connection:
            rows = await connection.fetch(statement, tenant_id, knowledge_base_id)
        return frozenset(row["source"] for row in rows)

    async def finish_index(self, tenant_id: TenantId, index: Index) -> None:  # noqa: ARG002  # the function knows the tenant
        """See `KnowledgeWriter`."""
        async with self._connection("finish_index") as connection:
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

    async def used_hashes(self, tenant_id: TenantId, index: Index, hashes: Sequence[bytes]) -> frozenset[bytes]:
        """See `KnowledgeWriter`."""
        async with self._connection("used_hashes") as connection:
            rows = await connection.fetch(_USED_HASHES, tenant_id, index.id, hashes)
        return frozenset(row["hash"] for row in rows)

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


async def _ensure_document(
    connection: Connection,
    tenant_id: TenantId,
    knowledge_base_id: KnowledgeBaseId,
    origin: DocumentOrigin,
    facts: DocumentFacts,
) -> Record:
    """The document of an origin, made if there is none; nobody else changes it until the transaction ends."""
    source, path_hash = clean(origin.source), hash_path(origin)
    row = await connection.fetchrow(_LOCK_ORIGIN, tenant_id, knowledge_base_id, source, path_hash)
    if row is None:
        where = (tenant_id, new_id(), knowledge_base_id, source, clean(origin.path), path_hash)
        await connection.execute(_ADD_DOCUMENT, *where, *facts_values(facts))
        row = await connection.fetchrow(_LOCK_ORIGIN, tenant_id, knowledge_base_id, source, path_hash)
    assert row is not None
    return row


def _chunk_values(indexed: IndexedChunk) -> tuple[Any, ...]:
    chunk = indexed.chunk
    return (
        chunk.position,
        indexed.id,
        indexed.embedded_hash,
        chunk.start,
        chunk.end,
        chunk.overlap,
        chunk.tokens,
        chunk.page,
        chunk.last_page,
        [clean(heading) for heading in chunk.headings],
        clean(chunk.content),
    )


def _read_base(row: Record, name: str) -> KnowledgeBase:
    active = None if row["id"] is None else read_index(row)
    return KnowledgeBase(id=KnowledgeBaseId(row["base_id"]), name=name, active=active)


def _read_known(row: Record) -> KnownDocument:
    file_id, state = row["file_id"], DocumentState(row["state"])
    is_pending = state is DocumentState.PENDING
    return KnownDocument(
        id=DocumentId(row["id"]),
        origin=read_origin(row),
        facts=read_facts(row),
        state=state,
        content_hash=None if is_pending else row["content_hash"],
        validators={} if is_pending else json.loads(row["validators"]),
        indexed_hash=None if is_pending else row["indexed_hash"],
        file_id=None if file_id is None else FileId(file_id),
        reader=row["reader"],
        failure=read_document_failure(row),
    )
