"""Contacts: the tenant's customers."""

from asyncpg import Record

from ...ids import new_id
from ...models.identity import Contact
from ...models.ids import ContactId, TenantId
from .pool import Pool

_IDENTIFY = """
INSERT INTO syntera.contacts AS c (tenant_id, id, external_id, name, email)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (tenant_id, external_id) DO UPDATE
SET name = coalesce(EXCLUDED.name, c.name), email = coalesce(EXCLUDED.email, c.email), last_seen_at = now()
RETURNING id, external_id, name, email, created_at, last_seen_at
"""

_IS_UNKNOWN = "NOT EXISTS (SELECT FROM syntera.contacts WHERE tenant_id = $1 AND id = $2 AND external_id IS NOT NULL)"

_MOVE = f"""
WITH files AS (
  UPDATE syntera.files SET contact_id = $3
  WHERE tenant_id = $1 AND contact_id = $2 AND message_id IS NULL AND {_IS_UNKNOWN}
)
UPDATE syntera.conversations SET contact_id = $3 WHERE tenant_id = $1 AND contact_id = $2 AND {_IS_UNKNOWN}
"""  # noqa: S608  # the condition is a constant
"""Files that a message has are whose the conversation is."""


class PostgresqlContacts:
    """`ContactStore` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def identify_contact(
        self, tenant_id: TenantId, external_id: str, *, name: str | None = None, email: str | None = None
    ) -> Contact:
        """See `ContactStore`."""
        async with self._pool.connection("identify_contact") as connection:
            row = await connection.fetchrow(_IDENTIFY, tenant_id, new_id(), external_id, name, email)
        assert row is not None
        return _read_contact(row)

    async def move_conversations(self, tenant_id: TenantId, *, source: ContactId, target: ContactId) -> int:
        """See `ContactStore`."""
        async with self._pool.connection("move_conversations") as connection:
            tag = await connection.execute(_MOVE, tenant_id, source, target)
        return int(tag.removeprefix("UPDATE "))


def _read_contact(row: Record) -> Contact:
    return Contact(
        id=ContactId(row["id"]),
        external_id=row["external_id"],
        name=row["name"],
        email=row["email"],
        created_at=row["created_at"],
        last_seen_at=row["last_seen_at"],
    )
