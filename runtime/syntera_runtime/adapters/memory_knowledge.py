"""Knowledge in memory: for tests and for trying the API without a database. Nothing outlives the process.

It behaves as PostgreSQL does, because both pass the same contract tests; but words are found as they are written, without
their other forms, and whatever their language.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ..errors import AudienceNotHeld, KnowledgeBaseNotFound
from ..ids import new_id
from ..models.ids import ChunkId, DocumentId, FileId, KnowledgeBaseId, SyncId, TenantId
from ..models.knowledge import (
    Document,
    DocumentFacts,
    DocumentOrigin,
    DocumentState,
    FoundChunk,
    Hit,
    Index,
    IndexedChunk,
    KnowledgeBase,
    SearchFilter,
    Sync,
)
from .memory_files import MemoryFiles
from .memory_knowledge_rows import (
    DocumentRow,
    KnowledgeBaseRow,
    KnowledgeRows,
    best_first,
    build_hit,
    count_states,
    now,
)
from .memory_knowledge_writer import MemoryKnowledgeWriter
from .memory_vectors import MemoryVectors

_WORD = re.compile(r"\w+")


class MemoryKnowledge:
    """All ports of knowledge over the same rows."""

    def __init__(self, files: MemoryFiles) -> None:
        """`files` keeps what is known of uploaded files."""
        self.rows = KnowledgeRows(files)
        self.reader = MemoryKnowledgeReader(self.rows)
        self.editor = MemoryKnowledgeEditor(self.rows)
        self.writer = MemoryKnowledgeWriter(self.rows)
        self.vectors = MemoryVectors(self.rows)

    def is_sync_requested(self, tenant_id: TenantId, name: str) -> bool:
        """Whether somebody has asked for a sync."""
        found = self.rows.find(tenant_id, name)
        return found is not None and found.is_sync_requested


class MemoryKnowledgeReader:
    """`KnowledgeReader` in memory."""

    def __init__(self, rows: KnowledgeRows) -> None:
        self._rows = rows

    async def find_knowledge_base(self, tenant_id: TenantId, name: str) -> KnowledgeBase | None:
        """See `KnowledgeReader`."""
        found = self._rows.find(tenant_id, name)
        return None if found is None else found.knowledge_base

    async def search_words(
        self, tenant_id: TenantId, index: Index, words: str, *, filter: SearchFilter, limit: int
    ) -> Sequence[Hit]:
        """See `KnowledgeReader`."""
        row = self._rows.index(tenant_id, index)
        asked = frozenset(_read_words(words))
        if row is None or not asked:
            return []
        all_words = [frozenset(_words_of(chunk)) for _, chunk in row.chunks()]
        rarity = {word: math.log1p(len(all_words) / (1 + sum(word in held for held in all_words))) for word in asked}
        hits = []
        for document_id, chunk in self._rows.candidates(tenant_id, index, filter):
            counts = Counter(_words_of(chunk))
            score = sum(rarity[word] * counts[word] / (1 + counts[word]) for word in asked)
            if score:
                hits.append(build_hit(document_id, chunk, score))
        return best_first(hits, limit)

    async def read_chunks(
        self, tenant_id: TenantId, index: Index, chunk_ids: Sequence[ChunkId], *, neighbours: int = 0
    ) -> Sequence[FoundChunk]:
        """See `KnowledgeReader`."""
        base, row = self._rows.of(tenant_id).get(index.knowledge_base_id), self._rows.index(tenant_id, index)
        if base is None or row is None:
            return []
        wanted = frozenset(chunk_ids)
        found = []
        for document_id, held in row.held.items():
            positions = [chunk.chunk.position for chunk in held.chunks if chunk.id in wanted]
            found += [
                self._rows.found(base, document_id, chunk)
                for chunk in held.chunks
                if any(abs(chunk.chunk.position - position) <= neighbours for position in positions)
            ]
        return found


class MemoryKnowledgeEditor:
    """`KnowledgeEditor` in memory."""

    def __init__(self, rows: KnowledgeRows) -> None:
        self._rows = rows

    async def describe_knowledge_bases(self, tenant_id: TenantId, names: Sequence[str]) -> Sequence[KnowledgeBase]:
        """See `KnowledgeEditor`."""
        return [_describe(base) for base in self._rows.of(tenant_id).values() if base.name in names]

    async def list_documents(
        self,
        tenant_id: TenantId,
        knowledge_base_id: KnowledgeBaseId,
        *,
        source: str | None = None,
        state: DocumentState | None = None,
        words: str | None = None,
        after: DocumentId | None = None,
        limit: int,
    ) -> Sequence[Document]:
        """See `KnowledgeEditor`."""
        base = self._base(tenant_id, knowledge_base_id)
        part = (words or "").casefold()
        wanted = [
            base.shown(row)
            for document_id, row in sorted(base.documents.items())
            if (after is None or document_id > after)
            and source in (None, row.document.origin.source)
            and state in (None, row.document.state)
            and (part in row.document.facts.title.casefold() or part in row.document.origin.path.casefold())
        ]
        return wanted[:limit]

    async def find_document(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, document_id: DocumentId
    ) -> Document | None:
        """See `KnowledgeEditor`."""
        base = self._base(tenant_id, knowledge_base_id)
        row = base.documents.get(document_id)
        return None if row is None else base.shown(row)

    async def list_chunks(
        self, tenant_id: TenantId, index: Index, document_id: DocumentId, *, after: int | None = None, limit: int
    ) -> Sequence[FoundChunk]:
        """See `KnowledgeEditor`."""
        base, row = self._base(tenant_id, index.knowledge_base_id), self._rows.index(tenant_id, index)
        held = None if row is None else row.held.get(document_id)
        chunks = [] if held is None else held.chunks
        later = [chunk for chunk in chunks if after is None or chunk.chunk.position > after]
        return [self._rows.found(base, document_id, chunk) for chunk in later[:limit]]

    async def add_upload(
        self,
        tenant_id: TenantId,
        knowledge_base_id: KnowledgeBaseId,
        *,
        origin: DocumentOrigin,
        facts: DocumentFacts,
        content_hash: bytes,
        file_id: FileId,
        reach: frozenset[str] | None = None,
    ) -> Document:
        """See `KnowledgeEditor`."""
        base = self._rows.of(tenant_id).get(knowledge_base_id)
        if base is None:
            raise KnowledgeBaseNotFound
        for row in _uploads_of(base, content_hash):
            if _is_reached(row.document, reach) and row.document.file_id != file_id:
                return base.shown(row)
        before = base.find_origin(origin)
        if before is not None and not _is_reached(before.document, reach):
            raise AudienceNotHeld
        self._rows.files.give_to_knowledge_base(tenant_id, file_id, knowledge_base_id=base.id)
        replaced = None if before is None else before.document
        if replaced is not None and replaced.file_id is not None:
            self._rows.files.doom_of_document(tenant_id, replaced.file_id)
        if replaced is not None and not facts.audience <= replaced.facts.audience:
            base.take_out(replaced.id)
        made = Document(
            id=DocumentId(new_id()) if replaced is None else replaced.id,
            knowledge_base_id=base.id,
            origin=origin,
            facts=facts,
            state=DocumentState.PENDING,
            created_at=now() if replaced is None else replaced.created_at,
            updated_at=now(),
            content_hash=content_hash,
            characters=0 if replaced is None else replaced.characters,
            file_id=file_id,
        )
        kept = DocumentRow(made) if before is None else replace(before, document=made)
        base.documents[made.id] = kept
        return base.shown(kept)

    async def find_upload(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, *, content_hash: bytes, file_id: FileId
    ) -> Document | None:
        """See `KnowledgeEditor`."""
        base = self._base(tenant_id, knowledge_base_id)
        own = (row for row in _uploads_of(base, content_hash) if row.document.file_id == file_id)
        return next(map(base.shown, own), None)

    async def exclude_document(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, document_id: DocumentId
    ) -> bool:
        """See `KnowledgeEditor`."""
        base = self._base(tenant_id, knowledge_base_id)
        row = base.documents.get(document_id)
        if row is None:
            return False
        if row.document.file_id is not None:
            self._rows.forget_document(tenant_id, base, document_id)
            return True
        base.take_out(document_id)
        row.extracted, row.reader, row.links = None, "", None
        row.document = replace(
            row.document,
            state=DocumentState.EXCLUDED,
            failure=None,
            content_hash=None,
            validators={},
            characters=0,
            updated_at=now(),
        )
        return True

    async def renew_document(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, document_id: DocumentId
    ) -> bool:
        """See `KnowledgeEditor`."""
        row = self._base(tenant_id, knowledge_base_id).documents.get(document_id)
        if row is None:
            return False
        row.document = replace(row.document, state=DocumentState.PENDING, failure=None, validators={}, updated_at=now())
        return True

    async def request_sync(self, tenant_id: TenantId, name: str) -> None:
        """See `KnowledgeEditor`."""
        self._rows.ensure(tenant_id, name).is_sync_requested = True

    async def list_syncs(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, *, before: SyncId | None = None, limit: int
    ) -> Sequence[Sync]:
        """See `KnowledgeEditor`."""
        syncs = sorted(self._base(tenant_id, knowledge_base_id).syncs.items(), reverse=True)
        return [sync for sync_id, sync in syncs if before is None or sync_id < before][:limit]

    def _base(self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId) -> KnowledgeBaseRow:
        """The knowledge base; where there is none, one without anything that nobody keeps."""
        return self._rows.of(tenant_id).get(knowledge_base_id) or KnowledgeBaseRow(knowledge_base_id, "")


def _describe(base: KnowledgeBaseRow) -> KnowledgeBase:
    held = {} if base.active is None else base.active.held
    return replace(
        base.knowledge_base,
        documents=count_states(base.documents),
        chunks=sum(len(document.chunks) for document in held.values()),
        last_sync=base.syncs[max(base.syncs)] if base.syncs else None,
    )


def _is_reached(document: Document, reach: frozenset[str] | None) -> bool:
    return reach is None or not reach.isdisjoint(document.facts.audience)


def _uploads_of(base: KnowledgeBaseRow, content_hash: bytes) -> Sequence[DocumentRow]:
    """The uploaded documents with these bytes, the oldest first."""
    rows = (row for _, row in sorted(base.documents.items()))
    return [row for row in rows if row.document.file_id is not None and row.document.content_hash == content_hash]


def _words_of(chunk: IndexedChunk) -> Sequence[str]:
    return _read_words(" ".join((*chunk.chunk.headings, chunk.chunk.content)))


def _read_words(text: str) -> Sequence[str]:
    return [word.casefold() for word in _WORD.findall(text)]
