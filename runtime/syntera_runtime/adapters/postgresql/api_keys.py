"""The tenant's API keys: found by who authenticates, listed and changed by those who administer them."""

from collections.abc import Sequence

from asyncpg import Record

from syntera_crds.contract.api_key import KeyKind

from ...models.identity import KeyMaker, KeyRecord, NewApiKey, StoredApiKey
from ...models.ids import ApiKeyId, TenantId
from .pool import Pool

_KEY_COLUMNS = "id, kind, lookup, hash, scopes, agents, allowed_origins, expires_at, revoked_at"
_RECORD_COLUMNS = f"{_KEY_COLUMNS}, name, made_by, created_by, created_at, last_used_at"

_FIND = f"SELECT {_KEY_COLUMNS} FROM syntera.api_keys WHERE tenant_id = $1 AND lookup = $2"  # noqa: S608  # constants

_FIND_RECORD = f"SELECT {_RECORD_COLUMNS} FROM syntera.api_keys WHERE tenant_id = $1 AND id = $2"  # noqa: S608

_LIST = f"""
SELECT {_RECORD_COLUMNS} FROM syntera.api_keys
WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id > $2)
ORDER BY id
LIMIT $3
"""  # noqa: S608

_INSERT = f"""
INSERT INTO syntera.api_keys
  (tenant_id, id, kind, lookup, hash, scopes, agents, allowed_origins, expires_at, name, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
RETURNING {_RECORD_COLUMNS}
"""  # noqa: S608

_REVOKE = """
UPDATE syntera.api_keys SET revoked_at = now()
WHERE tenant_id = $1 AND id = $2 AND made_by = 'tenant' AND revoked_at IS NULL
"""

_NOTE_USED = "UPDATE syntera.api_keys SET last_used_at = now() WHERE tenant_id = $1 AND id = ANY($2::uuid[])"

_LIST_ORIGINS = """
SELECT DISTINCT unnest(allowed_origins) FROM syntera.api_keys
WHERE tenant_id = $1 AND kind = 'pk' AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""


class PostgresqlApiKeys:
    """`ApiKeyStore` and `KeyRegister` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find_api_key(self, tenant_id: TenantId, lookup: str) -> StoredApiKey | None:
        """See `ApiKeyStore`."""
        async with self._pool.connection("find_api_key") as connection:
            row = await connection.fetchrow(_FIND, tenant_id, lookup)
        return None if row is None else _read_key(row)

    async def add_api_key(self, tenant_id: TenantId, new: NewApiKey) -> KeyRecord:
        """See `KeyRegister`."""
        key = new.key
        async with self._pool.connection("add_api_key") as connection:
            row = await connection.fetchrow(
                _INSERT,
                tenant_id,
                key.id,
                key.kind.value,
                key.lookup,
                key.hash,
                sorted(key.scopes),
                None if key.agents is None else sorted(key.agents),
                sorted(key.allowed_origins),
                key.expires_at,
                new.name,
                new.created_by,
            )
        assert row is not None
        return _read_record(row)

    async def list_api_keys(self, tenant_id: TenantId, *, after: ApiKeyId | None, limit: int) -> Sequence[KeyRecord]:
        """See `KeyRegister`."""
        async with self._pool.connection("list_api_keys") as connection:
            rows = await connection.fetch(_LIST, tenant_id, after, limit)
        return [_read_record(row) for row in rows]

    async def find_key_record(self, tenant_id: TenantId, key_id: ApiKeyId) -> KeyRecord | None:
        """See `KeyRegister`."""
        async with self._pool.connection("find_key_record") as connection:
            row = await connection.fetchrow(_FIND_RECORD, tenant_id, key_id)
        return None if row is None else _read_record(row)

    async def revoke_api_key(self, tenant_id: TenantId, key_id: ApiKeyId) -> None:
        """See `KeyRegister`."""
        async with self._pool.connection("revoke_api_key") as connection:
            await connection.execute(_REVOKE, tenant_id, key_id)

    async def note_used(self, tenant_id: TenantId, key_ids: Sequence[ApiKeyId]) -> None:
        """See `KeyRegister`."""
        async with self._pool.connection("note_used") as connection:
            await connection.execute(_NOTE_USED, tenant_id, key_ids)

    async def list_origins(self, tenant_id: TenantId) -> frozenset[str]:
        """See `KeyRegister`."""
        async with self._pool.connection("list_origins") as connection:
            rows = await connection.fetch(_LIST_ORIGINS, tenant_id)
        return frozenset(row[0] for row in rows)


def _read_key(row: Record) -> StoredApiKey:
    return StoredApiKey(
        id=ApiKeyId(row["id"]),
        kind=KeyKind(row["kind"]),
        lookup=row["lookup"],
        hash=row["hash"],
        scopes=frozenset(row["scopes"]),
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        agents=None if row["agents"] is None else frozenset(row["agents"]),
        allowed_origins=frozenset(row["allowed_origins"]),
    )


def _read_record(row: Record) -> KeyRecord:
    return KeyRecord(
        key=_read_key(row),
        name=row["name"],
        made_by=KeyMaker(row["made_by"]),
        created_at=row["created_at"],
        created_by=row["created_by"],
        last_used_at=row["last_used_at"],
    )
