"""Use cases of knowledge bases: see what they hold and how syncs went, take documents out, ask for syncs, and try how they are
searched. How documents are given to them is in `uploads`.

Which knowledge bases there are is what was published; the store tells what is in them. Whoever is not an administrator and no
program of the tenant's sees the documents that are for them, and no others: see `reach_of`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from syntera_crds.contract.knowledge_config import KnowledgeBaseConfig

from ..errors import (
    AudienceNotHeld,
    DocumentNotFound,
    InvalidCursor,
    KnowledgeBaseNotReady,
)
from ..models.identity import Principal
from ..models.ids import DocumentId, SyncId, TenantId
from ..models.knowledge import (
    Document,
    DocumentState,
    FoundChunk,
    KnowledgeBase,
    SearchRequest,
    SearchResult,
    Sync,
)
from ..ports.knowledge import KnowledgeEditor
from .audience import may_see, reach_of
from .holdings import Holdings

log = structlog.get_logger(__name__)


class Searches(Protocol):
    """What searches knowledge bases."""

    async def search(self, tenant_id: TenantId, knowledge_base: str, request: SearchRequest) -> SearchResult:
        """See `Searcher`."""
        ...


@dataclass(frozen=True, slots=True)
class DescribedKnowledgeBase:
    """A knowledge base with what is in it."""

    config: KnowledgeBaseConfig
    held: KnowledgeBase | None
    """None: no sync has begun yet, and nothing was uploaded."""
    last_sync: Sync | None = None


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """Some of the documents of a list."""

    items: Sequence[Document]
    last: DocumentId | None
    """What the next page begins behind; None: there is none."""


@dataclass(frozen=True, slots=True)
class ChunkPosition:
    """A place among the chunks of a document."""

    index_number: int
    """Another index cuts the document otherwise."""
    position: int


@dataclass(frozen=True, slots=True)
class ChunkPage:
    """Some of the chunks of a document."""

    items: Sequence[FoundChunk]
    last: ChunkPosition | None
    """What the next page begins behind; None: there is none."""


class KnowledgeManagement:
    """What the tenant's own side does with its knowledge bases."""

    def __init__(self, holdings: Holdings, editor: KnowledgeEditor, searcher: Searches) -> None:
        self._holdings = holdings
        self._editor = editor
        self._searcher = searcher

    # ---- knowledge bases ----

    async def list(self, principal: Principal) -> Sequence[DescribedKnowledgeBase]:
        """All of them, by name.

        Raises:
            StoreUnavailable: What they hold cannot be read.
        """
        return await self._describe(principal, self._holdings.all_configs())

    async def find(self, principal: Principal, name: str) -> DescribedKnowledgeBase:
        """One of them.

        Raises:
            KnowledgeBaseNotFound: There is none of that name.
            StoreUnavailable: What it holds cannot be read.
        """
        [described] = await self._describe(principal, [self._holdings.config(name)])
        return described

    async def syncs(self, principal: Principal, name: str, *, before: SyncId | None, limit: int) -> Sequence[Sync]:
        """At most `limit` syncs that began before `before`, the newest first.

        Raises:
            KnowledgeBaseNotFound: There is none of that name.
            StoreUnavailable: They cannot be read.
        """
        held = await self._holdings.find(principal.tenant_id, name)
        if held is None:
            return []
        found = await self._editor.list_syncs(principal.tenant_id, held.id, before=before, limit=limit)
        return [_show_sync(principal, sync) for sync in found]

    async def request_sync(self, tenant_id: TenantId, name: str) -> None:
        """Have the knowledge base synced soon. One that was asked for and has not begun is asked for no second time.

        Raises:
            KnowledgeBaseNotFound: There is none of that name.
            TooManyKnowledgeBases: It is new to the store, and there is no room for another one.
            StoreUnavailable: It may not have been asked for.
        """
        self._holdings.config(name)
        await self._editor.request_sync(tenant_id, name)
        log.info("sync asked for", knowledge_base=name)

    async def search(self, principal: Principal, name: str, wanted: SearchRequest) -> SearchResult:
        """Search as an agent would, and tell how it went.

        Raises:
            KnowledgeBaseNotFound: There is none of that name.
            AudienceNotHeld: It would find documents that are not for whoever asks.
            SynteraError: See `Searcher`.
        """
        self._holdings.config(name)
        reach = reach_of(principal)
        if reach is not None and not wanted.filter.audience <= reach:
            raise AudienceNotHeld
        return await self._searcher.search(principal.tenant_id, name, wanted)

    # ---- documents ----

    async def documents(
        self,
        principal: Principal,
        name: str,
        *,
        source: str | None,
        state: DocumentState | None,
        words: str | None,
        after: DocumentId | None,
        limit: int,
    ) -> DocumentPage:
        """Documents, oldest first. Where some are for others than who asks, a page has fewer.

        Raises:
            KnowledgeBaseNotFound: There is none of that name.
            StoreUnavailable: They cannot be read.
        """
        held = await self._holdings.find(principal.tenant_id, name)
        if held is None:
            return DocumentPage((), None)
        found = await self._editor.list_documents(
            principal.tenant_id, held.id, source=source, state=state, words=words, after=after, limit=limit + 1
        )
        page = found[:limit]
        seen = [document for document in page if may_see(principal, document)]
        return DocumentPage(seen, page[-1].id if len(found) > limit else None)

    async def document(self, principal: Principal, name: str, document_id: DocumentId) -> Document:
        """One document.

        Raises:
            KnowledgeBaseNotFound: There is no knowledge base of that name.
            DocumentNotFound: It has no such document, or it is for others.
            StoreUnavailable: It cannot be read.
        """
        _, document = await self._find_document(principal, name, document_id)
        return document

    async def chunks(
        self,
        principal: Principal,
        name: str,
        document_id: DocumentId,
        *,
        after: ChunkPosition | None,
        limit: int,
    ) -> ChunkPage:
        """What the active index has of a document.

        Raises:
            KnowledgeBaseNotFound: There is no knowledge base of that name.
            DocumentNotFound: It has no such document, or it is for others.
            KnowledgeBaseNotReady: There is no active index.
            InvalidCursor: `after` is a place in another index.
            StoreUnavailable: They cannot be read.
        """
        held, document = await self._find_document(principal, name, document_id)
        index = held.active
        if index is None:
            raise KnowledgeBaseNotReady
        if after is not None and after.index_number != index.number:
            raise InvalidCursor("Another index has become active since; begin at the start.")
        found = await self._editor.list_chunks(
            principal.tenant_id, index, document.id, after=None if after is None else after.position, limit=limit + 1
        )
        page = found[:limit]
        last = ChunkPosition(index.number, page[-1].chunk.position) if len(found) > limit else None
        return ChunkPage(page, last)

    async def delete_document(self, principal: Principal, name: str, document_id: DocumentId) -> None:
        """Take a document out. An uploaded one is gone; any other is left out by syncs from now on.

        A sync is asked for, which drops the vectors that nothing refers to any more.

        Raises:
            KnowledgeBaseNotFound: There is no knowledge base of that name.
            DocumentNotFound: It has no such document, or it is for others.
            StoreUnavailable: It may not have been taken out.
        """
        held, document = await self._find_document(principal, name, document_id)
        await self._editor.request_sync(
            principal.tenant_id, name
        )  # first: who is told of a failure after it would ask in vain
        if not await self._editor.exclude_document(principal.tenant_id, held.id, document.id):
            raise DocumentNotFound
        log.info("document deleted", knowledge_base=name, document_id=str(document.id))

    async def reingest_document(self, principal: Principal, name: str, document_id: DocumentId) -> Document:
        """Have a document taken in anew by the next sync, which is asked for.

        Raises:
            KnowledgeBaseNotFound: There is no knowledge base of that name.
            DocumentNotFound: It has no such document, or it is for others.
            StoreUnavailable: It may not have been asked for.
        """
        held, document = await self._find_document(principal, name, document_id)
        if not await self._editor.renew_document(principal.tenant_id, held.id, document.id):
            raise DocumentNotFound
        await self._editor.request_sync(principal.tenant_id, name)
        log.info("document asked for anew", knowledge_base=name, document_id=str(document.id))
        return await self.document(principal, name, document_id)

    async def _describe(
        self, principal: Principal, configs: Sequence[KnowledgeBaseConfig]
    ) -> Sequence[DescribedKnowledgeBase]:
        names = [config.name for config in configs]
        held = {one.name: one for one in await self._editor.describe_knowledge_bases(principal.tenant_id, names)}
        return [_build_described(principal, config, held.get(config.name)) for config in configs]

    async def _find_document(
        self, principal: Principal, name: str, document_id: DocumentId
    ) -> tuple[KnowledgeBase, Document]:
        held = await self._holdings.find(principal.tenant_id, name)
        if held is None:
            raise DocumentNotFound
        document = await self._editor.find_document(principal.tenant_id, held.id, document_id)
        if document is None or not may_see(principal, document):
            raise DocumentNotFound
        return held, document


def _build_described(
    principal: Principal, config: KnowledgeBaseConfig, held: KnowledgeBase | None
) -> DescribedKnowledgeBase:
    sync = None if held is None else held.last_sync
    return DescribedKnowledgeBase(config, held, None if sync is None else _show_sync(principal, sync))


def _show_sync(principal: Principal, sync: Sync) -> Sync:
    """The sync as the principal may see it: who may not see all documents is told of none by its path; those that failed and
    are for them stand in the list of documents."""
    if reach_of(principal) is None:
        return sync
    return replace(sync, failures=[failure for failure in sync.failures if failure.document is None])
