"""Sockets of two servers told together, through a real Redis as the tenant's own user."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import socketio

from syntera_crds.contract.names import tenant_login
from syntera_runtime.adapters.redis import socket_manager
from syntera_runtime.adapters.redis.keys import sockets_channel
from syntera_runtime.adapters.redis.socket_manager import RedisSocketManager
from tests.runtime.redis import TenantRedis, ensure_user, tenant_redis
from tests.support.redis_server import RedisServer

PATIENCE = 10


class Heard(RedisSocketManager):
    """A manager that knows what came from others."""

    def __init__(self, made: TenantRedis) -> None:
        super().__init__(made.client, made.tenant_id)
        self.heard: asyncio.Queue[Any] = asyncio.Queue()

    async def _handle_emit(self, message: Any) -> None:
        if message["host_id"] != self.host_id:
            await self.heard.put((message["event"], message["data"], message["room"]))


@asynccontextmanager
async def managing(made: TenantRedis) -> AsyncIterator[Heard]:
    """A server's manager, at work and subscribed."""
    manager = Heard(made)
    socketio.AsyncServer(async_mode="asgi", client_manager=manager)
    manager.initialize()
    try:
        await subscribed(made)
        yield manager
    finally:
        await manager.aclose()


async def subscribed(made: TenantRedis, count: int = 1) -> None:
    """Return when so many at least hear the tenant's channel."""
    channel = sockets_channel(made.tenant_id)
    async with made.administrator() as administrator, asyncio.timeout(PATIENCE):
        while dict(await administrator.pubsub_numsub(channel))[channel] < count:  # noqa: ASYNC110  # nobody announces it
            await asyncio.sleep(0.01)


async def hear(manager: Heard) -> Any:
    async with asyncio.timeout(PATIENCE):
        return await manager.heard.get()


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Managers come back sooner than they would."""
    monkeypatch.setattr(socket_manager, "RETRY_SECONDS", 0.05)


async def test_what_one_emits_the_other_s_sockets_are_told(made: TenantRedis) -> None:
    async with managing(made) as one, managing(made) as other:
        await subscribed(made, 2)
        await one.emit("typing", {"is": True}, room=["a"])
        await one.emit("presence", {"n": 1}, room=["b"])
        assert [await hear(other), await hear(other)] == [
            ("typing", [{"is": True}], ["a"]),
            ("presence", [{"n": 1}], ["b"]),
        ]
        assert one.heard.empty()


async def test_nothing_is_refused_by_the_tenant_s_rights(made: TenantRedis) -> None:
    async with managing(made) as one, managing(made) as other:
        await subscribed(made, 2)
        await one.emit("typing", {}, room=["a"])
        await hear(other)
    async with made.administrator() as administrator:
        denied = [entry for entry in await administrator.acl_log() if entry["username"] == tenant_login(made.tenant_id)]
    assert denied == []


async def test_other_tenants_hear_nothing_and_cannot_listen(
    made: TenantRedis, redis_server: RedisServer, tmp_path: Path
) -> None:
    async with (
        tenant_redis(redis_server, tmp_path, seconds=10) as stranger,
        managing(made) as one,
        managing(stranger) as other,
    ):
        async with stranger.client.operation("test") as redis:
            with pytest.raises(Exception, match=r"(?i)permission"):
                await redis.publish(sockets_channel(made.tenant_id), "{}")
        await one.emit("typing", {}, room=["a"])
        await other.emit("presence", {}, room=["a"])
        async with managing(stranger) as third:
            await subscribed(stranger, 2)
            await third.emit("last", {}, room=["a"])
            assert (await hear(other))[0] == "last"


async def test_library_s_own_manager_speaks_the_same(made: TenantRedis) -> None:
    stock = socketio.AsyncRedisManager(
        made.url_file.read_text(), channel=sockets_channel(made.tenant_id), write_only=True
    )
    async with managing(made) as one:
        await stock.emit("typing", {"is": True}, room="a")
        assert await hear(one) == ("typing", [{"is": True}], "a")
    await stock.redis.aclose()


async def test_manager_comes_back_when_the_server_was_restarted(own_server: RedisServer, tmp_path: Path) -> None:
    async with tenant_redis(own_server, tmp_path, seconds=60) as made, managing(made) as one, managing(made) as other:
        await subscribed(made, 2)
        own_server.stop()
        async with asyncio.timeout(PATIENCE):  # nobody waits for a server that is away
            await one.emit("lost", {}, room=["a"])
            while not one._is_away:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        own_server.start()
        await ensure_user(own_server, made.tenant_id, made.url_file)
        await subscribed(made, 2)
        await one.emit("typing", {}, room=["a"])
        assert (await hear(other))[0] == "typing"


async def test_silent_server_is_asked_for_a_sign_of_life_and_given_up_without_one(
    made: TenantRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_manager, "QUIET_SECONDS", 0.05)
    async with managing(made) as one, managing(made) as other:
        await subscribed(made, 2)
        channel = sockets_channel(made.tenant_id)
        async with made.administrator() as administrator:
            before = {client["id"] for client in await administrator.client_list(_type="pubsub")}
            await asyncio.sleep(0.3)  # several times as long as it may be silent
            assert {client["id"] for client in await administrator.client_list(_type="pubsub")} >= before
            monkeypatch.setattr(socket_manager, "LOST_SECONDS", -1)
            async with asyncio.timeout(PATIENCE):
                while before & {client["id"] for client in await administrator.client_list(_type="pubsub")}:  # noqa: ASYNC110  # nobody announces it
                    await asyncio.sleep(0.01)
            monkeypatch.setattr(socket_manager, "LOST_SECONDS", 10)
            await subscribed(made, 2)
            assert channel in await administrator.pubsub_channels(channel)
        async with asyncio.timeout(PATIENCE):
            while other.heard.empty():  # a subscription that was just being given up may have been counted
                await one.emit("typing", {}, room=["a"])
                await asyncio.sleep(0.05)
        assert (await hear(other))[0] == "typing"
