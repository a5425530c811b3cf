"""Events of a conversation and the stop through the API."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest

from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.api.app import build_public_app
from syntera_runtime.errors import ModelUnavailable, StoreUnavailable
from syntera_runtime.services import Services
from tests.runtime.builders import make_services, put_key
from tests.runtime.events import SentEvents
from tests.runtime.fakes import FakeChatModels, FakeFailingStore
from tests.runtime.serving import served

STREAM = {"Accept": "text/event-stream"}
ENDS = ("message.completed", "message.failed", "message.stopped")


@pytest.fixture
async def following(services: Services) -> AsyncIterator[None]:
    """Somebody reads the event log, as a process does."""
    reading = asyncio.create_task(services.followers.run())
    yield
    reading.cancel()


@asynccontextmanager
async def serving(services: Services, store: MemoryStore) -> AsyncIterator[httpx.AsyncClient]:
    """A client on a real connection: only there can a stream be read that never ends."""
    headers = {"Authorization": f"Bearer {put_key(store)}"}
    async with (
        served(build_public_app(services)) as url,
        httpx.AsyncClient(base_url=url, headers=headers, timeout=10) as client,
    ):
        yield client
        services.followers.close()


async def start(client: httpx.AsyncClient) -> str:
    """The path of a new conversation."""
    made = (await client.post("/v1/agents/travel/conversations")).json()
    return f"/v1/conversations/{made['id']}"


@pytest.mark.usefixtures("following")
async def test_events_of_a_turn_are_those_that_its_sender_gets(services: Services, store: MemoryStore) -> None:
    async with serving(services, store) as client:
        conversation = await start(client)
        async with client.stream("GET", f"{conversation}/events") as following:
            assert following.status_code == 200
            assert following.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert following.headers["x-accel-buffering"] == "no"
            assert following.headers["syntera-events-version"] == "1"
            async with client.stream("POST", f"{conversation}/messages", json={"content": "Hi"}, headers=STREAM) as own:
                sent = await SentEvents(own).until(*ENDS)
            assert await SentEvents(following).until(*ENDS) == sent


@pytest.mark.usefixtures("following")
@pytest.mark.parametrize(
    ("query", "headers", "first"),
    [
        ({}, {"Last-Event-ID": "2"}, 3),
        ({"after": "2"}, {}, 3),
        ({"after": "0"}, {}, 1),
        ({"after": "0"}, {"Last-Event-ID": "2"}, 3),  # a browser that comes again repeats its first address
    ],
)
async def test_stream_goes_on_after_the_event_that_the_client_names(
    services: Services, store: MemoryStore, query: dict[str, str], headers: dict[str, str], first: int
) -> None:
    async with serving(services, store) as client:
        conversation = await start(client)
        await client.post(f"{conversation}/messages", json={"content": "Hi"})
        await services.writers.drain(seconds=10)
        async with client.stream("GET", f"{conversation}/events", params=query, headers=headers) as following:
            numbers = [event.number for event in await SentEvents(following).until(*ENDS)]
    assert numbers == list(range(first, 6))


@pytest.mark.usefixtures("following")
async def test_number_that_no_event_has_had_is_as_good_as_none(services: Services, store: MemoryStore) -> None:
    async with serving(services, store) as client:
        conversation = await start(client)
        await client.post(f"{conversation}/messages", json={"content": "Hi"})
        headers = {"Last-Event-ID": "4000"}
        async with client.stream("GET", f"{conversation}/events", headers=headers) as following:
            await client.post(f"{conversation}/messages", json={"content": "Hi"})
            assert (await SentEvents(following).until(*ENDS))[0].number == 6


@pytest.mark.usefixtures("following")
async def test_failure_names_the_request_of_its_reader(
    services: Services, store: MemoryStore, models: FakeChatModels
) -> None:
    models.scripts = [["Hel", ModelUnavailable(endpoint="stand-in")]]
    async with serving(services, store) as client:
        conversation = await start(client)
        async with client.stream("GET", f"{conversation}/events", headers={"X-Request-Id": "mine"}) as following:
            await client.post(f"{conversation}/messages", json={"content": "Hi"})
            async for line in following.aiter_lines():
                if line.startswith("data: ") and "error" in (data := json.loads(line.removeprefix("data: "))):
                    break
    assert (data["error"]["code"], data["error"]["requestId"], data["error"]["status"]) == (
        "model-unavailable",
        "mine",
        503,
    )
    assert data["message"]["content"] == "Hel"


async def test_silent_stream_gives_signs_of_life(store: MemoryStore) -> None:
    services = make_services(store, ping_seconds=0.05)
    async with serving(services, store) as client:
        conversation = await start(client)
        async with client.stream("GET", f"{conversation}/events") as following:
            lines = following.aiter_lines()
            assert [await anext(lines) for _ in range(3)] == [": ping", "", ": ping"]


async def test_stream_ends_when_the_process_leaves(services: Services, store: MemoryStore) -> None:
    async with serving(services, store) as client:
        conversation = await start(client)
        async with client.stream("GET", f"{conversation}/events") as following:
            services.followers.close()
            assert [line async for line in following.aiter_lines()] == []
        answer = await client.get(f"{conversation}/events")
        assert (answer.status_code, answer.json()["code"]) == (503, "shutting-down")


async def test_reader_who_leaves_is_forgotten(services: Services, store: MemoryStore) -> None:
    async with serving(services, store) as client:
        conversation = await start(client)
        async with client.stream("GET", f"{conversation}/events"):
            assert services.followers._followers
        async with asyncio.timeout(10):
            while services.followers._followers:  # noqa: ASYNC110  # nobody announces it
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("query", "headers", "path"),
    [
        ({"after": "x"}, {}, "query.after"),
        ({"after": "-1"}, {}, "query.after"),
        ({"after": str(2**63)}, {}, "query.after"),
        ({}, {"Last-Event-ID": "1.5"}, "header.Last-Event-ID"),
        ({}, {"Last-Event-ID": "-1"}, "header.Last-Event-ID"),
    ],
)
async def test_unfit_number_is_refused_with_the_place(
    client: httpx.AsyncClient, query: dict[str, str], headers: dict[str, str], path: str
) -> None:
    conversation = await start(client)
    answer = await client.get(f"{conversation}/events", params=query, headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, path)


async def test_unknown_conversation_is_a_problem(client: httpx.AsyncClient) -> None:
    for answer in (
        await client.get(f"/v1/conversations/{uuid4()}/events"),
        await client.post(f"/v1/conversations/{uuid4()}/stop"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "conversation-not-found")


async def test_events_come_as_a_stream_only(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"{await start(client)}/events", headers={"Accept": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (406, "not-acceptable")


# ---- stop ----


async def test_stopped_turn_answers_its_sender_with_what_was_said(
    client: httpx.AsyncClient, models: FakeChatModels
) -> None:
    conversation = await start(client)
    models.scripts = [["Hel", asyncio.Event(), "lo"]]
    sending = asyncio.create_task(client.post(f"{conversation}/messages", json={"content": "Hi"}))
    await models.begun.wait()
    turn_id = (await client.get(f"{conversation}/messages")).json()["items"][0]["turnId"]
    stopped = await client.post(f"{conversation}/stop", params={"turn": turn_id})
    assert (stopped.status_code, stopped.json()) == (202, {"turnId": turn_id})
    answer = await sending
    assert answer.status_code == 200
    sent: dict[str, Any] = answer.json()
    assert (sent["message"]["state"], sent["message"]["content"], sent["message"]["error"]) == ("stopped", "Hel", None)
    assert (sent["turn"]["state"], sent["turn"]["error"]) == ("stopped", None)


async def test_stopped_stream_ends_with_what_was_said(client: httpx.AsyncClient, models: FakeChatModels) -> None:
    conversation = await start(client)
    models.scripts = [["Hel", asyncio.Event(), "lo"]]
    sending = asyncio.create_task(client.post(f"{conversation}/messages", json={"content": "Hi"}, headers=STREAM))
    await models.begun.wait()
    await client.post(f"{conversation}/stop")
    *_, last = (await sending).text.strip().split("\n\n")
    assert "event: message.stopped" in last
    assert '"content":"Hel"' in last


async def test_stop_changes_nothing_when_nothing_runs(client: httpx.AsyncClient) -> None:
    conversation = await start(client)
    sent = (await client.post(f"{conversation}/messages", json={"content": "Hi"})).json()
    for query in ({}, {"turn": sent["turn"]["id"]}, {"turn": str(uuid4())}):
        answer = await client.post(f"{conversation}/stop", params=query)
        assert (answer.status_code, answer.json()) == (202, {"turnId": None})
    assert (await client.get(f"{conversation}/messages")).json()["items"][-1] == sent["message"]


async def test_unfit_turn_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{await start(client)}/stop", params={"turn": "x"})
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, "query.turn")


class TestStoreIsAway:
    """PostgreSQL goes away."""

    @pytest.fixture
    def store(self) -> FakeFailingStore:
        """A store that can be told to be away."""
        return FakeFailingStore()

    async def test_stop_names_the_store(self, client: httpx.AsyncClient, store: FakeFailingStore) -> None:
        conversation = await start(client)
        store.fail("request_stop", StoreUnavailable(store="PostgreSQL"))
        answer = await client.post(f"{conversation}/stop")
        assert (answer.status_code, answer.json()["store"]) == (503, "PostgreSQL")

    async def test_events_name_the_store(self, client: httpx.AsyncClient, store: FakeFailingStore) -> None:
        conversation = await start(client)
        store.fail("find_position", StoreUnavailable(store="PostgreSQL"))
        answer = await client.get(f"{conversation}/events")
        assert (answer.status_code, answer.json()["store"]) == (503, "PostgreSQL")
