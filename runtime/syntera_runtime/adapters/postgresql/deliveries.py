"""What endpoints are told.

A delivery that is claimed is due again when its lease has passed: a process that dies loses nothing. The number of claims
fences: who comes back late writes nothing over a later try.

Whatever locks an endpoint and deliveries of it locks the endpoint first, so that nobody waits for somebody who waits for them.
"""

from collections.abc import Mapping, Sequence, Set
from datetime import timedelta

import orjson
from asyncpg import Record

from ...errors import WebhookDisabled
from ...models.ids import DeliveryId, EventId, RequestKey, TenantId, WebhookId
from ...models.webhooks import Backlog, Delivery, DeliveryFailure, DeliveryState, NewDelivery, Verdict, Webhook
from .outbox import SUBJECT_COLUMNS, read_subjects
from .pool import Connection, Pool
from .webhooks import WEBHOOK_COLUMNS, drop_pending, read_webhook

_COLUMN_NAMES = (
    f"id, webhook_id, event_id, type, {SUBJECT_COLUMNS}, payload, occurred_at, state, attempts, next_attempt_at,"
    " response_status, failure, claims, created_at, ended_at"
)
_COLUMNS = ", ".join(f"d.{name.strip()}" for name in _COLUMN_NAMES.split(","))

_HOLD_ENABLED = """
SELECT id FROM syntera.webhooks WHERE tenant_id = $1 AND id = ANY ($2) AND is_enabled AND deleted_at IS NULL
ORDER BY id
FOR SHARE
"""
"""Nobody disables or deletes them before the transaction ends, so what it makes pending is seen by whoever does."""

_ADD = f"""
INSERT INTO syntera.webhook_deliveries (tenant_id, id, webhook_id, event_id, type, {SUBJECT_COLUMNS}, payload, occurred_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (tenant_id, webhook_id, event_id) DO NOTHING
"""  # noqa: S608  # the columns are constants

_CLAIM = f"""
WITH due AS (
  SELECT d.id FROM unnest($2::uuid[], $3::integer[]) AS w(webhook_id, room), LATERAL (
    SELECT id FROM syntera.webhook_deliveries
    WHERE tenant_id = $1 AND webhook_id = w.webhook_id AND state = 'pending' AND next_attempt_at <= now()
    ORDER BY next_attempt_at
    LIMIT w.room
    FOR UPDATE SKIP LOCKED
  ) AS d
)
UPDATE syntera.webhook_deliveries AS d SET claims = d.claims + 1, next_attempt_at = now() + $4
FROM due
WHERE d.tenant_id = $1 AND d.id = due.id
RETURNING {_COLUMNS}
"""  # noqa: S608

_HOLD_TOUCHED = """
SELECT TRUE FROM syntera.webhooks WHERE tenant_id = $1 AND id = $2 AND ($3 OR failing_since IS NOT NULL) FOR NO KEY UPDATE
"""

_SETTLE = """
UPDATE syntera.webhook_deliveries
SET state = $4, attempts = attempts + 1, next_attempt_at = now() + $5, response_status = $6, failure = $7,
    ended_at = CASE WHEN $4 = 'pending' THEN NULL ELSE now() END
WHERE tenant_id = $1 AND id = $2 AND claims = $3 AND state = 'pending'
RETURNING TRUE
"""

_SUCCEEDED = "UPDATE syntera.webhooks SET failing_since = NULL WHERE tenant_id = $1 AND id = $2"

_FAILED = f"""
UPDATE syntera.webhooks
SET failing_since = coalesce(failing_since, now()),
    is_enabled = ($3::text IS NULL AND coalesce(failing_since, now()) >= now() - $4::interval),
    disabled_reason = CASE WHEN $3::text IS NOT NULL THEN $3
      WHEN coalesce(failing_since, now()) < now() - $4::interval THEN 'failing' END
WHERE tenant_id = $1 AND id = $2 AND is_enabled
RETURNING {WEBHOOK_COLUMNS}
"""  # noqa: S608

_LIST = f"""
SELECT {_COLUMNS} FROM syntera.webhook_deliveries AS d
WHERE d.tenant_id = $1 AND d.webhook_id = $2 AND ($3::uuid IS NULL OR d.id < $3)
ORDER BY d.id DESC
LIMIT $4
"""  # noqa: S608

_FIND_OF_EVENT = f"""
SELECT {_COLUMNS} FROM syntera.webhook_deliveries AS d WHERE d.tenant_id = $1 AND d.webhook_id = $2 AND d.event_id = $3
"""  # noqa: S608

_FIND = f"""
SELECT {_COLUMNS} FROM syntera.webhook_deliveries AS d WHERE d.tenant_id = $1 AND d.webhook_id = $2 AND d.id = $3
"""  # noqa: S608

_REDELIVER = """
UPDATE syntera.webhook_deliveries
SET state = 'pending', attempts = 0, next_attempt_at = now(), ended_at = NULL, failure = NULL, response_status = NULL,
    request_key = $4, pending_since = now()
WHERE tenant_id = $1 AND webhook_id = $2 AND id = $3 AND state <> 'pending'
  AND ($4::bytea IS NULL OR request_key IS DISTINCT FROM $4)
"""

_MEASURE = """
SELECT coalesce(extract(epoch FROM now() - min(pending_since)), 0)::float8 AS oldest,
  extract(epoch FROM min(next_attempt_at) - now())::float8 AS next
FROM syntera.webhook_deliveries AS d
JOIN syntera.webhooks AS w ON w.tenant_id = d.tenant_id AND w.id = d.webhook_id AND w.is_enabled
WHERE d.tenant_id = $1 AND d.state = 'pending'
"""

