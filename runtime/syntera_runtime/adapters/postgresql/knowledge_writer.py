"""What a sync writes of documents: each with its text and its chunks in one transaction."""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from operator import itemgetter
from typing import Any
from uuid import UUID

from asyncpg import Record

from ...ids import new_id
from ...models.ids import DocumentId, FileId, IndexId, KnowledgeBaseId, TenantId
from ...models.knowledge import (
    DocumentChange,
    DocumentFacts,
    DocumentFailure,
    DocumentOrigin,
    DocumentState,
    Extracted,
    Index,
    IndexedChunk,
    IndexStorage,
    KnownDocument,
)
from .knowledge_editor import hash_path
from .knowledge_rows import (
    FACTS_COLUMNS,
    clean,
    facts_values,
    read_document_failure,
    read_extracted,
    read_facts,
    read_origin,
    write_extracted,
    write_json,
)
from .knowledge_syncs import KnowledgeSyncs
from .knowledge_vectors import table_of
from .pool import Connection

_PAGE = 500

_STEP = 200
"""Documents whose chunks are deleted by one statement."""

_CHUNKS_AT_ONCE = 500
"""That are written within one deadline: each has some hundred words in an index."""

_SELECT_KNOWN = f"""
SELECT d.id, d.path_hash, {FACTS_COLUMNS}, d.state, d.failure_reason, d.failure_message, d.content_hash, d.validators, d.file_id,
  d.reader, d.updated_at
FROM syntera.knowledge_documents AS d
WHERE d.tenant_id = $1 AND d.knowledge_base_id = $2 AND d.source = $3
"""  # noqa: S608  # the columns are a constant

_LIST_KNOWN = f"{_SELECT_KNOWN} AND d.path_hash > $4 ORDER BY d.path_hash LIMIT {_PAGE}"

_FIND_KNOWN = f"{_SELECT_KNOWN} AND d.path_hash = $4"

_HELD = """
SELECT document_id, content_hash, reader FROM syntera.knowledge_index_documents
WHERE tenant_id = $1 AND index_id = $2 AND document_id = ANY ($3::uuid[])
"""
"""Asked beside and not joined: where no statistics tell how many rows a tenant has, a join reads all of them for each document."""

_FIND_LINKS = """
SELECT links FROM syntera.knowledge_documents
WHERE tenant_id = $1 AND knowledge_base_id = $2 AND source = $3 AND path_hash = $4
"""

_READ_TEXT = "SELECT text, facts FROM syntera.knowledge_texts WHERE tenant_id = $1 AND document_id = $2"

_USED_HASHES = """
SELECT DISTINCT hash FROM syntera.knowledge_chunks WHERE tenant_id = $1 AND index_id = $2 AND hash = ANY ($3::bytea[])
"""

_LOCK_DOCUMENT = """
SELECT id, state, file_id, content_hash, updated_at FROM syntera.knowledge_documents WHERE tenant_id = $1 AND id = $2 FOR UPDATE
"""

_ADD_DOCUMENT = """
INSERT INTO syntera.knowledge_documents (
  tenant_id, id, knowledge_base_id, source, path, path_hash, state,
  title, url, media_type, language, audience, tags, modified_at, bytes
) VALUES ($1, $2, $3, $4, $5, $6, 'pending', $7, $8, $9, $10, $11, $12, $13, $14)
ON CONFLICT (tenant_id, knowledge_base_id, source, path_hash) DO NOTHING
RETURNING id, state, file_id, content_hash, updated_at
"""

_LOCK_ORIGIN = """
SELECT id, state, file_id, content_hash, updated_at FROM syntera.knowledge_documents
WHERE tenant_id = $1 AND knowledge_base_id = $2 AND source = $3 AND path_hash = $4 FOR UPDATE
"""

_FACTS = """
title = $3, url = $4, media_type = $5, language = $6, audience = CASE WHEN keeps_audience THEN audience ELSE $7 END, tags = $8,
modified_at = $9, bytes = $10, updated_at = now(), checked_at = now()
"""
"""What a sync read before somebody uploaded another file in its place says nothing of for whom that is."""

_INDEX_DOCUMENT = f"""
UPDATE syntera.knowledge_documents SET {_FACTS}, state = $11, failure_reason = NULL, failure_message = NULL,
  content_hash = $12, validators = $13, characters = $14, reader = $15, links = coalesce($16, links)
WHERE tenant_id = $1 AND id = $2
"""  # noqa: S608

