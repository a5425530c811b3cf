"""Tenants' logins on real servers: made once, repaired, closed, dropped."""

from uuid import UUID

import asyncpg
import pytest

from syntera_crds.contract.names import tenant_login
from syntera_operator.errors import StoreRefused
from syntera_operator.stores.logins import Logins
from syntera_operator.stores.postgresql import Postgresql, PostgresqlSettings
from syntera_operator.stores.register import Register
from syntera_operator.stores.urls import password_in, with_credentials
from tests.support.postgresql import Database, PostgresqlServer, TenantLogin

from .conftest import connected


async def role(database: Database, tenant_id: UUID) -> dict[str, object]:
    """The login with all its attributes, its memberships and the transaction that wrote it last."""
    async with connected(database.superuser_dsn) as superuser:
        found = await superuser.fetchrow(
            """
            SELECT r.*, r.xmin::text AS written, r.oid::text AS oid,
              ARRAY(
                SELECT format('%s %s %s %s', m.roleid::regrole, m.admin_option, m.inherit_option, m.set_option)
                FROM pg_auth_members m WHERE m.member = r.oid
              ) AS memberships,
              ARRAY(SELECT m.xmin::text FROM pg_auth_members m WHERE m.member = r.oid) AS memberships_written,
              ARRAY(SELECT s.setconfig::text FROM pg_db_role_setting s WHERE s.setrole = r.oid) AS settings
            FROM pg_authid r WHERE rolname = $1
            """,
            tenant_login(tenant_id),
        )
    assert found is not None
    return dict(found)


async def test_new_login_has_what_it_needs_and_nothing_more(database: Database) -> None:
    tenant = await database.make_tenant()

    made = await role(database, tenant.tenant_id)

    assert made["memberships"] == ["syntera_tenant f t f"]
    assert made["rolcanlogin"]
    assert made["rolconnlimit"] == 20
    for attribute in ("rolsuper", "rolinherit", "rolcreaterole", "rolcreatedb", "rolreplication", "rolbypassrls"):
        assert not made[attribute]


async def test_password_reaches_server_and_log_as_a_verifier_only(
    server: PostgresqlServer, database: Database, postgresql: Postgresql
) -> None:
    tenant = await database.make_tenant()
    password = password_in(tenant.dsn)
    assert password

    stored = (await role(database, tenant.tenant_id))["rolpassword"]

    assert isinstance(stored, str)
    assert stored.startswith("SCRAM-SHA-256$")
    assert tenant_login(tenant.tenant_id) in server.log
    assert password not in server.log


async def test_nothing_is_written_when_the_login_is_as_it_should_be(database: Database, postgresql: Postgresql) -> None:
    tenant = await database.make_tenant()
    before = await role(database, tenant.tenant_id)

    url = await Logins(postgresql).ensure(tenant.tenant_id, current_url=tenant.dsn)

    assert url == tenant.dsn
    assert await role(database, tenant.tenant_id) == before


async def test_password_is_set_back_when_the_tenant_changed_it(database: Database, postgresql: Postgresql) -> None:
    tenant = await database.make_tenant()
    login = tenant_login(tenant.tenant_id)
    async with connected(tenant.dsn) as own:
        await own.execute(f"ALTER ROLE {login} PASSWORD 'changed'")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(tenant.dsn)

    assert await Logins(postgresql).ensure(tenant.tenant_id, current_url=tenant.dsn) == tenant.dsn

    async with connected(tenant.dsn):
        pass
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(with_credentials(tenant.dsn, user=login, password="changed"))


async def test_new_password_is_made_when_the_credentials_are_lost(database: Database, postgresql: Postgresql) -> None:
    tenant = await database.make_tenant()

    url = await Logins(postgresql).ensure(tenant.tenant_id, current_url=None)

    assert url != tenant.dsn
    async with connected(url):
        pass
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(tenant.dsn)


@pytest.mark.parametrize(
    "spoil",
    [
        "ALTER ROLE {login} NOLOGIN",
        "ALTER ROLE {login} CONNECTION LIMIT 1000",
        "ALTER ROLE {login} CREATEROLE",
        "ALTER ROLE {login} INHERIT",
        "GRANT syntera_tenant TO {login} WITH INHERIT TRUE, SET TRUE",
        "REVOKE syntera_tenant FROM {login}",
        "ALTER ROLE {login} SET statement_timeout = 1",
        "ALTER ROLE {login} IN DATABASE {database} SET default_transaction_read_only = on",
        "DROP ROLE {login}",
    ],
)
async def test_login_is_repaired_when_somebody_spoiled_it(
    database: Database, postgresql: Postgresql, spoil: str
) -> None:
    tenant = await database.make_tenant()
    before = await role(database, tenant.tenant_id)
    async with connected(database.operator_dsn) as operator:
        await operator.execute(spoil.format(login=tenant_login(tenant.tenant_id), database=database.name))

    url = await Logins(postgresql).ensure(tenant.tenant_id, current_url=tenant.dsn)

    assert url == tenant.dsn
    after = await role(database, tenant.tenant_id)
    unequal = {key for key in before if before[key] != after[key]}
    assert unequal <= {"written", "memberships_written"} | ({"oid", "rolpassword"} if "DROP" in spoil else set())
    async with connected(url) as own:
        assert await own.fetchval("SELECT syntera.current_tenant()") == tenant.tenant_id


