"""The register of tenants and the API keys that the operator makes for them: rows, written as `syntera_maintenance`."""

from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from syntera_crds.contract.api_key import ApiKey, KeyKind, Scope
from syntera_crds.contract.names import ADMIN_SECRET, tenant_login

from .postgresql import Postgresql

_FIND = """
    SELECT t.id, t.released_at IS NOT NULL AS is_released,
      EXISTS (
        SELECT FROM syntera.erasure_receipts r WHERE r.tenant_id = t.id AND r.completed_at IS NULL
      ) AS is_being_erased
    FROM syntera.tenants t WHERE t.name = $1
"""
_REVOKE_ADMIN_KEYS = """
    UPDATE syntera.api_keys SET revoked_at = now()
    WHERE tenant_id = $1 AND made_by = 'operator' AND revoked_at IS NULL
"""


class Register:
    """Who is a tenant, under which identity, and the first key to its API."""

    def __init__(self, postgresql: Postgresql) -> None:
        self._postgresql = postgresql

    async def find(self, name: str) -> UUID | None:
        """The identity stored for the name, released or not; None if there is none.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
            StoreRefused: PostgreSQL refused.
        """
        async with self._postgresql.maintenance() as connection:
            found: UUID | None = await connection.fetchval(_FIND, name)
            return found

    async def identify(self, name: str) -> UUID:
        """The identity stored for the name, else a new one. A released tenant is taken back with all its rows.

        One whose erasure was begun and given up is not: it keeps its identity under another name, and `name` is new.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
            StoreRefused: PostgreSQL refused.
        """
        async with self._postgresql.maintenance() as connection:
            found = await connection.fetchrow(_FIND, name)
            if found is not None and not found["is_being_erased"]:
                if found["is_released"]:
                    await connection.execute("UPDATE syntera.tenants SET released_at = NULL WHERE id = $1", found["id"])
                return _id_of(found)
            if found is not None:
                # No Tenant can be called so: the slash is no part of a name. It may have been given up before it was released.
                await connection.execute(
                    "UPDATE syntera.tenants SET name = $2, released_at = coalesce(released_at, now()) WHERE id = $1",
                    found["id"], f"erasing/{found['id']}",
                )  # fmt: skip
            tenant_id = uuid7()
            await connection.execute(
                "INSERT INTO syntera.tenants (id, name, login_role) VALUES ($1, $2, $3)",
                tenant_id, name, tenant_login(tenant_id),
            )  # fmt: skip
            return tenant_id

    async def release(self, tenant_id: UUID) -> None:
        """Mark the tenant as gone, which makes its login see nothing, and revoke the operator's keys to its API.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
            StoreRefused: PostgreSQL refused.
        """
        async with self._postgresql.maintenance() as connection:
            await connection.execute(
                "UPDATE syntera.tenants SET released_at = now() WHERE id = $1 AND released_at IS NULL", tenant_id
            )
            await connection.execute(_REVOKE_ADMIN_KEYS, tenant_id)

    async def ensure_admin_key(self, tenant_id: UUID, *, current: ApiKey | None) -> ApiKey:
        """`current` if it is stored and alive; else a new key, and the operator's older ones are revoked.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
            StoreRefused: PostgreSQL refused.
        """
        async with self._postgresql.maintenance() as connection:
            if current is not None:
                stored: bytes | None = await connection.fetchval(
                    """
                    SELECT hash FROM syntera.api_keys
                    WHERE tenant_id = $1 AND lookup = $2
                      AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
                    """,
                    tenant_id, current.lookup,
                )  # fmt: skip
                if stored is not None and current.matches(stored):
                    return current
            key = ApiKey.generate(KeyKind.SECRET)
            await connection.execute(_REVOKE_ADMIN_KEYS, tenant_id)
            await connection.execute(
                """
                INSERT INTO syntera.api_keys (tenant_id, id, kind, lookup, hash, name, made_by, scopes)
                VALUES ($1, $2, $3, $4, $5, $6, 'operator', $7)
                """,
                tenant_id, uuid7(), key.kind, key.lookup, key.hash, ADMIN_SECRET, [Scope.ADMIN],
            )  # fmt: skip
            return key


def _id_of(row: asyncpg.Record) -> UUID:
    found: UUID = row["id"]
    return found