_FAIL_DOCUMENT = f"""
UPDATE syntera.knowledge_documents SET {_FACTS}, state = 'failed', failure_reason = $11, failure_message = $12,
  content_hash = CASE WHEN file_id IS NOT NULL THEN content_hash END, validators = '{{}}', links = NULL, characters = 0, reader = ''
WHERE tenant_id = $1 AND id = $2
"""  # noqa: S608

_TOUCH_DOCUMENT = f"""
UPDATE syntera.knowledge_documents
SET {_FACTS}, validators = $11, links = coalesce($12, links)
WHERE tenant_id = $1 AND id = $2 AND state NOT IN ('pending', 'excluded')
"""  # noqa: S608

_SET_AUDIENCE = """
UPDATE syntera.knowledge_documents SET audience = $3, updated_at = now(), checked_at = now()
WHERE tenant_id = $1 AND id = ANY ($2::uuid[]) AND NOT keeps_audience AND state <> 'excluded'
"""

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


class PostgresqlKnowledgeWriter(KnowledgeSyncs):
    """`KnowledgeWriter` on PostgreSQL."""

    async def known_documents(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, index_id: IndexId, *, source: str
    ) -> AsyncGenerator[Sequence[KnownDocument], None]:
        """See `KnowledgeWriter`."""
        after = b""
        while True:
            async with self._connection("known_documents") as connection:
                rows = await connection.fetch(_LIST_KNOWN, tenant_id, knowledge_base_id, clean(source), after)
                held = await _read_held(connection, tenant_id, index_id, rows)
            if rows:
                yield [_read_known(row, held.get(row["id"])) for row in rows]
            if len(rows) < _PAGE:
                return
            after = rows[-1]["path_hash"]

    async def find_known(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, index_id: IndexId, *, origin: DocumentOrigin
    ) -> KnownDocument | None:
        """See `KnowledgeWriter`."""
        where = (tenant_id, knowledge_base_id, clean(origin.source), hash_path(origin))
        async with self._connection("find_known") as connection:
            row = await connection.fetchrow(_FIND_KNOWN, *where)
            if row is None:
                return None
            held = await _read_held(connection, tenant_id, index_id, [row])
        return _read_known(row, held.get(row["id"]))

    async def find_links(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, *, origin: DocumentOrigin
    ) -> Sequence[str] | None:
        """See `KnowledgeWriter`."""
        where = (tenant_id, knowledge_base_id, clean(origin.source), hash_path(origin))
        async with self._connection("find_links") as connection:
            links: str | None = await connection.fetchval(_FIND_LINKS, *where)
        return None if links is None else links.split()

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
        links: Sequence[str] | None = None,
        is_pending: bool = False,
    ) -> DocumentId:
        """See `KnowledgeWriter`."""
        async with self._transaction("put_document") as connection:
            if document is None:
                row = await _ensure_document(connection, tenant_id, index.knowledge_base_id, origin, facts)
            else:
                found = await _lock_found(connection, tenant_id, document)
                if found is None:
                    return document.id
                row = found
            made = DocumentId(row["id"])
            if _is_somebodys(row, document):
                return made
            if is_pending or _is_marked(row, document):
                became = (DocumentState.PENDING, row["content_hash"])
            else:
                became = (DocumentState.INDEXED, content_hash)
            content = (write_json(validators), len(extracted.text), reader, _write_links(links))
            await connection.execute(_INDEX_DOCUMENT, tenant_id, made, *facts_values(facts), *became, *content)
            text = clean(extracted.text)
            await connection.execute(_PUT_TEXT, tenant_id, made, text, write_extracted(extracted))
            await connection.execute("SELECT syntera.take_out_documents($1, $2)", [made], index.id)
            held = (tenant_id, index.id, made, content_hash, reader, len(chunks))
            await connection.execute(_HOLD_DOCUMENT, *held)
            where = (tenant_id, index.id, made, clean(facts.language or ""))
            for start in range(0, len(chunks), _CHUNKS_AT_ONCE):
                rows = [(*where, *_chunk_values(chunk)) for chunk in chunks[start : start + _CHUNKS_AT_ONCE]]
                await connection.executemany(_ADD_CHUNK, rows)
        return made

    async def touch_documents(self, tenant_id: TenantId, changes: Mapping[DocumentId, DocumentChange]) -> None:
        """See `KnowledgeWriter`."""
        rows = [
            (
                tenant_id,
                document_id,
                *facts_values(change.facts),
                write_json(change.validators),
                _write_links(change.links),
            )
            for document_id, change in sorted(changes.items(), key=itemgetter(0))
        ]
        async with self._connection("touch_documents") as connection:
            await connection.executemany(_TOUCH_DOCUMENT, rows)

    async def set_audience(
        self, tenant_id: TenantId, document_ids: Sequence[DocumentId], audience: frozenset[str]
    ) -> None:
        """See `KnowledgeWriter`."""
        async with self._connection("set_audience") as connection:
            await connection.execute(_SET_AUDIENCE, tenant_id, document_ids, sorted(audience))

    async def fail_document(
        self,
        tenant_id: TenantId,
        knowledge_base_id: KnowledgeBaseId,
        index: Index,
        *,
        document: KnownDocument | None,
        origin: DocumentOrigin,
        facts: DocumentFacts,
        failure: DocumentFailure,
    ) -> None:
        """See `KnowledgeWriter`."""
        async with self._transaction("fail_document") as connection:
            row: Record | None
            if document is None:
                row = await _ensure_document(connection, tenant_id, knowledge_base_id, origin, facts)
            else:
                row = await _lock_found(connection, tenant_id, document)
            if row is None or _is_somebodys(row, document) or _is_marked(row, document):
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

    async def used_hashes(self, tenant_id: TenantId, index: Index, hashes: Sequence[bytes]) -> frozenset[bytes]:
        """See `KnowledgeWriter`."""
        async with self._connection("used_hashes") as connection:
            rows = await connection.fetch(_USED_HASHES, tenant_id, index.id, hashes)
        return frozenset(row["hash"] for row in rows)