async def test_repair_ends_when_it_is_done(database: Database, postgresql: Postgresql) -> None:
    tenant = await database.make_tenant()
    async with connected(tenant.dsn) as own:
        login = tenant_login(tenant.tenant_id)
        await own.execute(f"ALTER ROLE {login} SET work_mem = '8MB'")
        await own.execute(f"ALTER ROLE {login} IN DATABASE postgres SET work_mem = '8MB'")
    await Logins(postgresql).ensure(tenant.tenant_id, current_url=tenant.dsn)
    repaired = await role(database, tenant.tenant_id)

    await Logins(postgresql).ensure(tenant.tenant_id, current_url=tenant.dsn)

    assert await role(database, tenant.tenant_id) == repaired


@pytest.mark.parametrize("attribute", ["SUPERUSER", "BYPASSRLS", "REPLICATION", "CREATEDB"])
async def test_login_that_passes_the_walls_is_refused(
    database: Database, postgresql: Postgresql, attribute: str
) -> None:
    tenant = await database.make_tenant()
    async with connected(database.superuser_dsn) as superuser:
        await superuser.execute(f"ALTER ROLE {tenant_login(tenant.tenant_id)} {attribute}")

    with pytest.raises(StoreRefused, match="take that away"):
        await Logins(postgresql).ensure(tenant.tenant_id, current_url=tenant.dsn)


async def test_login_counts_as_working_when_all_its_connections_are_taken(database: Database) -> None:
    postgresql = Postgresql(PostgresqlSettings(url=database.operator_dsn, connection_limit=1))
    tenant_id = await Register(postgresql).identify("crowded")
    url = await Logins(postgresql).ensure(tenant_id, current_url=None)
    async with connected(url):
        before = await role(database, tenant_id)

        assert await Logins(postgresql).ensure(tenant_id, current_url=url) == url

        assert await role(database, tenant_id) == before
    await postgresql.aclose()


async def test_url_leads_tenants_elsewhere_when_settings_say_so(database: Database) -> None:
    elsewhere = "postgresql://pooler.example:6432/syntera?sslmode=verify-full"
    postgresql = Postgresql(PostgresqlSettings(url=database.operator_dsn, tenant_url=elsewhere))
    tenant = await database.make_tenant()

    url = await Logins(postgresql).ensure(tenant.tenant_id, current_url=tenant.dsn)

    assert url == with_credentials(
        elsewhere, user=tenant_login(tenant.tenant_id), password=password_in(tenant.dsn) or ""
    )
    await postgresql.aclose()


async def test_closing_ends_sessions_and_lets_nobody_in(database: Database, postgresql: Postgresql) -> None:
    tenant = await database.make_tenant()
    session = await asyncpg.connect(tenant.dsn)

    await Logins(postgresql).close(tenant.tenant_id)

    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError, asyncpg.InterfaceError)):
        await session.execute("SELECT 1")
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="not permitted to log in"):
        await asyncpg.connect(tenant.dsn)
    await session.close()


async def test_closing_and_dropping_twice_is_the_same_as_once(database: Database, postgresql: Postgresql) -> None:
    tenant = await database.make_tenant()
    logins = Logins(postgresql)

    for _ in range(2):
        await logins.close(tenant.tenant_id)
    for _ in range(2):
        await logins.drop(tenant.tenant_id)
    await logins.close(tenant.tenant_id)

    async with connected(database.superuser_dsn) as superuser:
        assert not await superuser.fetchval(
            "SELECT count(*) FROM pg_roles WHERE rolname = $1", tenant_login(tenant.tenant_id)
        )


@pytest.mark.parametrize(
    "left",
    [
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA syntera GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
        "ALTER ROLE CURRENT_USER SET search_path = syntera",
    ],
)
async def test_dropping_takes_along_what_the_tenant_left(database: Database, postgresql: Postgresql, left: str) -> None:
    """PostgreSQL keeps a role that something depends on, and has no right that could forbid these."""
    tenant, other = await database.make_tenant(), await database.make_tenant()
    logins = Logins(postgresql)
    async with connected(tenant.dsn) as own:
        await own.execute(left)
    await logins.close(tenant.tenant_id)

    await logins.drop(tenant.tenant_id)

    async with connected(database.superuser_dsn) as superuser:
        roles = await superuser.fetch("SELECT rolname FROM pg_roles WHERE rolname LIKE 't\\_%'")
        defaults = await superuser.fetchval(
            "SELECT count(*) FROM pg_default_acl WHERE defaclrole <> 'syntera_owner'::regrole"
        )
    names = {row["rolname"] for row in roles}
    assert tenant_login(tenant.tenant_id) not in names
    assert tenant_login(other.tenant_id) in names
    assert defaults == 0


async def test_operator_holds_no_tenant_s_rights_after_closing_its_sessions(
    database: Database, postgresql: Postgresql
) -> None:
    tenant: TenantLogin = await database.make_tenant()
    await Logins(postgresql).close(tenant.tenant_id)

    async with connected(database.superuser_dsn) as superuser:
        inherits = await superuser.fetchval(
            "SELECT pg_has_role('syntera_operator', $1, 'USAGE')", tenant_login(tenant.tenant_id)
        )

    assert not inherits
