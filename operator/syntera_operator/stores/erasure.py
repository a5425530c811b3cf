"""Erasing a tenant's rows: table by table in batches, each counted into the receipt by the transaction that deletes it.

Resumable: a receipt is opened before the first row goes and completed after the last, so its counts are right however
often the work was cut off. The tables are asked of the catalogue: none that a migration adds can be forgotten.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from graphlib import TopologicalSorter
from uuid import UUID

from uuid_utils.compat import uuid7

from syntera_crds.contract.names import OWN_VECTORS_PREFIX
from syntera_operator.errors import StoreRefused

from .faults import POSTGRESQL
from .knowledge_indexes import LargeIndexes
from .postgresql import Postgresql

_BATCH_ROWS = 5000
"""A batch has to end within the deadline of one use of the server."""
_BULKY_ROWS = {"syntera.file_chunks": 100, "syntera.knowledge_texts": 200, "syntera.knowledge_chunks": 1000}
"""Fewer at once of rows that hold 256 KiB each, or megabytes of text, or have a hundred words in an index."""

REDIS_KEYS = "redis keys"
"""What a receipt calls the keys that were deleted from Redis."""

_TABLES = """
    SELECT c.oid::regclass::text AS name,
      ARRAY(
        SELECT k.conrelid::regclass::text FROM pg_catalog.pg_constraint k
        WHERE k.contype = 'f' AND k.confrelid = c.oid AND k.conrelid <> c.oid
      ) AS referring
    FROM pg_catalog.pg_class c
    WHERE c.relnamespace = 'syntera'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND c.relforcerowsecurity AND NOT starts_with(c.relname, $1)
"""
"""All but those of large indexes, each of which is one tenant's and is dropped as a whole."""
_RECEIPT = """
    SELECT id, tenant_id, tenant_name, rows, requested_at, completed_at
    FROM syntera.erasure_receipts WHERE tenant_id = $1
"""

_TELL_NOBODY = "SET LOCAL syntera.erases_tenant = 'on'"
"""Triggers would tell the outbox of what is deleted, and it is erased as well."""

_COUNT = """
    UPDATE syntera.erasure_receipts
    SET rows = rows || jsonb_build_object($2::text, coalesce((rows ->> $2)::bigint, 0) + $3::bigint)
    WHERE tenant_id = $1
"""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of an erasure."""

    id: UUID
    tenant_id: UUID
    tenant_name: str
    rows: dict[str, int]
    """Rows erased, by table, and keys erased from Redis."""
    requested_at: datetime
    completed_at: datetime | None
    """None while something is left."""


class Erasure:
    """Erases rows and keeps the receipts."""

    def __init__(self, postgresql: Postgresql) -> None:
        self._postgresql = postgresql

    async def open_receipt(self, tenant_id: UUID) -> Receipt:
        """The tenant's receipt, opened if there is none.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
            StoreRefused: There is no such tenant and never was.
        """
        async with self._postgresql.maintenance() as connection:
            found = await connection.fetchrow(_RECEIPT, tenant_id)
            if found is None:
                name = await connection.fetchval("SELECT name FROM syntera.tenants WHERE id = $1", tenant_id)
                if name is None:
                    raise StoreRefused(f"no tenant {str(tenant_id)!r} is known", store=POSTGRESQL)
                await connection.execute(
                    "INSERT INTO syntera.erasure_receipts (id, tenant_id, tenant_name) VALUES ($1, $2, $3)",
                    uuid7(), tenant_id, name,
                )  # fmt: skip
                found = await connection.fetchrow(_RECEIPT, tenant_id)
            assert found is not None
            return Receipt(**{**found, "rows": json.loads(found["rows"])})

    async def erase_rows(self, tenant_id: UUID) -> None:
        """Delete every row of the tenant's, referring tables before those they refer to.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
            StoreRefused: PostgreSQL refused.
        """
        async with self._postgresql.maintenance() as connection:
            found = await connection.fetch(_TABLES, OWN_VECTORS_PREFIX)
        tables = {row["name"]: row["referring"] for row in found}
        dropped = await LargeIndexes(self._postgresql).drop_of_tenant(tenant_id)
        if dropped:
            await self.count(tenant_id, "knowledge_vectors", dropped)
        for table in TopologicalSorter(tables).static_order():
            while await self._erase_batch(tenant_id, table) == _rows_at_once(table):
                pass

    async def count(self, tenant_id: UUID, what: str, number: int) -> None:
        """Add to the receipt what was erased elsewhere.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
            StoreRefused: PostgreSQL refused.
        """
        async with self._postgresql.maintenance() as connection:
            await connection.execute(_COUNT, tenant_id, what, number)

    async def complete(self, tenant_id: UUID) -> Receipt:
        """Forget the tenant itself and close the receipt.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
            StoreRefused: PostgreSQL refused.
        """
        async with self._postgresql.maintenance() as connection:
            await connection.execute("DELETE FROM syntera.tenants WHERE id = $1", tenant_id)
            await connection.execute(
                "UPDATE syntera.erasure_receipts SET completed_at = now() WHERE tenant_id = $1", tenant_id
            )
        return await self.open_receipt(tenant_id)

    async def _erase_batch(self, tenant_id: UUID, table: str) -> int:
        async with self._postgresql.maintenance() as connection:
            await connection.execute(_TELL_NOBODY)
            # The names are regclass texts: quoted where they need it, and with their schema.
            deleted = await connection.execute(
                f"DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE tenant_id = $1 LIMIT $2))",  # noqa: S608
                tenant_id, _rows_at_once(table),
            )  # fmt: skip
            number = int(deleted.removeprefix("DELETE "))
            if number:
                await connection.execute(_COUNT, tenant_id, table.removeprefix("syntera."), number)
            return number


def _rows_at_once(table: str) -> int:
    return min(_BATCH_ROWS, _BULKY_ROWS.get(table, _BATCH_ROWS))
