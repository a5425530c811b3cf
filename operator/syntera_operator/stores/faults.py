"""What errors of the stores' clients mean: is the store away, so that trying again helps, or does it refuse?"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import asyncpg
import redis.exceptions

from syntera_operator.errors import StoreRefused, StoreUnavailable

POSTGRESQL = "PostgreSQL"
REDIS = "Redis"

StoreObserver = Callable[[str, str | None, float], None]
"""Told of each use of a store: which one, the code of the fault or None, and the seconds that it took."""

POSTGRESQL_UNAVAILABLE = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,
    # Lost a race against another writer, who is the next leader most likely.
    asyncpg.UniqueViolationError,
    asyncpg.DuplicateObjectError,
    asyncpg.InternalServerError,
)
"""Connection lost or not made, time is up (`TimeoutError` is an `OSError`), server starting, stopping, full or demoted to
a standby, lost a race. The next try may meet a better moment."""

_NOT_MIGRATED = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.UndefinedFunctionError)


@contextmanager
def observed(store: str, observer: StoreObserver | None) -> Iterator[None]:
    """Around one use of a store, outside of what translates its faults."""
    started = time.monotonic()
    code: str | None = None
    try:
        yield
    except asyncio.CancelledError:
        code = "cancelled"
        raise
    except (StoreUnavailable, StoreRefused) as exc:
        code = exc.code
        raise
    finally:
        if observer is not None:
            observer(store, code, time.monotonic() - started)


@contextmanager
def postgresql_faults() -> Iterator[None]:
    """Translate whatever asyncpg raises inside.

    Raises:
        StoreUnavailable: PostgreSQL does not answer, or its schema is not there yet.
        StoreRefused: PostgreSQL answered and refused.
    """
    try:
        yield
    except TimeoutError as exc:
        raise StoreUnavailable("PostgreSQL does not answer in time", store=POSTGRESQL) from exc
    except asyncpg.ClientConfigurationError as exc:
        raise StoreRefused(f"PostgreSQL's URL cannot be used: {exc}", store=POSTGRESQL) from exc
    except POSTGRESQL_UNAVAILABLE as exc:
        raise StoreUnavailable(f"PostgreSQL is not available: {exc}", store=POSTGRESQL) from exc
    except _NOT_MIGRATED as exc:
        raise StoreUnavailable(
            f"PostgreSQL lacks the schema of this release yet, see the migrations' log: {exc}", store=POSTGRESQL
        ) from exc
    except asyncpg.PostgresError as exc:
        raise StoreRefused(
            f"PostgreSQL refused: {exc}; check that bootstrap.sql was run in this database", store=POSTGRESQL
        ) from exc


@contextmanager
def redis_faults() -> Iterator[None]:
    """Translate whatever the Redis client raises inside.

    Raises:
        StoreUnavailable: Redis does not answer.
        StoreRefused: Redis answered and refused.
    """
    try:
        yield
    except (TimeoutError, redis.exceptions.TimeoutError) as exc:
        raise StoreUnavailable("Redis does not answer in time", store=REDIS) from exc
    except (redis.exceptions.AuthenticationError, redis.exceptions.AuthorizationError) as exc:
        raise StoreRefused(f"Redis refused the operator's user: {exc}", store=REDIS) from exc
    except (OSError, redis.exceptions.ConnectionError, redis.exceptions.ReadOnlyError) as exc:
        raise StoreUnavailable(f"Redis is not available: {exc}", store=REDIS) from exc
    except redis.exceptions.RedisError as exc:
        raise StoreRefused(f"Redis refused: {exc}", store=REDIS) from exc
