"""What the store knows of the documents of one source."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from ..models.ids import IndexId, KnowledgeBaseId, TenantId
from ..models.knowledge import DocumentOrigin, KnownDocument
from ..ports.knowledge import KnowledgeWriter


@dataclass(frozen=True, slots=True)
class StoredDocuments:
    """`SourceDocuments` of a store; whether an index holds them is told of the one that the sync fills."""

    store: KnowledgeWriter
    tenant_id: TenantId
    knowledge_base_id: KnowledgeBaseId
    index_id: IndexId
    source: str

    def pages(self) -> AsyncGenerator[Sequence[KnownDocument], None]:
        """See `SourceDocuments`."""
        return self.store.known_documents(self.tenant_id, self.knowledge_base_id, self.index_id, source=self.source)

    async def find(self, path: str) -> KnownDocument | None:
        """See `SourceDocuments`."""
        origin = DocumentOrigin(self.source, path)
        return await self.store.find_known(self.tenant_id, self.knowledge_base_id, self.index_id, origin=origin)

    async def find_links(self, path: str) -> Sequence[str] | None:
        """See `SourceDocuments`."""
        origin = DocumentOrigin(self.source, path)
        return await self.store.find_links(self.tenant_id, self.knowledge_base_id, origin=origin)
