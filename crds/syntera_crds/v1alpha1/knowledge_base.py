"""The kind KnowledgeBase: what a tenant's agents look their answers up in, where it comes from and how it is searched."""

from datetime import datetime
from typing import Annotated, ClassVar

from pydantic import Field

from ..contract.knowledge_config import SearchMode
from .common import (
    AGE_COLUMN,
    MESSAGE_COLUMN,
    READY_COLUMN,
    STATUS_COLUMN,
    KindInfo,
    Model,
    Name,
    PrinterColumn,
    Resource,
    Status,
    StatusModel,
)
from .embedding import Dimensions, ModelName, Prefix
from .knowledge_sources import MAX_SOURCES, Source
from .limits import Tokens
from .rules import Rule, UniqueBy, matching

DEFAULT_TARGET_TOKENS = 350
MAX_FAILURES = 10
MAX_TOKEN_LENGTH = 256
"""Of what the annotation `syntera.io/sync` says; more of it is not looked at."""

_CRON_FIELD = "[-*?,/a-zA-Z0-9]+"


class Chunking(Model):
    """How documents are cut into the pieces that are found. A change builds a new index."""

    rules = (
        Rule(
            "!has(self.overlapTokens) || self.overlapTokens * 2 <"
            f" (has(self.targetTokens) ? self.targetTokens : {DEFAULT_TARGET_TOKENS})",
            "must be less than half of targetTokens",
            holds=lambda chunking: (
                chunking.overlap_tokens is None or chunking.overlap_tokens * 2 < chunking.target_tokens
            ),
            field=".overlapTokens",
        ),
    )

    target_tokens: Annotated[int, Field(ge=64, le=2000)] = DEFAULT_TARGET_TOKENS
    """How long a piece should be, in tokens as estimated; one is at most twice as long. Default 350."""
    overlap_tokens: Annotated[int, Field(ge=0, le=500)] | None = None
    """How much of the piece before is repeated at the beginning of the next one. Default 50, or a seventh of `targetTokens`
    where that is less."""


class Embedding(Model):
    """The model that makes vectors of texts. A change of model, dimensions or documentPrefix builds a new index."""

    endpoint: Name | None = None
    """Name of one of the Tenant's model endpoints. Default: the first that has an embedding model."""
    model: ModelName | None = None
    """Name of the model. Default: the endpoint's embedding model."""
    dimensions: Dimensions | None = None
    """Numbers in a vector. Default: those of the endpoint's embedding model; another model needs them stated."""
    query_prefix: Prefix | None = None
    """What the model wants before a text that is searched for, for example `query: `. Default: what the endpoint says."""
    document_prefix: Prefix | None = None
    """What the model wants before a text that is stored, for example `passage: `. Default: what the endpoint says."""


class Rerank(Model):
    """A model that judges how well passages answer a question, by `POST <baseURL>/rerank`."""

    endpoint: Name
    """Name of one of the Tenant's model endpoints."""
    model: ModelName
    """Name of the model."""
    candidates: Annotated[int, Field(ge=2, le=100)] = 30
    """How many passages it judges at most. Default 30."""


class Retrieval(Model):
    """How the knowledge base is searched, unless an Agent or a request says something else."""

    mode: Annotated[SearchMode, Field(strict=False)] = SearchMode.HYBRID
    """`Hybrid` (default): by meaning and by words. `Vector`: by meaning alone. `Keyword`: by words alone."""
    top_k: Annotated[int, Field(ge=1, le=50)] = 5
    """Passages that are found at most. Default 5."""
    min_score: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Passages with a lower score are left out: the cosine similarity where there are vectors, else the rank of words scaled to 0
    to 1; the reranker's score where there is one. Default 0: none is."""
    neighbours: Annotated[int, Field(ge=0, le=5)] = 1
    """Pieces before and after a found one that belong to the passage, as far as `passageTokens` let them. Default 1."""
    passage_tokens: Annotated[int, Field(ge=64, le=8000)] = 600
    """How long a passage may be, in tokens as estimated. Default 600."""
    rerank: Rerank | None = None
    """Have a model judge what was found. Left out: none does."""


