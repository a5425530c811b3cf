"""Files that people give to knowledge bases: taken in as they come, told by their bytes, kept once.

A process may end between the two steps, a file that is there and a document that has it: then the same request, sent again, goes on
from there, and a file of which no document was made is swept as those are that no message has.
"""

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

import structlog

from syntera_crds.contract.knowledge_config import Source

from ..errors import (
    AudienceNotHeld,
    FileAttached,
    FileNotFound,
    FileOvertaken,
    KnowledgeBaseNotFound,
    SourceNotFound,
    UploadsNotTaken,
)
from ..files.kinds import DOCUMENTS, Examination
from ..files.service import MEGABYTE, Files
from ..models.files import File
from ..models.identity import Principal
from ..models.ids import RequestKey, TenantId
from ..models.knowledge import Document, DocumentFacts, DocumentOrigin, DocumentState, KnowledgeBase
from ..ports.knowledge import KnowledgeEditor
from .audience import reach_of
from .holdings import Holdings

log = structlog.get_logger(__name__)


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


class DocumentUploads:
    """What the tenant's own side gives to its knowledge bases."""

    def __init__(self, holdings: Holdings, editor: KnowledgeEditor, files: Files) -> None:
        self._holdings = holdings
        self._editor = editor
        self._files = files

    def source(self, name: str, source: str | None) -> Source:
        """The source that takes uploads: the first, or the one that is named.

        Raises:
            KnowledgeBaseNotFound: There is no knowledge base of that name.
            SourceNotFound: It has no such source.
            UploadsNotTaken: None, or not the one that is named, takes uploads.
        """
        sources = self._holdings.config(name).sources
        if source is not None:
            sources = [one for one in sources if one.name == source]
            if not sources:
                raise SourceNotFound
        taking = next((one for one in sources if one.upload is not None), None)
        if taking is None:
            raise UploadsNotTaken
        return taking

    async def find_repeated(
        self, principal: Principal, name: str, source: Source, wanted: Upload, *, request_key: RequestKey
    ) -> Uploaded | None:
        """What the same request made before. None: it has sent no file, or not in full.

        Raises:
            IdempotencyKeyReused: Another request had that key.
            FileOvertaken: The same request makes a document of it in this very moment.
            StoreUnavailable: It cannot be looked up.
        """
        tenant_id, key = principal.tenant_id, _own_key(request_key, name)
        hashed = _hash_wanted(source, wanted)
        file = await self._files.find_repeated(tenant_id, key, name=wanted.name, request_hash=hashed)
        if file is None:
            return None
        held = await self._know(tenant_id, name)
        known = await self._editor.find_upload(tenant_id, held.id, content_hash=file.content.sha256, file_id=file.id)
        if known is not None:
            await self._ask_for_sync(tenant_id, held, known)
            return Uploaded(known, is_new=True, is_replayed=True)
        # The process that took the file in has ended before it made a document of it.
        return replace(await self._make_document(principal, held, source, wanted, file), is_replayed=True)

    async def add(
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
            TooManyKnowledgeBases: The knowledge base is new to the store, and there is no room for another one.
            RequestRepeated, FileOvertaken: See `Files.add`.
            StoreUnavailable: It may not have been taken in.
        """
        examination = Examination(most_bytes=most_bytes(source), taken=DOCUMENTS, takes_any_encoding=True)
        key = None if request_key is None else _own_key(request_key, name)
        file = await self._files.add(
            principal,
            content,
            name=wanted.name,
            request_key=key,
            request_hash=_hash_wanted(source, wanted),
            examination=examination,
        )
        held = await self._know(principal.tenant_id, name)
        return await self._make_document(principal, held, source, wanted, file)

    async def _make_document(
        self, principal: Principal, held: KnowledgeBase, source: Source, wanted: Upload, file: File
    ) -> Uploaded:
        try:
            document = await self._editor.add_upload(
                principal.tenant_id,
                held.id,
                origin=DocumentOrigin(source.name, file.name),
                facts=_build_facts(source, wanted, file),
                content_hash=file.content.sha256,
                file_id=file.id,
                reach=reach_of(principal),
            )
        except (FileNotFound, FileAttached) as error:  # the same request has just made a document of it
            raise FileOvertaken from error
        except AudienceNotHeld:
            await self._delete(principal, file)
            raise AudienceNotHeld(
                "There is a document of that name which is for others than you. Choose another name."
            ) from None
        is_new = document.file_id == file.id
        if not is_new:
            await self._delete(principal, file)
        await self._ask_for_sync(principal.tenant_id, held, document)
        if is_new:
            log.info("document uploaded", knowledge_base=held.name, document_id=str(document.id))
        return Uploaded(document, is_new=is_new)

    async def _ask_for_sync(self, tenant_id: TenantId, held: KnowledgeBase, document: Document) -> None:
        """Have a document taken in that waits for it: whoever made it may have ended before they could ask."""
        if document.state is DocumentState.PENDING:
            await self._editor.request_sync(tenant_id, held.name)

    async def _delete(self, principal: Principal, file: File) -> None:
        with suppress(FileNotFound):  # the same request, sent twice at once, has deleted it
            await self._files.delete(principal, file.id)

    async def _know(self, tenant_id: TenantId, name: str) -> KnowledgeBase:
        """The knowledge base, made known to the store if it is not yet."""
        held = await self._holdings.find(tenant_id, name)
        if held is None:
            await self._editor.request_sync(tenant_id, name)
            held = await self._holdings.find(tenant_id, name)
        if held is None:  # erased in this moment
            raise KnowledgeBaseNotFound
        return held


def most_bytes(source: Source) -> int:
    """How large a file for the source may be. 0: it takes none."""
    return 0 if source.upload is None else MEGABYTE * source.upload.max_file_megabytes


def _own_key(request_key: RequestKey, name: str) -> RequestKey:
    """The same key stands for other requests elsewhere: no file of a conversation, or of another knowledge base, is found by it."""
    return RequestKey(hashlib.sha256(request_key + b"knowledge base" + name.encode()).digest())


def _hash_wanted(source: Source, wanted: Upload) -> bytes:
    """What a request says of its file beside the name."""
    said = asdict(wanted) | {"source": source.name, "audience": sorted(wanted.audience), "tags": sorted(wanted.tags)}
    del said["name"]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).digest()


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
        keeps_audience=bool(wanted.audience),
    )
