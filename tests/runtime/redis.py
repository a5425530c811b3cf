"""Redis as a runtime finds it: a tenant's own ACL user on a real server, and its URL in a file."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import redis.asyncio

from syntera_operator.stores.redis_acl import RedisSettings, RedisUsers
from syntera_runtime.adapters.redis.client import RedisClient
from syntera_runtime.adapters.redis.event_log import RedisEventLog
from syntera_runtime.adapters.redis.rate_limits import RedisRateLimits
from syntera_runtime.adapters.redis.turn_register import RedisTurnRegister
from syntera_runtime.metrics import Metrics
from syntera_runtime.models.ids import TenantId
from tests.support.redis_server import RedisServer


@dataclass(frozen=True, slots=True)
class TenantRedis:
    """One tenant's Redis."""

    tenant_id: TenantId
    server: RedisServer
    url_file: Path
    client: RedisClient
    metrics: Metrics

    @property
    def events(self) -> RedisEventLog:
        """The event log."""
        return RedisEventLog(self.client)

    @property
    def register(self) -> RedisTurnRegister:
        """The register of running turns."""
        return RedisTurnRegister(self.client)

    @property
    def rate_limits(self) -> RedisRateLimits:
        """The counts of limits."""
        return RedisRateLimits(self.client)

    @asynccontextmanager
    async def administrator(self) -> "AsyncIterator[redis.asyncio.Redis]":
        """A client that may do everything."""
        async with redis.asyncio.Redis.from_url(self.server.url, decode_responses=True) as client:
            yield client


async def ensure_user(server: RedisServer, tenant_id: TenantId, url_file: Path) -> None:
    """Make the tenant's user, or make it anew, as the operator does."""
    users = RedisUsers(RedisSettings(url=server.url))
    try:
        _write(url_file, await users.ensure(tenant_id, current_url=_read(url_file)))
    finally:
        await users.aclose()


@asynccontextmanager
async def tenant_redis(
    server: RedisServer, folder: Path, *, tenant_id: TenantId | None = None, seconds: float = 2
) -> AsyncIterator[TenantRedis]:
    """A tenant on that server."""
    tenant_id = tenant_id or TenantId(uuid4())
    url_file = folder / f"redis-url-{tenant_id}"
    await ensure_user(server, tenant_id, url_file)
    metrics = Metrics()
    async with RedisClient(url_file, connections=4, seconds=seconds, application="test", metrics=metrics) as client:
        yield TenantRedis(tenant_id, server, url_file, client, metrics)


def _read(file: Path) -> str | None:
    return file.read_text() if file.exists() else None


def _write(file: Path, url: str) -> None:
    file.write_text(url)
