"""What all parts of one sync share."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from syntera_crds.contract.knowledge_config import KnowledgeBaseConfig, Source

from ..knowledge import chunking
from ..models.ids import KnowledgeBaseId, TenantId
from ..models.knowledge import Index, KnownDocument
from ..ports.knowledge import KnowledgeWriter, VectorIndex
from .extraction_port import Extractor
from .items import DocumentSource, KnownPages
from .progress import Progress

BuildSource = Callable[[Source, KnownPages], DocumentSource]
"""Makes the reader of a source; it is given what is known of the source's documents, in pages."""


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

    def holds(self, document: KnownDocument) -> bool:
        """Whether the index has the document with the content that is known of it."""
        return document.content_hash is not None and document.indexed_hash == document.content_hash


def name_reader(extraction_version: str) -> str:
    """The version of everything between a document's bytes and its chunks."""
    return f"{extraction_version}/{chunking.VERSION}"
