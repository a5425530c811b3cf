"""Fills a knowledge base with the corpus, through the product's own stores and chunking."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from syntera_crds.contract.knowledge_config import Chunking, KnowledgeBaseConfig, Retrieval
from syntera_runtime.ids import new_id
from syntera_runtime.ingest.facts import build_embedded_text, hash_embedded_text
from syntera_runtime.knowledge.chunking import cut
from syntera_runtime.models.ids import ChunkId, KnowledgeBaseId, TenantId
from syntera_runtime.models.knowledge import Chunk, DocumentOrigin, Index, IndexedChunk, SearchFilter
from syntera_runtime.ports.knowledge import KnowledgeReader, KnowledgeWriter, VectorIndex
from tests.support.postgresql import Database

from .corpus import MODEL, CorpusDocument, EmbeddedText
from .embeddings import CachedEmbedder

EVERYBODY = SearchFilter(audience=frozenset({"public"}))
_SOURCE = "books"


@dataclass(frozen=True, slots=True)
class Stores:
    """A tenant's stores of knowledge."""

    tenant_id: TenantId
    reader: KnowledgeReader
    writer: KnowledgeWriter
    vectors: VectorIndex
    database: Database
    """Where they are, for what only its owners may do."""
    url_file: Path
    """With the URL by which the tenant logs in there."""


@dataclass(frozen=True, slots=True)
class IndexedCorpus:
    """A knowledge base that can be searched."""

    stores: Stores
    config: KnowledgeBaseConfig
    index: Index
    chunks: Mapping[ChunkId, tuple[str, Chunk]]
    """Each with the path of its document."""


def embed_in_place(title: str, chunk: Chunk) -> str:
    """What the product embeds of a chunk: where it stands, then what it says."""
    return build_embedded_text(MODEL, title=title, chunk=chunk)


def embed_content(_title: str, chunk: Chunk) -> str:
    """What the chunk says, alone."""
    return f"{MODEL.document_prefix}{chunk.content}"


async def index_corpus(
    stores: Stores,
    documents: Sequence[CorpusDocument],
    *,
    chunking: Chunking,
    embedder: CachedEmbedder,
    embedded_text: EmbeddedText = embed_in_place,
    contents: frozenset[str] | None = None,
    name: str = "books",
) -> IndexedCorpus:
    """Cut, embed and store all documents, or of their chunks those with these `contents`, and switch to the index that holds them."""
    async with stores.writer.lock(stores.tenant_id, name) as base:
        assert base is not None
        index = await _open(stores, base.id, fingerprint=name)
        chunks: dict[ChunkId, tuple[str, Chunk]] = {}
        for document in documents:
            cuts = [one for one in cut(document.extracted, chunking) if contents is None or one.content in contents]
            made = await _put(stores, index, document, cuts, embedder=embedder, embedded_text=embedded_text)
            chunks |= {one.id: (document.path, one.chunk) for one in made}
        await stores.writer.finish_index(stores.tenant_id, index)
        await stores.writer.activate_index(stores.tenant_id, index)
    known = await stores.reader.find_knowledge_base(stores.tenant_id, name)
    assert known is not None
    assert known.active is not None
    config = KnowledgeBaseConfig(
        name=name, uid="0", revision=1, sources=[], chunking=chunking, embedding=MODEL, retrieval=Retrieval()
    )
    return IndexedCorpus(stores, config, known.active, chunks)


async def _open(stores: Stores, knowledge_base_id: KnowledgeBaseId, *, fingerprint: str) -> Index:
    return await stores.writer.open_index(
        stores.tenant_id,
        knowledge_base_id,
        fingerprint=fingerprint,
        dimensions=MODEL.dimensions,
    )


async def _put(
    stores: Stores,
    index: Index,
    document: CorpusDocument,
    cuts: Sequence[Chunk],
    *,
    embedder: CachedEmbedder,
    embedded_text: EmbeddedText,
) -> Sequence[IndexedChunk]:
    facts = document.facts
    texts = {chunk: embedded_text(facts.title, chunk) for chunk in cuts}
    vectors = {hash_embedded_text(text): embedder.vector(text)[0] for text in texts.values()}
    if vectors:
        await stores.vectors.write(stores.tenant_id, index, vectors)
    chunks = [IndexedChunk(ChunkId(new_id()), chunk, hash_embedded_text(text)) for chunk, text in texts.items()]
    await stores.writer.put_document(
        stores.tenant_id,
        index,
        document=None,
        origin=DocumentOrigin(_SOURCE, document.path),
        facts=facts,
        content_hash=hashlib.sha256(document.extracted.text.encode()).digest(),
        validators={},
        extracted=document.extracted,
        chunks=chunks,
        reader="eval",
    )
    return chunks
