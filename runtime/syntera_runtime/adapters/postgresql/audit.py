"""The record of administrative acts."""

from collections.abc import Mapping, Sequence

import orjson
from asyncpg import Record

from ...ids import first_id_at
from ...models.audit import Act, ActFilter
from ...models.ids import ActId, TenantId
from .pool import Pool

_BEGIN = """
INSERT INTO syntera.audit_log (tenant_id, id, at, operation, subject, targets, request_id, address)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""

_END = """
UPDATE syntera.audit_log SET status = $3, targets = $4 WHERE tenant_id = $1 AND id = $2 AND status IS NULL
"""

_LIST = """
SELECT id, at, operation, subject, targets, request_id, address, status FROM syntera.audit_log
WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2)
  AND ($4::text IS NULL OR operation = $4) AND ($5::text IS NULL OR subject = $5)
  AND ($6::uuid IS NULL OR id >= $6) AND ($7::uuid IS NULL OR id < $7)
ORDER BY id DESC
LIMIT $3
"""


class PostgresqlAuditLog:
    """`AuditLog` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def begin_act(self, tenant_id: TenantId, act: Act) -> None:
        """See `AuditLog`."""
        async with self._pool.connection("begin_act") as connection:
            await connection.execute(
                _BEGIN,
                tenant_id,
                act.id,
                act.at,
                act.operation,
                act.subject,
                _write_targets(act.targets),
                act.request_id,
                act.address,
            )

    async def end_act(self, tenant_id: TenantId, act_id: ActId, *, status: int, targets: Mapping[str, str]) -> None:
        """See `AuditLog`."""
        async with self._pool.connection("end_act") as connection:
            await connection.execute(_END, tenant_id, act_id, status, _write_targets(targets))

    async def list_acts(
        self, tenant_id: TenantId, wanted: ActFilter, *, before: ActId | None, limit: int
    ) -> Sequence[Act]:
        """See `AuditLog`."""
        async with self._pool.connection("list_acts") as connection:
            rows = await connection.fetch(
                _LIST,
                tenant_id,
                before,
                limit,
                wanted.operation,
                wanted.subject,
                # An act's id and time are made in one moment, and ids are indexed.
                None if wanted.at_from is None else first_id_at(wanted.at_from),
                None if wanted.at_before is None else first_id_at(wanted.at_before),
            )
        return [_read(row) for row in rows]


def _write_targets(targets: Mapping[str, str]) -> str:
    return orjson.dumps(dict(targets)).decode()


def _read(row: Record) -> Act:
    return Act(
        id=ActId(row["id"]),
        at=row["at"],
        operation=row["operation"],
        subject=row["subject"],
        targets=orjson.loads(row["targets"]),
        request_id=row["request_id"],
        address=row["address"],
        status=row["status"],
    )
