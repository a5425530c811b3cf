"""Vectors in PostgreSQL: those of small indexes in one table, searched from end to end; large ones have a table of their own
with an HNSW index, which the operator makes.

Which of the two is said by the index as it was read: copies in the common table are kept for a while after a move, so that a
search that began before it finds all.

Both are asked for the nearest vectors first, whatever they belong to, and for the chunks of these that pass the filter. Where
too few do, HNSW goes on searching for more; at last all vectors of the documents that pass are compared.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence

from syntera_crds.contract.names import own_vectors_table

from ...models.ids import TenantId
from ...models.knowledge import Hit, Index, IndexStorage, SearchFilter, Vector
from .knowledge_rows import filter_condition, filter_values, read_hit
from .pool import Connection, Pool

_COMMON = "knowledge_vectors"
_PAGE = 5000
_STEP = 2000
"""Vectors that are deleted by one statement."""

_WIDER = 3
"""How many times as many vectors as chunks are wanted are looked at first."""
_WIDEST = 40
"""The same before HNSW is given up."""

_DISTANCE = "OPERATOR(extensions.<#>) (SELECT $3::real[]::extensions.halfvec)"
"""The negative inner product, which is the negative cosine of vectors of length one and takes no lengths. Of a sub-select: a generic
plan would convert the parameter again for every row."""


def nearest_statement(table: str, number: int) -> str:
    """The nearest vectors, then their chunks, in the order of their distances until enough pass. The number stands in the text: a
    generic plan does not know a parameter's value, and would take HNSW to be asked for a tenth of the table. OFFSET keeps the planner
    from reading all of a tenant's documents first."""
    return f"""
WITH nearest AS MATERIALIZED (
  SELECT v.hash, v.vector {_DISTANCE} AS distance FROM syntera.{table} AS v
  WHERE v.tenant_id = $1 AND v.index_id = $2 ORDER BY v.vector {_DISTANCE} LIMIT {number}
)
SELECT c.id, c.document_id, c.position, c.hash, -n.distance AS score FROM (SELECT * FROM nearest ORDER BY distance) AS n
CROSS JOIN LATERAL (
  SELECT k.id, k.document_id, k.position, k.hash FROM syntera.knowledge_chunks AS k
  WHERE k.tenant_id = $1 AND k.index_id = $2 AND k.hash = n.hash OFFSET 0
) AS c
CROSS JOIN LATERAL (
  SELECT FROM syntera.knowledge_documents AS d
  WHERE d.tenant_id = $1 AND d.id = c.document_id AND {filter_condition(5)} OFFSET 0
) AS passing
ORDER BY n.distance, c.document_id, c.position LIMIT $4
"""  # noqa: S608  # names and numbers of ours


def all_statement(table: str) -> str:
    """All vectors of chunks that pass, compared one by one; found step by step, each by its key."""
    return f"""
SELECT c.id, c.document_id, c.position, c.hash, -(v.vector {_DISTANCE}) AS score
FROM syntera.knowledge_documents AS d
CROSS JOIN LATERAL (
  SELECT k.id, k.document_id, k.position, k.hash FROM syntera.knowledge_chunks AS k
  WHERE k.tenant_id = $1 AND k.index_id = $2 AND k.document_id = d.id
  ORDER BY k.position OFFSET 0
) AS c
CROSS JOIN LATERAL (
  SELECT k.vector FROM syntera.{table} AS k WHERE k.tenant_id = $1 AND k.index_id = $2 AND k.hash = c.hash OFFSET 0
) AS v
WHERE d.tenant_id = $1 AND {filter_condition(5)}
ORDER BY 5 DESC, c.document_id, c.position LIMIT $4
"""  # noqa: S608


def _write_statement(table: str) -> str:
    return f"""
INSERT INTO syntera.{table} (tenant_id, index_id, hash, vector) VALUES ($1, $2, $3, $4::real[]::extensions.halfvec)
ON CONFLICT (tenant_id, index_id, hash) DO UPDATE SET vector = excluded.vector
"""  # noqa: S608