class Schedule(Model):
    """When the sources are looked at anew."""

    cron: Annotated[
        str,
        Field(min_length=1, max_length=128),
        matching(
            rf"^(@(hourly|daily|midnight|weekly|monthly|yearly|annually)|{_CRON_FIELD}( {_CRON_FIELD}){{4}})$",
            "must be five fields with single spaces between them, such as '0 3 * * *', or a word such as @daily",
        ),
    ]
    """Minute, hour, day of the month, month and day of the week, as in a CronJob."""
    time_zone: Annotated[
        str,
        Field(min_length=1, max_length=64),
        matching("^[A-Za-z][-+_/A-Za-z0-9]*$", "must be the name of a time zone such as Europe/Vienna"),
    ] = "Etc/UTC"
    """Time zone of `cron`. Default Etc/UTC."""
    suspend: bool = False
    """True: the schedule rests; a sync can still be asked for. Default false."""


class Budget(Model):
    """What one sync may cost."""

    max_tokens_per_sync: Tokens | None = None
    """Tokens that are embedded, as estimated. A sync that would need more stops before it pays for them. Left out: no
    bound."""


class KnowledgeBaseSpec(Model):
    """What a knowledge base is to be."""

    display_name: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """The knowledge base's name for people. Default: the KnowledgeBase's name."""
    sources: Annotated[list[Source], Field(min_length=1, max_length=MAX_SOURCES), UniqueBy("name")]
    """Where the documents come from. One that is taken away takes its documents with it."""
    chunking: Chunking = Chunking()
    """How documents are cut. Left out: as fits most texts."""
    embedding: Embedding = Embedding()
    """The model that makes vectors. Left out: the embedding model of the first of the Tenant's endpoints that has one."""
    retrieval: Retrieval = Retrieval()
    """How it is searched. Left out: five passages, by meaning and by words."""
    schedule: Schedule | None = None
    """When the sources are looked at anew. Left out: when the KnowledgeBase or one of its ConfigMaps changes, and when somebody
    asks for it."""
    budget: Budget = Budget()
    """What one sync may cost. Left out: no bound."""
    rollback_hours: Annotated[int, Field(ge=0, le=720)] = 24
    """How long an index that was replaced is kept, so that going back costs nothing. Default 24."""


class DocumentCounts(StatusModel):
    """Documents by what became of them."""

    total: Annotated[int, Field(ge=0)] = 0
    """All that are known, but for those that somebody has excluded."""
    indexed: Annotated[int, Field(ge=0)] = 0
    """Found by searches."""
    failed: Annotated[int, Field(ge=0)] = 0
    """Could not be taken in."""


class Rebuild(StatusModel):
    """A new index that is built beside the one that is searched."""

    index: Annotated[int, Field(ge=0)]
    """Its number."""
    estimated_tokens: Annotated[int, Field(ge=0)] | None = None
    """Tokens that it embeds in all, as estimated before it began."""
    documents_done: Annotated[int, Field(ge=0)] | None = None
    """Documents that the running sync has gone through."""


class SyncReport(StatusModel):
    """What the last sync that ended did."""

    trigger: Annotated[str, Field(max_length=64)] | None = None
    """What began it: `schedule`, `request` or `configuration`."""
    added: Annotated[int, Field(ge=0)] = 0
    """New documents."""
    changed: Annotated[int, Field(ge=0)] = 0
    """Documents that were others than before."""
    unchanged: Annotated[int, Field(ge=0)] = 0
    """Documents that were as before."""
    removed: Annotated[int, Field(ge=0)] = 0
    """Documents that were gone."""
    failed: Annotated[int, Field(ge=0)] = 0
    """Documents and sources that could not be taken in."""
    fetched_bytes: Annotated[int, Field(ge=0)] = 0
    """Bytes that were read from the sources."""
    embedded_chunks: Annotated[int, Field(ge=0)] = 0
    """Pieces that were embedded."""
    embedded_tokens: Annotated[int, Field(ge=0)] = 0
    """Tokens that were embedded."""


