"""Use cases of knowledge bases: see what they hold and how syncs went, give them documents, take documents out, ask for syncs,
and try how they are searched.

Which knowledge bases there are is what was published; the store tells what is in them. Whoever is not an administrator and no
program of the tenant's sees the documents that are for them, and no others: see `audiences_of`.
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from syntera_crds.contract.api_key import Scope
from syntera_crds.contract.knowledge_config import KnowledgeBaseConfig, Source

from ..errors import (
    AudienceNotHeld,
    DocumentNotFound,
    FileAttached,
    FileNotFound,
    FileOvertaken,
    InvalidCursor,
    KnowledgeBaseNotFound,
    KnowledgeBaseNotReady,
    SourceNotFound,
    UploadsNotTaken,
)
from ..files.kinds import DOCUMENTS, Examination
from ..files.names import clean_name
from ..files.service import MEGABYTE, Files
from ..models.files import File
from ..models.identity import Principal
from ..models.ids import DocumentId, RequestKey, SyncId, TenantId
from ..models.knowledge import (
    Document,
    DocumentFacts,
    DocumentOrigin,
    DocumentState,
    FoundChunk,
    KnowledgeBase,
    SearchRequest,
    SearchResult,
    Sync,
)
from ..ports.knowledge import KnowledgeBases, KnowledgeEditor, KnowledgeReader
from .audience import audience_of

log = structlog.get_logger(__name__)

_PAGE = 200
"""Documents that are looked through at once."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that is to become a document. None, or nothing: as its source says."""

    name: str
    title: str | None = None
    url: str | None = None
    language: str | None = None
    audience: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    """Beside those of the source."""


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What became of a file."""

    document: Document
    is_new: bool
    """False: the knowledge base has these bytes already."""
    is_replayed: bool = False
    """An earlier request with the same key has sent it."""


class KnowledgeManagement:
    """What the tenant's own side does with its knowledge bases."""

    def __init__(
        self,
        catalogue: KnowledgeBases,
        reader: KnowledgeReader,
        editor: KnowledgeEditor,
        files: Files,
        searcher: Searches,
    ) -> None:
        self._catalogue = catalogue
        self._reader = reader
        self._editor = editor
        self._files = files
        self._searcher = searcher

    # ---- knowledge bases ----

    async def list(self, principal: Principal) -> Sequence[DescribedKnowledgeBase]:
        """All of them, by name.

        Raises:
            StoreUnavailable: What they hold cannot be read.
        """
        return [await self._describe(principal, config) for config in self._catalogue.all_knowledge_bases()]

    async def find(self, principal: Principal, name: str) -> DescribedKnowledgeBase:
        """One of them.

        Raises:
            KnowledgeBaseNotFound: There is none of that name.
            StoreUnavailable: What it holds cannot be read.
        """
        return await self._describe(principal, self._config(name))

    async def syncs(self, principal: Principal, name: str, *, before: SyncId | None, limit: int) -> Sequence[Sync]:
        """At most `limit` syncs that began before `before`, the newest first.

        Raises:
            KnowledgeBaseNotFound: There is none of that name.
            StoreUnavailable: They cannot be read.
        """
        held = await self._find_held(principal.tenant_id, name)
        if held is None:
            return []
        found = await self._editor.list_syncs(principal.tenant_id, held.id, before=before, limit=limit)
        return [_show_sync(principal, sync) for sync in found]

    async def request_sync(self, tenant_id: TenantId, name: str) -> None:
        """Have the knowledge base synced soon. One that was asked for and has not begun is asked for no second time.

        Raises:
            KnowledgeBaseNotFound: There is none of that name.
            StoreUnavailable: It may not have been asked for.
        """
        self._config(name)
        await self._editor.request_sync(tenant_id, name)
        log.info("sync asked for", knowledge_base=name)

    async def search(self, principal: Principal, name: str, wanted: SearchRequest) -> SearchResult:
        """Search as an agent would, and tell how it went.

        Raises:
            KnowledgeBaseNotFound: There is none of that name.
            AudienceNotHeld: It would find documents that are not for whoever asks.
            SynteraError: See `Searcher`.
        """
        self._config(name)
        reach = audiences_of(principal)
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
        held = await self._find_held(principal.tenant_id, name)
        if held is None:
            return DocumentPage((), None)
        found = await self._editor.list_documents(
            principal.tenant_id, held.id, source=source, state=state, words=words, after=after, limit=limit + 1
        )
        page = found[:limit]
        seen = [document for document in page if _may_see(principal, document)]
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
        if not await self._editor.exclude_document(principal.tenant_id, held.id, document.id):
            raise DocumentNotFound
        log.info("document deleted", knowledge_base=name, document_id=str(document.id))
        await self._editor.request_sync(principal.tenant_id, name)

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

    # ---- uploads ----

    def upload_source(self, name: str, source: str | None) -> Source:
        """The source that takes uploads: the first, or the one that is named.

        Raises:
            KnowledgeBaseNotFound: There is no knowledge base of that name.
            SourceNotFound: It has no such source.
            UploadsNotTaken: None, or not the one that is named, takes uploads.
        """
        sources = self._config(name).sources
        if source is not None:
            sources = [one for one in sources if one.name == source]
            if not sources:
                raise SourceNotFound
        taking = next((one for one in sources if one.upload is not None), None)
        if taking is None:
            raise UploadsNotTaken
        return taking

    async def find_uploaded(
        self, principal: Principal, name: str, source: Source, wanted: Upload, *, request_key: RequestKey
    ) -> Uploaded | None:
        """What the same request made before. None: it has sent no file, or not in full.

        Raises:
            IdempotencyKeyReused: Another request had that key.
            FileOvertaken: The same request makes a document of it in this very moment.
            StoreUnavailable: It cannot be looked up.
        """
        key = _own_key(request_key, name)
        file = await self._files.find_repeated(principal.tenant_id, key, name=wanted.name)
        if file is None:
            return None
        held = await self._know(principal.tenant_id, name)
        known = await self._editor.find_upload(principal.tenant_id, held.id, file.content.sha256)
        if known is not None and (known.file_id == file.id or _may_see(principal, known)):
            return Uploaded(known, is_new=known.file_id == file.id, is_replayed=True)
        # The process that took the file in has ended before it made a document of it.
        return Uploaded(await self._add(principal.tenant_id, held, source, wanted, file), is_new=True, is_replayed=True)

    async def upload(
        self,
        principal: Principal,
        name: str,
        source: Source,
        content: AsyncIterator[bytes],
        wanted: Upload,
        *,
        request_key: RequestKey | None = None,
    ) -> Uploaded:
        """Take a file in as a document, in place of one of the same source and name, and ask for a sync.

        Bytes that the knowledge base has already are not kept a second time: the document that has them stays as it is.

        Raises:
            KnowledgeBaseNotFound: There is no knowledge base of that name.
            AudienceNotHeld: It would replace a document that is for others.
            FileTooLarge: It has more bytes than the source takes.
            FileTypeRefused: Nothing is read out of files of its kind.
            RequestRepeated, FileOvertaken: See `Files.add`.
            StoreUnavailable: It may not have been taken in.
        """
        await self._check_replaceable(principal, name, DocumentOrigin(source.name, clean_name(wanted.name)))
        examination = Examination(most_bytes=most_bytes(source), taken=DOCUMENTS, takes_any_encoding=True)
        key = None if request_key is None else _own_key(request_key, name)
        file = await self._files.add(principal, content, name=wanted.name, request_key=key, examination=examination)
        held = await self._know(principal.tenant_id, name)
        known = await self._editor.find_upload(principal.tenant_id, held.id, file.content.sha256)
        if known is not None and _may_see(principal, known):
            await self._files.delete(principal, file.id)
            return Uploaded(known, is_new=False)
        return Uploaded(await self._add(principal.tenant_id, held, source, wanted, file), is_new=True)

    async def _check_replaceable(self, principal: Principal, name: str, origin: DocumentOrigin) -> None:
        """Return if a file of that name takes the place of nothing that the principal may not see."""
        held = await self._find_held(principal.tenant_id, name)
        if held is None or audiences_of(principal) is None:
            return
        after: DocumentId | None = None
        while True:
            found = await self._editor.list_documents(
                principal.tenant_id, held.id, source=origin.source, words=origin.path, after=after, limit=_PAGE
            )
            if any(document.origin == origin and not _may_see(principal, document) for document in found):
                raise AudienceNotHeld(
                    "There is a document of that name which is for others than you. Choose another name."
                )
            if len(found) < _PAGE:
                return
            after = found[-1].id

    async def _add(
        self, tenant_id: TenantId, held: KnowledgeBase, source: Source, wanted: Upload, file: File
    ) -> Document:
        try:
            document = await self._editor.add_upload(
                tenant_id,
                held.id,
                origin=DocumentOrigin(source.name, file.name),
                facts=_build_facts(source, wanted, file),
                content_hash=file.content.sha256,
                file_id=file.id,
            )
        except (FileNotFound, FileAttached) as error:  # the same request has just made a document of it
            raise FileOvertaken from error
        await self._editor.request_sync(tenant_id, held.name)
        log.info("document uploaded", knowledge_base=held.name, document_id=str(document.id))
        return document

    async def _know(self, tenant_id: TenantId, name: str) -> KnowledgeBase:
        """The knowledge base, made known to the store if it is not yet."""
        held = await self._find_held(tenant_id, name)
        if held is None:
            await self._editor.request_sync(tenant_id, name)
            held = await self._find_held(tenant_id, name)
        if held is None:  # erased in this moment
            raise KnowledgeBaseNotFound
        return held

    async def _describe(self, principal: Principal, config: KnowledgeBaseConfig) -> DescribedKnowledgeBase:
        tenant_id = principal.tenant_id
        held = await self._editor.describe_knowledge_base(tenant_id, config.name)
        if held is None:
            return DescribedKnowledgeBase(config, None)
        syncs = await self._editor.list_syncs(tenant_id, held.id, limit=1)
        return DescribedKnowledgeBase(config, held, _show_sync(principal, syncs[0]) if syncs else None)

    async def _find_document(
        self, principal: Principal, name: str, document_id: DocumentId
    ) -> tuple[KnowledgeBase, Document]:
        held = await self._find_held(principal.tenant_id, name)
        if held is None:
            raise DocumentNotFound
        document = await self._editor.find_document(principal.tenant_id, held.id, document_id)
        if document is None or not _may_see(principal, document):
            raise DocumentNotFound
        return held, document

    async def _find_held(self, tenant_id: TenantId, name: str) -> KnowledgeBase | None:
        """What the store has of a knowledge base that is published, without its counts."""
        self._config(name)
        return await self._reader.find_knowledge_base(tenant_id, name)

    def _config(self, name: str) -> KnowledgeBaseConfig:
        config = self._catalogue.knowledge_base(name)
        if config is None:
            raise KnowledgeBaseNotFound
        return config


