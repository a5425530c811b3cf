"""What is known of files: who sent them, which message has them, where their bytes are."""

from collections.abc import Sequence
from datetime import timedelta

import asyncpg
from asyncpg import Record

from ...errors import FileAttached, FileNotFound, RequestRepeated, TooManyFiles
from ...models.files import MOST_UNATTACHED, Attachment, File, FileContent, NewFile, Storage, StoredBlob
from ...models.ids import ContactId, ConversationId, FileId, MessageId, RequestKey, TenantId
from .pool import Connection, Pool

_COLUMNS = (
    "f.id, f.contact_id, f.conversation_id, f.message_id, f.storage, f.name, f.media_type, f.bytes, f.sha256, "
    "f.width, f.height, f.created_at, f.request_hash"
)

_INCOMING_LIFE = timedelta(hours=1)
"""Longer than a file may take to come."""

_IS_THERE = """
f.state = 'ready' AND f.knowledge_base_id IS NULL AND (
  f.conversation_id IS NULL AND ($3::uuid IS NULL OR f.contact_id = $3)
  OR EXISTS (
    SELECT FROM syntera.conversations AS c
    WHERE c.tenant_id = $1 AND c.id = f.conversation_id AND ($3::uuid IS NULL OR c.contact_id = $3)
  )
)
"""
"""Who has the conversation has its files: a conversation may become another contact's. Those of documents are nobody's: whom a
document is for is not known here."""

_FORGET_REQUEST = """
UPDATE syntera.files SET state = 'doomed', request_key = NULL
WHERE tenant_id = $1 AND request_key = $2 AND state <> 'ready'
"""

_COUNT_UNATTACHED = """
SELECT count(*) FROM syntera.files
WHERE tenant_id = $1 AND contact_id = $2 AND message_id IS NULL AND state <> 'doomed'
"""

_INSERT = """
INSERT INTO syntera.files (tenant_id, id, contact_id, storage, name, request_key, request_hash)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""

_COMPLETE = f"""
UPDATE syntera.files AS f
SET state = 'ready', media_type = $3, bytes = $4, sha256 = $5, width = $6, height = $7
WHERE f.tenant_id = $1 AND f.id = $2 AND f.state = 'incoming'
RETURNING {_COLUMNS}
"""  # noqa: S608  # the columns are a constant

_FIND = f"SELECT {_COLUMNS} FROM syntera.files AS f WHERE f.tenant_id = $1 AND f.id = $2 AND {_IS_THERE}"  # noqa: S608

_FIND_MANY = f"""
SELECT {_COLUMNS} FROM syntera.files AS f WHERE f.tenant_id = $1 AND f.id = ANY ($2::uuid[]) AND f.state = 'ready'
"""  # noqa: S608

_FIND_REPEATED = f"""
SELECT {_COLUMNS} FROM syntera.files AS f WHERE f.tenant_id = $1 AND f.request_key = $2 AND f.state = 'ready'
"""  # noqa: S608

_DOOM = f"""
UPDATE syntera.files AS f SET state = 'doomed'
WHERE f.tenant_id = $1 AND f.id = $2 AND f.message_id IS NULL AND {_IS_THERE}
RETURNING f.id, f.storage
"""  # noqa: S608

_GIVE_UP = """
UPDATE syntera.files SET state = 'doomed' WHERE tenant_id = $1 AND id = $2 AND state <> 'ready' RETURNING true
"""

_DOOM_LEFT = """
UPDATE syntera.files SET state = 'doomed'
WHERE tenant_id = $1 AND message_id IS NULL AND knowledge_base_id IS NULL AND created_at < now() - least($2::interval, $3::interval) AND (
  state = 'ready' AND created_at < now() - $2::interval OR state = 'incoming' AND created_at < now() - $3::interval
)
"""
"""The lesser of the two times is what the index is asked for."""

_DOOM_ORPHANED = """
UPDATE syntera.files AS f SET state = 'doomed'
WHERE f.tenant_id = $1 AND f.state = 'ready' AND f.message_id IS NOT NULL AND NOT EXISTS (
  SELECT FROM syntera.messages AS m WHERE m.tenant_id = $1 AND m.id = f.message_id
)
"""

_LIST_DOOMED = """
SELECT id, storage FROM syntera.files
WHERE tenant_id = $1 AND state = 'doomed' AND storage = $2 AND ($4::uuid IS NULL OR id > $4) ORDER BY id LIMIT $3
"""

_ATTACH = """
UPDATE syntera.files SET conversation_id = $3, message_id = $4
WHERE tenant_id = $1 AND id = ANY ($2::uuid[]) AND state = 'ready' AND message_id IS NULL AND knowledge_base_id IS NULL
  AND contact_id IS NOT DISTINCT FROM $5
