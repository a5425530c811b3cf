"""What the operator may know of a tenant's knowledge bases: counts and outcomes, never what a document says."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureSummary:
    """A document, or a source as a whole, that a sync could not take in."""

    source: str
    document: str | None
    """Its path; None: the source as a whole."""
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncSummary:
    """One run that brings a knowledge base in step with its sources."""

    state: Literal["running", "complete", "failed"]
    trigger: str
    """`configuration`, `request` or `schedule`."""
    started_at: datetime
    ended_at: datetime | None = None
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    failed: int = 0
    """Documents and sources."""
    fetched_bytes: int = 0
    embedded_chunks: int = 0
    embedded_tokens: int = 0
    estimated_tokens: int | None = None
    """What a rebuild embeds, known before it does."""
    failures: Sequence[FailureSummary] = ()
    """The first ten."""
    failure: str | None = None
    """Code of why it failed as a whole."""
    message: str | None = None
    """The same as a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorPlace:
    """Where in Pinecone an index has its vectors."""

    host: str
    """With its scheme, as whoever made the index wrote it."""
    namespace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KnowledgeSummary:
    """A knowledge base."""

    documents: int = 0
    """All but the excluded ones."""
    indexed: int = 0
    failed: int = 0
    chunks: int = 0
    """In the active index."""
    active_index: int | None = None
    """Number of the index that is searched."""
    building_index: int | None = None
    """Number of the index that is built beside it."""
    last_sync: SyncSummary | None = None
    """The one that began last."""
    last_ended: SyncSummary | None = None
    """The one that ended last."""
    left: Sequence[VectorPlace] = ()
    """Where vectors are of indexes that were replaced, which no sync has reached to erase them."""
    request_id: UUID | None = None
    """A sync that somebody has asked for through the API, and that was not begun yet."""
    stuck: str | None = None
    """Why the active index, which is large, could not be given a table of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StuckIndex:
    """A large index that could not be given a table of its own."""

    tenant_name: str
    knowledge_base: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingSync:
    """A sync that somebody has asked for through the API."""

    tenant_id: UUID
    tenant_name: str
    knowledge_base: str
    request_id: UUID
