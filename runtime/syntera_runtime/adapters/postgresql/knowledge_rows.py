"""Rows of knowledge: how indexes, documents and chunks are read, and what a filter is in SQL."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from asyncpg import Record
from pydantic import TypeAdapter

from ...models.ids import ChunkId, DocumentId, FileId, IndexId, KnowledgeBaseId
from ...models.knowledge import (
    Chunk,
    Document,
    DocumentFacts,
    DocumentFailure,
    DocumentOrigin,
    DocumentState,
    Extracted,
    Failing,
    FoundChunk,
    Hit,
    Index,
    IndexModel,
    IndexState,
    IndexStorage,
    Mark,
    SearchFilter,
)

_INDEX_MODEL = TypeAdapter(IndexModel)

INDEX_COLUMNS = (
    "i.id, i.knowledge_base_id, i.number, i.fingerprint, i.dimensions, i.state, i.storage, i.created_at, i.activated_at, "
    "i.retired_at, i.pinecone_host, i.languages, i.embedding"
)

FACTS_COLUMNS = "d.source, d.path, d.title, d.url, d.media_type, d.language, d.audience, d.keeps_audience, d.tags, d.modified_at, d.bytes"

DOCUMENT_COLUMNS = (
    f"d.id, d.knowledge_base_id, {FACTS_COLUMNS}, d.state, d.failure_reason, d.failure_message, d.content_hash, "
    "d.validators, d.characters, d.file_id, d.created_at, d.updated_at, d.checked_at"
)

CHUNK_COLUMNS = (
    "c.id AS chunk_id, c.document_id, c.position, c.starts, c.ends, c.content, c.overlap, c.headings, c.page, c.last_page, "
    "c.tokens"
)


def filter_condition(first: int) -> str:
    """Which documents `d` a search may find; its parameters are those of `filter_values`, from that number on."""
    audience, sources, path_prefix, tags, modified_from, modified_before = (f"${first + place}" for place in range(6))
    return f"""
d.audience && {audience}::text[]
AND ({sources}::text[] IS NULL OR d.source = ANY ({sources}))
AND ({path_prefix}::text IS NULL OR starts_with(d.path, {path_prefix}))
AND ({tags}::text[] IS NULL OR d.tags @> {tags})
AND ({modified_from}::timestamptz IS NULL OR d.modified_at >= {modified_from})
AND ({modified_before}::timestamptz IS NULL OR d.modified_at < {modified_before})
"""


def filter_values(filter: SearchFilter) -> tuple[Any, ...]:
    """Audience, sources, prefix of the path, tags, times of change: in this order."""
    return (
        sorted(map(clean, filter.audience)),
        None if filter.sources is None else sorted(map(clean, filter.sources)),
        None if filter.path_prefix is None else clean(filter.path_prefix),
        sorted(map(clean, filter.tags)) or None,
        filter.modified_from,
        filter.modified_before,
    )


def clean(text: str) -> str:
    """The text as PostgreSQL takes it: no NUL, no half of a pair of surrogates. Its length stays."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def read_index(row: Record) -> Index:
    """A row with `INDEX_COLUMNS`."""
    return Index(
        id=IndexId(row["id"]),
        knowledge_base_id=KnowledgeBaseId(row["knowledge_base_id"]),
        number=row["number"],
        fingerprint=row["fingerprint"],
        dimensions=row["dimensions"],
        state=IndexState(row["state"]),
        storage=IndexStorage(row["storage"]),
        created_at=row["created_at"],
        activated_at=row["activated_at"],
        retired_at=row["retired_at"],
        pinecone_host=row["pinecone_host"],
        languages=frozenset(row["languages"]),
        embedding=None if row["embedding"] is None else _INDEX_MODEL.validate_json(row["embedding"]),
    )


def read_origin(row: Record) -> DocumentOrigin:
    """A row with `FACTS_COLUMNS`."""
    return DocumentOrigin(row["source"], row["path"])


