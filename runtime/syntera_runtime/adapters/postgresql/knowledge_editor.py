"""Documents and syncs as people see and ask for them."""

import hashlib
import json
from collections.abc import Sequence
from uuid import UUID

import asyncpg
from asyncpg import Record

from ...errors import AudienceNotHeld, FileAttached, FileNotFound, KnowledgeBaseNotFound, TooManyKnowledgeBases
from ...ids import new_id
from ...models.ids import DocumentId, FileId, KnowledgeBaseId, SyncId, TenantId
from ...models.knowledge import (
    Document,
    DocumentFacts,
    DocumentOrigin,
    DocumentState,
    FoundChunk,
    Index,
    KnowledgeBase,
    Sync,
    SyncCounts,
    SyncFailure,
    SyncState,
)
from .knowledge_reader import SELECT_KNOWLEDGE_BASES
from .knowledge_rows import (
    CHUNK_COLUMNS,
    DOCUMENT_COLUMNS,
    FACTS_COLUMNS,
    clean,
    facts_values,
    read_chunk,
    read_document,
    read_index,
    read_reason,
)
from .pool import Connection, Pool

_DESCRIBE = f"{SELECT_KNOWLEDGE_BASES} AND b.name = ANY ($2::text[])"

_COUNT_DOCUMENTS = """
SELECT knowledge_base_id, state, count(*) AS number FROM syntera.knowledge_documents
WHERE tenant_id = $1 AND knowledge_base_id = ANY ($2::uuid[]) GROUP BY knowledge_base_id, state
"""

_COUNT_CHUNKS = """
SELECT index_id, sum(chunks)::bigint AS number FROM syntera.knowledge_index_documents
WHERE tenant_id = $1 AND index_id = ANY ($2::uuid[]) GROUP BY index_id
"""

_DOCUMENTS = f"""
SELECT {DOCUMENT_COLUMNS}, coalesce(h.chunks, 0) AS chunks FROM syntera.knowledge_documents AS d
LEFT JOIN syntera.knowledge_indexes AS i
  ON i.tenant_id = $1 AND i.knowledge_base_id = d.knowledge_base_id AND i.state = 'active'
LEFT JOIN syntera.knowledge_index_documents AS h ON h.tenant_id = $1 AND h.index_id = i.id AND h.document_id = d.id
WHERE d.tenant_id = $1 AND d.knowledge_base_id = $2
"""  # noqa: S608  # the columns are a constant

_LIST = f"""
{_DOCUMENTS}
  AND ($3::uuid IS NULL OR d.id > $3) AND ($4::text IS NULL OR d.source = $4) AND ($5::text IS NULL OR d.state = $5)
  AND ($6::text IS NULL OR strpos(lower(d.title), lower($6)) > 0 OR strpos(lower(d.path), lower($6)) > 0)
ORDER BY d.id LIMIT $7
"""

_FIND = f"{_DOCUMENTS} AND d.id = $3"

_FIND_UPLOAD = f"{_DOCUMENTS} AND d.content_hash = $3 AND d.file_id = $4"

_LOCK_BASE = """
SELECT true FROM syntera.knowledge_bases WHERE tenant_id = $1 AND id = $2 FOR NO KEY UPDATE
"""
"""Uploads come one after the other, so that each sees the bytes of those before."""

_FIND_SAME = f"""
{_DOCUMENTS} AND d.content_hash = $3 AND d.file_id <> $4 AND ($5::text[] IS NULL OR d.audience && $5) ORDER BY d.id LIMIT 1
"""

_LIST_CHUNKS = f"""
SELECT {CHUNK_COLUMNS}, {FACTS_COLUMNS} FROM syntera.knowledge_chunks AS c
JOIN syntera.knowledge_documents AS d ON d.tenant_id = $1 AND d.id = c.document_id
WHERE c.tenant_id = $1 AND c.index_id = $2 AND c.document_id = $3 AND c.position > $4 ORDER BY c.position LIMIT $5
"""  # noqa: S608

_GIVE_FILE = """
UPDATE syntera.files SET knowledge_base_id = $3
WHERE tenant_id = $1 AND id = $2 AND state = 'ready' AND message_id IS NULL AND knowledge_base_id IS NULL
RETURNING true
"""

