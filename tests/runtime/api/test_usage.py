"""Budgets and usage over HTTP: what a chat window, a client of OpenAI's and an administrator see."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import openai as sdk
import pytest

from syntera_crds.contract.agent_config import Access, AgentLimits, ModelPrice
from syntera_crds.contract.api_key import Scope
from syntera_crds.contract.tenant_config import Limits, TenantConfig
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.api.app import build_public_app
from syntera_runtime.models.turns import Usage
from syntera_runtime.services import Services
from tests.runtime.builders import make_agent, make_candidate, make_services, put_key, put_publishable_key
from tests.runtime.fakes import FakeCatalogue, FakeChatModels
from tests.runtime.serving import served

STREAM = {"Accept": "text/event-stream"}
COMPLETION = {"model": "travel", "messages": [{"role": "user", "content": "Hi"}]}
PRICE = ModelPrice(currency="EUR", input_per_million_tokens="1", output_per_million_tokens="2")
COUNT = {
    "turns": 1,
    "limitedTurns": 0,
    "promptTokens": 7,
    "completionTokens": 2,
    "totalTokens": 9,
    "estimatedTokens": 0,
    "unpricedTokens": 0,
    "costs": [{"currency": "EUR", "amount": "0.000011"}],
}
"""One turn with the usual answer, at this price."""


class Site:
    """A tenant's API with limits that a test sets. A turn uses 9 tokens."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.models = FakeChatModels()
        self.agents = FakeCatalogue()
        self.set_agent()
        self.services: Services = make_services(self.store, models=self.models, agents=self.agents)
        self.app = build_public_app(self.services)

    def limit(self, **limits: int) -> None:
        """Publish the Tenant's limits."""
        self.agents.tenant_config = TenantConfig(name="acme", display_name="Acme", limits=Limits(**limits))

    def set_agent(self, *, history_messages: int = 30, **limits: Any) -> None:
        """Publish the agent's limits."""
        self.agents.put(
            make_agent(
                access=Access.PUBLIC,
                models=[make_candidate(price=PRICE)],
                limits=AgentLimits(**limits),
                history_messages=history_messages,
            )
        )

    def client(self, key: str | None = None) -> httpx.AsyncClient:
        """Somebody with a key of their own, unless one is given, that may do everything."""
        headers = {"Authorization": f"Bearer {key or put_key(self.store, scopes=frozenset({Scope.ADMIN}))}"}
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.app), base_url="http://runtime", headers=headers
        )

    async def visitor(self) -> httpx.AsyncClient:
        """Somebody on a website."""
        bought = await self.client(put_publishable_key(self.store)).post("/v1/visitor-tokens")
        return self.client(bought.json()["visitorToken"])


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """The API."""
    site = Site()
    yield site
    await site.services.runner.aclose()


async def start(client: httpx.AsyncClient) -> str:
    made = (await client.post("/v1/agents/travel/conversations")).json()
    return f"/v1/conversations/{made['id']}"


async def say(client: httpx.AsyncClient, conversation: str, content: str = "Hi") -> dict[str, Any]:
    answer = await client.post(f"{conversation}/messages", json={"content": content})
    assert answer.status_code == 200, answer.text
    sent: dict[str, Any] = answer.json()
    return sent


