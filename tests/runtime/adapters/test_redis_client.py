"""The Redis client: what happens when the server, the user or the mounted file is not there."""

import asyncio
import socket
import time
from pathlib import Path

import pytest
import redis.asyncio

from syntera_crds.contract.names import redis_key_prefix, tenant_login
from syntera_runtime.adapters.redis.client import RedisClient
from syntera_runtime.errors import StoreUnavailable
from syntera_runtime.metrics import Metrics
from syntera_runtime.otlp import OtlpTracer
from tests.runtime.redis import TenantRedis, ensure_user, tenant_redis
from tests.support.redis_server import RedisServer
from tests.support.spans import RecordedSpans, attributes


async def ping(client: RedisClient) -> None:
    async with client.operation("test") as redis:
        await redis.ping()


def make_client(url_file: Path, *, seconds: float = 10) -> RedisClient:
    return RedisClient(url_file, connections=2, seconds=seconds, application="test")


async def test_store_is_unavailable_when_the_file_is_not_there_yet(made: TenantRedis, tmp_path: Path) -> None:
    file = tmp_path / "later"
    async with make_client(file) as client:
        with pytest.raises(StoreUnavailable, match="holds no URL") as caught:
            await ping(client)
        assert caught.value.store == "Redis"
        file.write_text(made.url_file.read_text())  # a test's own file
        await ping(client)


@pytest.mark.parametrize(
    "text", ["", "secret", "http://t:secret@127.0.0.1", "redis://t:secret@[::1", "redis://t:secret@127.0.0.1:x/0"]
)
async def test_store_is_unavailable_when_the_file_holds_no_url(tmp_path: Path, text: str) -> None:
    file = tmp_path / "url"
    file.write_text(text)
    async with make_client(file) as client:
        with pytest.raises(StoreUnavailable) as caught:
            await ping(client)
    assert "secret" not in f"{caught.value} {caught.value.__cause__}"


async def test_store_is_unavailable_when_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    file = tmp_path / "url"
    file.write_text(f"redis://t:secret@127.0.0.1:{port}/0")
    async with make_client(file) as client:
        with pytest.raises(StoreUnavailable):
            await ping(client)


async def test_store_is_unavailable_in_time_when_the_server_does_not_answer(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        file = tmp_path / "url"
        file.write_text(f"redis://t:secret@127.0.0.1:{silent.getsockname()[1]}/0")
        started = time.monotonic()
        async with make_client(file, seconds=0.2) as client:
            for _ in range(4):  # more than there are connections: none is lost to a login that never ended
                with pytest.raises(StoreUnavailable):
                    await ping(client)
    assert time.monotonic() - started < 10


async def test_user_that_is_gone_is_used_again_when_it_is_back(made: TenantRedis) -> None:
    await ping(made.client)
    async with made.administrator() as administrator:
        await administrator.acl_deluser(tenant_login(made.tenant_id))
    with pytest.raises(StoreUnavailable):
        await ping(made.client)
    await ensure_user(made.server, made.tenant_id, made.url_file)
    await ping(made.client)


async def test_new_password_is_used_for_the_next_connection(made: TenantRedis) -> None:
    await ping(made.client)
    async with made.administrator() as administrator:
        await administrator.acl_deluser(tenant_login(made.tenant_id))
    made.url_file.unlink()
    await ensure_user(made.server, made.tenant_id, made.url_file)
    await ping(made.client)


async def test_client_follows_its_url_to_another_server(made: TenantRedis, own_server: RedisServer) -> None:
    await ping(made.client)
    await ensure_user(own_server, made.tenant_id, made.url_file)
    async with made.administrator() as administrator:
        await administrator.acl_deluser(tenant_login(made.tenant_id))
    key = f"{redis_key_prefix(made.tenant_id)}here"
    for _ in range(2):  # the first may still find the lost connection
        try:
            async with made.client.operation("test") as client:
                await client.set(key, "1")
        except StoreUnavailable:
            continue
    async with redis.asyncio.Redis.from_url(own_server.url, decode_responses=True) as elsewhere:
        assert await elsewhere.get(key) == "1"


async def test_client_goes_on_when_the_server_was_restarted(own_server: RedisServer, tmp_path: Path) -> None:
    async with tenant_redis(own_server, tmp_path, seconds=10) as made:
        await ping(made.client)
        own_server.stop()
        with pytest.raises(StoreUnavailable):
            await ping(made.client)
        own_server.start()
        await ping(made.client)


async def test_connections_are_no_more_than_allowed_and_free_again_after_a_cancellation(made: TenantRedis) -> None:
    async def wait() -> None:
        async with made.client.operation("test") as client:
            await client.blpop([f"{redis_key_prefix(made.tenant_id)}never"], timeout=30)

    waiting = [asyncio.create_task(wait()) for _ in range(4)]
    async with made.administrator() as administrator:

        async def count() -> int:
            clients = await administrator.client_list()
            return len([one for one in clients if one["user"] == tenant_login(made.tenant_id)])

        async with asyncio.timeout(5):
            while await count() < 4:  # noqa: ASYNC110  # nobody announces it
                await asyncio.sleep(0.01)
        late = asyncio.create_task(ping(made.client))
        await asyncio.sleep(0.05)
        assert not late.done()
        assert await count() == 4
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await late


async def test_use_ends_when_it_is_cancelled_at_any_moment(made: TenantRedis) -> None:
    for steps in range(40):
        async with make_client(made.url_file) as client:

            async def wait(client: RedisClient = client) -> None:
                async with client.operation("test") as redis:
                    await redis.blpop([f"{redis_key_prefix(made.tenant_id)}never"], timeout=30)

            waiting = asyncio.create_task(wait())
            for _ in range(steps):
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting], timeout=5)
            assert waiting.cancelled()
            await ping(client)


async def test_uses_are_counted_and_timed(made: TenantRedis) -> None:
    await ping(made.client)
    made.url_file.write_text("")  # a test's own file
    async with make_client(made.url_file) as lost:
        with pytest.raises(StoreUnavailable):
            await ping(lost)
        assert _count(lost._metrics, "store-unavailable") == 1
    assert _count(made.metrics, "success") == 1
    sample = made.metrics.registry.get_sample_value
    assert sample("syntera_store_request_duration_seconds_count", {"store": "Redis"}) == 1
    assert sample("syntera_store_wait_seconds_count", {"store": "Redis"}) == 1


async def test_use_is_a_span_that_names_what_for(made: TenantRedis) -> None:
    recorded = RecordedSpans()
    tracer = OtlpTracer(recorded.provider)
    async with RedisClient(made.url_file, connections=1, seconds=10, application="test", tracer=tracer) as client:
        await ping(client)
        async with client.operation("often", is_traced=False) as redis:
            await redis.ping()
    assert len(recorded.all) == 1
    span = recorded.one("test")
    assert attributes(span) == {"db.system.name": "redis", "db.operation.name": "test"}


def _count(metrics: Metrics, outcome: str) -> float | None:
    labels = {"store": "Redis", "operation": "test", "outcome": outcome}
    return metrics.registry.get_sample_value("syntera_store_requests_total", labels)
