"""Tenants' logins in PostgreSQL: made, kept as they should be, closed and dropped.

A login is a member of `syntera_tenant` and inherits what that group may do, but cannot become it; row-level security tells
it from the others by its own name. PostgreSQL 16's membership options (ADMIN, INHERIT, SET) say this, not the role's
own attributes: NOINHERIT keeps it from inheriting anything that somebody grants it later.
"""

from dataclasses import dataclass
from uuid import UUID

import asyncpg

from syntera_crds.contract.names import tenant_login
from syntera_operator.errors import StoreRefused

from .faults import POSTGRESQL
from .passwords import make_password, scram_verifier
from .postgresql import Postgresql, Session
from .urls import password_in, with_credentials

_READ = """
    SELECT r.rolcanlogin AND NOT r.rolinherit AND NOT r.rolcreaterole AS attributes_right,
      r.rolsuper OR r.rolbypassrls OR r.rolreplication OR r.rolcreatedb AS passes_walls,
      r.rolcanlogin AS can_log_in,
      r.rolconnlimit AS connection_limit,
      EXISTS (
        SELECT FROM pg_catalog.pg_db_role_setting s
        WHERE s.setrole = r.oid AND s.setdatabase IN (0, d.oid)
      ) AS has_settings,
      pg_catalog.quote_ident(d.datname) AS database,
      EXISTS (
        SELECT FROM pg_catalog.pg_auth_members m
        WHERE m.member = r.oid AND m.roleid = 'syntera_tenant'::regrole
          AND m.inherit_option AND NOT m.set_option AND NOT m.admin_option
      ) AS is_tenant
    FROM pg_catalog.pg_roles r, pg_catalog.pg_database d
    WHERE r.rolname = $1 AND d.datname = pg_catalog.current_database()
"""


@dataclass(frozen=True, slots=True)
class _Role:
    """A login as it is."""

    attributes_right: bool
    passes_walls: bool
    can_log_in: bool
    connection_limit: int
    has_settings: bool
    database: str
    is_tenant: bool


class Logins:
    """The logins of all tenants. Names are made of UUIDs alone, so no identifier here can hold SQL."""

    def __init__(self, postgresql: Postgresql) -> None:
        self._postgresql = postgresql

    async def ensure(self, tenant_id: UUID, *, current_url: str | None) -> str:
        """Make sure that the tenant can log in, with the password of `current_url` if there is one; the URL to do so.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
            StoreRefused: PostgreSQL refused, or the login passes the walls.
        """
        settings = self._postgresql.settings
        login = tenant_login(tenant_id)
        kept = password_in(current_url) if current_url else None
        password = kept or make_password()
        async with self._postgresql.session() as connection:
            role = await _read(connection, login)
            repairs = _repairs(login, role, connection_limit=settings.connection_limit)
            if kept is None or role is None:
                repairs.append(_set_password(login, password))
            await _run(connection, repairs)
        if not await self._postgresql.logs_in(user=login, password=password):
            # The tenant may change its own password; what the Secret says holds.
            async with self._postgresql.session() as connection:
                await connection.execute(_set_password(login, password))
            if not await self._postgresql.logs_in(user=login, password=password):
                raise StoreRefused(
                    f"PostgreSQL does not let {login!r} in with the password that was just set; check pg_hba.conf",
                    store=POSTGRESQL,
                )
        return with_credentials(settings.tenant_url or settings.url, user=login, password=password)

    async def close(self, tenant_id: UUID) -> None:
        """Let the tenant in no more and end its sessions. The login stays.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
            StoreRefused: PostgreSQL refused.
        """
        login = tenant_login(tenant_id)
        async with self._postgresql.session() as connection:
            role = await _read(connection, login)
            if role is None:
                return
            if role.can_log_in:
                await connection.execute(f'ALTER ROLE "{login}" NOLOGIN')
            await self._end_sessions(connection, login)

    async def drop(self, tenant_id: UUID) -> None:
        """Remove the login, which was closed before, with what the tenant left behind that hangs on it.

        A tenant owns nothing that holds data, but it can always set default privileges for itself, and PostgreSQL keeps
        a role that some depend on.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
            StoreRefused: PostgreSQL refused, because the login owns something in another database, for example.
        """
        login = tenant_login(tenant_id)
        async with self._postgresql.session() as connection, connection.transaction():
            if await connection.fetchrow("SELECT FROM pg_catalog.pg_roles WHERE rolname = $1", login) is None:
                return
            await connection.execute(_take_rights_of(login))
            await connection.execute(f'DROP OWNED BY "{login}"')
            await connection.execute(f'DROP ROLE "{login}"')

    async def _end_sessions(self, connection: Session, login: str) -> None:
        """End the login's sessions and wait until they are gone.

        Only who has a role's rights may end its sessions: the operator gives itself the tenant's for the moment, in a
        transaction that is never committed.
        """
        wait = int(self._postgresql.settings.deadline_seconds * 500)
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute(_take_rights_of(login))
            await connection.execute(
                "SELECT pg_terminate_backend(pid, $2) FROM pg_catalog.pg_stat_activity WHERE usename = $1", login, wait
            )
        finally:
            await transaction.rollback()


async def _read(connection: Session, login: str) -> _Role | None:
    row: asyncpg.Record | None = await connection.fetchrow(_READ, login)
    if row is None:
        return None
    role = _Role(**row)
    if role.passes_walls:
        raise StoreRefused(
            f"login {login!r} is SUPERUSER, BYPASSRLS, REPLICATION or CREATEDB, so no wall holds it; take that away from it",
            store=POSTGRESQL,
        )
    return role


def _repairs(login: str, role: _Role | None, *, connection_limit: int) -> list[str]:
    """The statements that make the login what it should be; none if it is."""
    attributes = f"LOGIN NOINHERIT NOCREATEROLE CONNECTION LIMIT {connection_limit}"
    statements = []
    if role is None:
        statements.append(f'CREATE ROLE "{login}" {attributes}')
    elif not role.attributes_right or role.connection_limit != connection_limit:
        statements.append(f'ALTER ROLE "{login}" {attributes}')
    if role is None or not role.is_tenant:
        statements.append(f'GRANT syntera_tenant TO "{login}" WITH ADMIN FALSE, INHERIT TRUE, SET FALSE')
    if role is not None and role.has_settings:
        # A tenant may set defaults for its own sessions, and lock itself out with them.
        statements += [f'ALTER ROLE "{login}" RESET ALL', f'ALTER ROLE "{login}" IN DATABASE {role.database} RESET ALL']
    return statements


def _take_rights_of(login: str) -> str:
    return f'GRANT "{login}" TO CURRENT_USER WITH INHERIT TRUE, SET FALSE'


def _set_password(login: str, password: str) -> str:
    return f"ALTER ROLE \"{login}\" PASSWORD '{scram_verifier(password)}'"


async def _run(connection: Session, statements: list[str]) -> None:
    if statements:
        async with connection.transaction():
            for statement in statements:
                await connection.execute(statement)
