"""Where files are kept: what is known of them, and their bytes. Every method may raise StoreUnavailable.

A file is written in this order: its row as one that is coming, its bytes, its row as one that is there. It goes in this
order: its row is doomed, its bytes go, its row goes. So wherever a process dies, a row leads to what is left.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from datetime import timedelta
from typing import Protocol

from syntera_runtime.models.files import File, FileContent, NewFile, Storage, StoredBlob
from syntera_runtime.models.ids import ContactId, FileId, RequestKey, TenantId


class FileStore(Protocol):
    """What is known of files.

    `owner` is the contact whose files there are: those that it sent and has not attached yet, and those of its
    conversations. Others are not there. None: everybody's.
    """

    async def add_file(self, tenant_id: TenantId, new: NewFile, *, owner: ContactId | None) -> None:
        """Note that a file is coming, from `owner`. A file that was coming by the same request is forgotten.

        Raises:
            RequestRepeated: The file that the same request sent is there.
            TooManyFiles: The owner has sent `MOST_UNATTACHED` files that no message has yet.
        """
        ...

    async def complete_file(self, tenant_id: TenantId, file_id: FileId, content: FileContent) -> File:
        """Note that all its bytes are there.

        Raises:
            FileNotFound: It took so long that it was given up.
        """
        ...

    async def find_file(self, tenant_id: TenantId, file_id: FileId, *, owner: ContactId | None) -> File | None:
        """A file that is there in full, or None."""
        ...

    async def find_files(self, tenant_id: TenantId, file_ids: Sequence[FileId]) -> Sequence[File]:
        """Those of the files that are there in full, whoever's they are, in any order."""
        ...

    async def find_repeated_file(self, tenant_id: TenantId, request_key: RequestKey) -> File | None:
        """The file that a request with that key sent, if it is there in full."""
        ...

    async def doom_file(self, tenant_id: TenantId, file_id: FileId, *, owner: ContactId | None) -> StoredBlob:
        """Let nobody have it any more.

        Raises:
            FileNotFound: There is none with that id.
            FileAttached: A message has it.
        """
        ...

    async def give_up_file(self, tenant_id: TenantId, file_id: FileId) -> bool:
        """The file that was coming does not come: doom it. There may be none any more.

        Returns:
            Whether it is doomed, so that its bytes may go. Not one that is there in full.
        """
        ...

    async def doom_left_files(self, tenant_id: TenantId, *, unattached: timedelta) -> None:
        """Doom files that no message got in that time, and those that never came in full."""
        ...

    async def doom_orphaned_files(self, tenant_id: TenantId) -> None:
        """Doom files whose conversation is gone although nobody doomed them with it: who deleted it knew no files.

        It looks at every file of the tenant.
        """
        ...

    async def list_doomed(
        self, tenant_id: TenantId, storage: Storage, *, limit: int, after: FileId | None = None
    ) -> Sequence[StoredBlob]:
        """Doomed files whose bytes may be in that store, in the order of their ids, after that one."""
        ...

    async def remove_file(self, tenant_id: TenantId, file_id: FileId) -> None:
        """Forget a doomed file whose bytes are gone. There may be none any more."""
        ...


class BlobStore(Protocol):
    """Bytes of files."""

    async def write(self, tenant_id: TenantId, file_id: FileId, content: AsyncIterator[bytes]) -> None:
        """Keep what comes, in pieces of any size. What `content` raises passes; what had come until then may be kept."""
        ...

    def read(self, tenant_id: TenantId, file_id: FileId) -> AsyncGenerator[bytes, None]:
        """The bytes, in pieces.

        Raises:
            FileNotFound: They are not there.
        """
        ...

    async def delete(self, tenant_id: TenantId, file_id: FileId) -> None:
        """Forget them. They may not be there."""
        ...
