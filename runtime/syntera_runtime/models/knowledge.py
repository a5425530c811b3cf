"""What agents know: documents, the chunks that they are cut into, the indexes these are found by, and the syncs that fill them.

A document belongs to a knowledge base and to one of its sources, and has a path of its own there. Its text is kept as it was
extracted; positions in it are counted in characters (code points) from 0. An index is one way to cut and embed all documents of
a knowledge base: at most one is active, and only that one is searched. A vector belongs to an index and to the text that was
embedded, by its hash: chunks with the same text share it, and a sync that was killed finds what it has paid for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from syntera_crds.contract.knowledge_config import EmbeddingModel, SearchMode
from syntera_crds.contract.published import hash_content

from .ids import ChunkId, DocumentId, FileId, IndexId, KnowledgeBaseId, SyncId

Vector = Sequence[float]
"""As many numbers as the index has dimensions, of length one."""


class Failing(StrEnum):
    """Why a document, or a whole source, could not be taken in."""

    TOO_LARGE = "TooLarge"
    """It has more bytes, pages, or cells than are read."""
    UNSUPPORTED = "Unsupported"
    """Its content is of no format that is read, or not what its name says."""
    BROKEN = "Broken"
    """It cannot be read in its format."""
    ENCRYPTED = "Encrypted"
    NO_TEXT = "NoText"
    """It holds no text: a scanned PDF, for example."""
    TOOK_TOO_LONG = "TookTooLong"
    """Reading it took more time or memory than it may."""
    NOT_FOUND = "NotFound"
    REFUSED = "Refused"
    """The server, its robots.txt or the guard against addresses that are not public does not allow it; credentials may be wrong."""
    UNAVAILABLE = "Unavailable"
    """The server does not answer, or answers with an error of its own."""
    EMBEDDING_FAILED = "EmbeddingFailed"
    """The model endpoint did not embed it."""


class DocumentState(StrEnum):
    """What became of a document."""

    PENDING = "pending"
    """It was uploaded, or is to be taken in anew, and no sync has got to it yet."""
    INDEXED = "indexed"
    FAILED = "failed"
    """The last sync could not take it in. What an earlier one took in is gone."""
    EXCLUDED = "excluded"
    """Somebody has deleted it; syncs leave it out until it is taken in anew."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Where in a document's text something begins."""

    start: int
    headings: tuple[str, ...] = ()
    """The path of headings from here on, the outermost first."""
    page: int | None = None
    """The page, slide or sheet from here on, from 1. None: the format has none."""


@dataclass(frozen=True, slots=True)
class Extracted:
    """What was read out of a document."""

    text: str
    """Markdown-like: headings as `#` lines, tables as pipe tables, list items with their marks; NFC, `\\n` alone ends lines."""
    marks: tuple[Mark, ...] = ()
    """By their starts, growing. Empty: no headings, no pages."""
    title: str | None = None
    language: str | None = None
    """ISO 639-1, where the document itself says so."""
    modified_at: datetime | None = None
    """Where the document itself says so."""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document."""

    position: int
    """Among the chunks of the document, from 0."""
    start: int
    """Where in the document's text it begins."""
    end: int
    """Where it ends; `text[start:end]` is its content."""
    content: str
    overlap: int = 0
    """How many of its first characters the chunk before has too."""
    headings: tuple[str, ...] = ()
    page: int | None = None
    """Where it begins."""
    last_page: int | None = None
    """Where it ends."""
    tokens: int = 0
    """As estimated."""


@dataclass(frozen=True, slots=True)
class IndexedChunk:
    """A chunk with what makes it findable."""

    id: ChunkId
    chunk: Chunk
    embedded_hash: bytes
    """First 16 bytes of the SHA-256 of the text that was embedded: finds its vector in the index."""


@dataclass(frozen=True, slots=True)
class DocumentOrigin:
    """Where a document comes from, which tells it from all others of its knowledge base."""

    source: str
    path: str
    """Within the source: a URL, a path in a repository, an object's name, a key, a file's name. At most 2,048 characters."""


@dataclass(frozen=True, slots=True)
class DocumentFacts:
    """What a source and its content say of a document; a change of these alone embeds nothing."""

    title: str
    url: str | None = None
    """Where people can read it."""
    media_type: str = "text/plain"
    language: str | None = None
    """ISO 639-1; None: unknown."""
    audience: frozenset[str] = frozenset({"public"})
    tags: frozenset[str] = frozenset()
    modified_at: datetime | None = None
    """When it was changed last, as far as anybody says."""
    size: int = 0
    """In bytes, as it was fetched."""
    keeps_audience: bool = False
    """Whoever uploaded it said for whom it is, so it is for these whatever its source says."""


