"""Tables of their own for large indexes of vectors.

Small indexes are in one table and searched exactly, by its key. From `LARGE` vectors on that takes too long, and an index of
the common table would hold everybody's vectors. So a large index gets a table with an HNSW index, which no tenant's login may
make: this module makes it, as the tables' owner, behind the same walls.

All of a move is one transaction, under the lock of the knowledge base, so that no sync writes meanwhile; whoever searches
goes on in the common table until it commits. If it is cut off, nothing is left of it. Copies stay for a while: a search that
had read before where the vectors are still looks there.

An index for which that fails rests before it is tried again, longer each time; it goes on being searched where it is. What has
failed is in memory alone: after a change of leader all are tried at once.

Names of tables are derived from the ids of tenant and index, never read from rows that a tenant could write.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import structlog

from syntera_crds.contract.names import OWN_VECTORS_PREFIX, own_vectors_table

from ..errors import StoreRefused, StoreUnavailable
from .knowledge_summary import StuckIndex
from .postgresql import Postgresql

log = structlog.get_logger(__name__)

LARGE = 5_000
"""Vectors from which on HNSW is worth its table; see docs/decisions/0032-where-vectors-and-words-are-searched.md."""

_CONNECTIONS = 24
_CONSTRUCTION = 128
"""HNSW's `m` and `ef_construction`; see there."""
_MEMORY = "256MB"
"""Where the graph does not fit, building takes many times as long."""
_BUILD_SECONDS = 3600.0
_STEP_ROWS = 5000
_REST_SECONDS = 300.0
"""After the first failure; twice as long after each further one."""
_MOST_REST_SECONDS = 6 * 3600.0
"""A build that fails at its end holds up the syncs of its knowledge base for up to an hour each time."""
_COPIES_STAY = "interval '1 minute'"
"""Longer than any search takes."""

_CANDIDATES = """
    SELECT i.tenant_id, i.id, i.knowledge_base_id, i.dimensions, t.name AS tenant_name, b.name AS knowledge_base
    FROM syntera.knowledge_indexes AS i
    JOIN syntera.knowledge_bases AS b ON b.tenant_id = i.tenant_id AND b.id = i.knowledge_base_id
    JOIN syntera.tenants AS t ON t.id = i.tenant_id
    WHERE i.state = 'active' AND i.storage = 'common' AND i.chunks >= $1
"""

_TRY_LOCK = "SELECT pg_try_advisory_xact_lock(syntera.knowledge_lock_key($1, $2))"

_IS_LARGE = """
    SELECT count(*) >= $3 FROM (
      SELECT FROM syntera.knowledge_indexes AS i JOIN syntera.knowledge_vectors AS v
        ON v.tenant_id = i.tenant_id AND v.index_id = i.id
      WHERE i.tenant_id = $1 AND i.id = $2 AND i.state = 'active' AND i.storage = 'common' LIMIT $3
    ) AS counted
"""

_SWITCH = """
    UPDATE syntera.knowledge_indexes SET storage = 'own', moved_at = now()
    WHERE tenant_id = $1 AND id = $2 AND storage = 'common'
"""

_OWN = "SELECT tenant_id, id FROM syntera.knowledge_indexes WHERE storage = 'own'"

_MOVED = f"{_OWN} AND moved_at < now() - {_COPIES_STAY}"

_DELETE_COPIES = """
    DELETE FROM syntera.knowledge_vectors WHERE ctid = ANY (ARRAY(
      SELECT ctid FROM syntera.knowledge_vectors WHERE tenant_id = $1 AND index_id = $2 LIMIT $3
    ))
"""

_TABLES = """
    SELECT c.relname FROM pg_catalog.pg_class AS c
    WHERE c.relnamespace = 'syntera'::regnamespace AND c.relkind = 'r' AND starts_with(c.relname, $1)
"""


@dataclass(frozen=True, slots=True)
class _Failure:
    """What is remembered of an index that could not be moved."""

    message: str
    rest_seconds: float
    rests_until: float


