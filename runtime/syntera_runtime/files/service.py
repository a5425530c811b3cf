"""Use cases of files: take one in, find it, read it, delete it."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import suppress

from ..errors import FileNotFound, FileOvertaken, IdempotencyKeyReused, StoreUnavailable
from ..ids import new_id
from ..models.files import File, NewFile, Storage, StoredBlob
from ..models.identity import Principal
from ..models.ids import FileId, RequestKey, TenantId
from ..ports.configuration import TenantCatalogue
from ..ports.files import BlobStore, FileStore
from .kinds import Examination
from .names import clean_name

DEFAULT_MEGABYTES = 10
MEGABYTE = 1024 * 1024


class Files:
    """What can be done with files. For a customer there are none but their own, and those of their conversations."""

    def __init__(self, store: FileStore, blobs: Mapping[Storage, BlobStore], catalogue: TenantCatalogue) -> None:
        self._store = store
        self._blobs = blobs
        self._catalogue = catalogue

    @property
    def most_bytes(self) -> int:
        """How large a file may be."""
        tenant = self._catalogue.tenant()
        return MEGABYTE * (DEFAULT_MEGABYTES if tenant is None else tenant.files.max_megabytes)

    async def find_repeated(
        self, tenant_id: TenantId, request_key: RequestKey, *, name: str, request_hash: bytes | None = None
    ) -> File | None:
        """The file that the same request sent before. None: it has sent none, or not in full.

        Args:
            request_hash: What else it says; see `NewFile`.

        Raises:
            IdempotencyKeyReused: Another request had that key.
            StoreUnavailable: It cannot be looked up.
        """
        found = await self._store.find_repeated_file(tenant_id, request_key)
        if found is not None and (found.name, found.request_hash) != (clean_name(name), request_hash):
            raise IdempotencyKeyReused
        return found

    async def add(
        self,
        principal: Principal,
        content: AsyncIterator[bytes],
        *,
        name: str,
        request_key: RequestKey | None = None,
        request_hash: bytes | None = None,
        examination: Examination | None = None,
    ) -> File:
        """Take in what comes.

        Args:
            request_hash: What the request says beside name and bytes; see `NewFile`.
            examination: Decides what is taken. None: what files of conversations may be.

        Raises:
            FileTooLarge: It has too many bytes, or is an image with too many pixels.
            FileTypeRefused: Files of its kind are not taken.
            TooManyFiles: A customer has sent too many that no message has.
            RequestRepeated: The same request has sent it; see `find_repeated`.
            FileOvertaken: The same request sends it again in this very moment; the later one counts.
            StoreUnavailable: It was not kept.
        """
        tenant_id = principal.tenant_id
        new = NewFile(FileId(new_id()), clean_name(name), self._storage_for_new(), request_key, request_hash)
        looking = examination or Examination(most_bytes=self.most_bytes)

        async def examined() -> AsyncIterator[bytes]:
            async for piece in content:
                looking.take(piece)
                yield piece

        await self._store.add_file(tenant_id, new, owner=principal.contact_id)
        try:
            await self._blobs[new.storage].write(tenant_id, new.id, examined())
            return await self._store.complete_file(tenant_id, new.id, looking.end())
        except BaseException as error:
            # Where this fails, too, the file is given up an hour later. One that is there in full, of which only the answer was
            # lost, keeps its bytes.
            with suppress(StoreUnavailable):
                if await self._store.give_up_file(tenant_id, new.id):
                    await self.remove(tenant_id, StoredBlob(new.id, new.storage))
            if isinstance(error, FileNotFound):  # its row was doomed while it came
                raise FileOvertaken from error
            raise

    async def get(self, principal: Principal, file_id: FileId) -> File:
        """What is known of a file.

        Raises:
            FileNotFound: There is none with that id.
            StoreUnavailable: It cannot be looked up.
        """
        found = await self._store.find_file(principal.tenant_id, file_id, owner=principal.contact_id)
        if found is None:
            raise FileNotFound
        return found

    async def get_linked(self, tenant_id: TenantId, file_id: FileId) -> File:
        """The same for whoever follows a link that was checked.

        Raises:
            FileNotFound: There is none with that id any more.
            StoreUnavailable: It cannot be looked up.
        """
        found = await self._store.find_file(tenant_id, file_id, owner=None)
        if found is None:
            raise FileNotFound
        return found

    def read(self, tenant_id: TenantId, file: File) -> AsyncGenerator[bytes, None]:
        """The bytes of a file, in pieces.

        Raises:
            FileNotFound: They are not there any more.
            StoreUnavailable: They cannot be read.
        """
        return self._blobs[file.storage].read(tenant_id, file.id)

    async def delete(self, principal: Principal, file_id: FileId) -> None:
        """Delete a file that no message has.

        Raises:
            FileNotFound: There is none with that id.
            FileAttached: A message has it.
            StoreUnavailable: It is not known whether it was deleted.
        """
        blob = await self._store.doom_file(principal.tenant_id, file_id, owner=principal.contact_id)
        with suppress(StoreUnavailable):  # nobody gets it any more; its bytes go later
            await self.remove(principal.tenant_id, blob)

    async def remove(self, tenant_id: TenantId, blob: StoredBlob) -> None:
        """Remove a doomed file: its bytes, then what is known of it.

        Raises:
            StoreUnavailable: Something of it may be left.
        """
        await self._blobs[blob.storage].delete(tenant_id, blob.file_id)
        await self._store.remove_file(tenant_id, blob.file_id)

    def _storage_for_new(self) -> Storage:
        tenant = self._catalogue.tenant()
        return Storage.POSTGRESQL if tenant is None or tenant.files.s3 is None else Storage.S3