# ---- limits ----


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("tokensPerMonth", "I cannot answer at the moment. Please try again later."),
        ("tokensPerUserPerDay", "You have asked me a lot today. Please come back tomorrow."),
        ("tokensPerConversation", "This conversation has become too long for me. Please begin another one."),
        ("turnsPerConversation", "This conversation has become too long for me. Please begin another one."),
    ],
)
async def test_limit_is_answered_politely_and_no_model_is_asked(site: Site, limit: str, words: str) -> None:
    site.limit(**{"tokens_per_month": 9} if limit == "tokensPerMonth" else {})
    if limit == "tokensPerUserPerDay":
        site.limit(tokens_per_user_per_day=9)
    site.set_agent(
        tokens_per_conversation=9 if limit == "tokensPerConversation" else None,
        turns_per_conversation=1 if limit == "turnsPerConversation" else None,
    )
    visitor = await site.visitor()
    conversation = await start(visitor)
    assert (await say(visitor, conversation))["turn"]["limit"] is None

    sent = await say(visitor, conversation)

    assert sent["message"]["content"] == words
    assert (sent["message"]["role"], sent["message"]["state"]) == ("assistant", "complete")
    assert sent["message"]["limitedBy"] == limit
    assert sent["turn"]["limit"] == {"name": limit, "level": "hard"}
    assert (sent["turn"]["state"], sent["turn"]["usage"], sent["turn"]["model"]) == ("complete", None, None)
    assert len(site.models.asked) == 1
    stored = (await visitor.get(f"{conversation}/messages")).json()["items"]
    assert stored[-1] == sent["message"]


async def test_limited_reply_is_streamed_as_any_other(site: Site) -> None:
    site.limit(tokens_per_month=1)
    site.set_agent(message="Back in December.")
    client = site.client()
    conversation = await start(client)
    await say(client, conversation)
    answer = await client.post(f"{conversation}/messages", json={"content": "Hi"}, headers=STREAM)
    names = [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")]
    assert names == ["message.started", "message.delta", "message.completed"]
    assert '"text":"Back in December."' in answer.text


async def test_other_people_are_answered_when_one_has_used_up_theirs(site: Site) -> None:
    site.limit(tokens_per_user_per_day=9)
    ann, bob = await site.visitor(), await site.visitor()
    await say(ann, await start(ann))
    assert (await say(ann, await start(ann)))["message"]["limitedBy"] == "tokensPerUserPerDay"
    assert (await say(bob, await start(bob)))["message"]["limitedBy"] is None


async def test_programs_are_nobody_whose_day_could_be_used_up(site: Site) -> None:
    site.limit(tokens_per_user_per_day=9)
    client = site.client()
    conversation = await start(client)
    for _ in range(3):
        assert (await say(client, conversation))["turn"]["limit"] is None


async def test_next_question_is_not_told_of_the_limit_when_it_was_raised(site: Site) -> None:
    site.limit(tokens_per_month=9)
    client = site.client()
    conversation = await start(client)
    await say(client, conversation, "One")
    await say(client, conversation, "Two")
    site.limit(tokens_per_month=900)
    await say(client, conversation, "Three")
    told = [(message.role, message.content) for message in site.models.last_request.messages[1:]]
    assert told == [("user", "One"), ("assistant", "Hello world"), ("user", "Two\n\nThree")]


async def test_cheaper_model_answers_with_a_shorter_history_near_a_limit(site: Site) -> None:
    site.limit(tokens_per_month=10, soft_limit_percent=50)
    site.set_agent(soft_models=[make_candidate(endpoint="cheap", model="tiny")], soft_history_messages=1)
    client = site.client()
    conversation = await start(client)
    await say(client, conversation, "One")
    sent = await say(client, conversation, "Two")
    candidates, request = site.models.asked[-1]
    assert [candidate.model for candidate in candidates] == ["tiny"]
    assert [message.content for message in request.messages[1:]] == ["Two"]
    assert sent["turn"]["limit"] == {"name": "tokensPerMonth", "level": "soft"}
    assert sent["message"]["limitedBy"] is None
    usage = (await client.get("/v1/usage", params={"groupBy": "model"})).json()
    assert [(item["endpoint"], item["model"], item["totalTokens"]) for item in usage["items"]] == [
        ("cheap", "tiny", 9),
        ("stand-in", "stand-in-echo", 9),
    ]


async def test_turn_that_is_stopped_or_fails_counts_for_the_limit_too(site: Site) -> None:
    """Else a budget could be dodged by an endpoint that reports nothing."""
    site.models.scripts = [["Hello"]]
    site.limit(tokens_per_month=2)
    client = site.client()
    conversation = await start(client)
    sent = await say(client, conversation)
    assert sent["turn"]["usage"]["isEstimated"]
    assert sent["turn"]["usage"]["totalTokens"] > 2
    assert (await say(client, conversation))["message"]["limitedBy"] == "tokensPerMonth"


# ---- chat completions ----


async def test_completion_is_refused_as_openai_refuses_it(site: Site) -> None:
    site.limit(tokens_per_month=9)
    client = site.client()
    assert (await client.post("/v1/chat/completions", json=COMPLETION)).status_code == 200
    answer = await client.post("/v1/chat/completions", json=COMPLETION)
    assert answer.status_code == 429
    error = answer.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("insufficient_quota", "insufficient_quota", None)
    assert answer.headers["x-should-retry"] == "false"
    assert int(answer.headers["retry-after"]) <= 31 * 24 * 3600
    assert len(site.models.asked) == 1
    usage = (await client.get("/v1/usage")).json()["total"]
    assert (usage["turns"], usage["limitedTurns"], usage["totalTokens"]) == (1, 1, 9)


async def test_official_client_of_openai_does_not_try_again(site: Site) -> None:
    site.limit(tokens_per_month=1)
    key = put_key(site.store, scopes=frozenset({Scope.ADMIN}))
    await site.client(key).post("/v1/chat/completions", json=COMPLETION)
    async with (
        served(site.app) as url,
        sdk.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=2, timeout=10) as client,
    ):
        for stream in (False, True):
            with pytest.raises(sdk.RateLimitError) as refused:
                await client.chat.completions.create(
                    model="travel", messages=[{"role": "user", "content": "Hi"}], stream=stream
                )
            assert refused.value.code == "insufficient_quota"
    assert (await site.client(key).get("/v1/usage")).json()["total"]["limitedTurns"] == 2


