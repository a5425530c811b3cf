"""Brings the database to the schema of this release: `python -m syntera_operator.stores.migrate`.

A process of its own, so that Alembic and SQLAlchemy stay out of the operator's memory. It logs in as the operator, waits
for its turn by an advisory lock, becomes the tables' owner and runs what revisions are missing, each in a transaction.
Nothing happens where nothing is missing, nor where a later release has been already.

Reads `SYNTERA_POSTGRESQL_URL` and `SYNTERA_POSTGRESQL_PASSWORD_FILE`. Exit codes, from sysexits.h:

* 0: the schema is that of this release, or a later one,
* 69: PostgreSQL does not answer, or another migration or a long transaction is in the way; try again,
* 77: PostgreSQL refuses; most likely the bootstrap SQL was not run in this database,
* 78: the settings are missing or malformed,
* 70: a revision failed, which is a defect.
"""

import asyncio
import logging
import os
import sys
import time
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from .faults import POSTGRESQL_UNAVAILABLE
from .passwords import password_source

_LOG = logging.getLogger("syntera.migrate")

_ADVISORY_LOCK = 0x53594E54455241
""""SYNTERA" in ASCII; any number that nobody else takes in this database."""
_CONNECT_TIMEOUT_SECONDS = 10
_TURN_TIMEOUT_SECONDS = 60
"""How long to wait for another migration to end."""
_ASK_AGAIN_SECONDS = 0.2
_LOCK_TIMEOUT_SECONDS = 5
"""How long a revision may wait for a table; everybody else's queries queue up behind it meanwhile."""

_REFUSED = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidSchemaNameError,
    asyncpg.UndefinedObjectError,
    asyncpg.InvalidParameterValueError,
)


class MigrationSettings(BaseSettings):
    """Where the database is; the same variables as the operator's."""

    model_config = SettingsConfigDict(env_prefix="SYNTERA_", extra="ignore", frozen=True)

    postgresql_url: str
    postgresql_password_file: Path | None = None


async def migrate(settings: MigrationSettings) -> None:
    """Run the revisions that the database lacks.

    Raises:
        OSError, TimeoutError, asyncpg.PostgresError, sqlalchemy.exc.DBAPIError: whatever was in the way.
    """
    engine = create_async_engine("postgresql+asyncpg://", async_creator=lambda: _connect(settings), poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


def exit_code(error: BaseException) -> int:
    """How the process ends after an error of asyncpg's or the operating system's."""
    if isinstance(error, asyncpg.ClientConfigurationError):
        return os.EX_CONFIG
    if isinstance(error, POSTGRESQL_UNAVAILABLE):
        return os.EX_UNAVAILABLE
    if isinstance(error, _REFUSED):
        return os.EX_NOPERM
    return os.EX_SOFTWARE


async def _connect(settings: MigrationSettings) -> asyncpg.Connection:
    connection = await asyncpg.connect(
        settings.postgresql_url,
        password=password_source(settings.postgresql_password_file),
        timeout=_CONNECT_TIMEOUT_SECONDS,
        server_settings={"application_name": "syntera-migrate"},
    )
    try:
        await _wait_for_turn(connection)
        await connection.execute(f"SET lock_timeout = '{_LOCK_TIMEOUT_SECONDS}s'")
        await connection.execute("SET ROLE syntera_owner")
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _wait_for_turn(connection: asyncpg.Connection) -> None:
    """Ask again and again instead of waiting inside a statement: an index that is built beside everybody's work waits for
    every statement that began before, and the one who builds it holds the lock."""
    deadline = time.monotonic() + _TURN_TIMEOUT_SECONDS
    while not await connection.fetchval(f"SELECT pg_try_advisory_lock({_ADVISORY_LOCK})"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"another migration has been going on for {_TURN_TIMEOUT_SECONDS} seconds")
        await asyncio.sleep(_ASK_AGAIN_SECONDS)


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", "syntera_operator.stores:migrations")
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection, opts={"version_table_schema": "syntera"}).get_current_revision()
    connection.commit()
    if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
        _LOG.info("schema %s is of a later release; left as it is", current)
        return
    command.upgrade(config, "head")
    _LOG.info("schema was %s and is %s", current or "empty", scripts.get_current_head())


def main() -> int:
    """Migrate and tell by the exit code how it went."""
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("alembic.runtime").setLevel(logging.WARNING)
    try:
        settings = MigrationSettings()
    except ValidationError as exc:
        _LOG.error("settings: %s", "; ".join(f"{error['loc'][0]}: {error['msg']}" for error in exc.errors()))
        return os.EX_CONFIG
    try:
        asyncio.run(migrate(settings))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, DBAPIError) as exc:
        # SQLAlchemy wraps the driver's errors twice.
        error = exc.orig.__cause__ or exc if isinstance(exc, DBAPIError) and exc.orig is not None else exc
        code = exit_code(error)
        _LOG.error("%s: %s", type(error).__name__, error, exc_info=code == os.EX_SOFTWARE)
        return code
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
