"""Stores that are down, forget, or were meddled with, as the whole operator meets them."""

import asyncio
import base64
import signal
from collections.abc import Iterator

import asyncpg
import pytest
import redis

from syntera_crds.contract import names
from syntera_kube.resources import NAMESPACES, SECRETS
from tests.support.apiserver import unique_name
from tests.support.gate import Gate
from tests.support.operator_site import Site
from tests.support.postgresql import Database
from tests.support.redis_server import RedisServer

from .work import is_quiet

pytestmark = [pytest.mark.api, pytest.mark.long]

ABANDON = {"metadata": {"annotations": {names.ABANDON_STORES_ANNOTATION: "true"}}}


@pytest.fixture
def gate(database: Database) -> Iterator[Gate]:
    """What stands before PostgreSQL."""
    with Gate(database.port) as gate:
        yield gate


@pytest.fixture
def settings(database: Database, gate: Gate) -> dict[str, str]:
    """The operator reaches PostgreSQL by the gate."""
    return {"SYNTERA_POSTGRESQL_URL": database.operator_dsn.replace(f":{database.port}/", f":{gate.port}/")}


def secret_of(site: Site, namespace: str, name: str = names.STORES_SECRET) -> dict[str, str]:
    """The entries of a tenant's Secret."""
    found = site.get(SECRETS.path(namespace=namespace, name=name)) or {}
    return {key: base64.b64decode(value).decode() for key, value in (found.get("data") or {}).items()}


def is_in_postgresql(url: str, statement: str = "SELECT 1") -> bool:
    """Whether the tenant may work in PostgreSQL."""

    async def work() -> bool:
        try:
            connection = await asyncpg.connect(url)
        except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError):
            return False
        await connection.execute(statement)
        await connection.close()
        return True

    return asyncio.run(work())


def is_in_redis(url: str) -> bool:
    """Whether the tenant may work in Redis."""
    with redis.Redis.from_url(url) as client:
        try:
            return bool(client.ping())
        except (redis.AuthenticationError, redis.ConnectionError):
            return False


def test_tenant_that_is_made_while_postgresql_is_down_is_provided_when_it_is_back(
    site: Site, gate: Gate, settings: dict[str, str]
) -> None:
    operator = site.start_leader(settings=settings)
    name = unique_name("acme")
    with gate.shut():
        tenant = site.make_tenant(name)
        operator.wait_until(lambda: site.conditions(tenant).get("DatabaseReady") == "False")
        condition = site.full_conditions(tenant)["DatabaseReady"]
        assert condition["reason"] == "Unavailable"
        assert "look after PostgreSQL" in condition["message"]
        assert site.conditions(tenant)["NamespaceReady"] == "True"

    operator.wait_until(site.is_provided(tenant))
    assert is_in_postgresql(secret_of(site, name)[names.POSTGRESQL_URL_KEY])


def test_finalizer_holds_while_postgresql_is_down_and_says_why(
    site: Site, gate: Gate, settings: dict[str, str]
) -> None:
    operator = site.start_leader(settings=settings)
    name = unique_name("acme")
    tenant = site.make_tenant(name, deletionPolicy="Delete")
    operator.wait_until(site.is_provided(tenant))
    with gate.shut():
        site.delete(tenant)
        operator.wait_until(lambda: site.conditions(tenant).get("DatabaseReady") == "False")
        conditions = site.full_conditions(tenant)
        assert conditions["Ready"]["reason"] == "Deleting"
        assert "Deletion waits for it" in conditions["DatabaseReady"]["message"]
        assert names.ABANDON_STORES_ANNOTATION in conditions["Ready"]["message"]
        assert names.TENANT_FINALIZER in (site.get(tenant) or {})["metadata"]["finalizers"]
        assert site.get(NAMESPACES.path(name=name)) is not None

    operator.wait_until(lambda: site.get(tenant) is None, seconds=120)
    assert site.get(NAMESPACES.path(name=name)) is None


def test_annotation_releases_a_tenant_whose_store_is_lost(site: Site, gate: Gate, settings: dict[str, str]) -> None:
    operator = site.start_leader(settings=settings)
    name = unique_name("acme")
    tenant = site.make_tenant(name)
    operator.wait_until(site.is_provided(tenant))
    with gate.shut():
        site.delete(tenant)
        operator.wait_until(lambda: site.conditions(tenant).get("DatabaseReady") == "False")
        site.merge(tenant, ABANDON)
        operator.wait_until(lambda: site.get(tenant) is None)

    events = site.server.send("GET", "/apis/events.k8s.io/v1/namespaces/default/events")["items"]
    assert "StoresAbandoned" in {event["reason"] for event in events if event["regarding"]["name"] == name}


def test_users_of_a_redis_that_lost_them_are_back_in_10_seconds(site: Site) -> None:
    forgetful = RedisServer(RedisServer.default_binary(), with_acl_file=False)
    forgetful.start()
    try:
        operator = site.start_leader(settings={"SYNTERA_REDIS_URL": forgetful.url})
        tenants = [unique_name("acme") for _ in range(3)]
        for name in tenants:
            operator.wait_until(site.is_provided(site.make_tenant(name)))
        urls = [secret_of(site, name)[names.REDIS_URL_KEY] for name in tenants]
        assert all(is_in_redis(url) for url in urls)

        operator.process.send_signal(signal.SIGSTOP)  # else it might be faster than the look
        forgetful.restart()
        assert not any(is_in_redis(url) for url in urls)
        operator.process.send_signal(signal.SIGCONT)
        assert operator.wait_until(lambda: all(is_in_redis(url) for url in urls)) <= 10
    finally:
        forgetful.remove()


def test_password_that_a_tenant_changed_and_credentials_that_were_lost_are_mended(site: Site) -> None:
    """The Secret that is deleted at once; a password, of which nobody tells, when the operator next looks."""
    operator = site.start_leader()
    name, locked_out = unique_name("acme"), unique_name("globex")
    tenants = [site.make_tenant(name), site.make_tenant(locked_out)]
    for tenant in tenants:
        operator.wait_until(site.is_provided(tenant))
    before, admin, signing = (
        secret_of(site, name, one) for one in (names.STORES_SECRET, names.ADMIN_SECRET, names.SIGNING_SECRET)
    )
    url = secret_of(site, locked_out)[names.POSTGRESQL_URL_KEY]

    for secret in (names.STORES_SECRET, names.ADMIN_SECRET, names.SIGNING_SECRET):
        # A reconcile that has read the Secret already would write it again as it was.
        operator.wait_until(is_quiet(site, operator.name))
        site.delete(SECRETS.path(namespace=name, name=secret))
        operator.wait_until(lambda secret=secret: secret_of(site, name, secret))  # type: ignore[misc]
    after = secret_of(site, name)
    assert set(after) == set(before)
    assert not set(after.values()) & set(before.values())
    assert secret_of(site, name, names.ADMIN_SECRET) != admin
    assert secret_of(site, name, names.SIGNING_SECRET) != signing
    operator.wait_until(lambda: is_in_postgresql(after[names.POSTGRESQL_URL_KEY]))
    operator.wait_until(lambda: is_in_redis(after[names.REDIS_URL_KEY]))
    assert not is_in_postgresql(before[names.POSTGRESQL_URL_KEY])
    assert not is_in_redis(before[names.REDIS_URL_KEY])

    assert is_in_postgresql(url, "ALTER ROLE CURRENT_USER PASSWORD 'mine'")
    assert not is_in_postgresql(url)
    assert operator.terminate() == 0
    successor = site.start_leader("after")
    successor.wait_until(lambda: is_in_postgresql(url))