async def _ensure_document(
    connection: Connection,
    tenant_id: TenantId,
    knowledge_base_id: KnowledgeBaseId,
    origin: DocumentOrigin,
    facts: DocumentFacts,
) -> Record:
    """The document of an origin, made if there is none; nobody else changes it until the transaction ends."""
    source, path_hash = clean(origin.source), hash_path(origin)
    where = (tenant_id, new_id(), knowledge_base_id, source, clean(origin.path), path_hash)
    row = await connection.fetchrow(_ADD_DOCUMENT, *where, *facts_values(facts))
    if row is None:
        row = await connection.fetchrow(_LOCK_ORIGIN, tenant_id, knowledge_base_id, source, path_hash)
    assert row is not None
    return row


async def _lock_found(connection: Connection, tenant_id: TenantId, document: KnownDocument) -> Record | None:
    """A document that was found before; nobody else changes it until the transaction ends. None: it is gone, or another file is in its
    place."""
    row = await connection.fetchrow(_LOCK_DOCUMENT, tenant_id, document.id)
    return None if row is None or row["file_id"] != document.file_id else row


def _is_somebodys(row: Record, document: KnownDocument | None) -> bool:
    """Whether somebody has excluded the document, or uploaded it where the sync knew of none."""
    return row["state"] == DocumentState.EXCLUDED or (document is None and row["file_id"] is not None)


def _is_marked(row: Record, document: KnownDocument | None) -> bool:
    """Whether somebody has asked to take the document in anew since it was found."""
    return document is not None and document.is_marked_since(DocumentState(row["state"]), row["updated_at"])


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


def _write_links(links: Sequence[str] | None) -> str | None:
    return None if links is None else clean("\n".join(links))


async def _read_held(
    connection: Connection, tenant_id: TenantId, index_id: IndexId, documents: Sequence[Record]
) -> Mapping[UUID, Record]:
    """How an index holds these documents, by their ids."""
    ids = [document["id"] for document in documents]
    return {row["document_id"]: row for row in await connection.fetch(_HELD, tenant_id, index_id, ids)}


def _read_known(row: Record, held: Record | None) -> KnownDocument:
    file_id, state = row["file_id"], DocumentState(row["state"])
    is_pending = state is DocumentState.PENDING
    return KnownDocument(
        id=DocumentId(row["id"]),
        origin=read_origin(row),
        facts=read_facts(row),
        state=state,
        content_hash=None if is_pending else row["content_hash"],
        validators={} if is_pending else json.loads(row["validators"]),
        indexed_hash=None if held is None else held["content_hash"],
        file_id=None if file_id is None else FileId(file_id),
        reader=row["reader"] if held is None else held["reader"],
        failure=read_document_failure(row),
        updated_at=row["updated_at"],
    )
