"""What the operator reads and does of knowledge bases: counts and outcomes for their status, and requests for syncs.

It never reads what a document says; paths of those that failed are in the status.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import asyncpg

from syntera_crds.contract.knowledge_config import MOST_KNOWLEDGE_BASES
from syntera_crds.contract.names import pinecone_namespace

from .knowledge_indexes import LargeIndexes
from .knowledge_summary import FailureSummary, KnowledgeSummary, PendingSync, StuckIndex, SyncSummary, VectorPlace
from .postgresql import Postgresql, Session

_FIND = "SELECT id, sync_request FROM syntera.knowledge_bases WHERE tenant_id = $1 AND name = $2"

_COUNT_BASES = "SELECT count(*) FROM syntera.knowledge_bases WHERE tenant_id = $1"

_COUNT = """
    SELECT count(*) FILTER (WHERE state <> 'excluded') AS documents, count(*) FILTER (WHERE state = 'indexed') AS indexed,
      count(*) FILTER (WHERE state = 'failed') AS failed
    FROM syntera.knowledge_documents WHERE tenant_id = $1 AND knowledge_base_id = $2
"""

_INDEXES = """
    SELECT i.id, i.number, i.state, CASE WHEN i.state = 'active' THEN (
      SELECT coalesce(sum(h.chunks), 0)::bigint FROM syntera.knowledge_index_documents AS h
      WHERE h.tenant_id = $1 AND h.index_id = i.id
    ) END AS chunks
    FROM syntera.knowledge_indexes AS i
    WHERE i.tenant_id = $1 AND i.knowledge_base_id = $2 AND i.state IN ('active', 'building')
"""

_MOST_BYTES = 1 << 18
"""Of a column, as it is stored; a sync writes some kilobytes."""
_MOST_CHARACTERS = 4096
_MOST_COUNT = 1 << 62

_SYNC_COLUMNS = f"""
    id, state, left(trigger, 64) AS trigger, started_at, ended_at, estimated_tokens,
    CASE WHEN pg_column_size(counts) <= {_MOST_BYTES} THEN counts ELSE '{{}}' END AS counts,
    CASE WHEN pg_column_size(failures) <= {_MOST_BYTES} THEN failures ELSE '[]' END AS failures,
    left(failure, {_MOST_CHARACTERS}) AS failure, left(message, {_MOST_CHARACTERS}) AS message
"""
"""A tenant's login may write what it likes into its rows, and the operator has to bear it."""

_MOST_PLACES = 1000

_VECTORS = """
    SELECT i.pinecone_host AS host, i.knowledge_base_id, i.number FROM syntera.knowledge_indexes AS i
    JOIN syntera.knowledge_bases AS b ON b.tenant_id = $1 AND b.id = i.knowledge_base_id
    WHERE i.tenant_id = $1 AND i.pinecone_host IS NOT NULL AND ($2::text IS NULL OR b.name = $2)
    ORDER BY i.knowledge_base_id, i.number LIMIT $3
"""

_LEFT = """
    SELECT i.pinecone_host AS host, i.knowledge_base_id, i.number FROM syntera.knowledge_indexes AS i
    WHERE i.tenant_id = $1 AND i.knowledge_base_id = $2 AND i.pinecone_host IS NOT NULL AND i.doomed_at IS NOT NULL
    ORDER BY i.number LIMIT $3
"""

_ABANDON_VECTORS = """
    UPDATE syntera.knowledge_indexes AS i SET storage = 'common', pinecone_host = NULL
    FROM syntera.knowledge_bases AS b
    WHERE b.tenant_id = $1 AND b.name = $2 AND i.tenant_id = $1 AND i.knowledge_base_id = b.id
      AND i.pinecone_host = $3 AND i.doomed_at IS NOT NULL
"""

_SYNCS = f"""
    (
      SELECT {_SYNC_COLUMNS} FROM syntera.knowledge_syncs WHERE tenant_id = $1 AND knowledge_base_id = $2
      ORDER BY id DESC LIMIT 1
    ) UNION ALL (
      SELECT {_SYNC_COLUMNS} FROM syntera.knowledge_syncs
      WHERE tenant_id = $1 AND knowledge_base_id = $2 AND ended_at IS NOT NULL
      ORDER BY ended_at DESC LIMIT 1
    )
"""  # noqa: S608  # the columns are a constant

