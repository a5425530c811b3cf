"""What every record of administrative acts promises; memory and PostgreSQL pass the same tests."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from syntera_runtime.adapters.memory_audit import MemoryAuditLog
from syntera_runtime.adapters.postgresql.audit import PostgresqlAuditLog
from syntera_runtime.ids import first_id_at, new_id
from syntera_runtime.models.audit import Act, ActFilter
from syntera_runtime.models.ids import ActId, TenantId
from syntera_runtime.ports.audit import AuditLog
from tests.runtime.builders import NOON
from tests.runtime.conftest import PostgresqlStores

Record = tuple[AuditLog, TenantId]
_NUMBERS = count()


@pytest.fixture(params=["memory", "postgresql"])
def record(request: pytest.FixtureRequest) -> Record:
    """A record, and whose it is."""
    if request.param == "memory":
        return MemoryAuditLog(), TenantId(new_id())
    stores: PostgresqlStores = request.getfixturevalue("postgresql_stores")
    return PostgresqlAuditLog(stores.pool), stores.stores.tenant_id


async def write(record: Record, **changes: Any) -> Act:
    audit, tenant_id = record
    at = changes.get("at", NOON)
    made = UUID(int=first_id_at(at).int + next(_NUMBERS))  # at that time, and in the order in which they were written
    fields: dict[str, Any] = {
        "id": ActId(made),
        "at": at,
        "operation": "revokeApiKey",
        "subject": "key:1",
        "targets": {"apiKeyId": "1"},
        "request_id": "r",
        "address": "192.0.2.1",
    }
    act = Act(**{**fields, **changes})
    await audit.begin_act(tenant_id, act)
    return act


async def read(
    record: Record, wanted: ActFilter | None = None, *, before: ActId | None = None, limit: int = 10
) -> Sequence[Act]:
    audit, tenant_id = record
    return await audit.list_acts(tenant_id, wanted or ActFilter(), before=before, limit=limit)


async def test_act_is_there_before_it_has_an_end(record: Record) -> None:
    act = await write(record)
    assert await read(record) == [act]


async def test_end_is_written_once(record: Record) -> None:
    act, other = await write(record), await write(record)
    audit, tenant_id = record
    await audit.end_act(tenant_id, act.id, status=204, targets={"apiKeyId": "2"})
    await audit.end_act(tenant_id, act.id, status=500, targets={})
    await audit.end_act(tenant_id, ActId(new_id()), status=204, targets={})
    assert await read(record) == [other, replace(act, status=204, targets={"apiKeyId": "2"})]


async def test_end_cannot_be_written_over_with_the_tenants_own_login(postgresql_stores: PostgresqlStores) -> None:
    record = PostgresqlAuditLog(postgresql_stores.pool), postgresql_stores.stores.tenant_id
    act = await write(record)
    await record[0].end_act(record[1], act.id, status=204, targets={})
    async with postgresql_stores.pool.connection("forge") as connection:
        assert await connection.execute("UPDATE syntera.audit_log SET status = 404, targets = '{}'") == "UPDATE 0"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("DELETE FROM syntera.audit_log")
    assert [found.status for found in await read(record)] == [204]


async def test_pages_begin_with_the_newest(record: Record) -> None:
    acts = [await write(record) for _ in range(3)]
    first = await read(record, limit=2)
    assert first == [acts[2], acts[1]]
    await write(record)
    assert await read(record, before=first[-1].id) == [acts[0]]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (ActFilter(operation="createApiKey"), [1]),
        (ActFilter(subject="key:2"), [2]),
        (ActFilter(at_from=NOON + timedelta(hours=1)), [3]),
        (ActFilter(at_before=NOON + timedelta(hours=1)), [2, 1, 0]),
        (ActFilter(operation="createApiKey", subject="key:2"), []),
    ],
)
async def test_acts_are_found_by_what_was_done_by_whom_and_when(
    record: Record, wanted: ActFilter, found: list[int]
) -> None:
    acts = [
        await write(record),
        await write(record, operation="createApiKey"),
        await write(record, subject="key:2", address=None),
        await write(record, at=NOON + timedelta(hours=1)),
    ]
    assert await read(record, wanted) == [acts[index] for index in found]