def read_facts(row: Record) -> DocumentFacts:
    """A row with `FACTS_COLUMNS`."""
    return DocumentFacts(
        title=row["title"],
        url=row["url"],
        media_type=row["media_type"],
        language=row["language"],
        audience=frozenset(row["audience"]),
        tags=frozenset(row["tags"]),
        modified_at=row["modified_at"],
        size=row["bytes"],
        keeps_audience=row["keeps_audience"],
    )


def facts_values(facts: DocumentFacts) -> tuple[Any, ...]:
    """Title, URL, media type, language, audience, tags, time of change, bytes: in this order."""
    return (
        clean(facts.title),
        None if facts.url is None else clean(facts.url),
        clean(facts.media_type),
        None if facts.language is None else clean(facts.language),
        sorted(map(clean, facts.audience)),
        sorted(map(clean, facts.tags)),
        facts.modified_at,
        facts.size,
    )


def read_document(row: Record) -> Document:
    """A row with `DOCUMENT_COLUMNS` and `chunks`."""
    file_id = row["file_id"]
    return Document(
        id=DocumentId(row["id"]),
        knowledge_base_id=KnowledgeBaseId(row["knowledge_base_id"]),
        origin=read_origin(row),
        facts=read_facts(row),
        state=DocumentState(row["state"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        checked_at=row["checked_at"],
        failure=read_document_failure(row),
        content_hash=row["content_hash"],
        validators=json.loads(row["validators"]),
        characters=row["characters"],
        chunks=row["chunks"],
        file_id=None if file_id is None else FileId(file_id),
    )


def read_document_failure(row: Record) -> DocumentFailure | None:
    """A row with `failure_reason` and `failure_message`."""
    reason = row["failure_reason"]
    return None if reason is None else DocumentFailure(read_reason(reason), row["failure_message"])


def read_reason(reason: str) -> Failing:
    """Why something failed; a later release may know reasons that this one does not."""
    return Failing(reason) if reason in set(Failing) else Failing.BROKEN


def read_chunk(row: Record) -> FoundChunk:
    """A row with `CHUNK_COLUMNS` and `FACTS_COLUMNS`."""
    return FoundChunk(
        id=ChunkId(row["chunk_id"]),
        chunk=Chunk(
            position=row["position"],
            start=row["starts"],
            end=row["ends"],
            content=row["content"],
            overlap=row["overlap"],
            headings=tuple(row["headings"]),
            page=row["page"],
            last_page=row["last_page"],
            tokens=row["tokens"],
        ),
        document_id=DocumentId(row["document_id"]),
        origin=read_origin(row),
        facts=read_facts(row),
    )


def read_hit(row: Record) -> Hit:
    """A row of a search."""
    return Hit(
        chunk_id=ChunkId(row["id"]),
        document_id=DocumentId(row["document_id"]),
        position=row["position"],
        embedded_hash=row["hash"],
        score=row["score"],
    )


def write_extracted(extracted: Extracted) -> str:
    """All but the text, as JSON."""
    modified_at = extracted.modified_at
    return write_json(
        {
            "marks": [[mark.start, list(mark.headings), mark.page] for mark in extracted.marks],
            "title": extracted.title,
            "language": extracted.language,
            "modified_at": None if modified_at is None else modified_at.isoformat(),
            "tags": list(extracted.tags),
        }
    )


def read_extracted(text: str, facts: str) -> Extracted:
    """What `write_extracted` wrote, with the text."""
    read = json.loads(facts)
    modified_at = read["modified_at"]
    return Extracted(
        text=text,
        marks=tuple(Mark(start, tuple(headings), page) for start, headings, page in read["marks"]),
        title=read["title"],
        language=read["language"],
        modified_at=None if modified_at is None else datetime.fromisoformat(modified_at),
        tags=tuple(read["tags"]),
    )


def write_json(value: Mapping[str, Any] | list[Any]) -> str:
    """JSON as PostgreSQL takes it."""
    return clean(json.dumps(value, ensure_ascii=False).replace("\\u0000", "\ufffd"))
