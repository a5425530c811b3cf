"""What all parts of one sync share."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from syntera_crds.contract.knowledge_config import KnowledgeBaseConfig, Source

from ..knowledge import chunking
from ..models.ids import KnowledgeBaseId, TenantId
from ..models.knowledge import Index, KnownDocument
from ..ports.knowledge import KnowledgeWriter, VectorIndex
from .extraction_port import Extractor
from .items import DocumentSource, SourceDocuments
from .progress import Progress
from .stored_documents import StoredDocuments

BuildSource = Callable[[Source, SourceDocuments], DocumentSource]
"""Makes the reader of a source; it is given what is known of the source's documents."""


@dataclass(frozen=True, slots=True)
class Work:
    """One sync of one knowledge base into one index."""

    tenant_id: TenantId
    knowledge_base_id: KnowledgeBaseId
    config: KnowledgeBaseConfig
    index: Index
    store: KnowledgeWriter
    vectors: VectorIndex
    """Those of the index."""
    extractor: Extractor
    reader: str
    """Version of what extracts and cuts: documents that another one has read are read anew."""
    progress: Progress
    stop: asyncio.Event
    """Set where no further document may begin."""
    found: frozenset[bytes] = frozenset()
    """Hashes of vectors that are there although the store of chunks may know nothing of them."""

    async def known_vectors(self, hashes: Sequence[bytes]) -> frozenset[bytes]:
        """Those of the embedded texts that need not be embedded.

        Raises:
            StoreUnavailable: It could not be looked up.
        """
        rest = [key for key in hashes if key not in self.found]
        return (frozenset(hashes) & self.found) | await self.store.known_vectors(self.tenant_id, self.index, rest)

    def documents(self, source: str) -> StoredDocuments:
        """What is known of the documents of a source."""
        return StoredDocuments(self.store, self.tenant_id, self.knowledge_base_id, self.index.id, source)

    def holds(self, document: KnownDocument) -> bool:
        """Whether the index has the document with the content that is known of it."""
        return document.content_hash is not None and document.indexed_hash == document.content_hash


def name_reader(extraction_version: str) -> str:
    """The version of everything between a document's bytes and its chunks."""
    return f"{extraction_version}/{chunking.VERSION}"