class LargeIndexes:
    """Makes and removes tables of large indexes."""

    def __init__(
        self, postgresql: Postgresql, *, large: int = LARGE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._postgresql = postgresql
        self._large = large
        self._clock = clock
        self._failures: dict[UUID, _Failure] = {}

    def why_stuck(self, index_id: UUID) -> str | None:
        """Why an index could not be moved; None: it was, or need not be, or was not tried yet."""
        failure = self._failures.get(index_id)
        return None if failure is None else failure.message

    async def look_after(self) -> Sequence[StuckIndex]:
        """Remove what is no longer needed, then move what has grown large.

        An index that resists, because a tenant holds its table or wrote vectors of another length, holds up no other.

        Returns:
            Indexes that could not be moved, each the first time.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
            StoreRefused: PostgreSQL refused.
        """
        await self._drop_unwanted()
        await self._remove_copies()
        async with self._postgresql.maintenance() as connection:
            candidates = await connection.fetch(_CANDIDATES, self._large)
        wanted = {row["id"] for row in candidates}
        self._failures = {index_id: failure for index_id, failure in self._failures.items() if index_id in wanted}
        return [stuck for row in candidates if (stuck := await self._try_to_move(row)) is not None]

    async def _try_to_move(self, index: asyncpg.Record) -> StuckIndex | None:
        """Move an index unless it rests; gives it where it could not be moved for the first time."""
        before = self._failures.get(index["id"])
        if before is not None and self._clock() < before.rests_until:
            return None
        try:
            if await self._move(index):
                self._failures.pop(index["id"], None)
        except (StoreUnavailable, StoreRefused) as error:
            rest = _REST_SECONDS if before is None else min(2 * before.rest_seconds, _MOST_REST_SECONDS)
            self._failures[index["id"]] = _Failure(str(error), rest, self._clock() + rest)
            _warn(error, tenant_id=str(index["tenant_id"]), index_id=str(index["id"]), rest_seconds=rest)
            if before is None:
                return StuckIndex(
                    tenant_name=index["tenant_name"], knowledge_base=index["knowledge_base"], message=str(error)
                )
        return None

    async def _drop_unwanted(self) -> None:
        """Drop tables whose index is no more."""
        async with self._postgresql.maintenance() as connection:
            tables = {row["relname"] for row in await connection.fetch(_TABLES, OWN_VECTORS_PREFIX)}
            wanted = {own_vectors_table(row["tenant_id"], row["id"]) for row in await connection.fetch(_OWN)}
        for table in sorted(tables - wanted):
            with _going_on(table=table):
                await self._drop(table)

    async def drop_of_tenant(self, tenant_id: UUID) -> int:
        """Drop the tables of a tenant whose rows are being erased; the number of vectors that were in them."""
        number = 0
        async with self._postgresql.maintenance() as connection:
            rows = await connection.fetch(f"{_OWN} AND tenant_id = $1", tenant_id)
            tables = {row["relname"] for row in await connection.fetch(_TABLES, OWN_VECTORS_PREFIX)}
            held = sorted(tables & {own_vectors_table(row["tenant_id"], row["id"]) for row in rows})
            for table in held:
                number += await connection.fetchval(f"SELECT count(*) FROM syntera.{table}")  # noqa: S608  # derived
        for table in held:
            await self._drop(table)
        return number

    async def _remove_copies(self) -> None:
        """Remove from the common table what has been in a table of its own for a while."""
        async with self._postgresql.maintenance() as connection:
            moved = await connection.fetch(_MOVED)
        for row in moved:
            with _going_on(tenant_id=str(row["tenant_id"]), index_id=str(row["id"])):
                await self._remove_copies_of(row)

    async def _remove_copies_of(self, row: asyncpg.Record) -> None:
        number = _STEP_ROWS
        while number == _STEP_ROWS:
            async with self._postgresql.maintenance() as connection:
                deleted = await connection.execute(_DELETE_COPIES, row["tenant_id"], row["id"], _STEP_ROWS)
            number = int(deleted.removeprefix("DELETE "))
        async with self._postgresql.maintenance() as connection:
            await connection.execute(
                "UPDATE syntera.knowledge_indexes SET moved_at = NULL WHERE tenant_id = $1 AND id = $2",
                row["tenant_id"], row["id"],
            )  # fmt: skip

    async def _move(self, index: asyncpg.Record) -> bool:
        """Give an index a table of its own, if it needs one still; False: a sync runs, and the next round comes."""
        tenant_id, index_id = index["tenant_id"], index["id"]
        async with self._postgresql.long_session(_BUILD_SECONDS) as connection, connection.transaction():
            if not await connection.fetchval(_TRY_LOCK, tenant_id, index["knowledge_base_id"]):
                return False
            await _become(connection, "syntera_maintenance")
            if not await connection.fetchval(_IS_LARGE, tenant_id, index_id, self._large):
                return True
            table = own_vectors_table(tenant_id, index_id)
            await _become(connection, "syntera_owner")
            for statement in build_table(table, tenant_id, index_id, dimensions=index["dimensions"]):
                await connection.execute(statement)
            await _become(connection, "syntera_maintenance")
            await connection.execute(
                f"INSERT INTO syntera.{table} SELECT v.* FROM syntera.knowledge_vectors AS v"  # noqa: S608  # derived
                " WHERE v.tenant_id = $1 AND v.index_id = $2",
                tenant_id, index_id,
            )  # fmt: skip
            await _become(connection, "syntera_owner")
            await connection.execute(f"SET LOCAL maintenance_work_mem = '{_MEMORY}'")
            await connection.execute(build_hnsw(table))
            await connection.execute(f"ANALYZE syntera.{table}")
            await _become(connection, "syntera_maintenance")
            await connection.execute(_SWITCH, tenant_id, index_id)
        return True

    async def _drop(self, table: str) -> None:
        async with self._postgresql.owner() as connection:
            # Whoever searches there has read its name before: it goes on for moments, and the next round comes.
            await connection.execute("SET LOCAL lock_timeout = '2s'")
            await connection.execute(f"DROP TABLE IF EXISTS syntera.{table}")


@contextmanager
def _going_on(**what: str) -> Iterator[None]:
    """Go on with the next one after a fault inside."""
    try:
        yield
    except (StoreUnavailable, StoreRefused) as error:
        _warn(error, **what)


def _warn(error: Exception, **what: object) -> None:
    log.warning("large index could not be looked after", error=str(error), **what)


def build_table(table: str, tenant_id: UUID, index_id: UUID, *, dimensions: int) -> list[str]:
    """Statements that make the table, behind the walls of every tenant table."""
    name = f"syntera.{table}"
    own_rows = "tenant_id = (SELECT syntera.current_tenant())"
    return [
        f"""
        CREATE TABLE {name} (
          tenant_id uuid NOT NULL,
          index_id uuid NOT NULL,
          hash bytea NOT NULL CHECK (octet_length(hash) = 16),
          vector extensions.halfvec({dimensions}) NOT NULL,
          PRIMARY KEY (tenant_id, index_id, hash),
          CHECK (tenant_id = '{tenant_id}' AND index_id = '{index_id}')
        )
        """,
        f"COMMENT ON TABLE {name} IS 'Vectors of one large index'",
        f"ALTER TABLE {name} ALTER COLUMN vector SET STORAGE PLAIN, ALTER COLUMN vector SET STATISTICS 0",
        f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY tenant ON {name} TO syntera_tenant USING ({own_rows}) WITH CHECK ({own_rows})",
        f"CREATE POLICY maintenance ON {name} TO syntera_maintenance USING (true) WITH CHECK (true)",
        f"CREATE POLICY own_functions ON {name} TO syntera_owner USING ({own_rows}) WITH CHECK ({own_rows})",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO syntera_maintenance",
        f"GRANT SELECT, INSERT, UPDATE (vector) ON {name} TO syntera_tenant",
    ]


def build_hnsw(table: str) -> str:
    """The statement that makes its index for searching."""
    return (
        f"CREATE INDEX {table.replace('vectors', 'hnsw', 1)} ON syntera.{table}"
        f" USING hnsw (vector extensions.halfvec_ip_ops) WITH (m = {_CONNECTIONS}, ef_construction = {_CONSTRUCTION})"
    )


async def _become(connection: asyncpg.Connection, role: str) -> None:
    await connection.execute(f"SET LOCAL ROLE {role}")
