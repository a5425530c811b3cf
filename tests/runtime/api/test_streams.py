"""Streams over real sockets: life signs, and clients that leave."""

import asyncio

import httpx
import pytest

from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.api.app import build_public_app
from syntera_runtime.models import TurnId, TurnState
from tests.runtime.builders import TENANT, make_services, put_key
from tests.runtime.fakes import FakeChatModels
from tests.runtime.serving import served

STREAM = {"Accept": "text/event-stream"}


def make_client(url: str, store: MemoryStore) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {put_key(store)}"}, timeout=10)


async def start(client: httpx.AsyncClient) -> str:
    made = (await client.post("/v1/agents/travel/conversations")).json()
    return f"/v1/conversations/{made['id']}/messages"


async def test_silent_stream_gives_a_sign_of_life(store: MemoryStore, models: FakeChatModels) -> None:
    go_on = asyncio.Event()
    models.scripts = [[go_on, "Hello"]]
    services = make_services(store, models=models, ping_seconds=0.05)
    async with served(build_public_app(services)) as url, make_client(url, store) as client:
        messages = await start(client)
        async with client.stream("POST", messages, json={"content": "Hi"}, headers=STREAM) as answer:
            lines = []
            async for line in answer.aiter_lines():
                lines.append(line)
                if line == ": ping":
                    go_on.set()
    assert ": ping" in lines
    assert "event: message.completed" in lines


async def test_first_event_arrives_before_the_model_says_anything(store: MemoryStore, models: FakeChatModels) -> None:
    go_on = asyncio.Event()
    models.scripts = [[go_on, "Hello"]]
    services = make_services(store, models=models)
    async with served(build_public_app(services)) as url, make_client(url, store) as client:
        messages = await start(client)
        async with client.stream("POST", messages, json={"content": "Hi"}, headers=STREAM) as answer:
            lines = answer.aiter_lines()
            assert await anext(lines) == "event: message.started"
            go_on.set()


@pytest.mark.parametrize("headers", [{}, STREAM])
async def test_turn_goes_on_when_its_client_leaves(
    store: MemoryStore, models: FakeChatModels, headers: dict[str, str]
) -> None:
    go_on = asyncio.Event()
    models.scripts = [["Hel", go_on, "lo"]]
    services = make_services(store, models=models)
    async with served(build_public_app(services)) as url, make_client(url, store) as client:
        messages = await start(client)
        asking = asyncio.create_task(client.post(messages, json={"content": "Hi"}, headers=headers))
        await models.begun.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.sleep(0.05)  # the server hears of it
        go_on.set()
        await services.runner.drain(seconds=5)
        items = (await client.get(messages)).json()["items"]
    assert [(item["state"], item["content"]) for item in items] == [("complete", "Hi"), ("complete", "Hello")]


@pytest.mark.parametrize("said", [[], ["Hel"]])
@pytest.mark.parametrize("stream", [False, True])
async def test_completion_stops_when_its_client_leaves(
    store: MemoryStore, models: FakeChatModels, stream: bool, said: list[str]
) -> None:
    models.scripts = [[*said, asyncio.Event()]]
    services = make_services(store, models=models, ping_seconds=30)
    asked = {"model": "travel", "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
    async with served(build_public_app(services)) as url, make_client(url, store) as client:
        asking = asyncio.create_task(client.post("/v1/chat/completions", json=asked))
        await models.begun.wait()
        await asyncio.sleep(0.05)  # the answer is under way
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        async with asyncio.timeout(5):
            await models.ended.wait()
        await services.runner.drain(seconds=5)
    (turn_id,) = store.turn_ids(TENANT)
    turn = store.find_turn(TENANT, TurnId(turn_id))
    assert turn.failure is not None
    assert (turn.state, turn.failure.code) == (TurnState.FAILED, "client-disconnected")


@pytest.mark.parametrize("stream", [False, True])
async def test_completion_stops_when_its_request_is_cancelled(
    client: httpx.AsyncClient, models: FakeChatModels, stream: bool
) -> None:
    models.scripts = [[asyncio.Event()]]
    asked = {"model": "travel", "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
    asking = asyncio.create_task(client.post("/v1/chat/completions", json=asked))
    await models.begun.wait()
    await asyncio.sleep(0.05)  # the handler waits for the model
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    async with asyncio.timeout(5):
        await models.ended.wait()
