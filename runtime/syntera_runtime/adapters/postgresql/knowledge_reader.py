"""Searching for words, and reading the chunks that were found."""

from collections.abc import Sequence

from ...models.ids import ChunkId, KnowledgeBaseId, TenantId
from ...models.knowledge import FoundChunk, Hit, Index, KnowledgeBase, SearchFilter
from .knowledge_rows import (
    CHUNK_COLUMNS,
    FACTS_COLUMNS,
    INDEX_COLUMNS,
    clean,
    filter_values,
    read_chunk,
    read_hit,
    read_index,
)
from .pool import Pool

SELECT_KNOWLEDGE_BASES = f"""
SELECT b.id AS base_id, b.name, {INDEX_COLUMNS} FROM syntera.knowledge_bases AS b
LEFT JOIN syntera.knowledge_indexes AS i ON i.tenant_id = $1 AND i.knowledge_base_id = b.id AND i.state = 'active'
WHERE b.tenant_id = $1
"""  # noqa: S608  # the columns are a constant

FIND_KNOWLEDGE_BASE = f"{SELECT_KNOWLEDGE_BASES} AND b.name = $2"

SEARCH_WORDS = """
SELECT * FROM syntera.search_knowledge($1, $2, $3, $4, $5, $6, $7, $8, $9) ORDER BY score DESC, document_id, position LIMIT $9
"""

READ_CHUNKS = f"""
SELECT DISTINCT ON (c.document_id, c.position) {CHUNK_COLUMNS}, {FACTS_COLUMNS}
FROM unnest($3::uuid[]) AS one (id)
CROSS JOIN LATERAL (
  SELECT k.id, k.index_id, k.document_id, k.position FROM syntera.knowledge_chunks AS k
  WHERE k.tenant_id = $1 AND k.id >= one.id ORDER BY k.id LIMIT 1
) AS wanted
CROSS JOIN LATERAL (
  SELECT k.* FROM syntera.knowledge_chunks AS k
  WHERE k.tenant_id = $1 AND k.index_id = $2 AND k.document_id = wanted.document_id
    AND k.position BETWEEN wanted.position - $4 AND wanted.position + $4 ORDER BY k.position OFFSET 0
) AS c
CROSS JOIN LATERAL (
  SELECT o.* FROM syntera.knowledge_documents AS o WHERE o.tenant_id = $1 AND o.id = c.document_id OFFSET 0
) AS d
WHERE wanted.id = one.id AND wanted.index_id = $2
"""  # noqa: S608
"""One chunk after the other, by its id, then its neighbours, then their document. OFFSET and the orders lead the planner there: until
there are statistics that know the index, it takes it for a row or two, and any part of a key for as good as all of it."""

_MOST_ASKED = 10_000
"""Characters of a question that are sent; fewer count."""


class PostgresqlKnowledgeReader:
    """`KnowledgeReader` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find_knowledge_base(self, tenant_id: TenantId, name: str) -> KnowledgeBase | None:
        """See `KnowledgeReader`."""
        async with self._pool.connection("find_knowledge_base") as connection:
            row = await connection.fetchrow(FIND_KNOWLEDGE_BASE, tenant_id, clean(name))
        if row is None:
            return None
        active = None if row["id"] is None else read_index(row)
        return KnowledgeBase(id=KnowledgeBaseId(row["base_id"]), name=name, active=active)

    async def search_words(
        self,
        tenant_id: TenantId,  # noqa: ARG002  # the function knows the tenant
        index: Index,
        words: str,
        *,
        filter: SearchFilter,
        limit: int,
    ) -> Sequence[Hit]:
        """See `KnowledgeReader`."""
        asked = clean(words[:_MOST_ASKED])
        async with self._pool.connection("search_words") as connection:
            rows = await connection.fetch(SEARCH_WORDS, index.id, asked, *filter_values(filter), limit)
        return [read_hit(row) for row in rows]

    async def read_chunks(
        self, tenant_id: TenantId, index: Index, chunk_ids: Sequence[ChunkId], *, neighbours: int = 0
    ) -> Sequence[FoundChunk]:
        """See `KnowledgeReader`."""
        if not chunk_ids:
            return []
        async with self._pool.connection("read_chunks") as connection:
            rows = await connection.fetch(READ_CHUNKS, tenant_id, index.id, chunk_ids, neighbours)
        return [read_chunk(row) for row in rows]
