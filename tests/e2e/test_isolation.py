"""Two tenants on one cluster, each blind to the other: with the real credentials from their own Secrets.

Nothing smaller would do: what is tried is the whole chain from the operator's Secrets to the stores' walls.
"""

from collections.abc import Callable
from urllib.parse import urlsplit

import asyncpg
import pytest
import redis

from syntera_dev.demo.showcase import port_forward
from tests.support.e2e import TenantUnderTest, redirected

pytestmark = pytest.mark.cluster


async def test_tenants_are_blind_to_each_other(new_tenant: Callable[..., TenantUnderTest]) -> None:
    alpha, beta = new_tenant("alpha"), new_tenant("beta")
    beta.apply_agent("secretive")
    beta.wait("agent/secretive")
    with beta.client() as client:
        conversation = client.post("/v1/agents/secretive/conversations", json={}).raise_for_status().json()
        path = f"/v1/conversations/{conversation['id']}"
        client.post(f"{path}/messages", json={"content": "for beta alone"}).raise_for_status()

    with beta.client(key=alpha.secret("syntera-admin")["api-key"]) as intruder:
        assert intruder.get("/v1/agents").status_code == 401
    with alpha.client() as client:
        assert client.get(path).status_code == 404
        assert client.get("/v1/agents").json()["items"] == []

    await _postgresql_shows_nothing(alpha)
    _redis_refuses(alpha, beta)


async def _postgresql_shows_nothing(tenant: TenantUnderTest) -> None:
    async with tenant.postgresql() as connection:
        for table in ("conversations", "turns", "messages"):
            assert await connection.fetchval(f"SELECT count(*) FROM syntera.{table}") == 0
        assert await connection.fetchval("SELECT count(*) FROM syntera.api_keys") == 1
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("SELECT * FROM syntera.tenants")


def _redis_refuses(alpha: TenantUnderTest, beta: TenantUnderTest) -> None:
    own = urlsplit(alpha.secret("syntera-stores")["redis-url"])
    foreign = urlsplit(beta.secret("syntera-stores")["redis-url"])
    assert own.username
    assert foreign.username
    with (
        port_forward(alpha.kubectl, "syntera-stores", service="redis", port=6379) as forwarded,
        redis.Redis.from_url(redirected(own.geturl(), forwarded)) as client,
    ):
        client.set(f"t:{own.username.removeprefix('t_')}:probe", "mine")
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.get(f"t:{foreign.username.removeprefix('t_')}:probe")
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command("KEYS", "*")
