"""The same request sent again, through the API."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest

from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.services import Services
from tests.runtime.builders import make_agent, put_key
from tests.runtime.fakes import FakeCatalogue, FakeChatModels

from .test_messages import parse_events

KEY = {"Idempotency-Key": "once-and-only-once"}
STREAM = {"Accept": "text/event-stream"}


@pytest.fixture(autouse=True)
async def following(services: Services) -> AsyncIterator[None]:
    """Followers hear of events while their task runs."""
    task = asyncio.create_task(services.followers.run())
    yield
    task.cancel()


async def start(client: httpx.AsyncClient, **headers: str) -> str:
    made = await client.post("/v1/agents/travel/conversations", headers=headers)
    return f"/v1/conversations/{made.json()['id']}"


async def count_messages(client: httpx.AsyncClient, path: str) -> int:
    return len((await client.get(f"{path}/messages")).json()["items"])


# ---- conversations ----


async def test_same_request_gives_the_same_conversation(client: httpx.AsyncClient, agents: FakeCatalogue) -> None:
    agents.put(make_agent(greeting="Welcome"))
    first, second = [await client.post("/v1/agents/travel/conversations", headers=KEY) for _ in range(2)]
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json() == first.json()
    assert len((await client.get("/v1/conversations")).json()["items"]) == 1


async def test_requests_without_a_key_and_with_another_one_are_new(client: httpx.AsyncClient) -> None:
    paths = {
        await start(client),
        await start(client),
        await start(client, **KEY),
        await start(client, **{"Idempotency-Key": "x"}),
    }
    assert len(paths) == 4


async def test_key_of_a_conversation_with_another_agent_is_refused(
    client: httpx.AsyncClient, agents: FakeCatalogue
) -> None:
    agents.put(make_agent(name="sales"))
    await start(client, **KEY)
    answer = await client.post("/v1/agents/sales/conversations", headers=KEY)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-key-reused")


async def test_equal_key_of_somebody_else_is_another_one(client: httpx.AsyncClient, store: MemoryStore) -> None:
    other = {"Authorization": f"Bearer {put_key(store)}"}
    assert await start(client, **KEY) != await start(client, **KEY, **other)


# ---- messages ----


async def test_same_message_is_taken_once_and_answered_alike(client: httpx.AsyncClient, models: FakeChatModels) -> None:
    path = await start(client)
    first, second = [await client.post(f"{path}/messages", json={"content": "Hi"}, headers=KEY) for _ in range(2)]
    assert (first.status_code, second.status_code) == (200, 200)
    assert second.json() == first.json()
    assert ("Idempotency-Replayed" in first.headers, second.headers["Idempotency-Replayed"]) == (False, "true")
    assert await count_messages(client, path) == 2
    assert len(models.asked) == 1


async def test_message_that_is_sent_again_while_the_agent_replies_gets_the_same_reply(
    client: httpx.AsyncClient, models: FakeChatModels
) -> None:
    path = await start(client)
    go_on = asyncio.Event()
    models.scripts.append(["Hel", go_on, "lo"])
    first = asyncio.create_task(client.post(f"{path}/messages", json={"content": "Hi"}, headers=KEY))
    await models.begun.wait()
    second = asyncio.create_task(client.post(f"{path}/messages", json={"content": "Hi"}, headers=KEY))
    await asyncio.sleep(0)
    go_on.set()
    assert (await second).json() == (await first).json()
    assert await count_messages(client, path) == 2


async def test_message_that_is_sent_many_times_at_once_is_taken_once(
    client: httpx.AsyncClient, models: FakeChatModels
) -> None:
    path = await start(client)
    answers = await asyncio.gather(
        *(client.post(f"{path}/messages", json={"content": "Hi"}, headers=KEY) for _ in range(8))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["message"]["id"] for answer in answers}) == 1
    assert len(models.asked) == 1


async def test_stream_of_a_repeated_message_ends_with_its_turn(client: httpx.AsyncClient) -> None:
    path = await start(client)
    first = parse_events((await client.post(f"{path}/messages", json={"content": "Hi"}, headers=KEY | STREAM)).text)
    await client.post(f"{path}/messages", json={"content": "And now something else"})
    again = parse_events((await client.post(f"{path}/messages", json={"content": "Hi"}, headers=KEY | STREAM)).text)
    assert again[-1] == first[-1]
    assert [name for _, name, _ in again].count("message.completed") == 1


async def test_failed_turn_is_told_again_and_not_tried_again(client: httpx.AsyncClient, models: FakeChatModels) -> None:
    path = await start(client)
    models.scripts.append([RuntimeError()])
    first, second = [await client.post(f"{path}/messages", json={"content": "Hi"}, headers=KEY) for _ in range(2)]
    assert first.status_code == second.status_code == 500
    assert second.json()["turnId"] == first.json()["turnId"]
    assert len(models.asked) == 1


async def test_key_of_another_message_is_refused(client: httpx.AsyncClient) -> None:
    path, elsewhere = await start(client), await start(client)
    await client.post(f"{path}/messages", json={"content": "Hi"}, headers=KEY)
    for target, content in ((path, "Hello"), (elsewhere, "Hi")):
        answer = await client.post(f"{target}/messages", json={"content": content}, headers=KEY)
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-key-reused")
    assert await count_messages(client, path) == 2


async def test_key_of_a_message_whose_conversation_is_deleted_makes_nothing(client: httpx.AsyncClient) -> None:
    path = await start(client)
    await client.post(f"{path}/messages", json={"content": "Hi"}, headers=KEY)
    await client.delete(path)
    answer = await client.post(f"{path}/messages", json={"content": "Hi"}, headers=KEY)
    assert (answer.status_code, answer.json()["code"]) == (404, "conversation-not-found")


@pytest.mark.parametrize("key", ["", "two words", "x" * 256, "ü"])
async def test_key_that_is_none_is_refused(client: httpx.AsyncClient, key: str) -> None:
    answer = await client.post(
        f"/v1/conversations/{uuid4()}/messages", json={"content": "Hi"}, headers={b"Idempotency-Key": key.encode()}
    )
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["path"] == "header.Idempotency-Key"