async def test_completion_near_a_limit_is_answered_by_the_cheaper_model(site: Site) -> None:
    site.limit(tokens_per_month=10, soft_limit_percent=50)
    site.set_agent(soft_models=[make_candidate(endpoint="cheap", model="tiny")])
    client = site.client()
    for _ in range(2):
        await client.post("/v1/chat/completions", json=COMPLETION)
    assert [candidates[0].model for candidates, _ in site.models.asked] == ["stand-in-echo", "tiny"]


# ---- what was used ----


async def test_usage_of_a_month_with_its_budget(site: Site) -> None:
    site.limit(tokens_per_month=10)
    client = site.client()
    await say(client, await start(client))
    today = datetime.now(UTC).date()
    answer = await client.get("/v1/usage")
    assert answer.status_code == 200
    told = answer.json()
    next_month = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    assert told == {
        "from": f"{today.replace(day=1)}",
        "to": f"{today}",
        "groupBy": "day",
        "items": [{**COUNT, "day": f"{today}", "agent": None, "endpoint": None, "model": None}],
        "total": COUNT,
        "budgets": [
            {
                "limit": "tokensPerMonth",
                "used": 9,
                "most": 10,
                "softAt": 8,
                "level": "soft",
                "resetsAt": f"{next_month}T00:00:00Z",
            }
        ],
    }


async def test_usage_is_told_by_agent(site: Site) -> None:
    site.agents.put(make_agent(name="billing"))
    client = site.client()
    await say(client, await start(client))
    await client.post("/v1/chat/completions", json={**COMPLETION, "model": "billing"})
    told = (await client.get("/v1/usage", params={"groupBy": "agent"})).json()
    assert [(item["agent"], item["totalTokens"], item["unpricedTokens"]) for item in told["items"]] == [
        ("billing", 9, 9),
        ("travel", 9, 0),
    ]
    assert told["budgets"] == []
    assert told["total"]["costs"] == [{"currency": "EUR", "amount": "0.000011"}]


async def test_cost_of_a_model_without_a_price_is_unknown_and_not_nothing(site: Site) -> None:
    site.agents.put(make_agent(access=Access.PUBLIC))
    client = site.client()
    await say(client, await start(client))
    told = (await client.get("/v1/usage")).json()["total"]
    assert (told["costs"], told["unpricedTokens"]) == ([], 9)


