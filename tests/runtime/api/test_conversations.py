"""Conversations through the API."""

from uuid import uuid4

import httpx
import pytest

from tests.runtime.builders import make_agent
from tests.runtime.fakes import FakeCatalogue


async def test_conversation_is_made_with_its_greeting(client: httpx.AsyncClient, agents: FakeCatalogue) -> None:
    agents.put(make_agent(greeting="Welcome"))
    answer = await client.post("/v1/agents/travel/conversations")
    assert answer.status_code == 201
    made = answer.json()
    assert made["agent"] == "travel"
    (greeting,) = made["messages"]
    assert greeting == {
        "id": greeting["id"],
        "conversationId": made["id"],
        "turnId": None,
        "role": "assistant",
        "state": "complete",
        "content": "Welcome",
        "createdAt": made["createdAt"],
        "error": None,
    }
    assert made["createdAt"].endswith("Z")


async def test_conversation_is_empty_without_a_greeting(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/agents/travel/conversations")).json()["messages"] == []


async def test_body_may_be_an_empty_object(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/agents/travel/conversations", json={})).status_code == 201


async def test_unknown_field_is_refused_with_its_path(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/agents/travel/conversations", json={"titel": "x"})
    assert answer.status_code == 400
    assert answer.json()["errors"] == [
        {"path": "body.titel", "message": "There is no such field.", "code": "extra_forbidden"}
    ]


async def test_conversation_with_an_unknown_agent_is_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/agents/nobody/conversations")
    assert (answer.status_code, answer.json()["code"]) == (404, "agent-not-found")


async def test_conversation_is_read_as_it_was_made(client: httpx.AsyncClient) -> None:
    made = (await client.post("/v1/agents/travel/conversations")).json()
    answer = await client.get(f"/v1/conversations/{made['id']}")
    assert answer.status_code == 200
    assert answer.json() == {key: made[key] for key in ("id", "agent", "createdAt", "updatedAt")}


async def test_unknown_conversation_is_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"/v1/conversations/{uuid4()}")
    assert (answer.status_code, answer.json()["code"]) == (404, "conversation-not-found")


@pytest.mark.parametrize("conversation", ["x", "01890a5d", "1" * 1000])
async def test_id_that_is_none_is_refused_with_its_path(client: httpx.AsyncClient, conversation: str) -> None:
    answer = await client.get(f"/v1/conversations/{conversation}")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["path"] == "path.conversationId"
