"""Examples of knowledge bases, documents and searches. `examples` puts them with the others."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from syntera_crds.contract.knowledge_config import (
    EmbeddingModel,
    GitSource,
    KnowledgeBaseConfig,
    SearchMode,
    Source,
    UploadSource,
)

from ..knowledge.management import ChunkPosition, DescribedKnowledgeBase
from ..models.ids import ChunkId, DocumentId, IndexId, KnowledgeBaseId, SyncId
from ..models.knowledge import (
    Chunk,
    Document,
    DocumentFacts,
    DocumentOrigin,
    DocumentState,
    Failing,
    FoundChunk,
    Index,
    IndexState,
    IndexStorage,
    KnowledgeBase,
    Passage,
    SearchResult,
    SearchStage,
    Sync,
    SyncCounts,
    SyncFailure,
    SyncState,
)
from .document_schemas import ChunkView, DocumentView
from .knowledge_schemas import (
    KnowledgeBaseList,
    KnowledgeBaseView,
    SyncRequested,
    SyncView,
)
from .pages import make_chunk_cursor
from .schemas import Page
from .search_schemas import SearchView

_NAME = "handbook"
_NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
_KNOWLEDGE_BASE_ID = KnowledgeBaseId(UUID("019a3f4e-6c00-7000-8000-000000000010"))
_DOCUMENT_ID = DocumentId(UUID("019a3f4e-6c00-7000-8000-000000000011"))
_INDEX_ID = IndexId(UUID("019a3f4e-6c00-7000-8000-000000000012"))
_SYNC_ID = SyncId(UUID("019a3f4e-6c00-7000-8000-000000000013"))
_CHUNK_ID = ChunkId(UUID("019a3f4e-6c00-7000-8000-000000000014"))
_TEXT = "# Baggage\n\n## Cabin\n\nOne cabin bag of 8 kg is free on every fare.\n"
_BEGIN = _TEXT.index("One cabin")

PARAMETERS: Mapping[str, Any] = {
    "knowledgeBase": _NAME,
    "documentId": str(_DOCUMENT_ID),
    "source": "manuals",
    "title": "Baggage rules",
    "url": "https://www.acme.example/baggage",
    "language": "en",
    "audience": ["public"],
    "tags": ["baggage"],
}
PARAMETERS_OF: Mapping[str, Mapping[str, Any]] = {
    "listDocuments": {"state": "indexed", "q": "baggage"},
    "createDocument": {"name": "baggage.md"},
    "listChunks": {"cursor": make_chunk_cursor(ChunkPosition(2, 49))},
}
REQUESTS: Mapping[str, Mapping[str, Any]] = {
    "createDocument": {"a text": _TEXT},
    "searchKnowledgeBase": {
        "as it is configured": {"question": "How many bags may I take?"},
        "by words, of some documents, for people who signed in": {
            "question": "cabin bag",
            "mode": "Keyword",
            "topK": 3,
            "filter": {"audience": ["public", "authenticated"], "sources": ["manuals"], "tags": ["baggage"]},
        },
    },
}


def build_answers() -> Mapping[str, BaseModel]:
    """What operations answer when all goes well."""
    sync, document = _build_sync(), _build_document()
    described = KnowledgeBaseView.of(DescribedKnowledgeBase(_build_config(), _build_held(), sync))
    shown, pending = DocumentView.of(document), DocumentView.of(_build_document(DocumentState.PENDING))
    return {
        "listKnowledgeBases": KnowledgeBaseList(items=[described]),
        "getKnowledgeBase": described,
        "listSyncs": Page(items=[SyncView.of(sync)], next_cursor=None),
        "requestSync": SyncRequested(knowledge_base=_NAME),
        "searchKnowledgeBase": SearchView.of(_build_result()),
        "listDocuments": Page(items=[shown], next_cursor=None),
        "createDocument": pending,
        "getDocument": shown,
        "reingestDocument": pending,
        "listChunks": Page(items=[ChunkView.of(_build_chunk(document))], next_cursor=None),
    }


def _build_config() -> KnowledgeBaseConfig:
    return KnowledgeBaseConfig(
        name=_NAME,
        uid="5d1f4a52-0000-4000-8000-000000000002",
        revision=4,
        sources=[
            Source(name="website", git=GitSource(url="https://git.acme.example/website.git")),
            Source(name="manuals", tags=["baggage"], upload=UploadSource()),
        ],
        embedding=EmbeddingModel(
            endpoint="openai",
            base_url="https://api.openai.com/v1",
            model="text-embedding-3-small",
            timeout_seconds=30,
            dimensions=1536,
        ),
    )


def _build_held() -> KnowledgeBase:
    index = Index(
        id=_INDEX_ID,
        knowledge_base_id=_KNOWLEDGE_BASE_ID,
        number=2,
        fingerprint=_build_config().fingerprint(),
        dimensions=1536,
        state=IndexState.ACTIVE,
        storage=IndexStorage.COMMON,
        created_at=_NOON,
        activated_at=_NOON,
        languages=frozenset({"en"}),
    )
    counts = {DocumentState.INDEXED: 120, DocumentState.FAILED: 1}
    return KnowledgeBase(_KNOWLEDGE_BASE_ID, _NAME, index, counts, chunks=871)


def _build_sync() -> Sync:
    return Sync(
        id=_SYNC_ID,
        knowledge_base_id=_KNOWLEDGE_BASE_ID,
        state=SyncState.COMPLETE,
        trigger="request",
        revision=4,
        started_at=_NOON,
        ended_at=_NOON.replace(minute=1),
        index_number=2,
        counts=SyncCounts(
            documents=121,
            added=1,
            unchanged=119,
            failed=1,
            fetched_bytes=48_120,
            chunks_written=6,
            embedded_chunks=6,
            embedded_tokens=1_980,
        ),
        failures=[SyncFailure("manuals", "scan.pdf", Failing.NO_TEXT, "It is a scan: recognise its text first.")],
    )


def _build_document(state: DocumentState = DocumentState.INDEXED) -> Document:
    is_indexed = state is DocumentState.INDEXED
    return Document(
        id=_DOCUMENT_ID,
        knowledge_base_id=_KNOWLEDGE_BASE_ID,
        origin=DocumentOrigin("manuals", "baggage.md"),
        facts=DocumentFacts(
            title="Baggage rules",
            url="https://www.acme.example/baggage",
            media_type="text/markdown" if is_indexed else "text/plain",
            language="en",
            tags=frozenset({"baggage"}),
            modified_at=_NOON,
            size=len(_TEXT),
        ),
        state=state,
        created_at=_NOON,
        updated_at=_NOON,
        checked_at=_NOON if is_indexed else None,
        content_hash=hashlib.sha256(_TEXT.encode()).digest(),
        characters=len(_TEXT) if is_indexed else 0,
        chunks=1 if is_indexed else 0,
    )


def _build_chunk(document: Document) -> FoundChunk:
    text = _TEXT[_BEGIN:].rstrip()
    chunk = Chunk(0, _BEGIN, _BEGIN + len(text), text, headings=("Baggage", "Cabin"), tokens=12)
    return FoundChunk(_CHUNK_ID, chunk, document.id, document.origin, document.facts)


def _build_result() -> SearchResult:
    document = _build_document()
    chunk = _build_chunk(document).chunk
    passage = Passage(
        knowledge_base=_NAME,
        index_number=2,
        document_id=document.id,
        origin=document.origin,
        title=document.facts.title,
        url=document.facts.url,
        headings=chunk.headings,
        page=None,
        last_page=None,
        start=chunk.start,
        end=chunk.end,
        text=chunk.content,
        tokens=chunk.tokens,
        score=0.83,
        scores={"vector": 0.83, "keyword": 0.41, "fused": 0.0328},
        modified_at=_NOON,
    )
    stages = (
        SearchStage("embed", 0.041, 1),
        SearchStage("vector", 0.006, 50),
        SearchStage("keyword", 0.004, 17),
        SearchStage("fuse", 0.0, 58),
        SearchStage("read", 0.002, 15),
        SearchStage("join", 0.0, 1),
    )
    return SearchResult([passage], stages, SearchMode.HYBRID, embedding_tokens=8, left_out=2)
