"""Which pages' scripts may read answers."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from syntera_crds.contract.api_key import ApiKey, KeyKind
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.api.app import build_public_app
from syntera_runtime.errors import StoreUnavailable
from syntera_runtime.identity import origins
from tests.runtime.builders import TENANT, make_agent, make_publishable_key, make_services, put_key
from tests.runtime.fakes import FakeCatalogue, FakeFailingStore
from tests.runtime.identity.issuer import make_tenant

SITE, SHOP, EVIL = "https://www.acme.example", "https://shop.example", "https://evil.example"


@pytest.fixture
def store() -> FakeFailingStore:
    """A store with a publishable key that allows one more origin."""
    store = FakeFailingStore()
    key = make_publishable_key(ApiKey.generate(KeyKind.PUBLISHABLE), allowed_origins=frozenset({SHOP}))
    store.put_api_key(TENANT, key)
    return store


@pytest.fixture
async def http(store: MemoryStore) -> AsyncIterator[httpx.AsyncClient]:
    """The API of a tenant with one website."""
    agents = FakeCatalogue(make_agent(), tenant=make_tenant(allowed_origins=[SITE]))
    services = make_services(store, agents=agents)
    transport = httpx.ASGITransport(app=build_public_app(services), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://runtime") as client:
        yield client


async def preflight(http: httpx.AsyncClient, origin: str, **headers: str) -> httpx.Response:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST", **headers}
    return await http.options("/v1/visitor-tokens", headers=asked)


@pytest.mark.parametrize("origin", [SITE, SHOP])
async def test_browser_is_let_ask_from_an_allowed_page(http: httpx.AsyncClient, origin: str) -> None:
    asked = "authorization,content-type,idempotency-key,last-event-id"
    answer = await preflight(http, origin, **{"Access-Control-Request-Headers": asked})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert "Origin" in answer.headers["vary"]
    assert {"DELETE", "PATCH"} <= set(answer.headers["access-control-allow-methods"].split(", "))
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("origin", [EVIL, "null", "*", "", f"{SITE}.evil.example", SITE.upper(), f"{SITE}/"])
async def test_browser_is_not_let_ask_from_another_page(http: httpx.AsyncClient, origin: str) -> None:
    answer = await preflight(http, origin)
    assert (answer.status_code, answer.json()["code"]) == (403, "origin-not-allowed")
    assert answer.headers["vary"] == "Origin"
    assert not any(name.startswith("access-control") for name in answer.headers)


@pytest.mark.parametrize(("origin", "may_read"), [(SITE, True), (SHOP, True), (EVIL, False), ("null", False)])
async def test_answer_says_who_may_read_it(
    http: httpx.AsyncClient, store: MemoryStore, origin: str, may_read: bool
) -> None:
    headers = {"Authorization": f"Bearer {put_key(store)}", "Origin": origin}
    good = await http.get("/v1/agents", headers=headers)
    bad = await http.get("/v1/agents", headers={"Origin": origin})
    assert (good.status_code, bad.status_code) == (200, 401)
    for answer in (good, bad):
        assert answer.headers.get("access-control-allow-origin") == (origin if may_read else None)
        assert "Origin" in answer.headers["vary"]
        assert "access-control-allow-credentials" not in answer.headers
    assert "X-Request-Id" in good.headers.get("access-control-expose-headers", "") or not may_read


async def test_origins_of_the_tenant_need_no_store(http: httpx.AsyncClient, store: FakeFailingStore) -> None:
    assert (await preflight(http, SITE)).status_code == 200
    assert store.calls_of("list_origins") == 0


async def test_store_is_not_asked_for_every_stranger(
    http: httpx.AsyncClient, store: FakeFailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(origins, "TTL_SECONDS", 600)
    for number in range(20):
        await preflight(http, f"https://{number}.example")
    assert store.calls_of("list_origins") == 1


async def test_first_requests_of_a_page_wait_for_what_is_just_being_read(
    http: httpx.AsyncClient, store: FakeFailingStore
) -> None:
    store.hold("list_origins")
    asked = [asyncio.create_task(preflight(http, SHOP)) for _ in range(3)]
    await store.wait_for_call("list_origins")
    store.release("list_origins")
    assert [answer.status_code for answer in await asyncio.gather(*asked)] == [200, 200, 200]
    assert store.calls_of("list_origins") == 1


async def test_pages_are_refused_but_served_no_error_when_the_store_is_away(
    http: httpx.AsyncClient, store: FakeFailingStore
) -> None:
    store.fail("list_origins", StoreUnavailable(store="PostgreSQL"))
    assert (await preflight(http, SHOP)).status_code == 403


async def test_plain_options_request_is_no_preflight(http: httpx.AsyncClient) -> None:
    answer = await http.options("/v1/agents", headers={"Origin": SITE})
    assert (answer.status_code, answer.json()["code"]) == (405, "method-not-allowed")
