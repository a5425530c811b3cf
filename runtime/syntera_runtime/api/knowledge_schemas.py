"""The JSON of knowledge bases, their documents and syncs. That of searches is in `search_schemas`."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, AnyHttpUrl, Field, TypeAdapter

from syntera_crds.contract.knowledge_config import Audience, KnowledgeBaseConfig, SearchMode, Source

from ..knowledge.management import DescribedKnowledgeBase, Upload
from ..models.ids import DocumentId, SyncId
from ..models.knowledge import (
    Document,
    DocumentState,
    Failing,
    FoundChunk,
    Index,
    IndexStorage,
    Sync,
    SyncCounts,
    SyncFailure,
    SyncState,
)
from ..views.base import View
from .pages import PartQuery, read_cursor, read_newest_cursor
from .schemas import Input, Title, check_characters

_URL = TypeAdapter(AnyHttpUrl)


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


def _check_url(url: str) -> str:
    _URL.validate_python(url)
    return url


Tag = Annotated[str, Field(min_length=1, max_length=63), AfterValidator(check_characters)]


class UploadQuery(Input):
    """What a file is called, and what is to be said of it. What is left out is as the source says."""

    # Query parameters arrive as text, so the strictness of JSON does not apply.
    model_config = {"strict": False}

    name: Annotated[str, Field(min_length=1, max_length=255), AfterValidator(check_characters)]
    """What the file is called. Folders and characters that no name should have are taken out of it. A file of the same name
    replaces the one before."""
    source: Annotated[str, Field(min_length=1, max_length=63), AfterValidator(check_characters)] | None = None
    """Name of the source that it is for. Left out: the first one that takes uploads."""
    title: Title | None = None
    """What citations call it, unless its content names a title. Left out: its name."""
    url: Annotated[str, Field(min_length=1, max_length=2048), AfterValidator(_check_url)] | None = None
    """Where people can read it; citations link there."""
    language: Annotated[str, Field(pattern=r"^[a-z]{2}$")] | None = None
    """ISO 639-1. Left out: found out from its text."""
    audience: Annotated[list[Audience], Field(max_length=len(Audience))] = []
    """Whom it is for, several times for several."""
    tags: Annotated[list[Tag], Field(max_length=20)] = []
    """Beside those of the source; several times for several."""

    def to_model(self) -> Upload:
        """What is wanted."""
        return Upload(
            name=self.name,
            title=self.title,
            url=self.url,
            language=self.language,
            audience=frozenset(one.value for one in self.audience),
            tags=frozenset(self.tags),
        )


class DocumentQuery(PartQuery):
    """Which documents are listed, and which part of the list."""

    source: Annotated[str, Field(min_length=1, max_length=63), AfterValidator(check_characters)] | None = None
    """Only documents of this source."""
    state: DocumentState | None = None
    """Only documents in this state."""
    q: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(check_characters)] | None = None
    """Only documents that have this in their title or path, in any case."""

    @property
    def after(self) -> DocumentId | None:
        """The id that the page begins behind.

        Raises:
            InvalidCursor: The cursor is none of ours.
        """
        return None if self.cursor is None else DocumentId(read_cursor(self.cursor))


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


class DocumentFailureView(View):
    """Why a document was not taken in."""

    reason: Failing
    message: str
    """What to do."""


class DocumentView(View):
    """A document of a knowledge base."""

    id: UUID
    source: str
    path: str
    """Within the source: a URL, a path in a repository, an object's name, a file's name."""
    title: str
    url: str | None
    """Where people can read it."""
    state: DocumentState
    """`pending`: the next sync takes it in; `failed`: see `failure`; `excluded`: somebody deleted it, and syncs leave it out."""
    failure: DocumentFailureView | None
    media_type: str
    language: str | None
    """ISO 639-1; null: unknown."""
    audience: list[str]
    """Whom it is for."""
    tags: list[str]
    bytes: int
    sha256: str | None
    """SHA-256 of its bytes, in hexadecimal digits; null: none were fetched yet."""
    characters: int
    """Of its text."""
    chunks: int
    """In the active index."""
    modified_at: datetime | None
    """When it was changed last, as far as anybody says."""
    created_at: datetime
    updated_at: datetime
    """When its content, or what is known of it, changed last."""
    checked_at: datetime | None
    """When a sync last took it in, or saw that it is as it was."""

    @classmethod
    def of(cls, document: Document) -> Self:
        """The view of `document`."""
        facts, failure = document.facts, document.failure
        return cls(
            id=document.id,
            source=document.origin.source,
            path=document.origin.path,
            title=facts.title,
            url=facts.url,
            state=document.state,
            failure=None if failure is None else DocumentFailureView(reason=failure.reason, message=failure.message),
            media_type=facts.media_type,
            language=facts.language,
            audience=sorted(facts.audience),
            tags=sorted(facts.tags),
            bytes=facts.size,
            sha256=None if document.content_hash is None else document.content_hash.hex(),
            characters=document.characters,
            chunks=document.chunks,
            modified_at=facts.modified_at,
            created_at=document.created_at,
            updated_at=document.updated_at,
            checked_at=document.checked_at,
        )


class ChunkView(View):
    """A piece of a document, as it is indexed."""

    id: UUID
    position: int
    """Among the chunks of the document, from 0."""
    start: int
    end: int
    """`start` and `end` count characters in the document's text."""
    overlap: int
    """How many of its first characters the chunk before has too."""
    headings: list[str]
    """The path of headings that it stands below, the outermost first."""
    page: int | None
    """The page, slide or sheet on which it begins, from 1; null: the format has none."""
    last_page: int | None
    tokens: int
    """As estimated."""
    text: str

    @classmethod
    def of(cls, found: FoundChunk) -> Self:
        """The view of `found`."""
        chunk = found.chunk
        return cls(
            id=found.id,
            position=chunk.position,
            start=chunk.start,
            end=chunk.end,
            overlap=chunk.overlap,
            headings=list(chunk.headings),
            page=chunk.page,
            last_page=chunk.last_page,
            tokens=chunk.tokens,
            text=chunk.content,
        )


class SyncRequested(View):
    """A sync that was asked for. It stands in the list of syncs once it has begun."""

    knowledge_base: str