def audiences_of(principal: Principal) -> frozenset[str] | None:
    """Whose documents somebody of the tenant's own side may look at. None: everybody's.

    A program's key opens what its scopes say, and administrators may see everything.
    """
    if principal.key_id is not None or principal.may(Scope.ADMIN):
        return None
    return audience_of(principal)


def most_bytes(source: Source) -> int:
    """How large a file for the source may be. 0: it takes none."""
    return 0 if source.upload is None else MEGABYTE * source.upload.max_file_megabytes


def _own_key(request_key: RequestKey, name: str) -> RequestKey:
    """The same key stands for other requests elsewhere: no file of a conversation, or of another knowledge base, is found by it."""
    return RequestKey(hashlib.sha256(request_key + b"knowledge base" + name.encode()).digest())


def _may_see(principal: Principal, document: Document) -> bool:
    reach = audiences_of(principal)
    return reach is None or not reach.isdisjoint(document.facts.audience)


def _show_sync(principal: Principal, sync: Sync) -> Sync:
    """The sync as the principal may see it: who may not see all documents is told of none by its path; those that failed and
    are for them stand in the list of documents."""
    if audiences_of(principal) is None:
        return sync
    return replace(sync, failures=[failure for failure in sync.failures if failure.document is None])


def _build_facts(source: Source, wanted: Upload, file: File) -> DocumentFacts:
    return DocumentFacts(
        title=wanted.title or file.name,
        url=wanted.url,
        media_type=file.content.media_type,
        language=wanted.language or source.language,
        audience=wanted.audience or frozenset(source.audience),
        tags=wanted.tags | frozenset(source.tags),
        modified_at=file.created_at,
        size=file.content.size,
    )
