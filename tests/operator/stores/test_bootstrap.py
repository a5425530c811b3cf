"""The bootstrap SQL, as administrators run it."""

import secrets

import asyncpg
import pytest

from tests.support.postgresql import BOOTSTRAP_SQL, Database, PostgresqlServer

from .catalogue import find_faults
from .conftest import connected

SQL = BOOTSTRAP_SQL.read_text()


async def rights(database: Database) -> list[tuple[object, ...]]:
    """Everything that the bootstrap decides: roles, memberships and all access lists of the database."""
    async with connected(database.superuser_dsn) as superuser:
        rows = await superuser.fetch(
            """
            SELECT 'role' AS kind, rolname::text AS what,
              concat_ws(' ', rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolbypassrls) AS how
            FROM pg_roles WHERE rolname LIKE 'syntera%'
            UNION ALL
            SELECT 'member', roleid::regrole || ' ' || member::regrole, concat_ws(' ', admin_option, inherit_option, set_option)
            FROM pg_auth_members WHERE roleid::regrole::text LIKE 'syntera%'
            UNION ALL SELECT 'database', datname, datacl::text FROM pg_database WHERE datname = current_database()
            UNION ALL SELECT 'schema', nspname, nspacl::text FROM pg_namespace
            UNION ALL SELECT 'function', oid::regprocedure::text, proacl::text FROM pg_proc WHERE proacl IS NOT NULL
            UNION ALL SELECT 'language', lanname, lanacl::text FROM pg_language
            UNION ALL SELECT 'extension', extname, extnamespace::regnamespace::text FROM pg_extension
            UNION ALL SELECT 'default', defaclrole::regrole::text, defaclacl::text FROM pg_default_acl
            ORDER BY 1, 2, 3
            """
        )
    return [tuple(row) for row in rows]


async def test_second_run_changes_nothing(server: PostgresqlServer) -> None:
    database = await server.create_database()
    await database.bootstrap()
    first = await rights(database)

    await database.bootstrap()

    assert await rights(database) == first
    assert ("extension", "vector", "extensions") in first
    assert ("member", "syntera_owner syntera_operator", "f f t") in first
    assert ("member", "syntera_maintenance syntera_operator", "f f t") in first
    assert ("member", "syntera_tenant syntera_operator", "t f f") in first


async def test_administrator_without_superuser_can_run_it(server: PostgresqlServer) -> None:
    # A server of its own would cost seconds: the roles are there already, made by the superuser, who hands them over.
    database = await server.create_database()
    await database.bootstrap()
    database = await server.create_database()
    name, password = f"dba_{secrets.token_hex(4)}", "dba"
    async with connected(database.superuser_dsn) as superuser:
        await superuser.execute(f"CREATE ROLE {name} LOGIN CREATEROLE PASSWORD '{password}'")
        for role in ("syntera_owner", "syntera_maintenance", "syntera_tenant", "syntera_operator"):
            await superuser.execute(f"GRANT {role} TO {name} WITH ADMIN TRUE, INHERIT TRUE, SET TRUE")
        await superuser.execute(f'ALTER DATABASE "{database.name}" OWNER TO {name}')
        await superuser.execute("CREATE SCHEMA extensions")
        await superuser.execute(f"ALTER SCHEMA extensions OWNER TO {name}")
        await superuser.execute("CREATE EXTENSION vector WITH SCHEMA extensions")
        await superuser.execute(f"GRANT USAGE ON LANGUAGE plpgsql TO {name}")
    warnings: list[str] = []
    dba = await asyncpg.connect(database.dsn(name, password))
    dba.add_log_listener(lambda _, message: warnings.append(str(message)))

    for _ in range(2):
        await dba.execute(SQL)

    await dba.close()
    assert any("only a superuser can take them away" in warning for warning in warnings)
    await database.migrate()
    tenant = await database.make_tenant()
    async with connected(tenant.dsn) as own:
        assert await own.fetchval("SELECT syntera.current_tenant()") == tenant.tenant_id
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await own.execute("CREATE TEMPORARY TABLE mine (id int)")
    async with connected(database.superuser_dsn) as superuser:
        assert await find_faults(superuser) == set()


@pytest.mark.parametrize("attribute", ["SUPERUSER", "BYPASSRLS"])
@pytest.mark.parametrize("role", ["syntera_owner", "syntera_operator"])
async def test_roles_that_pass_every_policy_are_refused(server: PostgresqlServer, role: str, attribute: str) -> None:
    database = await server.create_database()
    await database.bootstrap()
    async with connected(database.superuser_dsn) as superuser:
        attempt = superuser.transaction()
        await attempt.start()
        await superuser.execute(f"ALTER ROLE {role} {attribute}")

        with pytest.raises(asyncpg.RaiseError, match="neither SUPERUSER nor BYPASSRLS"):
            await superuser.execute(SQL)
        await attempt.rollback()


async def test_pgvector_that_cannot_go_on_searching_is_refused(server: PostgresqlServer) -> None:
    database = await server.create_database()
    await database.bootstrap()
    async with connected(database.superuser_dsn) as superuser:
        await superuser.execute("UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'")

        with pytest.raises(asyncpg.RaiseError, match=r"pgvector 0\.8 or later"):
            await superuser.execute(SQL)


async def test_extension_types_are_usable_by_tenants_and_owner(database: Database) -> None:
    tenant = await database.make_tenant()

    async with connected(tenant.dsn) as own:
        distance = await own.fetchval(
            "SELECT '[1,0]'::extensions.vector OPERATOR(extensions.<->) '[0,0]'::extensions.vector"
        )

    assert distance == 1


async def test_operator_is_no_superuser_and_reaches_no_other_role(database: Database) -> None:
    async with connected(database.operator_dsn) as operator:
        for statement in (
            "SET ROLE postgres",
            "SET ROLE syntera_tenant",
            "ALTER ROLE syntera_owner LOGIN",
            "ALTER ROLE syntera_operator BYPASSRLS",
            "CREATE ROLE second SUPERUSER",
            "GRANT pg_read_all_data TO syntera_operator",
            "SELECT * FROM syntera.tenants",
            "CREATE TABLE syntera.mine (id int)",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await operator.execute(statement)


@pytest.mark.parametrize("keyword", ["\\", "PASSWORD '"])
def test_sql_is_plain_and_sets_no_password(keyword: str) -> None:
    statements = [line for line in SQL.splitlines() if not line.lstrip().startswith("--")]

    assert not [line for line in statements if line.lstrip().startswith(keyword)]
    assert keyword != "PASSWORD '" or keyword not in "\n".join(statements)
