"""Files that people have uploaded. Their bytes never change; what is known of them is in the store already."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from ...errors import FileNotFound
from ...models.files import File, Storage
from ...models.ids import FileId, TenantId
from ...models.knowledge import Failing, KnownDocument
from ...ports.files import BlobStore, FileStore
from ..items import Fetched, Item, Known, Missed, Same, SourceDocuments

MEGABYTE = 1024 * 1024


class UploadedFiles:
    """`DocumentSource` of the uploads of a knowledge base."""

    def __init__(
        self,
        tenant_id: TenantId,
        documents: SourceDocuments,
        files: FileStore,
        blobs: Mapping[Storage, BlobStore],
        *,
        max_megabytes: int,
    ) -> None:
        self._tenant_id = tenant_id
        self._documents = documents
        self._files = files
        self._blobs = blobs
        self._most_bytes = max_megabytes * MEGABYTE

    async def read(self, known: Mapping[str, Known]) -> AsyncGenerator[Item, None]:
        """See `DocumentSource`. What somebody uploads from now on is for the sync that they have asked for with it."""
        async with aclosing(self._documents.pages()) as pages:
            async for page in pages:
                wanted = [document for document in page if _is_wanted(known.get(document.origin.path))]
                ids = [document.file_id for document in wanted if document.file_id is not None]
                found = {file.id: file for file in await self._files.find_files(self._tenant_id, ids)} if ids else {}
                for document in wanted:
                    yield await self._fetch(document, found)
        for path, one in known.items():
            if one.content_hash is not None:
                yield Same(path)

    async def _fetch(self, document: KnownDocument, found: Mapping[FileId, File]) -> Item:
        path = document.origin.path
        file = None if document.file_id is None else found.get(document.file_id)
        if file is None:
            return _gone(path)
        if file.content.size > self._most_bytes:
            return Missed(path, Failing.TOO_LARGE, f"It has more than {self._most_bytes // MEGABYTE} MiB. Upload less.")
        content = bytearray()
        try:
            async for piece in self._blobs[file.storage].read(self._tenant_id, file.id):
                content += piece
        except FileNotFound:
            return _gone(path)
        return Fetched(
            path,
            bytes(content),
            document.facts,
            name=file.name,
            file_id=file.id,
        )


def _is_wanted(known: Known | None) -> bool:
    return known is not None and known.content_hash is None


def _gone(path: str) -> Missed:
    return Missed(path, Failing.NOT_FOUND, "The uploaded file is not there any more. Upload it again.")