_MOST_PENDING = 1000

_PENDING = """
    SELECT b.tenant_id, t.name AS tenant_name, b.name AS knowledge_base, b.sync_request AS request_id
    FROM syntera.knowledge_bases AS b JOIN syntera.tenants AS t ON t.id = b.tenant_id
    WHERE b.sync_request IS NOT NULL AND t.released_at IS NULL
    ORDER BY row_number() OVER (PARTITION BY b.tenant_id ORDER BY b.id), b.tenant_id LIMIT $1
"""
"""One of each tenant's first: who asks for much, or for what cannot be begun, hides nobody else's."""

_BEGUN = """
    UPDATE syntera.knowledge_bases SET sync_request = NULL WHERE tenant_id = $1 AND name = $2 AND sync_request = $3
"""

_BATCH_ROWS = 1000

_OF_BASE = "knowledge_base_id = $2"
_OF_INDEX = (
    "index_id IN (SELECT i.id FROM syntera.knowledge_indexes AS i WHERE i.tenant_id = $1 AND i.knowledge_base_id = $2)"
)
_OF_DOCUMENT = "document_id IN (SELECT d.id FROM syntera.knowledge_documents AS d WHERE d.tenant_id = $1 AND d.knowledge_base_id = $2)"
_FORGET = {
    "knowledge_chunks": _OF_INDEX,
    "knowledge_vectors": _OF_INDEX,
    "knowledge_words": _OF_INDEX,
    "knowledge_index_documents": _OF_INDEX,
    "knowledge_indexes": _OF_BASE,
    "knowledge_texts": _OF_DOCUMENT,
    "knowledge_documents": _OF_BASE,
    "knowledge_syncs": _OF_BASE,
}
"""Rows of a knowledge base, those that refer to others first."""

_DOOM_FILES = """
    UPDATE syntera.files SET state = 'doomed', knowledge_base_id = NULL WHERE tenant_id = $1 AND knowledge_base_id = $2
"""


class KnowledgeStore:
    """Knowledge bases of all tenants. Every method raises what those of `TenantStores` raise."""

    def __init__(self, postgresql: Postgresql) -> None:
        self._postgresql = postgresql
        self._large = LargeIndexes(postgresql)

    async def summary(self, tenant_id: UUID, name: str) -> KnowledgeSummary | None:
        """How a knowledge base is; None: the stores know of none."""
        async with self._postgresql.maintenance() as connection:
            base = await connection.fetchrow(_FIND, tenant_id, name)
            if base is None:
                return None
            counts = await connection.fetchrow(_COUNT, tenant_id, base["id"])
            assert counts is not None
            indexes = {row["state"]: row for row in await connection.fetch(_INDEXES, tenant_id, base["id"])}
            syncs = await connection.fetch(_SYNCS, tenant_id, base["id"])
            left = await connection.fetch(_LEFT, tenant_id, base["id"], _MOST_PLACES)
        is_running = any(row["state"] == "running" for row in syncs)  # it may be about to erase them
        active, building = indexes.get("active"), indexes.get("building")
        ended = [row for row in syncs if row["ended_at"] is not None]
        return KnowledgeSummary(
            **counts,
            chunks=0 if active is None else active["chunks"],
            active_index=None if active is None else active["number"],
            building_index=None if building is None else building["number"],
            last_sync=_read_sync(max(syncs, key=lambda row: row["id"])) if syncs else None,
            last_ended=_read_sync(max(ended, key=lambda row: row["ended_at"])) if ended else None,
            left=() if is_running else tuple(_read_place(tenant_id, row) for row in left),
            request_id=base["sync_request"],
            stuck=None if active is None else self._large.why_stuck(active["id"]),
        )

    async def has_room(self, tenant_id: UUID) -> bool:
        """Whether a tenant may have one more knowledge base."""
        async with self._postgresql.maintenance() as connection:
            number: int = await connection.fetchval(_COUNT_BASES, tenant_id)
        return number < MOST_KNOWLEDGE_BASES

    async def pending(self) -> Sequence[PendingSync]:
        """Syncs that somebody has asked for, and that were not begun yet; of all tenants that are there."""
        async with self._postgresql.maintenance() as connection:
            return [PendingSync(**row) for row in await connection.fetch(_PENDING, _MOST_PENDING)]

    async def begun(self, tenant_id: UUID, name: str, request_id: UUID) -> None:
        """A sync was started for a request; one that was made since stays."""
        async with self._postgresql.maintenance() as connection:
            await connection.execute(_BEGUN, tenant_id, name, request_id)

    async def list_vectors(self, tenant_id: UUID, name: str | None = None) -> Sequence[VectorPlace]:
        """Where in Pinecone vectors of a knowledge base are, or of all of the tenant's; the first thousand places."""
        async with self._postgresql.maintenance() as connection:
            rows = await connection.fetch(_VECTORS, tenant_id, name, _MOST_PLACES)
        return [_read_place(tenant_id, row) for row in rows]

    async def abandon_vectors(self, tenant_id: UUID, name: str, host: str) -> None:
        """Have the next sync drop the indexes that are to be dropped and have vectors at that host, without asking there."""
        async with self._postgresql.maintenance() as connection:
            await connection.execute(_ABANDON_VECTORS, tenant_id, name, host)

    async def forget(self, tenant_id: UUID, name: str) -> None:
        """Delete its rows, for where no Job can do it any more; uploaded files are doomed, and the tenant's pods remove their bytes.

        Goes on where an earlier call was cut off.
        """
        async with self._postgresql.maintenance() as connection:
            base = await connection.fetchrow(_FIND, tenant_id, name)
        if base is None:
            return
        for table, condition in _FORGET.items():
            number = _BATCH_ROWS
            while number == _BATCH_ROWS:
                async with self._postgresql.maintenance() as connection:
                    number = await _delete_batch(connection, table, condition, tenant_id, base["id"])
        async with self._postgresql.maintenance() as connection:
            await connection.execute(_DOOM_FILES, tenant_id, base["id"])
            await connection.execute(
                "DELETE FROM syntera.knowledge_bases WHERE tenant_id = $1 AND id = $2", tenant_id, base["id"]
            )

    async def promote_large_indexes(self) -> Sequence[StuckIndex]:
        """Give the vectors of indexes that have grown large a table of their own, and remove what is no longer needed.

        Takes as long as the largest of these indexes needs to be built: minutes. Whatever it was cut off at, it begins again.

        Returns:
            Those for which that failed, each once until it succeeds; summaries tell of them meanwhile.
        """
        return await self._large.look_after()