@dataclass(frozen=True, slots=True)
class DocumentFailure:
    """Why a document was not taken in."""

    reason: Failing
    message: str
    """A sentence of ours that says what to do; never a vendor's words or the document's text. At most 512 characters."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it is known."""

    id: DocumentId
    knowledge_base_id: KnowledgeBaseId
    origin: DocumentOrigin
    facts: DocumentFacts
    state: DocumentState
    created_at: datetime
    updated_at: datetime
    """When its content or what is known of it changed last."""
    checked_at: datetime | None = None
    """When a sync last saw that it is as it was, or took it in."""
    failure: DocumentFailure | None = None
    content_hash: bytes | None = None
    """SHA-256 of the bytes that were fetched; None: none were."""
    validators: Mapping[str, str] = field(default_factory=dict)
    """What makes the next request for it a conditional one: `etag`, `last-modified`, a blob's id."""
    characters: int = 0
    """Of its text."""
    chunks: int = 0
    """In the active index."""
    file_id: FileId | None = None
    """Of an uploaded one: where its bytes are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownDocument:
    """As much of a document as a sync needs to see whether it has changed."""

    id: DocumentId
    origin: DocumentOrigin
    facts: DocumentFacts
    state: DocumentState
    content_hash: bytes | None
    validators: Mapping[str, str]
    indexed_hash: bytes | None
    """The content hash that the index in question holds it with; None: it does not hold it."""
    updated_at: datetime
    """When it was changed last."""
    file_id: FileId | None = None
    reader: str = ""
    """Version of what extracted and cut it; another one takes it in anew. Empty: it never was."""
    failure: DocumentFailure | None = None
    """Of a failed one, so that the same failure is not written again."""

    def is_marked_since(self, state: DocumentState, updated_at: datetime) -> bool:
        """Whether somebody has asked to take it in anew after it was found, going by how it is now."""
        return state is DocumentState.PENDING and updated_at != self.updated_at


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """What a sync says anew of a document whose content is as it was."""

    facts: DocumentFacts
    validators: Mapping[str, str]
    links: Sequence[str] | None = None
    """None: as before."""


class IndexState(StrEnum):
    """What an index is for."""

    BUILDING = "building"
    ACTIVE = "active"
    RETIRED = "retired"
    """It was replaced, and is kept for a while."""


class IndexStorage(StrEnum):
    """Where the vectors of an index are."""

    COMMON = "common"
    """In the table of all small indexes; searched exactly."""
    OWN = "own"
    """In a table of its own, with an HNSW index."""
    PINECONE = "pinecone"


@dataclass(frozen=True, slots=True)
class IndexModel:
    """What made an index's vectors, as the index's row says it.

    A tenant's login writes the row: it names an endpoint, and never says where that is or with which key it is asked.
    """

    endpoint: str
    """Name of the Tenant's model endpoint."""
    server: str
    """Hash of where the endpoint was; see `hash_server`."""
    model: str
    sends_dimensions: bool = False
    query_prefix: str = ""
    document_prefix: str = ""

    @classmethod
    def of(cls, embedding: EmbeddingModel) -> "IndexModel":
        """What is noted of a model."""
        return cls(
            endpoint=embedding.endpoint,
            server=hash_server(embedding.base_url),
            model=embedding.model,
            sends_dimensions=embedding.sends_dimensions,
            query_prefix=embedding.query_prefix,
            document_prefix=embedding.document_prefix,
        )


def hash_server(base_url: str) -> str:
    """Tells whether an endpoint of the same name is still where it was: another server may answer to any name of a model."""
    return hash_content(base_url)


@dataclass(frozen=True, slots=True)
class Index:
    """One way to cut and embed a knowledge base."""

    id: IndexId
    knowledge_base_id: KnowledgeBaseId
    number: int
    """Of the knowledge base's indexes, from 1."""
    fingerprint: str
    """See `KnowledgeBaseConfig.fingerprint`."""
    dimensions: int
    state: IndexState
    storage: IndexStorage
    created_at: datetime
    activated_at: datetime | None = None
    retired_at: datetime | None = None
    pinecone_host: str | None = None
    """Where in Pinecone its vectors are (`https://...`), whatever the Tenant names by now. None: they are in PostgreSQL."""
    languages: frozenset[str] = frozenset()
    """Languages of its documents; a search is parsed in each. Empty string: unknown."""
    embedding: IndexModel | None = None
    """The model that its vectors were made with, by which questions are compared with them while another index is being built
    with another one. None: nobody noted it; then it is the knowledge base's."""


class SyncState(StrEnum):
    """How far a sync is."""

    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SyncFailure:
    """A document, or a source as a whole, that a sync could not take in."""

    source: str
    document: str | None
    """Its path; None: the source as a whole."""
    reason: Failing
    message: str


@dataclass(frozen=True, slots=True)
class SyncCounts:
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
    """As the endpoint says, else as estimated."""


