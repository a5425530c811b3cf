"""Streams over real sockets: life signs, and clients that leave."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest

from syntera_crds.contract.api_key import ApiKey, KeyKind
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.api.app import build_public_app
from syntera_runtime.identity import key_ring, session_watch
from syntera_runtime.models.ids import TurnId
from syntera_runtime.models.turns import TurnState
from syntera_runtime.services import Services
from tests.runtime.builders import TENANT, make_services, make_stored_key, put_key
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


async def test_events_that_come_together_are_sent_together(store: MemoryStore, models: FakeChatModels) -> None:
    models.scripts = [[f"{number} " for number in range(300)]]
    services = make_services(store, models=models)
    async with served(build_public_app(services)) as url, make_client(url, store) as client:
        messages = await start(client)
        async with client.stream("POST", messages, json={"content": "Hi"}, headers=STREAM) as answer:
            chunks = [chunk async for chunk in answer.aiter_raw()]
    events = b"".join(chunks).decode().split("\n\n")
    assert sum(event.startswith("event: message.delta") for event in events) == 300
    assert len(chunks) < 100


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
        await services.runner.drain(seconds=10)
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
        async with asyncio.timeout(10):
            await models.ended.wait()
        await services.runner.drain(seconds=10)
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
    async with asyncio.timeout(10):
        await models.ended.wait()


def count_open(services: Services) -> float | None:
    return services.metrics.registry.get_sample_value("syntera_streams_open")


async def until_none_is_open(services: Services) -> None:
    """The server hears of a stream's end in its own time."""
    async with asyncio.timeout(10):
        while count_open(services) != 0:  # noqa: ASYNC110  # nobody announces it
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("leaves", [False, True])
async def test_open_streams_are_counted_until_they_end_however_they_do(
    store: MemoryStore, models: FakeChatModels, leaves: bool
) -> None:
    go_on = asyncio.Event()
    models.scripts = [[go_on, "Hello"]]
    services = make_services(store, models=models)
    async with served(build_public_app(services)) as url, make_client(url, store) as client:
        messages = await start(client)
        assert count_open(services) == 0
        async with client.stream("POST", messages, json={"content": "Hi"}, headers=STREAM) as answer:
            lines = answer.aiter_lines()
            await anext(lines)
            assert count_open(services) == 1
            if not leaves:
                go_on.set()
                async for _ in lines:
                    pass
        go_on.set()
        await until_none_is_open(services)


async def test_stream_of_a_conversation_ends_after_a_while(store: MemoryStore) -> None:
    services = make_services(store)
    services = replace(services, limits=replace(services.limits, follow_seconds=0.2))
    async with served(build_public_app(services)) as url, make_client(url, store) as client, asyncio.timeout(10):
        events = (await start(client)).replace("/messages", "/events")
        async with client.stream("GET", events, headers=STREAM) as answer:
            assert answer.status_code == 200
            assert [line async for line in answer.aiter_lines() if line not in ("", ": ping")] == []


@pytest.fixture
def read_until_revoked(
    store: MemoryStore, models: FakeChatModels, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Awaitable[list[str]]]:
    """Opens a stream, revokes its reader's key, and gives the lines that came until its end."""
    monkeypatch.setattr(session_watch, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(key_ring, "TTL_SECONDS", 0.1)
    models.scripts = [["Hel", asyncio.Event()]]

    async def read(method: str, path: str, body: object) -> list[str]:
        services = make_services(store, models=models)
        key = ApiKey.generate(KeyKind.SECRET)
        stored = make_stored_key(key)
        store.put_api_key(TENANT, stored)
        watching = asyncio.create_task(services.session_watch.run())
        headers = {"Authorization": f"Bearer {key.text}"}
        async with (
            served(build_public_app(services)) as url,
            httpx.AsyncClient(base_url=url, headers=headers, timeout=10) as client,
            asyncio.timeout(30),
        ):
            path = path.format(conversation=(await start(client)).removesuffix("/messages"))
            async with client.stream(method, path, json=body, headers=STREAM) as answer:
                assert answer.status_code == 200
                store.put_api_key(TENANT, replace(stored, revoked_at=datetime.now(UTC)))
                lines = [line async for line in answer.aiter_lines() if line not in ("", ": ping")]
            await until_none_is_open(services)
        watching.cancel()
        await services.runner.aclose()
        return lines

    return read


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("GET", "{conversation}/events", None), ("POST", "{conversation}/messages", {"content": "Hi"})],
)
async def test_stream_ends_with_its_reader_s_credentials_and_says_so(
    read_until_revoked: Callable[..., Awaitable[list[str]]], method: str, path: str, body: object
) -> None:
    lines = await read_until_revoked(method, path, body)
    assert lines[-2] == "event: stream.ended"
    problem = json.loads(lines[-1].removeprefix("data: "))["error"]
    assert (problem["code"], problem["status"]) == ("key-revoked", 401)


async def test_chat_completion_ends_with_its_reader_s_credentials(
    read_until_revoked: Callable[..., Awaitable[list[str]]], models: FakeChatModels
) -> None:
    asked = {"model": "travel", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    lines = await read_until_revoked("POST", "/v1/chat/completions", asked)
    assert json.loads(lines[-1].removeprefix("data: "))["error"]["code"] == "invalid_api_key"
    async with asyncio.timeout(10):
        await models.ended.wait()
