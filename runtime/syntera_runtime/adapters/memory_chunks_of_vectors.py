"""Whose vectors are that are kept elsewhere, in memory."""

from collections.abc import Sequence

from ..models.ids import TenantId
from ..models.knowledge import Hit, Index, SearchFilter
from .memory_knowledge_rows import KnowledgeRows, build_hit


class MemoryChunksOfVectors:
    """`ChunksOfVectors` in memory."""

    def __init__(self, rows: KnowledgeRows) -> None:
        self._rows = rows

    async def find_chunks(
        self, tenant_id: TenantId, index: Index, hashes: Sequence[bytes], *, filter: SearchFilter
    ) -> Sequence[Hit]:
        """See `ChunksOfVectors`."""
        wanted = frozenset(hashes)
        candidates = self._rows.candidates(tenant_id, index, filter)
        return [
            build_hit(document_id, chunk, 0.0) for document_id, chunk in candidates if chunk.embedded_hash in wanted
        ]

    async def list_hashes(
        self, tenant_id: TenantId, index: Index, *, filter: SearchFilter, limit: int
    ) -> Sequence[bytes]:
        """See `ChunksOfVectors`."""
        candidates = self._rows.candidates(tenant_id, index, filter)
        return list(dict.fromkeys(chunk.embedded_hash for _, chunk in candidates))[:limit]
