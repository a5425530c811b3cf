"""Documents on their way into an index: read, cut, and ready to be embedded and stored."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from syntera_crds.contract.knowledge_config import KnowledgeBaseConfig

from ..ids import new_id
from ..knowledge import chunking
from ..models.ids import ChunkId
from ..models.knowledge import DocumentFacts, DocumentOrigin, Extracted, IndexedChunk, KnownDocument
from .facts import build_embedded_text, hash_embedded_text

INLINE_CHARACTERS = 20_000
"""A text of at most as many is cut at once: it takes less than handing it to a thread is worth."""


@dataclass(frozen=True, slots=True)
class PreparedDocument:
    """A document that has been cut."""

    origin: DocumentOrigin
    known: KnownDocument | None
    """What is known of it from before. None: it is new."""
    facts: DocumentFacts
    content_hash: bytes
    validators: Mapping[str, str]
    extracted: Extracted
    chunks: Sequence[IndexedChunk]
    is_carried: bool
    """Its content is as it was; only what it is indexed by differs."""
    weight: int
    """What it takes of the room for documents under way."""


async def cut_document(config: KnowledgeBaseConfig, extracted: Extracted, *, title: str) -> Sequence[IndexedChunk]:
    """The chunks of a document with the hashes of what is embedded of them."""
    if len(extracted.text) <= INLINE_CHARACTERS:
        return _cut(config, extracted, title)
    return await asyncio.to_thread(_cut, config, extracted, title)


def build_texts(config: KnowledgeBaseConfig, document: PreparedDocument) -> Mapping[bytes, str]:
    """What is embedded of a document, by its hashes."""
    return {
        indexed.embedded_hash: build_embedded_text(config.embedding, title=document.facts.title, chunk=indexed.chunk)
        for indexed in document.chunks
    }


def _cut(config: KnowledgeBaseConfig, extracted: Extracted, title: str) -> Sequence[IndexedChunk]:
    return [
        IndexedChunk(
            ChunkId(new_id()),
            chunk,
            hash_embedded_text(build_embedded_text(config.embedding, title=title, chunk=chunk)),
        )
        for chunk in chunking.cut(extracted, config.chunking)
    ]
