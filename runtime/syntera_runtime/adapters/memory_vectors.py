"""Vectors in memory, searched exactly."""

import math
from collections.abc import AsyncGenerator, Mapping, Sequence

from ..models.ids import TenantId
from ..models.knowledge import Hit, Index, SearchFilter, Vector
from .memory_knowledge_rows import KnowledgeRows, best_first, build_hit

_PAGE = 1000


class MemoryVectors:
    """`VectorIndex` in memory."""

    def __init__(self, rows: KnowledgeRows) -> None:
        self._rows = rows

    async def write(self, tenant_id: TenantId, index: Index, vectors: Mapping[bytes, Vector]) -> None:
        """See `VectorIndex`."""
        row = self._rows.index(tenant_id, index)
        if row is not None:
            row.vectors.update({hash: tuple(vector) for hash, vector in vectors.items()})

    async def search(
        self, tenant_id: TenantId, index: Index, vector: Vector, *, filter: SearchFilter, limit: int
    ) -> Sequence[Hit]:
        """See `VectorIndex`."""
        kept = self._kept(tenant_id, index)
        hits = [
            build_hit(document_id, chunk, _similarity(kept[chunk.embedded_hash], vector))
            for document_id, chunk in self._rows.candidates(tenant_id, index, filter)
            if chunk.embedded_hash in kept
        ]
        return best_first(hits, limit)

    async def similarities(
        self, tenant_id: TenantId, index: Index, vector: Vector, hashes: Sequence[bytes]
    ) -> Mapping[bytes, float]:
        """See `VectorIndex`."""
        kept = self._kept(tenant_id, index)
        return {hash: _similarity(kept[hash], vector) for hash in hashes if hash in kept}

    async def hashes(self, tenant_id: TenantId, index: Index) -> AsyncGenerator[Sequence[bytes], None]:
        """See `VectorIndex`."""
        kept = sorted(self._kept(tenant_id, index))
        for start in range(0, len(kept), _PAGE):
            yield kept[start : start + _PAGE]

    async def delete(self, tenant_id: TenantId, index: Index, hashes: Sequence[bytes]) -> None:
        """See `VectorIndex`."""
        row = self._rows.index(tenant_id, index)
        if row is not None:
            for hash in hashes:
                row.vectors.pop(hash, None)

    async def drop(self, tenant_id: TenantId, index: Index) -> None:
        """See `VectorIndex`."""
        row = self._rows.index(tenant_id, index)
        if row is not None:
            row.vectors.clear()

    def _kept(self, tenant_id: TenantId, index: Index) -> Mapping[bytes, Vector]:
        row = self._rows.index(tenant_id, index)
        return {} if row is None else row.vectors


def _similarity(left: Vector, right: Vector) -> float:
    lengths = math.hypot(*left) * math.hypot(*right)
    return sum(a * b for a, b in zip(left, right, strict=True)) / lengths if lengths else 0.0
