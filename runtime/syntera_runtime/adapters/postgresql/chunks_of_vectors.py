"""Whose the vectors are that are kept outside of PostgreSQL."""

from collections.abc import Sequence

from ...models.ids import TenantId
from ...models.knowledge import Hit, Index, SearchFilter
from .knowledge_rows import filter_condition, filter_values, read_hit
from .pool import Pool

_FIND_CHUNKS = f"""
SELECT c.id, c.document_id, c.position, c.hash, 0.0 AS score FROM syntera.knowledge_chunks AS c
JOIN syntera.knowledge_documents AS d ON d.tenant_id = $1 AND d.id = c.document_id
WHERE c.tenant_id = $1 AND c.index_id = $2 AND c.hash = ANY ($3::bytea[]) AND {filter_condition(4)}
"""  # noqa: S608  # the condition is a constant

_LIST_HASHES = f"""
SELECT DISTINCT c.hash FROM syntera.knowledge_chunks AS c
JOIN syntera.knowledge_documents AS d ON d.tenant_id = $1 AND d.id = c.document_id
WHERE c.tenant_id = $1 AND c.index_id = $2 AND {filter_condition(4)} LIMIT $3
"""  # noqa: S608


class PostgresqlChunksOfVectors:
    """`ChunksOfVectors` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find_chunks(
        self, tenant_id: TenantId, index: Index, hashes: Sequence[bytes], *, filter: SearchFilter
    ) -> Sequence[Hit]:
        """See `ChunksOfVectors`."""
        async with self._pool.connection("find_chunks") as connection:
            rows = await connection.fetch(_FIND_CHUNKS, tenant_id, index.id, hashes, *filter_values(filter))
        return [read_hit(row) for row in rows]

    async def list_hashes(
        self, tenant_id: TenantId, index: Index, *, filter: SearchFilter, limit: int
    ) -> Sequence[bytes]:
        """See `ChunksOfVectors`."""
        async with self._pool.connection("list_hashes") as connection:
            rows = await connection.fetch(_LIST_HASHES, tenant_id, index.id, limit, *filter_values(filter))
        return [row["hash"] for row in rows]
