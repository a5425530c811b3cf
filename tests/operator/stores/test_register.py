"""Identities and administrators' keys."""

import asyncio
from uuid import UUID

from syntera_crds.contract.api_key import ApiKey, KeyKind
from syntera_operator.stores.erasure import Erasure
from syntera_operator.stores.postgresql import Postgresql
from syntera_operator.stores.register import Register
from tests.support.postgresql import Database

from .conftest import connected


async def written(database: Database, table: str, tenant_id: UUID) -> list[str]:
    """Which transactions wrote the tenant's rows of a table."""
    key = "id" if table == "tenants" else "tenant_id"
    async with connected(database.superuser_dsn) as superuser:
        rows = await superuser.fetch(f"SELECT xmin::text FROM syntera.{table} WHERE {key} = $1 ORDER BY 1", tenant_id)
    return [row[0] for row in rows]


async def test_identity_is_made_once_and_written_once(database: Database, postgresql: Postgresql) -> None:
    register = Register(postgresql)
    assert await register.find("once") is None

    tenant_id = await register.identify("once")
    first = await written(database, "tenants", tenant_id)

    assert tenant_id.version == 7
    assert await register.identify("once") == tenant_id == await register.find("once")
    assert await written(database, "tenants", tenant_id) == first


async def test_names_are_data_and_never_sql(postgresql: Postgresql) -> None:
    name = "'; DROP TABLE syntera.tenants; --"

    tenant_id = await Register(postgresql).identify(name)

    assert await Register(postgresql).find(name) == tenant_id


async def test_identity_comes_back_when_a_released_tenant_returns(database: Database, postgresql: Postgresql) -> None:
    register = Register(postgresql)
    tenant = await database.make_tenant()
    async with connected(tenant.dsn) as own:
        await register.release(tenant.tenant_id)
        assert await own.fetchval("SELECT syntera.current_tenant()") is None

        assert await register.find(tenant.name) == tenant.tenant_id
        assert await register.identify(tenant.name) == tenant.tenant_id

        assert await own.fetchval("SELECT syntera.current_tenant()") == tenant.tenant_id


async def test_release_writes_once(database: Database, postgresql: Postgresql) -> None:
    register = Register(postgresql)
    tenant = await database.make_tenant()
    await register.release(tenant.tenant_id)
    first = await written(database, "tenants", tenant.tenant_id)

    await register.release(tenant.tenant_id)

    assert await written(database, "tenants", tenant.tenant_id) == first


async def test_identity_is_new_when_the_old_one_s_erasure_was_given_up(
    database: Database, postgresql: Postgresql
) -> None:
    register, erasure = Register(postgresql), Erasure(postgresql)
    tenant = await database.make_tenant()
    await erasure.open_receipt(tenant.tenant_id)
    await register.release(tenant.tenant_id)

    new = await register.identify(tenant.name)

    assert new != tenant.tenant_id
    assert await register.find(tenant.name) == new
    assert (await erasure.open_receipt(tenant.tenant_id)).tenant_name == tenant.name


async def test_identity_is_new_when_an_erasure_was_given_up_before_the_tenant_was_released(
    database: Database, postgresql: Postgresql
) -> None:
    register = Register(postgresql)
    tenant = await database.make_tenant()
    await Erasure(postgresql).open_receipt(tenant.tenant_id)

    new = await register.identify(tenant.name)

    assert new != tenant.tenant_id
    assert await register.identify(tenant.name) == new
    async with connected(tenant.dsn) as own:
        assert await own.fetchval("SELECT syntera.current_tenant()") is None


async def test_admin_key_is_kept_when_it_is_stored_and_alive(database: Database, postgresql: Postgresql) -> None:
    register = Register(postgresql)
    tenant = await database.make_tenant()
    key = await register.ensure_admin_key(tenant.tenant_id, current=None)
    first = await written(database, "api_keys", tenant.tenant_id)

    assert await register.ensure_admin_key(tenant.tenant_id, current=key) == key

    assert await written(database, "api_keys", tenant.tenant_id) == first
    async with connected(tenant.dsn) as own:
        row = await own.fetchrow("SELECT * FROM syntera.api_keys WHERE lookup = $1", key.lookup)
    assert row is not None
    assert key.matches(row["hash"])
    assert (row["name"], row["kind"], row["made_by"], row["scopes"]) == ("syntera-admin", "sk", "operator", ["admin"])
    assert key.text not in str(dict(row))


async def test_admin_key_is_replaced_when_it_is_lost_revoked_expired_or_a_stranger_s(
    database: Database, postgresql: Postgresql
) -> None:
    register = Register(postgresql)
    tenant, other = await database.make_tenant(), await database.make_tenant()
    foreign = await register.ensure_admin_key(other.tenant_id, current=None)

    lost = await register.ensure_admin_key(tenant.tenant_id, current=None)
    revoked = await register.ensure_admin_key(tenant.tenant_id, current=None)
    await register.release(tenant.tenant_id)
    expired = await register.ensure_admin_key(tenant.tenant_id, current=revoked)
    async with connected(database.superuser_dsn) as superuser:
        await superuser.execute("UPDATE syntera.api_keys SET expires_at = now() WHERE lookup = $1", expired.lookup)
    after = await register.ensure_admin_key(tenant.tenant_id, current=expired)
    last = await register.ensure_admin_key(tenant.tenant_id, current=foreign)

    assert len({lost.text, revoked.text, expired.text, after.text, last.text, foreign.text}) == 6
    async with connected(tenant.dsn) as own:
        await register.identify(tenant.name)
        alive = await own.fetch("SELECT lookup FROM syntera.api_keys WHERE revoked_at IS NULL")
    assert [row["lookup"] for row in alive] == [last.lookup]
    assert await register.ensure_admin_key(other.tenant_id, current=foreign) == foreign


async def test_admin_key_that_only_shares_the_lookup_is_replaced(database: Database, postgresql: Postgresql) -> None:
    register = Register(postgresql)
    tenant = await database.make_tenant()
    key = await register.ensure_admin_key(tenant.tenant_id, current=None)
    forged = ApiKey(kind=KeyKind.SECRET, text=key.text[:15] + ApiKey.generate(KeyKind.SECRET).text[15:])
    assert forged.lookup == key.lookup

    assert await register.ensure_admin_key(tenant.tenant_id, current=forged) not in (forged, key)


async def test_keys_that_the_tenant_made_outlive_the_operator_s(database: Database, postgresql: Postgresql) -> None:
    tenant = await database.make_tenant()
    async with connected(database.superuser_dsn) as superuser:
        await superuser.execute(
            "INSERT INTO syntera.api_keys (tenant_id, id, kind, lookup, hash, name, made_by, scopes, agents)"
            " VALUES ($1, gen_random_uuid(), 'pk', 'theirown', sha256('x'), 'shop', 'tenant', '{}', '{travel}')",
            tenant.tenant_id,
        )
    register = Register(postgresql)
    await asyncio.gather(*(register.ensure_admin_key(tenant.tenant_id, current=None) for _ in range(2)))
    await register.release(tenant.tenant_id)

    async with connected(database.superuser_dsn) as superuser:
        alive = await superuser.fetch(
            "SELECT lookup FROM syntera.api_keys WHERE tenant_id = $1 AND revoked_at IS NULL", tenant.tenant_id
        )
    assert [row["lookup"] for row in alive] == ["theirown"]
