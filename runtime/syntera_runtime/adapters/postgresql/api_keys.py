"""The tenant's API keys. A runtime reads them and never writes them."""

from asyncpg import Record

from syntera_crds.contract.api_key import KeyKind

from ...models import ApiKeyId, StoredApiKey, TenantId
from .pool import Pool

_FIND = """
SELECT id, kind, lookup, hash, scopes, expires_at, revoked_at
FROM syntera.api_keys
WHERE tenant_id = $1 AND lookup = $2
"""


class PostgresqlApiKeys:
    """`ApiKeyStore` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find_api_key(self, tenant_id: TenantId, lookup: str) -> StoredApiKey | None:
        """See `ApiKeyStore`."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(_FIND, tenant_id, lookup)
        return None if row is None else _read_key(row)


def _read_key(row: Record) -> StoredApiKey:
    return StoredApiKey(
        id=ApiKeyId(row["id"]),
        kind=KeyKind(row["kind"]),
        lookup=row["lookup"],
        hash=row["hash"],
        scopes=frozenset(row["scopes"]),
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )
