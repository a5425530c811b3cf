"""The JSON of knowledge bases and their syncs."""

from datetime import datetime
from enum import StrEnum
from typing import Self
from uuid import UUID

from syntera_crds.contract.knowledge_config import KnowledgeBaseConfig, SearchMode, Source

from ..knowledge.management import DescribedKnowledgeBase
from ..models.ids import SyncId
from ..models.knowledge import (
    DocumentState,
    Failing,
    Index,
    IndexStorage,
    Sync,
    SyncCounts,
    SyncFailure,
    SyncState,
)
from ..views.base import View
from .pages import PartQuery, read_newest_cursor


class SourceKind(StrEnum):
    """Where the documents of a source come from."""

    INLINE = "inline"
    CONFIG_MAP = "configMap"
    WEB = "web"
    GIT = "git"
    S3 = "s3"
    UPLOAD = "upload"
    UNKNOWN = "unknown"
    """Of a kind that only a later release knows."""


class SyncQuery(PartQuery):
    """Which part of the list of syncs."""

    @property
    def before(self) -> SyncId | None:
        """The id that the page begins behind.

        Raises:
            InvalidCursor: The cursor is none of ours.
        """
        return None if self.cursor is None else SyncId(read_newest_cursor(self.cursor))


class SourceView(View):
    """A source of documents."""

    name: str
    kind: SourceKind
    audience: list[str]
    """Whom its documents are for."""
    tags: list[str]
    language: str | None
    """ISO 639-1; null: found out for each document."""
    max_file_bytes: int | None
    """Of one that takes uploads: how large a file may be."""

    @classmethod
    def of(cls, source: Source) -> Self:
        """The view of `source`."""
        kinds = {
            SourceKind.INLINE: source.inline,
            SourceKind.CONFIG_MAP: source.config_map,
            SourceKind.WEB: source.web,
            SourceKind.GIT: source.git,
            SourceKind.S3: source.s3,
            SourceKind.UPLOAD: source.upload,
        }
        return cls(
            name=source.name,
            kind=next((kind for kind, made in kinds.items() if made is not None), SourceKind.UNKNOWN),
            audience=sorted(source.audience),
            tags=sorted(source.tags),
            language=source.language,
            max_file_bytes=None if source.upload is None else source.upload.max_file_megabytes * 1024 * 1024,
        )


class EmbeddingModelView(View):
    """What makes vectors of texts."""

    endpoint: str
    """The Tenant's model endpoint."""
    model: str
    dimensions: int


class RetrievalView(View):
    """How the knowledge base is searched where nobody says otherwise."""

    mode: SearchMode
    top_k: int
    """Passages at most."""
    min_score: float
    neighbours: int
    """Chunks before and after a found one that belong to the passage."""
    passage_tokens: int
    """How long a passage gets at most."""
    reranks: bool
    """A model judges the passages that were found."""


class ChunkingView(View):
    """How documents are cut."""

    target_tokens: int
    overlap_tokens: int


class DocumentCountsView(View):
    """Documents by state."""

    pending: int
    indexed: int
    failed: int
    excluded: int


class IndexView(View):
    """What is searched."""

    number: int
    """Of the knowledge base's indexes, from 1."""
    dimensions: int
    storage: IndexStorage
    """`common`: the table of small indexes; `own`: a table of its own; `pinecone`."""
    languages: list[str]
    """Of its documents, as far as they are known."""
    current: bool
    """Whether it was made with the configuration of now. false: another one is being built, or will be by the next sync."""
    created_at: datetime
    activated_at: datetime | None

    @classmethod
    def of(cls, index: Index, config: KnowledgeBaseConfig) -> Self:
        """The view of `index`."""
        return cls(
            number=index.number,
            dimensions=index.dimensions,
            storage=index.storage,
            languages=sorted(language for language in index.languages if language),
            current=index.fingerprint == config.fingerprint(),
            created_at=index.created_at,
            activated_at=index.activated_at,
        )