class PostgresqlVectors:
    """`VectorIndex` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def write(self, tenant_id: TenantId, index: Index, vectors: Mapping[bytes, Vector]) -> None:
        """See `VectorIndex`."""
        # In one order: documents are embedded side by side, and the texts that they share would have them wait for one another.
        rows = [(tenant_id, index.id, hash, vectors[hash]) for hash in sorted(vectors)]
        async with self._pool.connection("write_vectors") as connection:
            await connection.executemany(_write_statement(table_of(tenant_id, index)), rows)

    async def search(
        self, tenant_id: TenantId, index: Index, vector: Vector, *, filter: SearchFilter, limit: int
    ) -> Sequence[Hit]:
        """See `VectorIndex`."""
        values = (tenant_id, index.id, vector, limit, *filter_values(filter))
        table = table_of(tenant_id, index)
        # HNSW goes on where it was; the common table would be read from end to end each time.
        widths = (_WIDER, _WIDEST) if index.storage is IndexStorage.OWN else (_WIDER,)
        async with self._pool.connection("search_vectors") as connection:
            for wider in widths:
                rows = await connection.fetch(nearest_statement(table, limit * wider), *values)
                if len(rows) == limit:
                    break
            else:
                rows = await connection.fetch(all_statement(table), *values)
        # Where HNSW went on, what came later may be nearer.
        return sorted((read_hit(row) for row in rows), key=lambda hit: (-hit.score, hit.document_id, hit.position))

    async def similarities(
        self, tenant_id: TenantId, index: Index, vector: Vector, hashes: Sequence[bytes]
    ) -> Mapping[bytes, float]:
        """See `VectorIndex`."""
        statement = f"""
SELECT v.hash, -(v.vector {_DISTANCE}) AS score FROM syntera.{table_of(tenant_id, index)} AS v
WHERE v.tenant_id = $1 AND v.index_id = $2 AND v.hash = ANY ($4::bytea[])
"""  # noqa: S608
        async with self._pool.connection("similarities") as connection:
            rows = await connection.fetch(statement, tenant_id, index.id, vector, hashes)
        return {row["hash"]: row["score"] for row in rows}

    async def hashes(self, tenant_id: TenantId, index: Index) -> AsyncGenerator[Sequence[bytes], None]:
        """See `VectorIndex`."""
        statement = f"""
SELECT v.hash FROM syntera.{table_of(tenant_id, index)} AS v
WHERE v.tenant_id = $1 AND v.index_id = $2 AND v.hash > $3 ORDER BY v.hash LIMIT {_PAGE}
"""  # noqa: S608
        after = b""
        while True:
            async with self._pool.connection("hashes") as connection:
                rows = await connection.fetch(statement, tenant_id, index.id, after)
            if rows:
                yield [row["hash"] for row in rows]
            if len(rows) < _PAGE:
                return
            after = rows[-1]["hash"]

    async def delete(self, tenant_id: TenantId, index: Index, hashes: Sequence[bytes]) -> None:  # noqa: ARG002  # as below
        """See `VectorIndex`."""
        for start in range(0, len(hashes), _STEP):
            async with self._pool.connection("delete_vectors") as connection:
                await _delete(connection, index, hashes[start : start + _STEP])

    async def drop(self, tenant_id: TenantId, index: Index) -> None:  # noqa: ARG002  # the function knows the tenant
        """See `VectorIndex`."""
        is_more = True
        while is_more:
            async with self._pool.connection("drop_vectors") as connection:
                is_more = await _delete(connection, index, None) == _STEP


def table_of(tenant_id: TenantId, index: Index) -> str:
    """The table that has the vectors of an index."""
    return own_vectors_table(tenant_id, index.id) if index.storage is IndexStorage.OWN else _COMMON


async def _delete(connection: Connection, index: Index, hashes: Sequence[bytes] | None) -> int:
    deleted: int = await connection.fetchval("SELECT syntera.delete_vectors($1, $2, $3)", index.id, hashes, _STEP)
    return deleted
