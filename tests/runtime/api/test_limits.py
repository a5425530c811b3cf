"""Limits over HTTP: who is counted, what answers say, and what a refused request costs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import openai
import pytest

from syntera_crds.contract.agent_config import Access
from syntera_crds.contract.api_key import ApiKey, KeyKind
from syntera_crds.contract.tenant_config import Limits, TenantConfig
from syntera_runtime.api.app import build_public_app
from tests.runtime.builders import make_agent, make_services, put_key, put_publishable_key
from tests.runtime.fair_use.fakes import FakeRateLimits
from tests.runtime.fakes import FakeCatalogue, FakeChatModels, FakeFailingStore
from tests.runtime.serving import served

HEADERS = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")
STREAM = {"Accept": "text/event-stream"}
COMPLETION = {"model": "travel", "messages": [{"role": "user", "content": "Hi"}]}


class CountingStore(FakeFailingStore):
    """A store that knows how often keys were looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.lookups = 0

    def _maybe_fail(self, method: str) -> None:
        self.lookups += method == "find_api_key"
        super()._maybe_fail(method)


class Site:
    """A tenant's API with limits that a test sets."""

    def __init__(self) -> None:
        self.store = CountingStore()
        self.counts = FakeRateLimits()
        self.agents = FakeCatalogue(make_agent(access=Access.PUBLIC))
        self.models = FakeChatModels()
        self.services = make_services(self.store, models=self.models, agents=self.agents, rate_limits=self.counts)
        self.app = build_public_app(self.services)

    def limit(self, *, trusted_proxies: tuple[str, ...] = (), **limits: int) -> None:
        """Publish the limits."""
        self.agents.tenant_config = TenantConfig(
            name="acme", display_name="Acme", limits=Limits(**limits), trusted_proxies=list(trusted_proxies)
        )

    def client(self, *, key: str | None = None, peer: str = "192.0.2.1") -> httpx.AsyncClient:
        """A client with a key of its own, unless it is given one."""
        transport = httpx.ASGITransport(app=self.app, client=(peer, 50000))
        headers = {"Authorization": f"Bearer {key or put_key(self.store)}"}
        return httpx.AsyncClient(transport=transport, base_url="http://runtime", headers=headers)

    async def visitor(self, key: str) -> httpx.AsyncClient:
        """Somebody on a website that has this publishable key."""
        bought = await self.client(key=key).post("/v1/visitor-tokens")
        return self.client(key=bought.json()["visitorToken"])

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """The API on a socket, with what runs beside it."""
        running = asyncio.create_task(self.services.stream_slots.run())
        async with served(self.app) as url:
            yield url
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """The API."""
    site = Site()
    yield site
    await site.services.runner.aclose()


async def statuses(client: httpx.AsyncClient, count: int, **headers: str) -> list[int]:
    """What as many requests are answered."""
    return [(await client.get("/v1/agents", headers=headers)).status_code for _ in range(count)]


# ---- what answers say ----


async def test_answer_says_nothing_of_limits_when_there_are_none(site: Site) -> None:
    answer = await site.client().get("/v1/agents")
    assert answer.status_code == 200
    assert not set(HEADERS) & set(answer.headers)


async def test_every_answer_says_what_is_left_of_the_nearest_limit(site: Site) -> None:
    site.limit(requests_per_minute=600, requests_per_minute_per_key=5)
    client = site.client()
    answers = [
        await client.get("/v1/agents"),
        await client.get("/v1/agents/nobody"),
        await client.post("/v1/agents/travel/conversations", json={"unknown": 1}),
    ]
    assert [answer.status_code for answer in answers] == [200, 404, 400]
    assert [answer.headers["ratelimit-limit"] for answer in answers] == ["5", "5", "5"]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["4", "3", "2"]
    assert all(0 < int(answer.headers["ratelimit-reset"]) <= 120 for answer in answers)


async def test_refused_request_is_a_problem_that_says_when_to_come_back(site: Site) -> None:
    site.limit(requests_per_minute=1)
    client = site.client()
    await client.get("/v1/agents")
    answer = await client.get("/v1/agents")
    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["code"], problem["retryable"]) == ("rate-limited", True)
    assert 0 < int(answer.headers["retry-after"]) <= 120
    assert answer.headers["ratelimit-reset"] == answer.headers["retry-after"]
    assert (answer.headers["ratelimit-limit"], answer.headers["ratelimit-remaining"]) == ("1", "0")


async def test_official_client_of_openai_raises_its_own_error(site: Site) -> None:
    site.limit(requests_per_minute=1)
    async with (
        site.served() as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=put_key(site.store), max_retries=0) as client,
    ):
        await client.models.list()
        with pytest.raises(openai.RateLimitError) as caught:
            await client.models.list()
    assert (caught.value.code, caught.value.type) == ("rate_limit_exceeded", "requests")
    assert int(caught.value.response.headers["retry-after"]) > 0


