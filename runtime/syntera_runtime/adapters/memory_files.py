"""Files in memory: for tests and for trying the API without a database. Nothing outlives the process."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from ..errors import FileAttached, FileNotFound, RequestRepeated, TooManyFiles
from ..models.conversations import Conversation
from ..models.files import MOST_UNATTACHED, Attachment, File, FileContent, NewFile, Storage, StoredBlob
from ..models.ids import ContactId, ConversationId, FileId, KnowledgeBaseId, MessageId, RequestKey, TenantId

_INCOMING_LIFE = timedelta(hours=1)


@dataclass(slots=True)
class _Row:
    new: NewFile
    owner: ContactId | None
    created_at: datetime
    state: Literal["incoming", "ready", "doomed"] = "incoming"
    content: FileContent | None = None
    conversation_id: ConversationId | None = None
    message_id: MessageId | None = None
    knowledge_base_id: KnowledgeBaseId | None = None

    @property
    def is_free(self) -> bool:
        """Whether it belongs to nothing yet."""
        return self.message_id is None and self.knowledge_base_id is None

    @property
    def blob(self) -> StoredBlob:
        return StoredBlob(self.new.id, self.new.storage)

    @property
    def file(self) -> File:
        assert self.content is not None
        return File(
            id=self.new.id,
            name=self.new.name,
            content=self.content,
            storage=self.new.storage,
            created_at=self.created_at,
            contact_id=self.owner,
            conversation_id=self.conversation_id,
            message_id=self.message_id,
            request_hash=self.new.request_hash,
        )


class MemoryFiles:
    """`FileStore` in memory."""

    def __init__(self, find_conversation: Callable[[TenantId, ConversationId], Conversation | None]) -> None:
        """`find_conversation` tells whose the files of a conversation are."""
        self._find_conversation = find_conversation
        self._tenants: dict[TenantId, dict[FileId, _Row]] = {}

    def age(self, tenant_id: TenantId, by: timedelta) -> None:
        """Let all files be that much older."""
        for row in self._rows(tenant_id).values():
            row.created_at -= by

    async def add_file(self, tenant_id: TenantId, new: NewFile, *, owner: ContactId | None) -> None:
        """See `FileStore`."""
        rows = self._rows(tenant_id)
        own = [row for row in rows.values() if row.owner == owner and row.is_free and row.state != "doomed"]
        if owner is not None and len(own) >= MOST_UNATTACHED:
            raise TooManyFiles
        if new.request_key is not None:
            for row in rows.values():
                if row.new.request_key == new.request_key:
                    if row.state == "ready":
                        raise RequestRepeated
                    row.state, row.new = "doomed", replace(row.new, request_key=None)
        rows[new.id] = _Row(new, owner, datetime.now(UTC))

    async def complete_file(self, tenant_id: TenantId, file_id: FileId, content: FileContent) -> File:
        """See `FileStore`."""
        row = self._rows(tenant_id).get(file_id)
        if row is None or row.state != "incoming":
            raise FileNotFound
        row.state, row.content = "ready", content
        return row.file

    async def find_file(self, tenant_id: TenantId, file_id: FileId, *, owner: ContactId | None) -> File | None:
        """See `FileStore`."""
        row = self._rows(tenant_id).get(file_id)
        return row.file if row is not None and self._is_there(tenant_id, row, owner) else None

    async def find_files(self, tenant_id: TenantId, file_ids: Sequence[FileId]) -> Sequence[File]:
        """See `FileStore`."""
        return [row.file for row in self._rows(tenant_id).values() if row.new.id in file_ids and row.state == "ready"]

    async def find_repeated_file(self, tenant_id: TenantId, request_key: RequestKey) -> File | None:
        """See `FileStore`."""
        rows = self._rows(tenant_id).values()
        return next((row.file for row in rows if row.new.request_key == request_key and row.state == "ready"), None)

    async def doom_file(self, tenant_id: TenantId, file_id: FileId, *, owner: ContactId | None) -> StoredBlob:
        """See `FileStore`."""
        row = self._rows(tenant_id).get(file_id)
        if row is None or not self._is_there(tenant_id, row, owner):
            raise FileNotFound
        if row.message_id is not None:
            raise FileAttached
        row.state = "doomed"
        return row.blob

    async def give_up_file(self, tenant_id: TenantId, file_id: FileId) -> bool:
        """See `FileStore`."""
        row = self._rows(tenant_id).get(file_id)
        if row is None or row.state == "ready":
            return False
        row.state = "doomed"
        return True

    async def doom_left_files(self, tenant_id: TenantId, *, unattached: timedelta) -> None:
        """See `FileStore`."""
        now = datetime.now(UTC)
        for row in self._rows(tenant_id).values():
            life = unattached if row.state == "ready" else _INCOMING_LIFE
            if row.is_free and row.created_at < now - life:
                row.state = "doomed"

    async def doom_orphaned_files(self, tenant_id: TenantId) -> None:
        """See `FileStore`."""
        for row in self._rows(tenant_id).values():
            if row.conversation_id is not None and not self._find_conversation(tenant_id, row.conversation_id):
                row.state = "doomed"

    async def list_doomed(
        self, tenant_id: TenantId, storage: Storage, *, limit: int, after: FileId | None = None
    ) -> Sequence[StoredBlob]:
        """See `FileStore`."""
        doomed = [row.blob for _, row in sorted(self._rows(tenant_id).items()) if row.state == "doomed"]
        return [blob for blob in doomed if blob.storage is storage and (after is None or blob.file_id > after)][:limit]

    async def remove_file(self, tenant_id: TenantId, file_id: FileId) -> None:
        """See `FileStore`."""
        row = self._rows(tenant_id).get(file_id)
        if row is not None and row.state == "doomed":
            del self._rows(tenant_id)[file_id]

    def attach(
        self,
        tenant_id: TenantId,
        file_ids: Sequence[FileId],
        *,
        conversation_id: ConversationId,
        message_id: MessageId,
        owner: ContactId | None,
    ) -> Sequence[Attachment]:
        """Give files to a message, all or none.

        Raises:
            FileNotFound: One is not there, or somebody else's.
            FileAttached: One belongs to a message already.
        """
        rows = [self._rows(tenant_id).get(file_id) for file_id in file_ids]
        own = [row for row in rows if row is not None and row.state == "ready" and row.owner == owner]
        if len(own) < len(rows):
            raise FileNotFound
        if not all(row.is_free for row in own):
            raise FileAttached
        for row in own:
            row.conversation_id, row.message_id = conversation_id, message_id
        return [row.file.attachment for row in own]

    def give_to_knowledge_base(
        self, tenant_id: TenantId, file_id: FileId, *, knowledge_base_id: KnowledgeBaseId
    ) -> None:
        """Give a file to a document.

        Raises:
            FileNotFound: It is not there in full.
            FileAttached: It belongs to a message or a document already.
        """
        row = self._rows(tenant_id).get(file_id)
        if row is None or row.state != "ready":
            raise FileNotFound
        if not row.is_free:
            raise FileAttached
        row.knowledge_base_id = knowledge_base_id

    def doom_of_document(self, tenant_id: TenantId, file_id: FileId) -> None:
        """Doom the file of a document that is no more."""
        row = self._rows(tenant_id).get(file_id)
        if row is not None and row.knowledge_base_id is not None:
            row.state, row.knowledge_base_id = "doomed", None

    def move(self, tenant_id: TenantId, *, source: ContactId, target: ContactId) -> None:
        """Give the files of one contact that no message has yet to another."""
        for row in self._rows(tenant_id).values():
            if row.owner == source and row.message_id is None:
                row.owner = target

    def doom_of_conversation(self, tenant_id: TenantId, conversation_id: ConversationId) -> None:
        """Doom the files of a conversation that is deleted."""
        for row in self._rows(tenant_id).values():
            if row.conversation_id == conversation_id:
                row.state = "doomed"

    def _is_there(self, tenant_id: TenantId, row: _Row, owner: ContactId | None) -> bool:
        if row.state != "ready" or row.knowledge_base_id is not None:
            return False
        if row.conversation_id is None:
            return owner in (None, row.owner)
        conversation = self._find_conversation(tenant_id, row.conversation_id)
        return conversation is not None and owner in (None, conversation.contact_id)

    def _rows(self, tenant_id: TenantId) -> dict[FileId, _Row]:
        return self._tenants.setdefault(tenant_id, {})


class MemoryBlobs:
    """`BlobStore` in memory."""

    def __init__(self) -> None:
        self.kept: dict[tuple[TenantId, FileId], bytes] = {}

    async def write(self, tenant_id: TenantId, file_id: FileId, content: AsyncIterator[bytes]) -> None:
        """See `BlobStore`."""
        self.kept[tenant_id, file_id] = b"".join([piece async for piece in content])

    async def read(self, tenant_id: TenantId, file_id: FileId) -> AsyncGenerator[bytes, None]:
        """See `BlobStore`."""
        if (tenant_id, file_id) not in self.kept:
            raise FileNotFound
        yield self.kept[tenant_id, file_id]

    async def delete(self, tenant_id: TenantId, file_id: FileId) -> None:
        """See `BlobStore`."""
        self.kept.pop((tenant_id, file_id), None)
