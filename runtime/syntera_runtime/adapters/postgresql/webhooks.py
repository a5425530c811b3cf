"""Endpoints of others."""

from collections.abc import Sequence

from asyncpg import Record

from ...errors import SecretJustRotated, TooManyWebhooks
from ...models.ids import TenantId, WebhookId
from ...models.webhooks import SECRET_OVERLAP, DisabledReason, NewWebhook, Webhook, WebhookChange
from .pool import Connection, Pool

WEBHOOK_COLUMNS = (
    "id, url, events, description, is_thin, secret_version, secret_rotated_at, failing_since, disabled_reason, created_by,"
    " created_at"
)

_COUNT = "SELECT count(*) FROM syntera.webhooks WHERE tenant_id = $1 AND deleted_at IS NULL"

_INSERT = f"""
INSERT INTO syntera.webhooks (tenant_id, id, url, events, description, is_thin, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7)
RETURNING {WEBHOOK_COLUMNS}
"""  # noqa: S608  # the columns are a constant

_FIND = f"SELECT {WEBHOOK_COLUMNS} FROM syntera.webhooks WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL"  # noqa: S608

_LIST = f"SELECT {WEBHOOK_COLUMNS} FROM syntera.webhooks WHERE tenant_id = $1 AND deleted_at IS NULL ORDER BY id"  # noqa: S608

_CHANGE = f"""
UPDATE syntera.webhooks
SET url = coalesce($3, url), events = coalesce($4, events), description = coalesce($5, description),
    is_thin = coalesce($6, is_thin), is_enabled = coalesce($7, is_enabled),
    disabled_reason = CASE WHEN $7 THEN NULL WHEN NOT $7 THEN coalesce(disabled_reason, 'asked') ELSE disabled_reason END,
    failing_since = CASE WHEN $7 AND NOT is_enabled THEN NULL ELSE failing_since END
WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL
RETURNING {WEBHOOK_COLUMNS}
"""  # noqa: S608

_DELETE = """
UPDATE syntera.webhooks SET deleted_at = now(), is_enabled = FALSE, disabled_reason = coalesce(disabled_reason, 'asked')
WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL
RETURNING TRUE
"""

_ROTATE = f"""
UPDATE syntera.webhooks SET secret_version = secret_version + 1, secret_rotated_at = now()
WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL AND (secret_rotated_at IS NULL OR secret_rotated_at <= now() - $3::interval)
RETURNING {WEBHOOK_COLUMNS}
"""  # noqa: S608

_DROP_PENDING = """
UPDATE syntera.webhook_deliveries SET state = 'dead', failure = 'webhook-disabled', ended_at = now()
WHERE tenant_id = $1 AND webhook_id = $2 AND state = 'pending'
"""


class PostgresqlWebhooks:
    """`WebhookStore` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add_webhook(self, tenant_id: TenantId, new: NewWebhook, *, most: int) -> Webhook:
        """See `WebhookStore`. Two at once may pass the bound by one: it protects from thousands, not from that."""
        async with self._pool.connection("add_webhook") as connection:
            if await connection.fetchval(_COUNT, tenant_id) >= most:
                raise TooManyWebhooks(f"There can be {most} webhooks. Delete one first.")
            row = await connection.fetchrow(
                _INSERT,
                tenant_id,
                new.id,
                new.url,
                sorted(new.events),
                new.description,
                new.is_thin,
                new.created_by,
            )
        assert row is not None
        return read_webhook(row)

    async def find_webhook(self, tenant_id: TenantId, webhook_id: WebhookId) -> Webhook | None:
        """See `WebhookStore`."""
        async with self._pool.connection("find_webhook") as connection:
            row = await connection.fetchrow(_FIND, tenant_id, webhook_id)
        return None if row is None else read_webhook(row)

    async def list_webhooks(self, tenant_id: TenantId) -> Sequence[Webhook]:
        """See `WebhookStore`. Deliveries ask this in the background."""
        async with self._pool.connection("list_webhooks", is_background=True) as connection:
            rows = await connection.fetch(_LIST, tenant_id)
        return [read_webhook(row) for row in rows]

    async def change_webhook(self, tenant_id: TenantId, webhook_id: WebhookId, change: WebhookChange) -> Webhook | None:
        """See `WebhookStore`."""
        async with self._pool.transaction("change_webhook") as connection:
            row = await connection.fetchrow(
                _CHANGE,
                tenant_id,
                webhook_id,
                change.url,
                None if change.events is None else sorted(change.events),
                change.description,
                change.is_thin,
                change.is_enabled,
            )
            if row is not None and change.is_enabled is False:
                await drop_pending(connection, tenant_id, webhook_id)
        return None if row is None else read_webhook(row)

    async def delete_webhook(self, tenant_id: TenantId, webhook_id: WebhookId) -> bool:
        """See `WebhookStore`."""
        async with self._pool.transaction("delete_webhook") as connection:
            is_deleted = bool(await connection.fetchval(_DELETE, tenant_id, webhook_id))
            if is_deleted:
                await drop_pending(connection, tenant_id, webhook_id)
        return is_deleted

    async def rotate_secret(self, tenant_id: TenantId, webhook_id: WebhookId) -> Webhook | None:
        """See `WebhookStore`."""
        async with self._pool.connection("rotate_secret") as connection:
            row = await connection.fetchrow(_ROTATE, tenant_id, webhook_id, SECRET_OVERLAP)
            if row is None and await connection.fetchrow(_FIND, tenant_id, webhook_id) is not None:
                raise SecretJustRotated
        return None if row is None else read_webhook(row)


async def drop_pending(connection: Connection, tenant_id: TenantId, webhook_id: WebhookId) -> None:
    """Give up what an endpoint would still have been told. Its row is to be locked already."""
    await connection.execute(_DROP_PENDING, tenant_id, webhook_id)


def read_webhook(row: Record) -> Webhook:
    """A row with `WEBHOOK_COLUMNS`."""
    reason = row["disabled_reason"]
    return Webhook(
        id=WebhookId(row["id"]),
        url=row["url"],
        events=frozenset(row["events"]),
        description=row["description"],
        is_thin=row["is_thin"],
        secret_version=row["secret_version"],
        secret_rotated_at=row["secret_rotated_at"],
        failing_since=row["failing_since"],
        disabled_reason=None if reason is None else DisabledReason(reason),
        created_by=row["created_by"],
        created_at=row["created_at"],
    )