RETURNING id, name, media_type, bytes AS size, width, height
"""

_ARE_ATTACHED = """
SELECT count(*) FROM syntera.files
WHERE tenant_id = $1 AND id = ANY ($2::uuid[]) AND state = 'ready' AND contact_id IS NOT DISTINCT FROM $3
"""


class PostgresqlFiles:
    """`FileStore` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add_file(self, tenant_id: TenantId, new: NewFile, *, owner: ContactId | None) -> None:
        """See `FileStore`."""
        async with self._pool.transaction("add_file") as connection:
            if owner is not None and await connection.fetchval(_COUNT_UNATTACHED, tenant_id, owner) >= MOST_UNATTACHED:
                raise TooManyFiles
            if new.request_key is not None:
                await connection.execute(_FORGET_REQUEST, tenant_id, new.request_key)
            try:
                request = (new.request_key, new.request_hash)
                await connection.execute(_INSERT, tenant_id, new.id, owner, new.storage, new.name, *request)
            except asyncpg.UniqueViolationError:
                raise RequestRepeated from None

    async def complete_file(self, tenant_id: TenantId, file_id: FileId, content: FileContent) -> File:
        """See `FileStore`."""
        async with self._pool.connection("complete_file") as connection:
            row = await connection.fetchrow(
                _COMPLETE,
                tenant_id,
                file_id,
                content.media_type,
                content.size,
                content.sha256,
                content.width,
                content.height,
            )
        if row is None:
            raise FileNotFound
        return _read_file(row)

    async def find_file(self, tenant_id: TenantId, file_id: FileId, *, owner: ContactId | None) -> File | None:
        """See `FileStore`."""
        async with self._pool.connection("find_file") as connection:
            row = await connection.fetchrow(_FIND, tenant_id, file_id, owner)
        return None if row is None else _read_file(row)

    async def find_files(self, tenant_id: TenantId, file_ids: Sequence[FileId]) -> Sequence[File]:
        """See `FileStore`."""
        async with self._pool.connection("find_files") as connection:
            rows = await connection.fetch(_FIND_MANY, tenant_id, file_ids)
        return [_read_file(row) for row in rows]

    async def find_repeated_file(self, tenant_id: TenantId, request_key: RequestKey) -> File | None:
        """See `FileStore`."""
        async with self._pool.connection("find_repeated_file") as connection:
            row = await connection.fetchrow(_FIND_REPEATED, tenant_id, request_key)
        return None if row is None else _read_file(row)

    async def doom_file(self, tenant_id: TenantId, file_id: FileId, *, owner: ContactId | None) -> StoredBlob:
        """See `FileStore`."""
        async with self._pool.connection("doom_file") as connection:
            row = await connection.fetchrow(_DOOM, tenant_id, file_id, owner)
            if row is None:
                found = await connection.fetchrow(_FIND, tenant_id, file_id, owner)
                raise FileNotFound if found is None else FileAttached
        return _read_blob(row)

    async def give_up_file(self, tenant_id: TenantId, file_id: FileId) -> bool:
        """See `FileStore`."""
        async with self._pool.connection("give_up_file") as connection:
            return await connection.fetchval(_GIVE_UP, tenant_id, file_id) is not None

    async def doom_left_files(self, tenant_id: TenantId, *, unattached: timedelta) -> None:
        """See `FileStore`."""
        async with self._pool.connection("doom_left_files", is_background=True) as connection:
            await connection.execute(_DOOM_LEFT, tenant_id, unattached, _INCOMING_LIFE)

    async def doom_orphaned_files(self, tenant_id: TenantId) -> None:
        """See `FileStore`."""
        async with self._pool.connection("doom_orphaned_files", is_background=True) as connection:
            await connection.execute(_DOOM_ORPHANED, tenant_id)

    async def list_doomed(
        self, tenant_id: TenantId, storage: Storage, *, limit: int, after: FileId | None = None
    ) -> Sequence[StoredBlob]:
        """See `FileStore`."""
        async with self._pool.connection("list_doomed", is_background=True) as connection:
            rows = await connection.fetch(_LIST_DOOMED, tenant_id, storage, limit, after)
        return [_read_blob(row) for row in rows]

    async def remove_file(self, tenant_id: TenantId, file_id: FileId) -> None:  # noqa: ARG002  # the function knows the tenant
        """See `FileStore`."""
        async with self._pool.connection("remove_file", is_background=True) as connection:
            await connection.execute("SELECT syntera.delete_file($1)", file_id)


async def attach_files(
    connection: Connection,
    tenant_id: TenantId,
    file_ids: Sequence[FileId],
    *,
    conversation_id: ConversationId,
    message_id: MessageId,
    owner: ContactId | None,
) -> Sequence[Attachment]:
    """Give files to a message, in the transaction that stores it.

    Raises:
        FileNotFound: One is not there, or somebody else's.
        FileAttached: One belongs to a message already.
    """
    if not file_ids:
        return []
    rows = await connection.fetch(_ATTACH, tenant_id, file_ids, conversation_id, message_id, owner)
    found = {row["id"]: Attachment(**{**row, "id": FileId(row["id"])}) for row in rows}
    if len(found) < len(file_ids):
        are_there = await connection.fetchval(_ARE_ATTACHED, tenant_id, file_ids, owner) == len(file_ids)
        raise FileAttached if are_there else FileNotFound
    return [found[file_id] for file_id in file_ids]


def _read_file(row: Record) -> File:
    contact_id, conversation_id, message_id = row["contact_id"], row["conversation_id"], row["message_id"]
    return File(
        id=FileId(row["id"]),
        name=row["name"],
        content=FileContent(
            media_type=row["media_type"],
            size=row["bytes"],
            sha256=row["sha256"],
            width=row["width"],
            height=row["height"],
        ),
        storage=Storage(row["storage"]),
        created_at=row["created_at"],
        contact_id=None if contact_id is None else ContactId(contact_id),
        conversation_id=None if conversation_id is None else ConversationId(conversation_id),
        message_id=None if message_id is None else MessageId(message_id),
        request_hash=row["request_hash"],
    )


def _read_blob(row: Record) -> StoredBlob:
    return StoredBlob(FileId(row["id"]), Storage(row["storage"]))