async def test_usage_outlives_the_conversation(site: Site) -> None:
    client = site.client()
    conversation = await start(client)
    await say(client, conversation)
    before = (await client.get("/v1/usage")).json()
    own = (await client.get(f"{conversation}/usage")).json()
    assert (await client.delete(conversation)).status_code == 204
    assert (await client.get("/v1/usage")).json() == before
    assert (await client.get(f"{conversation}/usage")).json() == {**own, "budgets": []}


async def test_days_without_usage_are_not_told(site: Site) -> None:
    client = site.client()
    await say(client, await start(client))
    told = (await client.get("/v1/usage", params={"from": "2020-01-01", "to": "2020-12-31"})).json()
    assert (told["from"], told["to"], told["items"]) == ("2020-01-01", "2020-12-31", [])
    assert told["total"]["totalTokens"] == 0


@pytest.mark.parametrize(
    "query",
    [
        {"from": "2026-02-02", "to": "2026-02-01"},
        {"from": "2025-01-01", "to": "2026-01-02"},
        {"from": "9999-01-01"},
        {"to": "yesterday"},
        {"from": "2026-02-30"},
        {"groupBy": "person"},
        {"since": "2026-02-01"},
        {"from": f"{date(2020, 1, 1)}"},
    ],
)
async def test_usage_of_days_that_are_none_is_refused(site: Site, query: dict[str, str]) -> None:
    answer = await site.client().get("/v1/usage", params=query)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")
    assert all(fault["path"].startswith("query.") for fault in answer.json()["errors"])


async def test_usage_of_a_conversation_with_its_budgets(site: Site) -> None:
    site.set_agent(tokens_per_conversation=10, turns_per_conversation=4)
    client = site.client()
    conversation = await start(client)
    empty = (await client.get(f"{conversation}/usage")).json()
    assert (empty["turns"], empty["costs"]) == (0, [])
    await say(client, conversation)
    told = (await client.get(f"{conversation}/usage")).json()
    assert told == {
        **COUNT,
        "conversationId": conversation.rpartition("/")[2],
        "budgets": [
            {"limit": "tokensPerConversation", "used": 9, "most": 10, "softAt": 8, "level": "soft", "resetsAt": None},
            {"limit": "turnsPerConversation", "used": 1, "most": 4, "softAt": 4, "level": None, "resetsAt": None},
        ],
    }


async def test_usage_of_a_conversation_that_never_was(site: Site) -> None:
    answer = await site.client().get("/v1/conversations/01890a5d-ac96-774b-bcce-b302099a8057/usage")
    assert (answer.status_code, answer.json()["code"]) == (404, "conversation-not-found")


async def test_customers_see_no_cost(site: Site) -> None:
    visitor = await site.visitor()
    conversation = await start(visitor)
    answer = await visitor.post(f"{conversation}/messages", json={"content": "Hi"}, headers=STREAM)
    assert "0.000011" not in answer.text
    assert "EUR" not in answer.text
    assert (await visitor.get(f"{conversation}/usage")).json()["code"] == "customer-refused"


async def test_metrics_tell_tokens_and_cost(site: Site) -> None:
    site.models.scripts = [["Hello", Usage(7, 2)], ["Hello"]]
    client = site.client()
    conversation = await start(client)
    await say(client, conversation)
    await say(client, conversation)
    await site.services.runner.drain(seconds=10)
    sample = site.services.metrics.registry.get_sample_value
    labels = {"agent": "travel", "model_endpoint": "stand-in"}
    assert sample("syntera_tokens_total", {**labels, "direction": "prompt"}) == 7
    estimated = sample("syntera_tokens_estimated_total", {**labels, "direction": "prompt"})
    assert estimated is not None
    assert estimated > 7
    cost = sample("syntera_cost_total", {**labels, "currency": "EUR"})
    assert cost == pytest.approx(0.000011 + estimated * 1e-6 + 2 * 2e-6)
