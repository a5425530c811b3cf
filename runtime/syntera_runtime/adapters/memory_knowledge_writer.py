"""What a sync writes, in memory."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta

from ..ids import new_id
from ..models.ids import DocumentId, IndexId, KnowledgeBaseId, SyncId, TenantId
from ..models.knowledge import (
    Document,
    DocumentChange,
    DocumentFacts,
    DocumentFailure,
    DocumentOrigin,
    DocumentState,
    Extracted,
    Index,
    IndexedChunk,
    IndexModel,
    IndexState,
    IndexStorage,
    KnowledgeBase,
    KnownDocument,
    Sync,
    SyncState,
)
from .memory_knowledge_rows import DocumentRow, Held, IndexRow, KnowledgeBaseRow, KnowledgeRows, now

_PAGE = 500
_KEPT_SYNCS = 50


class MemoryKnowledgeWriter:
    """`KnowledgeWriter` in memory."""

    def __init__(self, rows: KnowledgeRows) -> None:
        self._rows = rows

    @asynccontextmanager
    async def lock(self, tenant_id: TenantId, name: str) -> AsyncIterator[KnowledgeBase | None]:
        """See `KnowledgeWriter`."""
        base = self._rows.ensure(tenant_id, name)
        if base.is_locked:
            yield None
            return
        base.is_locked = True
        try:
            yield base.knowledge_base
        finally:
            base.is_locked = False

    async def begin_sync(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, *, trigger: str, revision: int
    ) -> Sync:
        """See `KnowledgeWriter`."""
        base = self._base(tenant_id, knowledge_base_id)
        for sync_id, sync in base.syncs.items():
            if sync.state is SyncState.RUNNING:
                base.syncs[sync_id] = replace(sync, state=SyncState.FAILED, ended_at=now(), failure="killed")
        for sync_id in sorted(base.syncs, reverse=True)[_KEPT_SYNCS:]:
            del base.syncs[sync_id]
        made = Sync(SyncId(new_id()), base.id, SyncState.RUNNING, trigger=trigger, revision=revision, started_at=now())
        base.syncs[made.id] = made
        return made

    async def report_sync(self, tenant_id: TenantId, sync: Sync) -> None:
        """See `KnowledgeWriter`."""
        base = self._base(tenant_id, sync.knowledge_base_id)
        if sync.id in base.syncs:
            base.syncs[sync.id] = sync

    async def open_index(
        self,
        tenant_id: TenantId,
        knowledge_base_id: KnowledgeBaseId,
        *,
        fingerprint: str,
        dimensions: int,
        pinecone_host: str | None = None,
        embedding: IndexModel | None = None,
    ) -> Index:
        """See `KnowledgeWriter`."""
        base = self._base(tenant_id, knowledge_base_id)
        for row in base.indexes.values():
            if row.index.state is IndexState.BUILDING and row.index.fingerprint != fingerprint:
                row.index = replace(row.index, state=IndexState.RETIRED, retired_at=now())
        same = [row for row in base.indexes.values() if row.index.fingerprint == fingerprint and not row.is_doomed]
        for state in (IndexState.ACTIVE, IndexState.BUILDING, IndexState.RETIRED):
            for row in same:
                if row.index.state is state:
                    if state is IndexState.RETIRED:
                        row.index = replace(row.index, state=IndexState.BUILDING, retired_at=None)
                    row.index = replace(row.index, embedding=embedding or row.index.embedding)
                    return row.index
        base.last_number += 1
        made = Index(
            id=IndexId(new_id()),
            knowledge_base_id=base.id,
            number=base.last_number,
            fingerprint=fingerprint,
            dimensions=dimensions,
            state=IndexState.BUILDING,
            storage=IndexStorage.COMMON if pinecone_host is None else IndexStorage.PINECONE,
            created_at=now(),
            pinecone_host=pinecone_host,
            embedding=embedding,
        )
        base.indexes[made.id] = IndexRow(made)
        return made

    async def known_documents(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, index_id: IndexId, *, source: str
    ) -> AsyncGenerator[Sequence[KnownDocument], None]:
        """See `KnowledgeWriter`."""
        base = self._base(tenant_id, knowledge_base_id)
        rows = [row for row in base.documents.values() if row.document.origin.source == source]
        rows.sort(key=lambda row: row.document.origin.path)
        index = base.indexes.get(index_id)
        for start in range(0, len(rows), _PAGE):
            yield [_known(row, index) for row in rows[start : start + _PAGE]]

    async def find_known(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, index_id: IndexId, *, origin: DocumentOrigin
    ) -> KnownDocument | None:
        """See `KnowledgeWriter`."""
        base = self._base(tenant_id, knowledge_base_id)
        row = base.find_origin(origin)
        return None if row is None else _known(row, base.indexes.get(index_id))

    async def find_links(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, *, origin: DocumentOrigin
    ) -> Sequence[str] | None:
        """See `KnowledgeWriter`."""
        row = self._base(tenant_id, knowledge_base_id).find_origin(origin)
        return None if row is None else row.links

    async def read_text(self, tenant_id: TenantId, document_id: DocumentId) -> Extracted | None:
        """See `KnowledgeWriter`."""
        base = self._rows.base_of_document(tenant_id, document_id)
        return None if base is None else base.documents[document_id].extracted

    async def known_vectors(self, tenant_id: TenantId, index: Index, hashes: Sequence[bytes]) -> frozenset[bytes]:
        """See `KnowledgeWriter`."""
        row = self._rows.index(tenant_id, index)
        if row is None:
            return frozenset()
        if row.index.storage is IndexStorage.PINECONE:
            return await self.used_hashes(tenant_id, index, hashes)
        return frozenset(hash for hash in hashes if hash in row.vectors)

    async def put_document(
        self,
        tenant_id: TenantId,
        index: Index,
        *,
        document: KnownDocument | None,
        origin: DocumentOrigin,
        facts: DocumentFacts,
        content_hash: bytes,
        validators: Mapping[str, str],
        extracted: Extracted,
        chunks: Sequence[IndexedChunk],
        reader: str,
        links: Sequence[str] | None = None,
        is_pending: bool = False,
    ) -> DocumentId:
        """See `KnowledgeWriter`."""
        base = self._base(tenant_id, index.knowledge_base_id)
        before = base.find_origin(origin) if document is None else base.documents.get(document.id)
        if document is not None and (before is None or before.document.file_id != document.file_id):
            return document.id
        if before is not None and _is_somebodys(before.document, document):
            return before.document.id
        found = _new_document(base.id, origin, facts) if before is None else before.document
        is_marked = document is not None and document.is_marked_since(found.state, found.updated_at)
        stays_pending = is_pending or is_marked
        made = replace(
            found,
            facts=_keep_audience(found, facts),
            state=DocumentState.PENDING if stays_pending else DocumentState.INDEXED,
            updated_at=now(),
            checked_at=now(),
            failure=None,
            content_hash=found.content_hash if stays_pending else content_hash,
            validators=dict(validators),
            characters=len(extracted.text),
        )
        kept = links if links is not None or before is None else before.links
        base.documents[made.id] = DocumentRow(made, extracted, reader, kept)
        row = base.indexes.get(index.id)
        if row is not None:
            row.held[made.id] = Held(content_hash, reader, tuple(chunks))
        return made.id

    async def touch_documents(self, tenant_id: TenantId, changes: Mapping[DocumentId, DocumentChange]) -> None:
        """See `KnowledgeWriter`."""
        for document_id, change in changes.items():
            base = self._rows.base_of_document(tenant_id, document_id)
            if base is None:
                continue
            row = base.documents[document_id]
            if row.document.state not in (DocumentState.PENDING, DocumentState.EXCLUDED):
                told = _keep_audience(row.document, change.facts)
                row.links = row.links if change.links is None else change.links
                row.document = replace(
                    row.document, facts=told, validators=dict(change.validators), updated_at=now(), checked_at=now()
                )

    async def set_audience(
        self, tenant_id: TenantId, document_ids: Sequence[DocumentId], audience: frozenset[str]
    ) -> None:
        """See `KnowledgeWriter`."""
        for document_id in document_ids:
            base = self._rows.base_of_document(tenant_id, document_id)
            if base is None:
                continue
            row = base.documents[document_id]
            facts = row.document.facts
            if row.document.state is not DocumentState.EXCLUDED and not facts.keeps_audience:
                facts = replace(facts, audience=audience)
                row.document = replace(row.document, facts=facts, updated_at=now(), checked_at=now())

    async def fail_document(
        self,
        tenant_id: TenantId,
        knowledge_base_id: KnowledgeBaseId,
        index: Index,
        *,
        document: KnownDocument | None,
        origin: DocumentOrigin,
        facts: DocumentFacts,
        failure: DocumentFailure,
    ) -> None:
        """See `KnowledgeWriter`."""
        base = self._base(tenant_id, knowledge_base_id)
        before = base.find_origin(origin) if document is None else base.documents.get(document.id)
        if document is not None and (before is None or before.document.file_id != document.file_id):
            return
        if before is not None and _is_somebodys(before.document, document):
            return
        found = _new_document(base.id, origin, facts) if before is None else before.document
        if document is not None and document.is_marked_since(found.state, found.updated_at):
            return
        failed = replace(
            found,
            facts=_keep_audience(found, facts),
            state=DocumentState.FAILED,
            updated_at=now(),
            checked_at=now(),
            failure=failure,
            content_hash=found.content_hash if found.file_id is not None else None,
            validators={},
            characters=0,
        )
        base.documents[failed.id] = DocumentRow(failed)
        row = base.indexes.get(index.id)
        if row is not None:
            row.held.pop(failed.id, None)

    async def remove_documents(self, tenant_id: TenantId, document_ids: Sequence[DocumentId]) -> None:
        """See `KnowledgeWriter`."""
        for document_id in document_ids:
            base = self._rows.base_of_document(tenant_id, document_id)
            if base is not None:
                self._rows.forget_document(tenant_id, base, document_id)

    async def list_sources(self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId) -> frozenset[str]:
        """See `KnowledgeWriter`."""
        rows = self._base(tenant_id, knowledge_base_id).documents.values()
        return frozenset(row.document.origin.source for row in rows)

    async def finish_index(self, tenant_id: TenantId, index: Index) -> None:
        """See `KnowledgeWriter`."""
        base, row = self._base(tenant_id, index.knowledge_base_id), self._rows.index(tenant_id, index)
        if row is not None:
            facts = [base.documents[document_id].document.facts for document_id in row.held]
            row.index = replace(row.index, languages=frozenset(fact.language or "" for fact in facts))

    async def activate_index(self, tenant_id: TenantId, index: Index) -> None:
        """See `KnowledgeWriter`."""
        base, row = self._base(tenant_id, index.knowledge_base_id), self._rows.index(tenant_id, index)
        if row is None or row.index.state is IndexState.ACTIVE:
            return
        replaced = base.active
        if replaced is not None:
            replaced.index = replace(replaced.index, state=IndexState.RETIRED, retired_at=now())
        row.index = replace(row.index, state=IndexState.ACTIVE, activated_at=now(), retired_at=None)

    async def list_expired_indexes(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, *, kept: timedelta
    ) -> Sequence[Index]:
        """See `KnowledgeWriter`."""
        before = now() - kept
        rows = self._base(tenant_id, knowledge_base_id).indexes.values()
        expired = [row for row in rows if row.is_doomed or _has_expired(row.index, before)]
        for row in expired:
            row.is_doomed = True
        return [row.index for row in expired]

    async def drop_index(self, tenant_id: TenantId, index: Index) -> None:
        """See `KnowledgeWriter`."""
        self._base(tenant_id, index.knowledge_base_id).indexes.pop(index.id, None)

    async def used_hashes(self, tenant_id: TenantId, index: Index, hashes: Sequence[bytes]) -> frozenset[bytes]:
        """See `KnowledgeWriter`."""
        row = self._rows.index(tenant_id, index)
        return frozenset() if row is None else frozenset(hashes) & {chunk.embedded_hash for _, chunk in row.chunks()}

    async def erase(self, tenant_id: TenantId, name: str) -> bool:
        """See `KnowledgeWriter`."""
        base = self._rows.find(tenant_id, name)
        if base is not None:
            for document_id in list(base.documents):
                self._rows.forget_document(tenant_id, base, document_id)
            del self._rows.of(tenant_id)[base.id]
        return False

    async def list_indexes(self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId) -> Sequence[Index]:
        """See `KnowledgeWriter`."""
        rows = self._base(tenant_id, knowledge_base_id).indexes.values()
        return sorted((row.index for row in rows), key=lambda index: index.number)

    def _base(self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId) -> KnowledgeBaseRow:
        """The knowledge base; where there is none, one without anything that nobody keeps."""
        return self._rows.of(tenant_id).get(knowledge_base_id) or KnowledgeBaseRow(knowledge_base_id, "")


def _new_document(knowledge_base_id: KnowledgeBaseId, origin: DocumentOrigin, facts: DocumentFacts) -> Document:
    return Document(
        id=DocumentId(new_id()),
        knowledge_base_id=knowledge_base_id,
        origin=origin,
        facts=facts,
        state=DocumentState.PENDING,
        created_at=now(),
        updated_at=now(),
    )


def _is_somebodys(held: Document, document: KnownDocument | None) -> bool:
    """Whether somebody has excluded the document, or uploaded it where the sync knew of none."""
    return held.state is DocumentState.EXCLUDED or (document is None and held.file_id is not None)


def _keep_audience(document: Document, facts: DocumentFacts) -> DocumentFacts:
    """What a sync says of the document, but for whom it is where its upload said that."""
    held = document.facts
    return replace(
        facts, audience=held.audience if held.keeps_audience else facts.audience, keeps_audience=held.keeps_audience
    )


def _known(row: DocumentRow, index: IndexRow | None) -> KnownDocument:
    document = row.document
    held = None if index is None else index.held.get(document.id)
    is_pending = document.state is DocumentState.PENDING
    return KnownDocument(
        id=document.id,
        origin=document.origin,
        facts=document.facts,
        state=document.state,
        content_hash=None if is_pending else document.content_hash,
        validators={} if is_pending else document.validators,
        indexed_hash=None if held is None else held.content_hash,
        file_id=document.file_id,
        reader=row.reader if held is None else held.reader,
        failure=document.failure,
        updated_at=document.updated_at,
    )


def _has_expired(index: Index, before: datetime) -> bool:
    if index.state is not IndexState.RETIRED:
        return False
    return index.activated_at is None or (index.retired_at is not None and index.retired_at <= before)