class SyncCountsView(View):
    """What a sync did."""

    documents: int
    """That the sources have now."""
    added: int
    changed: int
    unchanged: int
    removed: int
    failed: int
    fetched_bytes: int
    chunks_written: int
    embedded_chunks: int
    embedded_tokens: int
    """As the endpoint says, else as estimated."""

    @classmethod
    def of(cls, counts: SyncCounts) -> Self:
        """The view of `counts`."""
        return cls(
            documents=counts.documents,
            added=counts.added,
            changed=counts.changed,
            unchanged=counts.unchanged,
            removed=counts.removed,
            failed=counts.failed,
            fetched_bytes=counts.fetched_bytes,
            chunks_written=counts.chunks_written,
            embedded_chunks=counts.embedded_chunks,
            embedded_tokens=counts.embedded_tokens,
        )


class SyncFailureView(View):
    """Something that a sync could not take in."""

    source: str
    document: str | None
    """Its path; null: the source as a whole."""
    reason: Failing
    message: str
    """What to do."""

    @classmethod
    def of(cls, failure: SyncFailure) -> Self:
        """The view of `failure`."""
        return cls(source=failure.source, document=failure.document, reason=failure.reason, message=failure.message)


class SyncView(View):
    """One run that brings a knowledge base in step with its sources."""

    id: UUID
    state: SyncState
    trigger: str
    """What began it: `schedule`, `request`, `configuration`."""
    revision: int
    """Of the configuration that it works by."""
    started_at: datetime
    ended_at: datetime | None
    index_number: int | None
    """The index that it fills."""
    estimated_tokens: int | None
    """What building another index would embed, known before it does."""
    counts: SyncCountsView
    failures: list[SyncFailureView]
    """The first ten."""
    failure: str | None
    """Why it failed as a whole: `budget-exceeded`, `embedding-failed`, `store-unavailable`, `killed`."""
    message: str | None

    @classmethod
    def of(cls, sync: Sync) -> Self:
        """The view of `sync`."""
        return cls(
            id=sync.id,
            state=sync.state,
            trigger=sync.trigger,
            revision=sync.revision,
            started_at=sync.started_at,
            ended_at=sync.ended_at,
            index_number=sync.index_number,
            estimated_tokens=sync.estimated_tokens,
            counts=SyncCountsView.of(sync.counts),
            failures=[SyncFailureView.of(failure) for failure in sync.failures],
            failure=sync.failure,
            message=sync.message,
        )


class KnowledgeBaseView(View):
    """A knowledge base: how it is configured, and what is in it."""

    name: str
    revision: int
    """Grows with every change of its configuration."""
    sources: list[SourceView]
    embedding: EmbeddingModelView
    chunking: ChunkingView
    retrieval: RetrievalView
    documents: DocumentCountsView
    chunks: int
    """In the active index."""
    active_index: IndexView | None
    """null: no sync has come to its end yet, and nothing can be searched."""
    last_sync: SyncView | None
    """The one that began last, whether or not it runs still."""

    @classmethod
    def of(cls, described: DescribedKnowledgeBase) -> Self:
        """The view of `described`."""
        config, held, sync = described.config, described.held, described.last_sync
        counts = {} if held is None else held.documents
        active = None if held is None else held.active
        return cls(
            name=config.name,
            revision=config.revision,
            sources=[SourceView.of(source) for source in config.sources],
            embedding=EmbeddingModelView(
                endpoint=config.embedding.endpoint,
                model=config.embedding.model,
                dimensions=config.embedding.dimensions,
            ),
            chunking=ChunkingView(
                target_tokens=config.chunking.target_tokens, overlap_tokens=config.chunking.overlap_tokens
            ),
            retrieval=RetrievalView(
                mode=config.retrieval.mode,
                top_k=config.retrieval.top_k,
                min_score=config.retrieval.min_score,
                neighbours=config.retrieval.neighbours,
                passage_tokens=config.retrieval.passage_tokens,
                reranks=config.retrieval.rerank is not None,
            ),
            documents=DocumentCountsView(**{state.value: counts.get(state, 0) for state in DocumentState}),
            chunks=0 if held is None else held.chunks,
            active_index=None if active is None else IndexView.of(active, config),
            last_sync=None if sync is None else SyncView.of(sync),
        )


class KnowledgeBaseList(View):
    """All knowledge bases, by name."""

    items: list[KnowledgeBaseView]


class SyncRequested(View):
    """A sync that was asked for. It stands in the list of syncs once it has begun."""

    knowledge_base: str
