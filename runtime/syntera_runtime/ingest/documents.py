"""Documents on their way into an index: read, cut, and ready to be embedded and stored."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from syntera_crds.contract.knowledge_config import KnowledgeBaseConfig

from ..ids import new_id
from ..knowledge import chunking
from ..models.ids import ChunkId
from ..models.knowledge import DocumentFacts, DocumentOrigin, Extracted, Failing, IndexedChunk, KnownDocument
from .extraction_port import ExtractionFailed
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
    links: Sequence[str] | None
    """None: as before."""
    extracted: Extracted
    chunks: Sequence[IndexedChunk]
    reader: str
    """Version of what has extracted its text."""
    is_carried: bool
    """Its content is as it was; only what it is indexed by differs."""
    is_pending: bool
    """It is still to be taken in anew: this is the text of before."""
    weight: int
    """What it takes of the room for documents under way."""


async def cut_document(config: KnowledgeBaseConfig, extracted: Extracted, *, title: str) -> Sequence[IndexedChunk]:
    """The chunks of a document with the hashes of what is embedded of them.

    Raises:
        ExtractionFailed: It holds no text, or has too many chunks.
    """
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
    try:
        chunks = chunking.cut(extracted, config.chunking)
    except chunking.TooManyChunks:
        raise ExtractionFailed(
            Failing.TOO_LARGE,
            f"It has more than {chunking.MOST_CHUNKS:,} chunks. Split it, or raise chunking.targetTokens.",
        ) from None
    if not chunks:
        raise ExtractionFailed(Failing.NO_TEXT, "It holds no text.")
    return [
        IndexedChunk(
            ChunkId(new_id()),
            chunk,
            hash_embedded_text(build_embedded_text(config.embedding, title=title, chunk=chunk)),
        )
        for chunk in chunks
    ]
