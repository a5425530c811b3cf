"""Agents as their users see them."""

import httpx

from tests.runtime.builders import make_agent, make_candidate
from tests.runtime.fakes import FakeCatalogue


async def test_agents_are_listed_by_name(client: httpx.AsyncClient, agents: FakeCatalogue) -> None:
    agents.put(make_agent(name="billing", display_name="Billing"))
    answer = await client.get("/v1/agents")
    assert answer.status_code == 200
    assert [agent["name"] for agent in answer.json()["items"]] == ["billing", "travel"]


async def test_agent_shows_what_its_users_may_see_and_nothing_else(
    client: httpx.AsyncClient, agents: FakeCatalogue
) -> None:
    agents.put(
        make_agent(
            instructions="secret instructions",
            greeting="Welcome",
            suggestions=["Where is my booking?"],
            models=[make_candidate(base_url="http://secret.example")],
        )
    )
    answer = await client.get("/v1/agents/travel")
    assert answer.json() == {
        "name": "travel",
        "displayName": "Travel assistant",
        "description": "Answers questions on bookings",
        "greeting": "Welcome",
        "suggestions": ["Where is my booking?"],
        "revision": 3,
    }


async def test_unknown_agent_is_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/agents/nobody")
    assert (answer.status_code, answer.json()["code"]) == (404, "agent-not-found")


async def test_list_is_empty_when_there_is_no_agent(client: httpx.AsyncClient, agents: FakeCatalogue) -> None:
    agents.agents.clear()
    assert (await client.get("/v1/agents")).json() == {"items": []}