@dataclass(frozen=True, slots=True)
class Sync:
    """One run that brings a knowledge base in step with its sources."""

    id: SyncId
    knowledge_base_id: KnowledgeBaseId
    state: SyncState
    trigger: str
    """What began it: `schedule`, `request`, `configuration`."""
    revision: int
    """Of the configuration that it works by."""
    started_at: datetime
    ended_at: datetime | None = None
    index_number: int | None = None
    """The index that it fills."""
    estimated_tokens: int | None = None
    """What a rebuild would embed, known before it does."""
    counts: SyncCounts = SyncCounts()
    failures: Sequence[SyncFailure] = ()
    """The first ten."""
    failure: str | None = None
    """Code of why it failed as a whole: `budget-exceeded`, `embedding-failed`, `store-unavailable`, `killed`."""
    message: str | None = None


@dataclass(frozen=True, slots=True)
class KnowledgeBase:
    """What the store holds of a knowledge base. What has a default is read only where it is described to people."""

    id: KnowledgeBaseId
    name: str
    active: Index | None
    documents: Mapping[DocumentState, int] = field(default_factory=dict)
    chunks: int = 0
    """In the active index."""
    last_sync: Sync | None = None
    """The one that began last; None: none has."""


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """Which passages may be found. `audience` has no default: whoever searches says for whom."""

    audience: frozenset[str]
    """A document is found if one of its audiences is among these."""
    sources: frozenset[str] | None = None
    path_prefix: str | None = None
    tags: frozenset[str] = frozenset()
    """All of these."""
    modified_from: datetime | None = None
    modified_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that a stage of a search found."""

    chunk_id: ChunkId
    document_id: DocumentId
    position: int
    embedded_hash: bytes
    score: float
    """Of that stage: cosine similarity, or the rank of words."""


@dataclass(frozen=True, slots=True)
class FoundChunk:
    """A chunk with its document, as it is read once it was found."""

    id: ChunkId
    chunk: Chunk
    document_id: DocumentId
    origin: DocumentOrigin
    facts: DocumentFacts


@dataclass(frozen=True, slots=True)
class Passage:
    """What a search answers with: a piece of one document, of one chunk or several neighbours."""

    knowledge_base: str
    index_number: int
    document_id: DocumentId
    origin: DocumentOrigin
    title: str
    url: str | None
    headings: tuple[str, ...]
    page: int | None
    last_page: int | None
    start: int
    end: int
    """`start` and `end` count characters in the document's text."""
    text: str
    tokens: int
    score: float
    scores: Mapping[str, float]
    """By stage: `vector`, `keyword`, `fused`, `rerank`."""
    modified_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class KnowledgeSearch:
    """How one knowledge base was searched for a turn."""

    knowledge_base: str
    passages: int
    """Found there; not all of them need to have had room in the prompt."""
    seconds: float
    failure: str | None = None
    """Code of why it brought nothing, or less than there may be."""


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What a turn looked up before it was answered."""

    searches: tuple[KnowledgeSearch, ...]
    passages: int
    """That the model was given."""
    seconds: float
    failure: str | None = None
    """Code of why there are none, where that is not because nobody wrote anything on it."""


class Refusal(StrEnum):
    """Why an agent said its refusal in place of an answer."""

    NOTHING_FOUND = "nothing-found"
    """Its knowledge bases have nothing on it, and no model was asked."""
    KNOWLEDGE_UNAVAILABLE = "knowledge-unavailable"
    """They could not be searched, and no model was asked."""
    NOT_CITED = "not-cited"
    """The model's answer cited nothing that it was given."""


@dataclass(frozen=True, slots=True)
class Citation:
    """What an answer refers to by a number: a passage that the model was given, told exactly."""

    number: int
    """As it stands in the answer: `[1]`."""
    knowledge_base: str
    document_id: DocumentId
    title: str
    source: str
    path: str
    url: str | None
    headings: tuple[str, ...]
    page: int | None
    last_page: int | None
    start: int
    end: int
    quote: str
    """The beginning of the passage, at most 300 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """What is searched for. None: as the knowledge base says."""

    question: str
    filter: SearchFilter
    mode: SearchMode | None = None
    top_k: int | None = None
    min_score: float | None = None
    rerank: bool | None = None
    """False: without the reranker that the knowledge base names."""
    neighbours: int | None = None
    seconds: float = 10.0
    """How long all of it may take."""


@dataclass(frozen=True, slots=True)
class SearchStage:
    """One step of a search."""

    name: str
    """`embed`, `vector`, `keyword`, `fuse`, `rerank`, `read`, `join`."""
    seconds: float
    found: int
    """Candidates after it."""
    failure: str | None = None
    """Code of why it gave nothing; the search went on without it."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found and how."""

    passages: Sequence[Passage]
    """The best first."""
    stages: Sequence[SearchStage]
    mode: SearchMode
    embedding_tokens: int = 0
    scored_by: str | None = None
    """What made the passages' scores: those of two searches can be compared where it is the same. None: nothing that can be."""
    left_out: int = 0
    """Candidates that the threshold left out."""

    @property
    def failure(self) -> str | None:
        """Code of why a stage gave nothing, so that this is less than there may be. None: all of it is here."""
        return next((stage.failure for stage in self.stages if stage.failure is not None), None)