_IS_READY = "SELECT EXISTS (SELECT FROM syntera.files WHERE tenant_id = $1 AND id = $2 AND state = 'ready')"

_DOOM_FILE = """
UPDATE syntera.files SET state = 'doomed', knowledge_base_id = NULL
WHERE tenant_id = $1 AND id = $2 AND knowledge_base_id = $3
"""

_LOCK_ORIGIN = """
SELECT id, file_id, audience FROM syntera.knowledge_documents
WHERE tenant_id = $1 AND knowledge_base_id = $2 AND source = $3 AND path_hash = $4 FOR UPDATE
"""

_UPSERT_UPLOAD = """
INSERT INTO syntera.knowledge_documents AS d (
  tenant_id, id, knowledge_base_id, source, path, path_hash, state, content_hash, file_id,
  title, url, media_type, language, audience, tags, modified_at, bytes, keeps_audience
) VALUES ($1, $2, $3, $4, $5, $6, 'pending', $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
ON CONFLICT (tenant_id, knowledge_base_id, source, path_hash) DO UPDATE SET
  state = 'pending', failure_reason = NULL, failure_message = NULL, validators = '{}', checked_at = NULL, updated_at = now(),
  content_hash = excluded.content_hash, file_id = excluded.file_id, title = excluded.title, url = excluded.url,
  media_type = excluded.media_type, language = excluded.language, audience = excluded.audience, tags = excluded.tags,
  modified_at = excluded.modified_at, bytes = excluded.bytes, keeps_audience = excluded.keeps_audience
RETURNING d.id
"""

_LOCK = """
SELECT file_id FROM syntera.knowledge_documents WHERE tenant_id = $1 AND knowledge_base_id = $2 AND id = $3 FOR UPDATE
"""

_EXCLUDE = """
UPDATE syntera.knowledge_documents SET state = 'excluded', failure_reason = NULL, failure_message = NULL,
  content_hash = NULL, validators = '{}', links = NULL, characters = 0, reader = '', updated_at = now()
WHERE tenant_id = $1 AND id = $2
"""

_RENEW = """
UPDATE syntera.knowledge_documents SET state = 'pending', failure_reason = NULL, failure_message = NULL, validators = '{}',
  updated_at = now()
WHERE tenant_id = $1 AND knowledge_base_id = $2 AND id = $3 RETURNING true
"""

_REQUEST = """
UPDATE syntera.knowledge_bases SET sync_request = coalesce(sync_request, $3) WHERE tenant_id = $1 AND name = $2
"""

SYNC_COLUMNS = (
    "id, knowledge_base_id, state, trigger, revision, index_number, estimated_tokens, counts, failures, failure, message, "
    "started_at, ended_at"
)

_LAST_SYNCS = f"""
SELECT s.* FROM unnest($2::uuid[]) AS base (id) CROSS JOIN LATERAL (
  SELECT {SYNC_COLUMNS} FROM syntera.knowledge_syncs
  WHERE tenant_id = $1 AND knowledge_base_id = base.id ORDER BY id DESC LIMIT 1
) AS s
"""  # noqa: S608

_LIST_SYNCS = f"""
SELECT {SYNC_COLUMNS} FROM syntera.knowledge_syncs
WHERE tenant_id = $1 AND knowledge_base_id = $2 AND ($3::uuid IS NULL OR id < $3) ORDER BY id DESC LIMIT $4
"""  # noqa: S608


