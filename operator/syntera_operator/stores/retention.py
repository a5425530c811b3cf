"""Deleting a tenant's rows when their time is up: in small batches, beside runtimes that read and write the same tables.

Ids are UUIDv7, so the primary key `(tenant_id, id)` holds a tenant's rows in the order in which they were made. It is walked
from the oldest row on, a window at a time, up to the time in question: no other index is needed, and rows that have to stay
are passed once. An id tells the time of a pod's clock, so `created_at`, which PostgreSQL wrote, has the last word.

Each window is one transaction. A row that somebody holds is passed over, and a window in which a lock would have to be waited
for is left to the next round: this work never deadlocks with a runtime's, and holds it up for no longer than a window. What
hangs on a row is locked, then deleted, by statements after the one that locked the row: they see what was added before, and
nothing can be added after.
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

import asyncpg

from .postgresql import Postgresql, Session

_WINDOW_ROWS = 500
"""Rows that are looked at in one transaction. With what hangs on them some 2,000 are deleted, in tens of milliseconds."""
_WINDOW_FILES = 20
"""The same of files, each of which may have hundreds of rows of bytes."""
_LOCK_TIMEOUT = "200ms"
"""Shorter than PostgreSQL's `deadlock_timeout` (1 s): of two that wait for each other it is never the runtime that fails."""


class Kept(StrEnum):
    """What has a period of its own: the fields of `Tenant.spec.retention`."""

    MESSAGES = "messages_days"
    AUDIT = "audit_days"


@dataclass(frozen=True, slots=True)
class Dependants:
    """Rows that go before those that they refer to."""

    table: str
    condition: str
    """Which ones, as SQL about `d`; $2 are the ids of the rows that they hang on."""


@dataclass(frozen=True, slots=True)
class Expiring:
    """Rows that have a time. They are deleted, unless something else is said."""

    table: str
    is_due: str
    """Which ones go, as SQL about `r`; $3 is the time before which they must have been made or used."""
    dependants: tuple[Dependants, ...] = ()
    """Those that others hang on first."""
    change: str | None = None
    """What becomes of them instead, as SQL after SET. Afterwards they are not due any more."""
    window_rows: int | None = None
    """How many are looked at in one transaction. None: `_WINDOW_ROWS`."""


_RUNS_NO_MORE = "(r.state <> 'running' OR r.lease_expires_at < $3)"
"""A turn whose lease ran out so long ago has no pod: its tenant is suspended, or a pod would have ended it."""
_RATES_MESSAGE_OF = (
    "d.message_id IN (SELECT m.id FROM syntera.messages AS m WHERE m.tenant_id = $1 AND m.{} = ANY ($2))"
)
_HAS_NO_MESSAGE = "NOT EXISTS (SELECT FROM syntera.messages AS m WHERE m.tenant_id = $1 AND m.id = {}.message_id)"
_IS_NO_DOCUMENT = "{}.knowledge_base_id IS NULL"
"""What agents know is kept as long as its knowledge base."""

EXPIRING: Mapping[Kept, tuple[Expiring, ...]] = {
    Kept.MESSAGES: (
        # A question goes with its reply. Turns without messages are those of chat completions and deleted conversations.
        Expiring(
            "turns",
            f"r.created_at < $3 AND {_RUNS_NO_MORE}",
            (
                Dependants("messages", "d.turn_id = ANY ($2)"),
                Dependants("feedback", _RATES_MESSAGE_OF.format("turn_id")),
            ),
        ),
        # Greetings, which no turn made.
        Expiring(
            "messages",
            "r.created_at < $3 AND r.turn_id IS NULL",
            (Dependants("feedback", _RATES_MESSAGE_OF.format("id")),),
        ),
        # Messages are looked at again for the bytes: a file that got one just before it was locked may have been found without.
        Expiring(
            "files",
            f"r.created_at < $3 AND r.storage = 'postgresql' AND {_IS_NO_DOCUMENT.format('r')} AND {_HAS_NO_MESSAGE.format('r')}",
            (
                Dependants(
                    "file_chunks",
                    "d.file_id IN (SELECT f.id FROM syntera.files AS f"  # noqa: S608  # the condition is a constant
                    f" WHERE f.tenant_id = $1 AND f.id = ANY ($2) AND {_IS_NO_DOCUMENT.format('f')} AND {_HAS_NO_MESSAGE.format('f')})",
                ),
            ),
            window_rows=_WINDOW_FILES,
        ),
        # Of the bucket only the tenant's pods have a key.
        Expiring(
            "files",
            f"r.created_at < $3 AND r.storage <> 'postgresql' AND r.state <> 'doomed'"
            f" AND {_IS_NO_DOCUMENT.format('r')} AND {_HAS_NO_MESSAGE.format('r')}",
            change="state = 'doomed'",
        ),
        Expiring(
            "conversations",
            "r.updated_at < $3"
            " AND NOT EXISTS (SELECT FROM syntera.turns AS t WHERE t.tenant_id = $1 AND t.conversation_id = r.id)"
            " AND NOT EXISTS (SELECT FROM syntera.messages AS m WHERE m.tenant_id = $1 AND m.conversation_id = r.id)",
        ),
        Expiring(
            "contacts",
            "r.last_seen_at < $3"
            " AND NOT EXISTS (SELECT FROM syntera.conversations AS c WHERE c.tenant_id = $1 AND c.contact_id = r.id)",
        ),
    ),
    Kept.AUDIT: (Expiring("audit_log", "r.at < $3"),),
}
"""What goes when, in this order: a table comes after those that refer to it."""