async def _delete_batch(connection: Session, table: str, condition: str, tenant_id: UUID, base_id: UUID) -> int:
    rows = f"SELECT ctid FROM syntera.{table} WHERE tenant_id = $1 AND {condition} LIMIT {_BATCH_ROWS}"  # noqa: S608  # ours
    deleted = await connection.execute(
        f"DELETE FROM syntera.{table} WHERE ctid = ANY (ARRAY({rows}))",  # noqa: S608
        tenant_id, base_id,
    )  # fmt: skip
    return int(deleted.removeprefix("DELETE "))


def _read_place(tenant_id: UUID, row: asyncpg.Record) -> VectorPlace:
    return VectorPlace(
        host=row["host"], namespace=pinecone_namespace(tenant_id, row["knowledge_base_id"], row["number"])
    )


def _read_sync(row: asyncpg.Record) -> SyncSummary:
    counts = json.loads(row["counts"])
    counted = (
        "added",
        "changed",
        "unchanged",
        "removed",
        "failed",
        "fetched_bytes",
        "embedded_chunks",
        "embedded_tokens",
    )
    return SyncSummary(
        state=row["state"],
        trigger=row["trigger"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        **{name: _read_count(counts, name) for name in counted},
        estimated_tokens=row["estimated_tokens"],
        failures=tuple(_read_failures(json.loads(row["failures"]))),
        failure=row["failure"],
        message=row["message"],
    )


def _read_count(counts: Any, name: str) -> int:
    found = counts.get(name) if isinstance(counts, dict) else None
    return found if type(found) is int and 0 <= found <= _MOST_COUNT else 0


def _read_failures(failures: Any) -> Iterator[FailureSummary]:
    """Those that a sync of ours may have written."""
    for failure in failures[:10] if isinstance(failures, list) else ():
        match failure:
            case {
                "source": str(source),
                "document": str() | None as document,
                "reason": str(reason),
                "message": str(message),
            }:
                yield FailureSummary(source=source[:63], document=document, reason=reason[:64], message=message)