class PostgresqlKnowledgeEditor:
    """`KnowledgeEditor` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def describe_knowledge_bases(self, tenant_id: TenantId, names: Sequence[str]) -> Sequence[KnowledgeBase]:
        """See `KnowledgeEditor`."""
        async with self._pool.connection("describe_knowledge_bases") as connection:
            bases = await connection.fetch(_DESCRIBE, tenant_id, [clean(name) for name in names])
            base_ids = [base["base_id"] for base in bases]
            counts = await connection.fetch(_COUNT_DOCUMENTS, tenant_id, base_ids)
            chunks = await connection.fetch(_COUNT_CHUNKS, tenant_id, [base["id"] for base in bases if base["id"]])
            syncs = await connection.fetch(_LAST_SYNCS, tenant_id, base_ids)
        documents: dict[UUID, dict[DocumentState, int]] = {base_id: {} for base_id in base_ids}
        for count in counts:
            documents[count["knowledge_base_id"]][DocumentState(count["state"])] = count["number"]
        chunks_of = {count["index_id"]: count["number"] for count in chunks}
        last_syncs = {sync["knowledge_base_id"]: read_sync(sync) for sync in syncs}
        return [
            KnowledgeBase(
                id=KnowledgeBaseId(base["base_id"]),
                name=base["name"],
                active=None if base["id"] is None else read_index(base),
                documents=documents[base["base_id"]],
                chunks=chunks_of.get(base["id"], 0),
                last_sync=last_syncs.get(base["base_id"]),
            )
            for base in bases
        ]

    async def list_documents(
        self,
        tenant_id: TenantId,
        knowledge_base_id: KnowledgeBaseId,
        *,
        source: str | None = None,
        state: DocumentState | None = None,
        words: str | None = None,
        after: DocumentId | None = None,
        limit: int,
    ) -> Sequence[Document]:
        """See `KnowledgeEditor`."""
        named = None if source is None else clean(source)
        part = None if words is None else clean(words)
        async with self._pool.connection("list_documents") as connection:
            rows = await connection.fetch(_LIST, tenant_id, knowledge_base_id, after, named, state, part, limit)
        return [read_document(row) for row in rows]

    async def find_document(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, document_id: DocumentId
    ) -> Document | None:
        """See `KnowledgeEditor`."""
        async with self._pool.connection("find_document") as connection:
            row = await connection.fetchrow(_FIND, tenant_id, knowledge_base_id, document_id)
        return None if row is None else read_document(row)

    async def list_chunks(
        self, tenant_id: TenantId, index: Index, document_id: DocumentId, *, after: int | None = None, limit: int
    ) -> Sequence[FoundChunk]:
        """See `KnowledgeEditor`."""
        first = -1 if after is None else after
        async with self._pool.connection("list_chunks") as connection:
            rows = await connection.fetch(_LIST_CHUNKS, tenant_id, index.id, document_id, first, limit)
        return [read_chunk(row) for row in rows]

    async def add_upload(
        self,
        tenant_id: TenantId,
        knowledge_base_id: KnowledgeBaseId,
        *,
        origin: DocumentOrigin,
        facts: DocumentFacts,
        content_hash: bytes,
        file_id: FileId,
        reach: frozenset[str] | None = None,
    ) -> Document:
        """See `KnowledgeEditor`."""
        seen_by = None if reach is None else sorted(reach)
        async with self._pool.transaction("add_upload") as connection:
            if not await connection.fetchval(_LOCK_BASE, tenant_id, knowledge_base_id):
                raise KnowledgeBaseNotFound
            same = await connection.fetchrow(_FIND_SAME, tenant_id, knowledge_base_id, content_hash, file_id, seen_by)
            if same is not None:
                return read_document(same)
            await _give_file(connection, tenant_id, file_id, knowledge_base_id)
            before = await connection.fetchrow(
                _LOCK_ORIGIN, tenant_id, knowledge_base_id, clean(origin.source), hash_path(origin)
            )
            if before is not None and reach is not None and reach.isdisjoint(before["audience"]):
                raise AudienceNotHeld
            if before is not None and before["file_id"] is not None:
                await connection.execute(_DOOM_FILE, tenant_id, before["file_id"], knowledge_base_id)
            if before is not None and not facts.audience <= frozenset(before["audience"]):
                await connection.execute("SELECT syntera.take_out_documents($1, NULL)", [before["id"]])
                await connection.execute("SELECT syntera.delete_texts($1)", [before["id"]])
            where = (clean(origin.source), clean(origin.path), hash_path(origin))
            made_of = (content_hash, file_id, *facts_values(facts), facts.keeps_audience)
            values = (tenant_id, new_id(), knowledge_base_id, *where, *made_of)
            made = await connection.fetchval(_UPSERT_UPLOAD, *values)
            row = await connection.fetchrow(_FIND, tenant_id, knowledge_base_id, made)
        assert row is not None
        return read_document(row)

    async def find_upload(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, *, content_hash: bytes, file_id: FileId
    ) -> Document | None:
        """See `KnowledgeEditor`."""
        async with self._pool.connection("find_upload") as connection:
            row = await connection.fetchrow(_FIND_UPLOAD, tenant_id, knowledge_base_id, content_hash, file_id)
        return None if row is None else read_document(row)

    async def exclude_document(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, document_id: DocumentId
    ) -> bool:
        """See `KnowledgeEditor`."""
        async with self._pool.transaction("exclude_document") as connection:
            found = await connection.fetchrow(_LOCK, tenant_id, knowledge_base_id, document_id)
            if found is None:
                return False
            if found["file_id"] is not None:
                await connection.execute("SELECT syntera.delete_documents($1)", [document_id])
                return True
            await connection.execute("SELECT syntera.take_out_documents($1, NULL)", [document_id])
            await connection.execute("SELECT syntera.delete_texts($1)", [document_id])
            await connection.execute(_EXCLUDE, tenant_id, document_id)
            return True

    async def renew_document(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, document_id: DocumentId
    ) -> bool:
        """See `KnowledgeEditor`."""
        async with self._pool.connection("renew_document") as connection:
            return await connection.fetchval(_RENEW, tenant_id, knowledge_base_id, document_id) is not None

    async def request_sync(self, tenant_id: TenantId, name: str) -> None:
        """See `KnowledgeEditor`."""
        async with self._pool.connection("request_sync") as connection:
            await ensure_knowledge_base(connection, name)
            await connection.execute(_REQUEST, tenant_id, clean(name), new_id())

    async def list_syncs(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, *, before: SyncId | None = None, limit: int
    ) -> Sequence[Sync]:
        """See `KnowledgeEditor`."""
        async with self._pool.connection("list_syncs") as connection:
            rows = await connection.fetch(_LIST_SYNCS, tenant_id, knowledge_base_id, before, limit)
        return [read_sync(row) for row in rows]


async def ensure_knowledge_base(connection: Connection, name: str) -> None:
    """Make a knowledge base of the tenant's known if it is not yet.

    Raises:
        TooManyKnowledgeBases: There is no room for another one.
    """
    try:
        await connection.execute("SELECT syntera.ensure_knowledge_base($1, $2)", new_id(), clean(name))
    except asyncpg.ProgramLimitExceededError:
        raise TooManyKnowledgeBases from None


def hash_path(origin: DocumentOrigin) -> bytes:
    """What stands for a path that is longer than an index takes."""
    return hashlib.sha256(clean(origin.path).encode()).digest()


def read_sync(row: Record) -> Sync:
    """A row with `SYNC_COLUMNS`."""
    counts = json.loads(row["counts"])
    return Sync(
        id=SyncId(row["id"]),
        knowledge_base_id=KnowledgeBaseId(row["knowledge_base_id"]),
        state=SyncState(row["state"]),
        trigger=row["trigger"],
        revision=row["revision"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        index_number=row["index_number"],
        estimated_tokens=row["estimated_tokens"],
        # A later release may count what this one does not.
        counts=SyncCounts(**{name: counts[name] for name in SyncCounts.__dataclass_fields__ if name in counts}),
        failures=tuple(_read_failure(failure) for failure in json.loads(row["failures"])),
        failure=row["failure"],
        message=row["message"],
    )


def _read_failure(failure: dict[str, str | None]) -> SyncFailure:
    return SyncFailure(
        source=failure["source"] or "",
        document=failure["document"],
        reason=read_reason(failure["reason"] or ""),
        message=failure["message"] or "",
    )


async def _give_file(
    connection: Connection, tenant_id: TenantId, file_id: FileId, knowledge_base_id: KnowledgeBaseId
) -> None:
    if await connection.fetchval(_GIVE_FILE, tenant_id, file_id, knowledge_base_id) is None:
        is_ready = await connection.fetchval(_IS_READY, tenant_id, file_id)
        raise FileAttached if is_ready else FileNotFound