_EXPIRE_USAGE_OF_PERSONS = """
DELETE FROM syntera.usage_totals WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM syntera.usage_totals WHERE tenant_id = $1 AND subject <> '' AND since < $2 LIMIT $3 FOR UPDATE SKIP LOCKED
))
"""
"""How much each person used on a day goes with what they said; what all used together stays."""

_FIND = "SELECT id, now() AS now FROM syntera.tenants WHERE name = $1 AND released_at IS NULL"


class Retention:
    """Deletes rows whose time is up."""

    def __init__(self, postgresql: Postgresql) -> None:
        self._postgresql = postgresql

    async def expire(
        self, tenant_name: str, periods: Mapping[Kept, timedelta], *, now: datetime
    ) -> AsyncGenerator[Mapping[str, int], None]:
        """Delete what is older than its period; gives the rows of each table after each transaction.

        Whoever asks may stop at any time; what was not deleted is found again. Of `now` and PostgreSQL's own time the earlier
        one counts: a clock that is ahead deletes nothing too early.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
            StoreRefused: PostgreSQL refused.
        """
        async with self._postgresql.maintenance() as connection:
            found = await connection.fetchrow(_FIND, tenant_name)
        if found is None:
            return
        for kept, period in periods.items():
            before = min(now, found["now"]) - period
            for expiring in EXPIRING[kept]:
                async for deleted in self._expire_table(found["id"], expiring, before=before):
                    yield deleted
            if kept is Kept.MESSAGES:
                async for deleted in self._expire_usage_of_persons(found["id"], before=before):
                    yield deleted

    async def _expire_table(
        self, tenant_id: UUID, expiring: Expiring, *, before: datetime
    ) -> AsyncGenerator[Mapping[str, int], None]:
        start: UUID | None = UUID(int=0)
        while start is not None:
            async with self._postgresql.maintenance() as connection:
                end = await _find_end(connection, tenant_id, expiring, start=start, before=before)
                deleted = await _expire_window(
                    connection, tenant_id, expiring, start=start, end=end or _first_id_at(before), before=before
                )
            yield deleted
            start = end

    async def _expire_usage_of_persons(
        self, tenant_id: UUID, *, before: datetime
    ) -> AsyncGenerator[Mapping[str, int], None]:
        number = _WINDOW_ROWS
        while number == _WINDOW_ROWS:
            async with self._postgresql.maintenance() as connection:
                tag = await connection.execute(_EXPIRE_USAGE_OF_PERSONS, tenant_id, before.date(), _WINDOW_ROWS)
            number = int(tag.removeprefix("DELETE "))
            if number:
                yield {"usage_totals": number}


def _first_id_at(time: datetime) -> UUID:
    """Not greater than any UUIDv7 of that time, greater than all before: the first 48 bits are milliseconds."""
    return UUID(int=int(time.timestamp() * 1000) << 80)


async def _find_end(
    connection: Session, tenant_id: UUID, expiring: Expiring, *, start: UUID, before: datetime
) -> UUID | None:
    """The last id of the window after `start`, None if fewer rows are left than it holds."""
    end: UUID | None = await connection.fetchval(
        f"SELECT r.id FROM syntera.{expiring.table} AS r WHERE r.tenant_id = $1 AND r.id > $2 AND r.id < $3"  # noqa: S608
        " ORDER BY r.id OFFSET $4 LIMIT 1",
        tenant_id, start, _first_id_at(before), (expiring.window_rows or _WINDOW_ROWS) - 1,
    )  # fmt: skip
    return end


async def _expire_window(
    connection: Session, tenant_id: UUID, expiring: Expiring, *, start: UUID, end: UUID, before: datetime
) -> Mapping[str, int]:
    await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
    due = await connection.fetch(
        f"SELECT r.id FROM syntera.{expiring.table} AS r"  # noqa: S608
        f" WHERE r.tenant_id = $1 AND r.id > $2 AND r.id <= $4 AND {expiring.is_due} FOR UPDATE SKIP LOCKED",
        tenant_id, start, before, end,
    )  # fmt: skip
    if not due:
        return {}
    try:
        async with connection.transaction():  # a savepoint
            return await _delete(connection, tenant_id, expiring, [row["id"] for row in due], before=before)
    except asyncpg.LockNotAvailableError:
        return {}


async def _delete(
    connection: Session, tenant_id: UUID, expiring: Expiring, ids: list[UUID], *, before: datetime
) -> Mapping[str, int]:
    deleted = {}
    for dependants in expiring.dependants:
        await connection.execute(
            f"SELECT FROM syntera.{dependants.table} AS d WHERE d.tenant_id = $1 AND {dependants.condition} FOR UPDATE",
            tenant_id, ids,
        )  # fmt: skip
    for dependants in reversed(expiring.dependants):
        tag = await connection.execute(
            f"DELETE FROM syntera.{dependants.table} AS d WHERE d.tenant_id = $1 AND {dependants.condition}",  # noqa: S608
            tenant_id, ids,
        )  # fmt: skip
        deleted[dependants.table] = int(tag.removeprefix("DELETE "))
    if expiring.change is not None:
        await connection.execute(
            f"UPDATE syntera.{expiring.table} AS r SET {expiring.change}"  # noqa: S608
            f" WHERE r.tenant_id = $1 AND r.id = ANY ($2) AND {expiring.is_due}",
            tenant_id, ids, before,
        )  # fmt: skip
        return {}
    # What was added before the rows were locked is seen only now.
    tag = await connection.execute(
        f"DELETE FROM syntera.{expiring.table} AS r WHERE r.tenant_id = $1 AND r.id = ANY ($2) AND {expiring.is_due}",  # noqa: S608
        tenant_id, ids, before,
    )  # fmt: skip
    deleted[expiring.table] = int(tag.removeprefix("DELETE "))
    return deleted
