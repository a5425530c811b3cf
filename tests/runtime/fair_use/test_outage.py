"""Redis goes away and comes back: requests and streams pass meanwhile, soon, and are limited again after."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from syntera_crds.contract.tenant_config import Limits, TenantConfig
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.adapters.redis.rate_limits import RedisRateLimits
from syntera_runtime.api.app import build_public_app
from syntera_runtime.services import Services
from tests.runtime.builders import make_services, put_key
from tests.runtime.fakes import FakeCatalogue
from tests.runtime.redis import TenantRedis, tenant_redis
from tests.support.redis_server import RedisServer

DEADLINE_SECONDS = 5.0
"""Longer than usual: a busy machine must not look like an outage."""
SOON_SECONDS = 30.0


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server of the test's own, which it may stop."""
    server = RedisServer(RedisServer.default_binary())
    server.start()
    yield server
    server.remove()


@pytest.fixture
async def made(server: RedisServer, tmp_path: Path) -> AsyncIterator[TenantRedis]:
    """A tenant of that server."""
    async with tenant_redis(server, tmp_path, seconds=10) as made:
        yield made


@pytest.fixture
def store() -> MemoryStore:
    """All stores but Redis."""
    return MemoryStore()


@pytest.fixture
async def services(made: TenantRedis, store: MemoryStore) -> AsyncIterator[Services]:
    """A tenant with limits."""
    limits = Limits(requests_per_minute=2, requests_per_minute_per_address=1000, concurrent_streams=1)
    agents = FakeCatalogue(tenant=TenantConfig(name="acme", display_name="Acme", limits=limits))
    rate_limits = RedisRateLimits(made.client, seconds=DEADLINE_SECONDS)
    services = make_services(store, tenant_id=made.tenant_id, agents=agents, rate_limits=rate_limits)
    yield services
    await services.runner.aclose()


@pytest.fixture
async def client(made: TenantRedis, services: Services, store: MemoryStore) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a key."""
    headers = {"Authorization": f"Bearer {put_key(store, made.tenant_id)}"}
    transport = httpx.ASGITransport(app=build_public_app(services))
    async with httpx.AsyncClient(transport=transport, base_url="http://runtime", headers=headers) as client:
        yield client


async def ask(client: httpx.AsyncClient) -> int:
    """The status of a request that is answered soon."""
    async with asyncio.timeout(SOON_SECONDS):
        return (await client.get("/v1/agents")).status_code


def unchecked(services: Services) -> float | None:
    return services.metrics.registry.get_sample_value("syntera_rate_limits_unchecked_total")


async def test_requests_pass_when_redis_is_stopped_and_are_limited_when_it_is_back(
    client: httpx.AsyncClient, services: Services, server: RedisServer
) -> None:
    assert await ask(client) == 200
    server.stop()
    assert [await ask(client) for _ in range(5)] == [200] * 5
    assert unchecked(services) == 5
    server.start()
    assert [await ask(client) for _ in range(3)] == [200, 200, 429]
    assert unchecked(services) == 5


async def test_requests_pass_soon_when_redis_hangs(
    client: httpx.AsyncClient, services: Services, server: RedisServer
) -> None:
    assert await ask(client) == 200
    server.pause()
    assert await asyncio.gather(*(ask(client) for _ in range(20))) == [200] * 20
    assert unchecked(services) == 20


async def test_streams_open_when_redis_is_stopped(services: Services, server: RedisServer) -> None:
    server.stop()
    async with asyncio.timeout(SOON_SECONDS), services.stream_slots.hold(), services.stream_slots.hold():
        assert unchecked(services) == 2