async def test_refused_request_is_not_read(site: Site) -> None:
    site.limit(requests_per_minute=1)
    client = site.client()
    await client.get("/v1/agents")
    answer = await client.post("/v1/agents/travel/conversations", content=b"{not JSON")
    assert answer.status_code == 429


# ---- who is counted ----


async def test_keys_are_limited_each_by_itself(site: Site) -> None:
    site.limit(requests_per_minute_per_key=1)
    first, second = site.client(), site.client()
    assert await statuses(first, 2) == [200, 429]
    assert await statuses(second, 1) == [200]


async def test_tenant_is_limited_whatever_key_and_address_are_used(site: Site) -> None:
    site.limit(requests_per_minute=2)
    clients = [site.client(peer=f"192.0.2.{number}") for number in range(3)]
    assert [(await statuses(client, 1))[0] for client in clients] == [200, 200, 429]


async def test_addresses_are_limited_each_by_itself(site: Site) -> None:
    site.limit(requests_per_minute_per_address=1)
    key = put_key(site.store)
    assert await statuses(site.client(key=key), 2) == [200, 429]
    assert await statuses(site.client(key=key, peer="192.0.2.2"), 1) == [200]


async def test_network_of_ipv6_is_limited_as_one_address(site: Site) -> None:
    site.limit(requests_per_minute_per_address=1)
    assert await statuses(site.client(peer="2001:db8:1:2::1"), 1) == [200]
    assert await statuses(site.client(peer="2001:db8:1:2:9::1"), 1) == [429]
    assert await statuses(site.client(peer="2001:db8:1:3::1"), 1) == [200]


async def test_header_is_no_way_around_the_limit_when_nobody_is_trusted(site: Site) -> None:
    site.limit(requests_per_minute_per_address=1)
    client = site.client()
    found = [(await statuses(client, 1, **{"X-Forwarded-For": f"198.51.100.{n}"}))[0] for n in range(3)]
    assert found == [200, 429, 429]


async def test_clients_behind_a_trusted_proxy_are_told_apart(site: Site) -> None:
    site.limit(requests_per_minute_per_address=1, trusted_proxies=("10.0.0.0/8",))
    ingress = site.client(peer="10.1.2.3")
    assert await statuses(ingress, 2, **{"X-Forwarded-For": "198.51.100.1"}) == [200, 429]
    assert await statuses(ingress, 1, **{"X-Forwarded-For": "198.51.100.2"}) == [200]
    # What a client writes itself stands to the left of what the proxy saw.
    assert await statuses(ingress, 1, **{"X-Forwarded-For": "203.0.113.9, 198.51.100.1"}) == [429]


async def say(client: httpx.AsyncClient, count: int) -> list[int]:
    """What as many messages in a conversation are answered."""
    made = (await client.post("/v1/agents/travel/conversations")).json()
    path = f"/v1/conversations/{made['id']}/messages"
    return [(await client.post(path, json={"content": "Hi"})).status_code for _ in range(count)]


async def test_visitors_are_limited_in_their_messages_each_by_themselves(site: Site) -> None:
    site.limit(messages_per_minute_per_user=2)
    key = put_publishable_key(site.store)
    visitor = await site.visitor(key)
    assert await say(visitor, 3) == [200, 200, 429]
    assert await say(visitor, 1) == [429]  # another conversation is no way around it
    assert await statuses(visitor, 3) == [200, 200, 200]  # only messages count
    assert await say(await site.visitor(key), 1) == [200]


async def test_programs_are_not_limited_as_a_person(site: Site) -> None:
    site.limit(messages_per_minute_per_user=1)
    assert await say(site.client(), 3) == [200, 200, 200]


async def test_visitors_count_for_the_key_that_they_came_with(site: Site) -> None:
    site.limit(requests_per_minute_per_key=3)
    key = put_publishable_key(site.store)
    first, second = await site.visitor(key), await site.visitor(key)
    assert [*await statuses(first, 1), *await statuses(second, 1)] == [200, 429]


# ---- floods of bad keys ----


async def test_flood_of_invented_keys_is_refused_before_they_are_looked_up(site: Site) -> None:
    site.limit(requests_per_minute_per_address=5)
    found = []
    for _ in range(20):
        found += await statuses(site.client(key=ApiKey.generate(KeyKind.SECRET).text), 1)
    assert found == [401] * 5 + [429] * 15
    assert site.store.lookups == 5
    assert len(site.counts.asked) == 6


@pytest.mark.parametrize("authorization", ["", "Basic abc", "Bearer nonsense"])
async def test_requests_without_a_key_are_counted_too(site: Site, authorization: str) -> None:
    site.limit(requests_per_minute_per_address=2)
    client = site.client()
    client.headers["Authorization"] = authorization
    assert await statuses(client, 3) == [401, 401, 429]


async def test_good_key_is_counted_once_when_its_address_is_suspect(site: Site) -> None:
    site.limit(requests_per_minute=100, requests_per_minute_per_address=3)
    assert await statuses(site.client(key="nonsense"), 1) == [401]
    answers = [await site.client().get("/v1/agents") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["ratelimit-limit"] for answer in answers] == ["3", "3", "3"]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["1", "0", "0"]


