"""What the API answers of knowledge bases; see `models`."""

from datetime import datetime
from typing import Annotated, TypeAlias
from uuid import UUID

from pydantic import Field

from syntera_crds.contract.knowledge_config import SearchMode

from ..models.knowledge import DocumentState, Failing, IndexStorage, SyncState
from .models import Answer

_OR_TEXT = Field(union_mode="left_to_right")

SearchModeOrText: TypeAlias = Annotated[SearchMode | str, _OR_TEXT]
DocumentStateOrText: TypeAlias = Annotated[DocumentState | str, _OR_TEXT]
FailingOrText: TypeAlias = Annotated[Failing | str, _OR_TEXT]
IndexStorageOrText: TypeAlias = Annotated[IndexStorage | str, _OR_TEXT]
SyncStateOrText: TypeAlias = Annotated[SyncState | str, _OR_TEXT]


class Source(Answer):
    """A source of documents."""

    name: str
    kind: str = "unknown"
    """`inline`, `configMap`, `web`, `git`, `s3` or `upload`."""
    audience: list[str] = []
    """Whom its documents are for."""
    tags: list[str] = []
    language: str | None = None
    """ISO 639-1. None: found out for each document."""
    max_file_bytes: int | None = None
    """Of one that takes uploads: how large a file may be."""


class EmbeddingModel(Answer):
    """What makes vectors of texts."""

    endpoint: str
    model: str
    dimensions: int


class Retrieval(Answer):
    """How the knowledge base is searched where nobody says otherwise."""

    mode: SearchModeOrText = SearchMode.HYBRID
    top_k: int = 0
    """Passages at most."""
    min_score: float = 0.0
    neighbours: int = 0
    """Chunks before and after a found one that belong to the passage."""
    passage_tokens: int = 0
    """How long a passage gets at most."""
    reranks: bool = False
    """A model judges the passages that were found."""


class Chunking(Answer):
    """How documents are cut."""

    target_tokens: int
    overlap_tokens: int


class DocumentCounts(Answer):
    """Documents by state."""

    pending: int = 0
    indexed: int = 0
    failed: int = 0
    excluded: int = 0


class Index(Answer):
    """What is searched."""

    number: int
    dimensions: int
    storage: IndexStorageOrText
    languages: list[str] = []
    current: bool = True
    """Whether it was made with the configuration of now. False: another one is being built, or will be by the next sync."""
    created_at: datetime
    activated_at: datetime | None = None


class SyncCounts(Answer):
    """What a sync did."""

    documents: int = 0
    """That the sources have now."""
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    failed: int = 0
    fetched_bytes: int = 0
    chunks_written: int = 0
    embedded_chunks: int = 0
    embedded_tokens: int = 0


class SyncFailure(Answer):
    """Something that a sync could not take in."""

    source: str
    document: str | None = None
    """Its path. None: the source as a whole."""
    reason: FailingOrText
    message: str = ""
    """What to do."""


class Sync(Answer):
    """One run that brings a knowledge base in step with its sources."""

    id: UUID
    state: SyncStateOrText
    trigger: str = ""
    """What began it: `schedule`, `request`, `configuration`."""
    revision: int = 0
    """Of the configuration that it works by."""
    started_at: datetime
    ended_at: datetime | None = None
    index_number: int | None = None
    """The index that it fills."""
    estimated_tokens: int | None = None
    """What building another index would embed, known before it does."""
    counts: SyncCounts = SyncCounts()
    failures: list[SyncFailure] = []
    """The first ten."""
    failure: str | None = None
    """Why it failed as a whole."""
    message: str | None = None


class KnowledgeBase(Answer):
    """A knowledge base: how it is configured, and what is in it."""

    name: str
    revision: int = 0
    """Grows with every change of its configuration."""
    sources: list[Source] = []
    embedding: EmbeddingModel
    chunking: Chunking
    retrieval: Retrieval = Retrieval()
    documents: DocumentCounts = DocumentCounts()
    chunks: int = 0
    """In the active index."""
    active_index: Index | None = None
    """None: no sync has come to its end yet, and nothing can be searched."""
    last_sync: Sync | None = None
    """The one that began last, whether or not it runs still."""


class KnowledgeBaseList(Answer):
    """All knowledge bases, by name."""

    items: list[KnowledgeBase]


class DocumentFailure(Answer):
    """Why a document was not taken in."""

    reason: FailingOrText
    message: str = ""
    """What to do."""


class Document(Answer):
    """A document of a knowledge base."""

    id: UUID
    source: str
    path: str
    """Within the source: a URL, a path in a repository, an object's name, a file's name."""
    title: str
    url: str | None = None
    """Where people can read it."""
    state: DocumentStateOrText
    failure: DocumentFailure | None = None
    media_type: str = ""
    language: str | None = None
    """ISO 639-1. None: unknown."""
    audience: list[str] = []
    """Whom it is for."""
    tags: list[str] = []
    bytes: int = 0
    sha256: str | None = None
    """SHA-256 of its bytes, in hexadecimal digits. None: none were fetched yet."""
    characters: int = 0
    """Of its text."""
    chunks: int = 0
    """In the active index."""
    modified_at: datetime | None = None
    """When it was changed last, as far as anybody says."""
    created_at: datetime
    updated_at: datetime
    """When its content, or what is known of it, changed last."""
    checked_at: datetime | None = None
    """When a sync last took it in, or saw that it is as it was."""


class Chunk(Answer):
    """A piece of a document, as it is indexed."""

    id: UUID
    position: int
    """Among the chunks of the document, from 0."""
    start: int
    end: int
    """`start` and `end` count characters in the document's text."""
    overlap: int = 0
    """How many of its first characters the chunk before has too."""
    headings: list[str] = []
    """The path of headings that it stands below, the outermost first."""
    page: int | None = None
    """The page, slide or sheet on which it begins, from 1. None: the format has none."""
    last_page: int | None = None
    tokens: int = 0
    """As estimated."""
    text: str


class SyncRequested(Answer):
    """A sync that was asked for. It stands in the list of syncs once it has begun."""

    knowledge_base: str


class Passage(Answer):
    """A piece of one document that may answer the question."""

    document_id: UUID
    index_number: int = 0
    """The index that it was found in."""
    title: str
    source: str
    path: str
    url: str | None = None
    """Where people can read the document."""
    headings: list[str] = []
    """The path of headings that it stands below, the outermost first."""
    page: int | None = None
    """The page, slide or sheet on which it begins, from 1. None: the format has none."""
    last_page: int | None = None
    start: int
    end: int
    """`start` and `end` count characters in the document's text."""
    text: str
    tokens: int = 0
    """As estimated."""
    score: float
    """What the least score is compared with."""
    scores: dict[str, float] = {}
    """By stage: `vector`, `keyword`, `fused`, `rerank`."""
    modified_at: datetime | None = None


class SearchStage(Answer):
    """One step of a search."""

    name: str
    seconds: float
    found: int
    """Candidates after it."""
    failure: str | None = None
    """Code of why it gave nothing; the search went on without it."""


class SearchResult(Answer):
    """What a search found, and how."""

    passages: list[Passage]
    """The best first."""
    mode: SearchModeOrText
    stages: list[SearchStage] = []
    left_out: int = 0
    """Candidates whose score was too low."""
    embedding_tokens: int = 0
    """Of the question."""
