"""Knowledge bases: their documents, syncs, and searches."""

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from syntera_crds.contract.knowledge_config import PUBLIC, SearchMode

from ..models.knowledge import DocumentState
from .calls import Caller, Request, once, segment
from .files import UPLOAD_SECONDS, Pieces
from .knowledge_models import (
    Chunk,
    Document,
    KnowledgeBase,
    KnowledgeBaseList,
    SearchResult,
    Sync,
    SyncRequested,
)
from .models import Page
from .pages import read_pages

_PATH = "/v1/knowledge-bases"


class KnowledgeBases:
    """Looks into knowledge bases and searches them, for which the credentials need the scope `knowledge:read`; uploads, deletes and
    re-ingests documents and asks for syncs, for which they need `knowledge:write`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def list(self) -> Sequence[KnowledgeBase]:
        """All of them, by name."""
        return (await self._caller.get(KnowledgeBaseList, Request("GET", _PATH))).items

    async def get(self, name: str) -> KnowledgeBase:
        """One of them.

        Raises:
            NotFound: There is none of that name.
        """
        return await self._caller.get(KnowledgeBase, Request("GET", _of(name)))

    async def search(
        self,
        name: str,
        question: str,
        *,
        mode: SearchMode | str | None = None,
        top_k: int | None = None,
        min_score: float | None = None,
        rerank: bool | None = None,
        neighbours: int | None = None,
        audience: Iterable[str] = (PUBLIC,),
        sources: Iterable[str] | None = None,
        path_prefix: str | None = None,
        tags: Iterable[str] = (),
        modified_from: datetime | None = None,
        modified_before: datetime | None = None,
    ) -> SearchResult:
        """Find passages as an agent would, with the scores and the time of each stage. What is None is as the knowledge base says.

        Args:
            audience: Documents that are for one of these are found.

        Raises:
            NotFound: There is no knowledge base of that name.
            Conflict: No sync of it has come to its end yet.
            Forbidden: It would find documents that are for others.
        """
        filters = {
            "audience": [*audience],
            "sources": None if sources is None else [*sources],
            "pathPrefix": path_prefix,
            "tags": [*tags],
            "modifiedFrom": _write_time(modified_from),
            "modifiedBefore": _write_time(modified_before),
        }
        wanted = {
            "question": question,
            "mode": None if mode is None else str(mode),
            "topK": top_k,
            "minScore": min_score,
            "rerank": rerank,
            "neighbours": neighbours,
            "filter": _given(filters),
        }
        return await self._caller.get(SearchResult, Request("POST", f"{_of(name)}/search", body=_given(wanted)))

    # ---- documents ----

    def documents(
        self,
        name: str,
        *,
        source: str | None = None,
        state: DocumentState | str | None = None,
        words: str | None = None,
        page_size: int = 50,
    ) -> AsyncGenerator[Document, None]:
        """The documents, oldest first, page by page as they are read.

        Args:
            words: Part of the title or the path.

        Raises:
            NotFound: There is no knowledge base of that name.
        """
        query = {"source": source, "state": None if state is None else str(state), "q": words, "limit": page_size}
        return read_pages(self._caller, Page[Document], f"{_of(name)}/documents", query)

    async def document(self, name: str, document_id: UUID | str) -> Document:
        """One document.

        Raises:
            NotFound: There is none with that id.
        """
        return await self._caller.get(Document, Request("GET", _document(name, document_id)))

    async def upload(
        self,
        name: str,
        file_name: str,
        content: bytes | AsyncIterable[bytes],
        *,
        source: str | None = None,
        title: str | None = None,
        url: str | None = None,
        language: str | None = None,
        audience: Iterable[str] = (),
        tags: Iterable[str] = (),
        idempotency_key: str | None = None,
        seconds: float = UPLOAD_SECONDS,
    ) -> Document:
        """Upload a document, and have it taken in by a sync soon. Bytes that the knowledge base has already make no second one: what
        comes back is the document that has them, as it is. What is left out is as the source says.

        Args:
            file_name: One of the same name is replaced.
            content: The bytes, or what gives them piece by piece: then nothing is tried again once the first piece was taken.
            source: The source that it is for. None: the first that takes uploads.
            idempotency_key: The same key with the same name and fields gives the same document. None: one of the client's own.
            seconds: Deadline of all tries.

        Raises:
            NotFound: There is no such knowledge base or source.
            Conflict: No source takes uploads, or the knowledge base is new and there is no room for another one.
            Forbidden: It would replace a document that is for others.
            InvalidRequest: The file is too large, nothing is read out of files of its kind, or the key stands for another upload.
        """
        pieces = None if isinstance(content, bytes) else Pieces(content)
        request = Request(
            "POST",
            f"{_of(name)}/documents",
            query={
                "name": file_name,
                "source": source,
                "title": title,
                "url": url,
                "language": language,
                "audience": [*audience] or None,
                "tags": [*tags] or None,
            },
            content=content if pieces is None else pieces,
            headers={"Content-Type": "application/octet-stream", **once(idempotency_key)},
            is_spent=lambda: pieces is not None and pieces.began,
            seconds=seconds,
        )
        return await self._caller.get(Document, request)

    async def delete_document(self, name: str, document_id: UUID | str) -> None:
        """Take a document out at once. An uploaded one is gone; any other is left out by syncs from now on.

        Raises:
            NotFound: There is none with that id.
        """
        # The second of two would be told that there is no such document, which the first has deleted.
        await self._caller.call(Request("DELETE", _document(name, document_id), is_repeatable=False))

    async def reingest_document(self, name: str, document_id: UUID | str) -> Document:
        """Have a document fetched, read and embedded anew by a sync soon, also one that was excluded.

        Raises:
            NotFound: There is none with that id.
        """
        return await self._caller.get(Document, Request("POST", f"{_document(name, document_id)}/reingest"))

    def chunks(self, name: str, document_id: UUID | str, *, page_size: int = 50) -> AsyncGenerator[Chunk, None]:
        """What the active index has of a document, in the order of its text, page by page as they are read.

        Raises:
            NotFound: There is no document with that id.
            Conflict: There is no active index.
            InvalidRequest: Another index has become active meanwhile: begin anew.
        """
        path = f"{_document(name, document_id)}/chunks"
        return read_pages(self._caller, Page[Chunk], path, {"limit": page_size})

    # ---- syncs ----

    def syncs(self, name: str, *, page_size: int = 50) -> AsyncGenerator[Sync, None]:
        """The syncs, newest first, page by page as they are read.

        Raises:
            NotFound: There is no knowledge base of that name.
        """
        return read_pages(self._caller, Page[Sync], f"{_of(name)}/syncs", {"limit": page_size})

    async def request_sync(self, name: str) -> SyncRequested:
        """Have the knowledge base synced soon. One that waits already is enough: asking again changes nothing.

        Raises:
            NotFound: There is none of that name.
        """
        return await self._caller.get(SyncRequested, Request("POST", f"{_of(name)}/syncs"))


def _of(name: str) -> str:
    return f"{_PATH}/{segment(name)}"


def _document(name: str, document_id: UUID | str) -> str:
    return f"{_of(name)}/documents/{segment(document_id)}"


def _given(wanted: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if value is not None}


def _write_time(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()