_PRUNE = "SELECT syntera.prune_webhook_deliveries($1, $2)"


class PostgresqlDeliveries:
    """`DeliveryStore` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add_deliveries(self, tenant_id: TenantId, new: Sequence[NewDelivery]) -> None:
        """See `DeliveryStore`."""
        rows = [
            (
                tenant_id,
                one.id,
                one.webhook_id,
                one.event_id,
                one.type,
                one.subjects.conversation_id,
                one.subjects.turn_id,
                one.subjects.message_id,
                one.subjects.contact_id,
                orjson.dumps(dict(one.payload)).decode(),
                one.occurred_at,
            )
            for one in new
        ]
        async with self._pool.transaction("add_deliveries", is_background=True) as connection:
            held = await _hold_enabled(connection, tenant_id, {one.webhook_id for one in new})
            await connection.executemany(
                _ADD, [row for row, one in zip(rows, new, strict=True) if one.webhook_id in held]
            )

    async def claim_due(
        self, tenant_id: TenantId, room: Mapping[WebhookId, int], *, lease: timedelta
    ) -> Sequence[Delivery]:
        """See `DeliveryStore`."""
        async with self._pool.connection("claim_due", is_background=True) as connection:
            rows = await connection.fetch(_CLAIM, tenant_id, list(room.keys()), list(room.values()), lease)
        return [_read_delivery(row) for row in rows]

    async def settle(
        self, tenant_id: TenantId, delivery: Delivery, verdict: Verdict, *, give_up: timedelta
    ) -> Webhook | None:
        """See `DeliveryStore`."""
        result = verdict.result
        async with self._pool.transaction("settle_delivery", is_background=True) as connection:
            # Successes of a sound endpoint hold nothing of it, and so do not wait for one another.
            is_held = await connection.fetchval(_HOLD_TOUCHED, tenant_id, delivery.webhook_id, result.is_failing)
            is_ours = await connection.fetchval(
                _SETTLE,
                tenant_id,
                delivery.id,
                delivery.claims,
                verdict.state,
                verdict.next_attempt_in,
                result.status,
                result.failure,
            )
            if not (is_ours and is_held):
                return None
            if result.failure is None:
                await connection.execute(_SUCCEEDED, tenant_id, delivery.webhook_id)
                return None
            if not result.is_failing:
                return None
            row = await connection.fetchrow(_FAILED, tenant_id, delivery.webhook_id, verdict.disables, give_up)
            if row is None or row["disabled_reason"] is None:
                return None
            await drop_pending(connection, tenant_id, delivery.webhook_id)
        return read_webhook(row)

    async def list_deliveries(
        self, tenant_id: TenantId, webhook_id: WebhookId, *, before: DeliveryId | None, limit: int
    ) -> Sequence[Delivery]:
        """See `DeliveryStore`."""
        async with self._pool.connection("list_deliveries") as connection:
            rows = await connection.fetch(_LIST, tenant_id, webhook_id, before, limit)
        return [_read_delivery(row) for row in rows]

    async def find_event_delivery(
        self, tenant_id: TenantId, webhook_id: WebhookId, event_id: EventId
    ) -> Delivery | None:
        """See `DeliveryStore`."""
        async with self._pool.connection("find_event_delivery") as connection:
            row = await connection.fetchrow(_FIND_OF_EVENT, tenant_id, webhook_id, event_id)
        return None if row is None else _read_delivery(row)

    async def redeliver(
        self, tenant_id: TenantId, webhook_id: WebhookId, delivery_id: DeliveryId, *, request_key: RequestKey | None
    ) -> Delivery | None:
        """See `DeliveryStore`."""
        async with self._pool.transaction("redeliver") as connection:
            if not await _hold_enabled(connection, tenant_id, {webhook_id}):
                raise WebhookDisabled
            await connection.execute(_REDELIVER, tenant_id, webhook_id, delivery_id, request_key)
            row = await connection.fetchrow(_FIND, tenant_id, webhook_id, delivery_id)
        return None if row is None else _read_delivery(row)

    async def measure_backlog(self, tenant_id: TenantId) -> Backlog:
        """See `DeliveryStore`."""
        async with self._pool.connection("measure_backlog", is_background=True) as connection:
            row = await connection.fetchrow(_MEASURE, tenant_id)
        assert row is not None
        return Backlog(row["oldest"], None if row["next"] is None else max(0.0, row["next"]))

    async def prune_deliveries(self, tenant_id: TenantId, *, keep: timedelta, most: int) -> int:
        """See `DeliveryStore`."""
        del tenant_id  # the function knows whose session it runs in
        async with self._pool.connection("prune_deliveries", is_background=True) as connection:
            return int(await connection.fetchval(_PRUNE, keep, most))


async def _hold_enabled(connection: Connection, tenant_id: TenantId, ids: Set[WebhookId]) -> frozenset[WebhookId]:
    rows = await connection.fetch(_HOLD_ENABLED, tenant_id, sorted(ids))
    return frozenset(WebhookId(row["id"]) for row in rows)


def _read_delivery(row: Record) -> Delivery:
    failure = row["failure"]
    return Delivery(
        id=DeliveryId(row["id"]),
        webhook_id=WebhookId(row["webhook_id"]),
        event_id=EventId(row["event_id"]),
        type=row["type"],
        subjects=read_subjects(row),
        payload=orjson.loads(row["payload"]),
        occurred_at=row["occurred_at"],
        state=DeliveryState(row["state"]),
        attempts=row["attempts"],
        claims=row["claims"],
        next_attempt_at=row["next_attempt_at"],
        response_status=row["response_status"],
        failure=None if failure is None else DeliveryFailure(failure),
        created_at=row["created_at"],
        ended_at=row["ended_at"],
    )