class Failure(StatusModel):
    """A document, or a source as a whole, that the last sync could not take in."""

    source: Annotated[str, Field(max_length=63)]
    """Name of the source."""
    document: Annotated[str, Field(max_length=512)] | None = None
    """Its path within the source, shortened where it is very long. Left out: the source as a whole."""
    reason: Annotated[str, Field(max_length=64)]
    """Why, in a word."""
    message: Annotated[str, Field(max_length=512)]
    """Why, as a sentence that says what to do."""


class KnowledgeBaseStatus(Status):
    """What a knowledge base is now."""

    revision: Annotated[int, Field(ge=0)] | None = None
    """Number of the published configuration; grows by one with every effective change."""
    digest: Annotated[str, Field(max_length=64)] | None = None
    """Hash of the published configuration."""
    synced_digest: Annotated[str, Field(max_length=64)] | None = None
    """Hash of the configuration, with its ConfigMaps, that a sync was begun for last."""
    sync_token: Annotated[str, Field(max_length=MAX_TOKEN_LENGTH)] | None = None
    """What the annotation `syntera.io/sync` said when a sync was begun for it last."""
    sync_image: Annotated[str, Field(max_length=1024)] | None = None
    """Image of the sync that was begun last. Where that failed, another image begins one more."""
    documents: DocumentCounts | None = None
    """Documents by what became of them."""
    chunks: Annotated[int, Field(ge=0)] | None = None
    """Pieces in the index that is searched."""
    active_index: Annotated[int, Field(ge=0)] | None = None
    """Number of the index that is searched."""
    rebuild: Rebuild | None = None
    """The index that is being built. Left out: none is."""
    last_sync_time: datetime | None = None
    """When the last sync ended."""
    last_sync_duration_seconds: Annotated[int, Field(ge=0)] | None = None
    """How long it took."""
    next_sync_time: datetime | None = None
    """When the schedule begins the next one."""
    last_sync: SyncReport | None = None
    """What it did."""
    failures: Annotated[list[Failure], Field(max_length=MAX_FAILURES)] = []
    """What it could not take in, the first ten."""
    more_failures: Annotated[int, Field(ge=0)] | None = None
    """How many more there were."""


class KnowledgeBase(Resource):
    """What a tenant's agents look their answers up in: sources that are kept in step, searched and cited."""

    info: ClassVar[KindInfo] = KindInfo(
        plural="knowledgebases",
        singular="knowledgebase",
        short_names=("kb",),
        scope="Namespaced",
        columns=(
            READY_COLUMN,
            STATUS_COLUMN,
            PrinterColumn("Documents", ".status.documents.total", "How many documents it has", type="integer"),
            PrinterColumn("Chunks", ".status.chunks", "How many pieces are searched", type="integer"),
            PrinterColumn("Last sync", ".status.lastSyncTime", "Time since the last sync ended", type="date"),
            PrinterColumn("Index", ".status.activeIndex", "Number of the index that is searched", "integer", wide=True),
            PrinterColumn(
                "Failed", ".status.documents.failed", "Documents that could not be taken in", "integer", wide=True
            ),
            PrinterColumn("Next sync", ".status.nextSyncTime", "When the schedule begins the next sync", wide=True),
            MESSAGE_COLUMN,
            AGE_COLUMN,
        ),
    )

    spec: KnowledgeBaseSpec
    status: KnowledgeBaseStatus = KnowledgeBaseStatus()

    @property
    def display_name(self) -> str:
        """The knowledge base's name for people."""
        return self.spec.display_name or self.metadata.name
