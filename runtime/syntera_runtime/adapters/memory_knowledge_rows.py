"""What the memory adapters of knowledge share: the rows of each tenant, and what a search may find in them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from syntera_crds.contract.knowledge_config import MOST_KNOWLEDGE_BASES

from ..errors import TooManyKnowledgeBases
from ..ids import new_id
from ..models.ids import ChunkId, DocumentId, IndexId, KnowledgeBaseId, SyncId, TenantId
from ..models.knowledge import (
    Document,
    DocumentFacts,
    DocumentOrigin,
    DocumentState,
    Extracted,
    FoundChunk,
    Hit,
    Index,
    IndexedChunk,
    IndexState,
    KnowledgeBase,
    SearchFilter,
    Sync,
    Vector,
)
from .memory_files import MemoryFiles


@dataclass(slots=True)
class Held:
    """A document as an index has it."""

    content_hash: bytes
    reader: str
    chunks: Sequence[IndexedChunk]


@dataclass(slots=True)
class IndexRow:
    """An index with all that is in it."""

    index: Index
    held: dict[DocumentId, Held] = field(default_factory=dict)
    vectors: dict[bytes, Vector] = field(default_factory=dict)
    is_doomed: bool = False
    """It is to be dropped, so nobody takes it up again."""

    def chunks(self) -> Iterator[tuple[DocumentId, IndexedChunk]]:
        """All chunks, by document and position."""
        for document_id, held in sorted(self.held.items()):
            for chunk in held.chunks:
                yield document_id, chunk


@dataclass(slots=True)
class DocumentRow:
    """A document with its text."""

    document: Document
    extracted: Extracted | None = None
    reader: str = ""
    links: Sequence[str] | None = None


@dataclass(slots=True)
class KnowledgeBaseRow:
    """A knowledge base with all that hangs on it."""

    id: KnowledgeBaseId
    name: str
    documents: dict[DocumentId, DocumentRow] = field(default_factory=dict)
    indexes: dict[IndexId, IndexRow] = field(default_factory=dict)
    syncs: dict[SyncId, Sync] = field(default_factory=dict)
    last_number: int = 0
    is_locked: bool = False
    is_sync_requested: bool = False

    @property
    def active(self) -> IndexRow | None:
        """The index that is searched."""
        return next((row for row in self.indexes.values() if row.index.state is IndexState.ACTIVE), None)

    @property
    def knowledge_base(self) -> KnowledgeBase:
        """Without its counts."""
        active = self.active
        return KnowledgeBase(id=self.id, name=self.name, active=None if active is None else active.index)

    def find_origin(self, origin: DocumentOrigin) -> DocumentRow | None:
        """The document from there."""
        return next((row for row in self.documents.values() if row.document.origin == origin), None)

    def take_out(self, document_id: DocumentId) -> None:
        """Take a document out of every index."""
        for row in self.indexes.values():
            row.held.pop(document_id, None)

    def shown(self, row: DocumentRow) -> Document:
        """The document, with the number of its chunks."""
        active = self.active
        held = None if active is None else active.held.get(row.document.id)
        return replace(row.document, chunks=0 if held is None else len(held.chunks))


class KnowledgeRows:
    """All tenants' rows."""

    def __init__(self, files: MemoryFiles) -> None:
        self.files = files
        self._tenants: dict[TenantId, dict[KnowledgeBaseId, KnowledgeBaseRow]] = {}

    def of(self, tenant_id: TenantId) -> dict[KnowledgeBaseId, KnowledgeBaseRow]:
        """The tenant's knowledge bases."""
        return self._tenants.setdefault(tenant_id, {})

    def find(self, tenant_id: TenantId, name: str) -> KnowledgeBaseRow | None:
        """The knowledge base of that name."""
        return next((row for row in self.of(tenant_id).values() if row.name == name), None)

    def ensure(self, tenant_id: TenantId, name: str) -> KnowledgeBaseRow:
        """The same, made if there is none.

        Raises:
            TooManyKnowledgeBases: There is no room for another one.
        """
        found = self.find(tenant_id, name)
        if found is None:
            if len(self.of(tenant_id)) >= MOST_KNOWLEDGE_BASES:
                raise TooManyKnowledgeBases
            found = KnowledgeBaseRow(KnowledgeBaseId(new_id()), name)
            self.of(tenant_id)[found.id] = found
        return found

    def index(self, tenant_id: TenantId, index: Index) -> IndexRow | None:
        """An index's content; None: it was dropped, or is not the tenant's."""
        base = self.of(tenant_id).get(index.knowledge_base_id)
        return None if base is None else base.indexes.get(index.id)

    def base_of_document(self, tenant_id: TenantId, document_id: DocumentId) -> KnowledgeBaseRow | None:
        """The knowledge base that has a document."""
        return next((base for base in self.of(tenant_id).values() if document_id in base.documents), None)

    def candidates(
        self, tenant_id: TenantId, index: Index, filter: SearchFilter
    ) -> Iterator[tuple[DocumentId, IndexedChunk]]:
        """The chunks of an index that a search may find."""
        base, row = self.of(tenant_id).get(index.knowledge_base_id), self.index(tenant_id, index)
        if base is None or row is None:
            return
        for document_id, chunk in row.chunks():
            document = base.documents[document_id].document
            if _passes(document.origin, document.facts, filter):
                yield document_id, chunk

    def found(self, base: KnowledgeBaseRow, document_id: DocumentId, chunk: IndexedChunk) -> FoundChunk:
        """A chunk with its document."""
        document = base.documents[document_id].document
        return FoundChunk(
            id=chunk.id,
            chunk=chunk.chunk,
            document_id=document_id,
            origin=document.origin,
            facts=document.facts,
        )

    def forget_document(self, tenant_id: TenantId, base: KnowledgeBaseRow, document_id: DocumentId) -> None:
        """Forget a document with its chunks; its file is doomed."""
        base.take_out(document_id)
        removed = base.documents.pop(document_id).document
        if removed.file_id is not None:
            self.files.doom_of_document(tenant_id, removed.file_id)


def build_hit(document_id: DocumentId, chunk: IndexedChunk, score: float) -> Hit:
    """A chunk that a stage found."""
    return Hit(
        chunk_id=ChunkId(chunk.id),
        document_id=document_id,
        position=chunk.chunk.position,
        embedded_hash=chunk.embedded_hash,
        score=score,
    )


def best_first(hits: Sequence[Hit], limit: int) -> Sequence[Hit]:
    """The best hits, the best first; equal ones by document and position."""
    return sorted(hits, key=lambda hit: (-hit.score, hit.document_id, hit.position))[:limit]


def count_states(documents: Mapping[DocumentId, DocumentRow]) -> Mapping[DocumentState, int]:
    """How many documents are in each state; states of none are left out."""
    states = [row.document.state for row in documents.values()]
    return {state: states.count(state) for state in DocumentState if state in states}


def now() -> datetime:
    """The time of day."""
    return datetime.now(UTC)


def _passes(origin: DocumentOrigin, facts: DocumentFacts, filter: SearchFilter) -> bool:
    modified_at = facts.modified_at
    return (
        not facts.audience.isdisjoint(filter.audience)
        and (filter.sources is None or origin.source in filter.sources)
        and (filter.path_prefix is None or origin.path.startswith(filter.path_prefix))
        and filter.tags <= facts.tags
        and (filter.modified_from is None or (modified_at is not None and modified_at >= filter.modified_from))
        and (filter.modified_before is None or (modified_at is not None and modified_at < filter.modified_before))
    )
