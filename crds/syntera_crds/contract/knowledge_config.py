"""What the operator publishes for a KnowledgeBase: complete, resolved, without secrets.

Two readers: the tenant's runtime searches by it, and a sync Job fills the index by it. A Job has no access to the API server:
it finds this configuration, the ConfigMaps of its sources and the Secrets that it names as mounted files (`SYNC_*_DIR`).
"""

from enum import StrEnum

from .agent_config import ModelAccess, SecretKey
from .published import Published, Revised, hash_content

MOST_KNOWLEDGE_BASES = 250
"""Of a tenant; the store's function that makes them holds to this number itself."""


class Audience(StrEnum):
    """Who may be answered from a document."""

    PUBLIC = "public"
    """Everybody."""
    AUTHENTICATED = "authenticated"
    """Whoever is signed in, customers and the tenant's own people."""
    MEMBER = "member"
    """Of the tenant's own people: members, admins and owners."""
    ADMIN = "admin"
    """Admins and owners."""
    OWNER = "owner"


PUBLIC = Audience.PUBLIC.value
AUTHENTICATED = Audience.AUTHENTICATED.value


class InlineSource(Published):
    """A text that stands in the KnowledgeBase itself."""

    title: str
    text: str
    """Markdown or plain text."""


class ConfigMapSource(Published):
    """Every entry of a ConfigMap is a document; the key is its path and its ending says what it is."""

    name: str


class WebSource(Published):
    """Pages of websites."""

    urls: list[str] = []
    """Where to begin; links are followed on the same hosts."""
    sitemap: str | None = None
    """Sitemap, or index of sitemaps, whose pages are taken."""
    max_pages: int = 200
    max_depth: int = 3
    """Links from a page in `urls`; 0: those pages alone."""
    include: list[str] = []
    """Globs on the path of a URL (`/docs/**`); empty: all."""
    exclude: list[str] = []
    requests_per_second: float = 2.0
    """For each host, unless its robots.txt asks for longer pauses."""


class GitSource(Published):
    """Files of a git repository, by https."""

    url: str
    ref: str | None = None
    """Branch, tag or commit; None: the default branch."""
    paths: list[str] = []
    """Globs (`docs/**/*.md`); empty: every file of a known format."""
    username: SecretKey | None = None
    password: SecretKey | None = None
    """A token, too. None: the repository is public."""


class S3Source(Published):
    """Objects of a bucket."""

    endpoint: str
    region: str
    bucket: str
    prefix: str = ""
    include: list[str] = []
    """Globs on what follows the prefix; empty: every object of a known format."""
    access_key_id: SecretKey
    secret_access_key: SecretKey


class UploadSource(Published):
    """Files that people upload through the API."""

    max_file_megabytes: int = 25


class Source(Published):
    """Where documents come from: exactly one of the kinds is set."""

    name: str
    audience: list[str] = [PUBLIC]
    """Who may be answered from its documents; at least one."""
    tags: list[str] = []
    language: str | None = None
    """ISO 639-1. None: found out for each document."""
    inline: InlineSource | None = None
    config_map: ConfigMapSource | None = None
    web: WebSource | None = None
    git: GitSource | None = None
    s3: S3Source | None = None
    upload: UploadSource | None = None

    def secret_keys(self) -> frozenset[SecretKey]:
        """Entries of Secrets that a sync reads."""
        keys: list[SecretKey | None] = []
        if self.git is not None:
            keys += [self.git.username, self.git.password]
        if self.s3 is not None:
            keys += [self.s3.access_key_id, self.s3.secret_access_key]
        return frozenset(key for key in keys if key is not None)


class Chunking(Published):
    """How documents are cut."""

    target_tokens: int = 350
    """As estimated; a chunk is at most twice as long."""
    overlap_tokens: int = 50
    """Of the chunk before, repeated at the beginning of the next one of the same section."""


class EmbeddingModel(ModelAccess):
    """The model that makes vectors of texts."""

    dimensions: int
    sends_dimensions: bool = False
    """Whether the request asks for that many; else the model has no other."""
    query_prefix: str = ""
    """Put before what is searched for (`query: `)."""
    document_prefix: str = ""
    """Put before what is stored (`passage: `)."""


class RerankModel(ModelAccess):
    """A model that judges how well passages answer a question, by `POST {base_url}/rerank` as Cohere, Jina, vLLM and others speak it."""

    candidates: int = 30
    """How many passages it judges at most."""


class SearchMode(StrEnum):
    """By what passages are found."""

    HYBRID = "Hybrid"
    """By meaning and by words, the two lists fused by reciprocal rank."""
    VECTOR = "Vector"
    KEYWORD = "Keyword"


class Retrieval(Published):
    """How the knowledge base is searched."""

    mode: SearchMode = SearchMode.HYBRID
    top_k: int = 5
    """Passages at most, before neighbours are joined."""
    min_score: float = 0.0
    """Passages whose score is less are left out: cosine similarity where vectors are searched, else the rank of words scaled to
    0..1; the reranker's score where there is one."""
    neighbours: int = 1
    """Chunks before and after a found one that belong to the passage, as far as `passage_tokens` let them. 0: none."""
    passage_tokens: int = 600
    rerank: RerankModel | None = None


class PGVectorIndex(Published):
    """Vectors are in PostgreSQL."""


class PineconeIndex(Published):
    """Vectors are in an index of Pinecone, a namespace per index version."""

    index_host: str
    """`https://...`."""
    api_key: SecretKey


class SyncBudget(Published):
    """What one sync may cost. None: no bound."""

    max_tokens_per_sync: int | None = None
    """Tokens that are embedded, as estimated. A rebuild that would need more embeds nothing and fails, telling its estimate; any other
    sync stops, and fails, before the document that would exceed it, and the next one goes on from there."""


class KnowledgeBaseConfig(Revised):
    """Everything that is needed to fill and to search one KnowledgeBase."""

    name: str
    uid: str
    revision: int
    """Grows by one with every effective change."""
    sources: list[Source]
    chunking: Chunking = Chunking()
    embedding: EmbeddingModel
    retrieval: Retrieval = Retrieval()
    budget: SyncBudget = SyncBudget()
    pinecone: PineconeIndex | None = None
    """None: vectors are in PostgreSQL."""
    rollback_hours: int = 24
    """How long an index that was replaced is kept."""

    def fingerprint(self) -> str:
        """Hash of everything that an index depends on, 32 hexadecimal digits: where it differs, a new index has to be built."""
        content = {
            "chunking": self.chunking.model_dump(mode="json"),
            "model": self.embedding.model,
            "dimensions": self.embedding.dimensions,
            "documentPrefix": self.embedding.document_prefix,
            "pinecone": None if self.pinecone is None else self.pinecone.index_host,
        }
        return hash_content(content)

    def search_secret_keys(self) -> frozenset[SecretKey]:
        """Entries of Secrets that the runtime must be able to read to search."""
        rerank = () if self.retrieval.rerank is None else self.retrieval.rerank.secret_keys()
        pinecone = () if self.pinecone is None else (self.pinecone.api_key,)
        return self.embedding.secret_keys() | frozenset((*rerank, *pinecone))

    def sync_secret_keys(self) -> frozenset[SecretKey]:
        """Entries of Secrets that a sync must be able to read."""
        pinecone = () if self.pinecone is None else (self.pinecone.api_key,)
        of_sources = (key for source in self.sources for key in source.secret_keys())
        return self.embedding.secret_keys() | frozenset((*pinecone, *of_sources))
