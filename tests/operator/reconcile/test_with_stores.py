"""Tenants in real stores: that the credentials in their Secrets let them in, and what a deletion leaves of them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import asyncpg
import pytest
import redis.asyncio

from syntera_crds.contract import names
from syntera_crds.contract.api_key import ApiKey
from syntera_operator.manifest import TENANTS
from syntera_operator.reconcile.context import Context
from syntera_operator.reconcile.tenant import reconcile_tenant
from syntera_operator.stores.postgresql import PostgresqlSettings
from syntera_operator.stores.redis_acl import RedisSettings
from syntera_operator.stores.tenant_stores import TenantStores
from tests.support.apiserver import unique_name
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_knowledge import FakeKnowledge
from tests.support.fake_runtimes import FakeRuntimes
from tests.support.make import make_tenant_manifest
from tests.support.postgresql import Database
from tests.support.redis_server import RedisServer

from .conftest import make_settings

DELETED = "2026-01-02T00:00:00Z"


@dataclass
class Installation:
    """A cluster in memory with one Tenant, and real stores."""

    stores: TenantStores
    name: str = field(default_factory=lambda: unique_name("acme"))
    cluster: FakeCluster = field(default_factory=FakeCluster)

    async def reconcile(self) -> None:
        """With nothing remembered of earlier times."""
        await reconcile_tenant(
            self.name, Context(self.cluster, self.stores, FakeKnowledge(), FakeRuntimes(), make_settings())
        )

    async def create(self, *, uid: str = "uid-first", policy: str = "Retain") -> None:
        self.cluster.put(make_tenant_manifest(self.name, uid=uid, deletionPolicy=policy))
        await self.reconcile()

    async def delete(self) -> None:
        self.cluster.get(TENANTS, None, self.name)["metadata"]["deletionTimestamp"] = DELETED
        await self.reconcile()

    async def secret(self) -> dict[str, str]:
        found = await self.cluster.own_secret(self.name, names.STORES_SECRET)
        assert found is not None
        return found

    async def conditions(self) -> dict[str, str]:
        tenant = self.cluster.get(TENANTS, None, self.name)
        return {one["type"]: one["status"] for one in tenant["status"]["conditions"]}


@pytest.fixture
async def installation(database: Database, redis_server: RedisServer) -> AsyncIterator[Installation]:
    postgresql = PostgresqlSettings(url=database.operator_dsn)
    async with TenantStores(postgresql, RedisSettings(url=redis_server.url)) as stores:
        yield Installation(stores)


async def run_in_database(url: str, statement: str) -> object:
    """One statement as the tenant."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def is_in_cache(url: str) -> bool:
    """Whether the tenant may use Redis."""
    async with redis.asyncio.Redis.from_url(url) as client:
        try:
            return bool(await client.ping())
        except redis.AuthenticationError:
            return False


async def test_tenant_gets_credentials_that_let_it_in(installation: Installation) -> None:
    await installation.create()
    secret = await installation.secret()
    tenant_id = installation.cluster.get(TENANTS, None, installation.name)["status"]["tenantID"]
    found = await run_in_database(secret[names.POSTGRESQL_URL_KEY], "SELECT syntera.current_tenant()")
    assert str(found) == tenant_id
    assert await is_in_cache(secret[names.REDIS_URL_KEY])
    admin = await installation.cluster.own_secret(installation.name, names.ADMIN_SECRET)
    assert admin is not None
    key = ApiKey.parse(admin[names.ADMIN_API_KEY_KEY])
    assert key is not None
    stored = await run_in_database(
        secret[names.POSTGRESQL_URL_KEY], f"SELECT hash FROM syntera.api_keys WHERE lookup = '{key.lookup}'"
    )
    assert isinstance(stored, bytes)
    assert key.matches(stored)


async def test_tenant_that_is_looked_at_again_keeps_its_credentials(installation: Installation) -> None:
    await installation.create()
    before = await installation.secret()
    installation.cluster.forget_writes()
    await installation.reconcile()
    assert await installation.secret() == before
    assert installation.cluster.writes == []


async def test_tenant_that_changed_its_password_is_let_in_with_the_one_in_its_secret_again(
    installation: Installation,
) -> None:
    await installation.create()
    url = (await installation.secret())[names.POSTGRESQL_URL_KEY]
    await run_in_database(url, "ALTER ROLE CURRENT_USER PASSWORD 'mine'")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await run_in_database(url, "SELECT 1")
    await installation.reconcile()
    assert await run_in_database(url, "SELECT 1") == 1


async def test_tenant_whose_redis_user_is_gone_gets_it_back(
    installation: Installation, redis_server: RedisServer
) -> None:
    await installation.create()
    url = (await installation.secret())[names.REDIS_URL_KEY]
    async with redis.asyncio.Redis.from_url(redis_server.url) as operator:
        user = url.partition("://")[2].partition(":")[0]
        await operator.acl_deluser(user)
    assert not await is_in_cache(url)
    await installation.reconcile()
    assert await is_in_cache(url)


async def test_deletion_with_retain_shuts_the_tenant_out_until_it_comes_back(installation: Installation) -> None:
    await installation.create()
    first_id = installation.cluster.get(TENANTS, None, installation.name)["status"]["tenantID"]
    secret = await installation.secret()
    await installation.delete()
    assert installation.cluster.list_names(TENANTS) == []
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await run_in_database(secret[names.POSTGRESQL_URL_KEY], "SELECT 1")
    assert not await is_in_cache(secret[names.REDIS_URL_KEY])

    await installation.create(uid="uid-second")
    assert installation.cluster.get(TENANTS, None, installation.name)["status"]["tenantID"] == first_id
    secret = await installation.secret()
    assert await run_in_database(secret[names.POSTGRESQL_URL_KEY], "SELECT 1") == 1


async def test_deletion_with_delete_leaves_a_receipt(installation: Installation, database: Database) -> None:
    await installation.create(policy="Delete")
    tenant_id = installation.cluster.get(TENANTS, None, installation.name)["status"]["tenantID"]
    await installation.delete()
    (told,) = [told for told in installation.cluster.events if told.reason == "Erased"]
    assert "1 api_keys" in told.message
    receipt = await run_in_database(
        database.superuser_dsn, f"SELECT completed_at FROM syntera.erasure_receipts WHERE tenant_id = '{tenant_id}'"
    )
    assert receipt is not None
    assert await installation.stores.find(installation.name) is None


async def test_tenants_are_made_side_by_side(installation: Installation) -> None:
    others = [Installation(installation.stores) for _ in range(4)]
    await asyncio.gather(*(one.create() for one in others))
    urls = {(await one.secret())[names.POSTGRESQL_URL_KEY] for one in others}
    assert len(urls) == len(others)
    assert all([(await one.conditions())["DatabaseReady"] == "True" for one in others])
