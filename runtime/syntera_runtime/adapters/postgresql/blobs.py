"""Bytes of files in PostgreSQL, in rows of `PIECE_BYTES`.

A connection is held for one row at a time: a slow sender or reader keeps none from others, and no more than a row is in
memory.
"""

from collections.abc import AsyncGenerator, AsyncIterator

import asyncpg

from ...errors import FileNotFound
from ...models.ids import FileId, TenantId
from .pool import Pool

PIECE_BYTES = 256 * 1024

_INSERT = "INSERT INTO syntera.file_chunks (tenant_id, file_id, number, content) VALUES ($1, $2, $3, $4)"

_READ = "SELECT content FROM syntera.file_chunks WHERE tenant_id = $1 AND file_id = $2 AND number = $3"


class PostgresqlBlobs:
    """`BlobStore` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def write(self, tenant_id: TenantId, file_id: FileId, content: AsyncIterator[bytes]) -> None:
        """See `BlobStore`."""
        number = 0
        async for piece in _in_pieces(content):
            try:
                async with self._pool.connection("write_file_chunk") as connection:
                    await connection.execute(_INSERT, tenant_id, file_id, number, piece)
            except asyncpg.ForeignKeyViolationError:  # it was given up meanwhile
                raise FileNotFound from None
            number += 1

    async def read(self, tenant_id: TenantId, file_id: FileId) -> AsyncGenerator[bytes, None]:
        """See `BlobStore`."""
        number = 0
        while True:
            async with self._pool.connection("read_file_chunk") as connection:
                piece: bytes | None = await connection.fetchval(_READ, tenant_id, file_id, number)
            if piece is None and number == 0:
                raise FileNotFound
            if piece:
                yield piece
            if piece is None or len(piece) < PIECE_BYTES:
                return
            number += 1

    async def delete(self, tenant_id: TenantId, file_id: FileId) -> None:  # noqa: ARG002  # the function knows the tenant
        """See `BlobStore`."""
        async with self._pool.connection("delete_file_chunks", is_background=True) as connection:
            await connection.execute("SELECT syntera.delete_file_chunks($1)", file_id)


async def _in_pieces(content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces of one size; the last one is smaller, perhaps empty, which tells it from the others."""
    held = bytearray()
    async for part in content:
        held += part
        while len(held) >= PIECE_BYTES:
            yield bytes(held[:PIECE_BYTES])
            del held[:PIECE_BYTES]
    yield bytes(held)