async def test_good_key_costs_one_question(site: Site) -> None:
    site.limit(requests_per_minute=100, requests_per_minute_per_key=100, requests_per_minute_per_address=100)
    await statuses(site.client(), 3)
    assert len(site.counts.asked) == 3


# ---- Redis is away ----


async def test_requests_and_streams_pass_when_redis_is_away(site: Site) -> None:
    site.limit(requests_per_minute=1, concurrent_streams=1)
    site.counts.is_away = True
    client = site.client()
    assert await statuses(client, 3) == [200, 200, 200]
    answer = await client.post("/v1/chat/completions", json={**COMPLETION, "stream": True})
    assert answer.text.rstrip().endswith("[DONE]")
    assert not set(HEADERS) & set(answer.headers)


# ---- streams ----


async def test_streams_are_limited_and_whole_answers_are_not(site: Site) -> None:
    site.limit(concurrent_streams=1)
    go_on = asyncio.Event()
    site.models.scripts = [["Hel", go_on, "lo"]]
    headers = {"Authorization": f"Bearer {put_key(site.store)}"}
    async with site.served() as url, httpx.AsyncClient(base_url=url, headers=headers, timeout=10) as client:
        made = (await client.post("/v1/agents/travel/conversations")).json()
        conversation = f"/v1/conversations/{made['id']}"
        said = {"json": {"content": "Hi"}, "headers": STREAM}
        async with client.stream("POST", f"{conversation}/messages", **said) as stream:  # type: ignore[arg-type]
            lines = stream.aiter_lines()
            assert await anext(lines) == "event: message.started"
            refused = [
                await client.post("/v1/chat/completions", json={**COMPLETION, "stream": True}),
                await client.get(f"{conversation}/events", headers=STREAM),
                await client.post(f"{conversation}/messages", **said),  # type: ignore[arg-type]
            ]
            whole = await client.post("/v1/chat/completions", json=COMPLETION)
            go_on.set()
            assert [line async for line in lines]
        assert [answer.status_code for answer in refused] == [429, 429, 429]
        assert refused[0].json()["error"]["code"] == "rate_limit_exceeded"
        assert int(refused[1].headers["retry-after"]) > 0
        assert whole.status_code == 200
        items = (await client.get(f"{conversation}/messages")).json()["items"]
        assert [item["content"] for item in items] == ["Hi", "Hello"]  # nothing is left of what was refused
        await streams_again(client)


async def test_streams_of_one_visitor_leave_room_for_another(site: Site) -> None:
    site.limit(concurrent_streams=10, concurrent_streams_per_user=1)
    key = put_publishable_key(site.store)
    async with site.served() as url, httpx.AsyncClient(base_url=url, timeout=10) as client:

        async def become_visitor() -> tuple[dict[str, str], str]:
            bought = await client.post("/v1/visitor-tokens", headers={"Authorization": f"Bearer {key}"})
            headers = {**STREAM, "Authorization": f"Bearer {bought.json()['visitorToken']}"}
            made = await client.post("/v1/agents/travel/conversations", headers={**headers, "Accept": "*/*"})
            return headers, f"/v1/conversations/{made.json()['id']}/events"

        mine, theirs = await become_visitor(), await become_visitor()
        async with client.stream("GET", mine[1], headers=mine[0]) as stream:
            assert stream.status_code == 200
            refused = await client.get(mine[1], headers=mine[0])
            assert (refused.status_code, refused.json()["code"]) == (429, "rate-limited")
            async with client.stream("GET", theirs[1], headers=theirs[0]) as other:
                assert other.status_code == 200


async def test_place_of_a_stream_is_free_when_its_client_has_left(site: Site) -> None:
    site.limit(concurrent_streams=1)
    site.models.scripts = [["Hel", asyncio.Event()]]
    headers = {"Authorization": f"Bearer {put_key(site.store)}"}
    async with site.served() as url, httpx.AsyncClient(base_url=url, headers=headers, timeout=10) as client:
        asked = {**COMPLETION, "stream": True}
        async with client.stream("POST", "/v1/chat/completions", json=asked) as stream:
            await anext(stream.aiter_lines())
        await streams_again(client)


async def test_place_of_a_stream_is_free_when_it_could_not_begin(site: Site) -> None:
    site.limit(concurrent_streams=1)
    headers = {"Authorization": f"Bearer {put_key(site.store)}"}
    async with site.served() as url, httpx.AsyncClient(base_url=url, headers=headers, timeout=10) as client:
        asked = {**COMPLETION, "model": "nobody", "stream": True}
        assert (await client.post("/v1/chat/completions", json=asked)).status_code == 404
        await streams_again(client)


async def streams_again(client: httpx.AsyncClient) -> None:
    """Return when an answer could be streamed; the place becomes free in its own time."""
    for _ in range(500):
        answer = await client.post("/v1/chat/completions", json={**COMPLETION, "stream": True})
        if answer.status_code == 200:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the place did not become free")
