"""Messages through the API: replies whole and streamed, failures, pages."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import httpx
import pytest

from syntera_runtime.errors import ModelUnavailable, StoreUnavailable
from syntera_runtime.services import Services
from tests.runtime.builders import make_agent
from tests.runtime.fakes import FakeCatalogue, FakeChatModels, FakeFailingStore

STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
async def messages(client: httpx.AsyncClient) -> str:
    """The path of a new conversation's messages."""
    made = (await client.post("/v1/agents/travel/conversations")).json()
    return f"/v1/conversations/{made['id']}/messages"


def parse_events(text: str) -> list[tuple[int, str, Any]]:
    """Number, name and data of each event."""
    events = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        events.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return events


async def test_reply_comes_whole_as_json(client: httpx.AsyncClient, messages: str) -> None:
    answer = await client.post(messages, json={"content": "Hi"})
    assert answer.status_code == 200
    sent = answer.json()
    assert (sent["userMessage"]["role"], sent["userMessage"]["content"]) == ("user", "Hi")
    assert (sent["message"]["role"], sent["message"]["content"]) == ("assistant", "Hello world")
    assert sent["turn"]["state"] == "complete"
    usage = {"promptTokens": 7, "completionTokens": 2, "totalTokens": 9, "isEstimated": False}
    assert (sent["turn"]["usage"], sent["turn"]["limit"]) == (usage, None)
    assert sent["userMessage"]["turnId"] == sent["message"]["turnId"] == sent["turn"]["id"]


async def test_reply_is_streamed_as_numbered_events(client: httpx.AsyncClient, messages: str) -> None:
    answer = await client.post(messages, json={"content": "Hi"}, headers=STREAM)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["cache-control"] == "no-store"
    events = parse_events(answer.text)
    assert [(number, name) for number, name, _ in events] == [
        (1, "message.started"),
        (2, "message.delta"),
        (3, "message.delta"),
        (4, "usage"),
        (5, "message.completed"),
    ]
    started, first, second, used, completed = (data for _, _, data in events)
    assert started["userMessage"]["content"] == "Hi"
    assert started["turn"]["state"] == "running"
    assert first == {"messageId": started["messageId"], "text": "Hello"}
    assert second["text"] == " world"
    assert completed["message"]["id"] == started["messageId"]
    assert completed["message"]["content"] == "Hello world"
    assert completed["turn"]["usage"]["totalTokens"] == 9
    assert used == {
        "turnId": started["turn"]["id"],
        "messageId": started["messageId"],
        "usage": completed["turn"]["usage"],
    }


async def test_numbers_go_on_in_the_next_turn(client: httpx.AsyncClient, messages: str) -> None:
    await client.post(messages, json={"content": "Hi"})
    answer = await client.post(messages, json={"content": "Hi"}, headers=STREAM)
    assert [number for number, _, _ in parse_events(answer.text)] == [6, 7, 8, 9, 10]


@pytest.mark.parametrize("text", ["two\nlines", "\r\ncarriage", "data: x\n\nevent: forged\n\n", "😀\u2028"])
async def test_text_cannot_forge_events(
    client: httpx.AsyncClient, messages: str, models: FakeChatModels, text: str
) -> None:
    models.scripts = [[text]]
    answer = await client.post(messages, json={"content": "Hi"}, headers=STREAM)
    events = parse_events(answer.text)
    assert [name for _, name, _ in events] == ["message.started", "message.delta", "usage", "message.completed"]
    assert events[1][2]["text"] == text


# ---- failures ----


async def test_failed_turn_is_a_problem_that_names_it(
    client: httpx.AsyncClient, messages: str, models: FakeChatModels
) -> None:
    models.scripts = [["Hel", ModelUnavailable(endpoint="stand-in", retry_after_seconds=2.4)]]
    answer = await client.post(messages, json={"content": "Hi"})
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "3"  # not before
    problem = answer.json()
    assert (problem["code"], problem["retryable"]) == ("model-unavailable", True)
    question, reply = (await client.get(messages)).json()["items"]
    assert (problem["turnId"], problem["messageId"]) == (question["turnId"], reply["id"])
    assert (reply["state"], reply["content"]) == ("failed", "Hel")
    assert reply["error"]["code"] == "model-unavailable"


async def test_failed_turn_ends_the_stream_with_its_reason(
    client: httpx.AsyncClient, messages: str, models: FakeChatModels
) -> None:
    models.scripts = [["Hel", ModelUnavailable(endpoint="stand-in")]]
    answer = await client.post(messages, json={"content": "Hi"}, headers=STREAM)
    assert answer.status_code == 200
    *_, (_, name, failed) = parse_events(answer.text)
    assert name == "message.failed"
    assert (failed["error"]["code"], failed["message"]["content"]) == ("model-unavailable", "Hel")
    assert failed["turn"]["state"] == "failed"


async def test_second_message_is_refused_while_the_first_is_answered(
    client: httpx.AsyncClient, messages: str, models: FakeChatModels
) -> None:
    go_on = asyncio.Event()
    models.scripts = [["Hel", go_on, "lo"]]
    first = asyncio.create_task(client.post(messages, json={"content": "one"}))
    await models.begun.wait()
    running = (await client.get(messages)).json()["items"][0]["turnId"]
    for headers in ({}, STREAM):
        refused = await client.post(messages, json={"content": "two"}, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (409, "conversation-busy")
        assert (refused.headers["retry-after"], refused.json()["retryAfterSeconds"]) == ("1", 1)
        assert refused.json()["turnId"] == running
    go_on.set()
    assert (await first).json()["message"]["content"] == "Hello"


async def test_message_to_an_unknown_conversation_is_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"/v1/conversations/{uuid4()}/messages", json={"content": "Hi"}, headers=STREAM)
    assert (answer.status_code, answer.json()["code"]) == (404, "conversation-not-found")


async def test_message_to_an_agent_that_is_gone_is_a_problem(
    client: httpx.AsyncClient, messages: str, agents: FakeCatalogue
) -> None:
    agents.agents.clear()
    answer = await client.post(messages, json={"content": "Hi"})
    assert (answer.status_code, answer.json()["code"]) == (404, "agent-not-found")


async def test_no_message_is_taken_after_the_drain(
    client: httpx.AsyncClient, messages: str, services: Services
) -> None:
    await services.runner.drain(seconds=0)
    answer = await client.post(messages, json={"content": "Hi"})
    assert (answer.status_code, answer.json()["code"]) == (503, "shutting-down")


class TestStoreIsAway:
    """PostgreSQL goes away in the middle."""

    @pytest.fixture
    def store(self) -> FakeFailingStore:
        """A store that can be told to be away."""
        return FakeFailingStore()

    async def test_message_is_refused_with_the_stores_name(
        self, client: httpx.AsyncClient, messages: str, store: FakeFailingStore, services: Services
    ) -> None:
        store.fail("begin_turn", StoreUnavailable(store="PostgreSQL"))
        answer = await client.post(messages, json={"content": "Hi"})
        assert (answer.status_code, answer.json()["store"]) == (503, "PostgreSQL")
        labels = {"store": "PostgreSQL"}
        assert services.metrics.registry.get_sample_value("syntera_store_unavailable_total", labels) == 1

    async def test_stream_says_when_the_reply_could_not_be_stored(
        self,
        client: httpx.AsyncClient,
        messages: str,
        store: FakeFailingStore,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("syntera_runtime.chat.runner.STORE_SECONDS", 0.0)
        store.fail("end_turn", *(StoreUnavailable(store="PostgreSQL") for _ in range(3)))
        answer = await client.post(messages, json={"content": "Hi"}, headers=STREAM)
        *_, (_, name, failed) = parse_events(answer.text)
        assert name == "message.failed"
        assert (failed["message"], failed["turn"]) == (None, None)
        assert failed["error"]["store"] == "PostgreSQL"


# ---- what is taken ----


@pytest.mark.parametrize(
    ("body", "path", "code"),
    [
        ({}, "body.content", "string_too_short"),
        ({"content": ""}, "body.content", "string_too_short"),
        ({"content": " \n\t"}, "body.content", "string_too_short"),
        ({"content": "x" * 32_001}, "body.content", "string_too_long"),
        ({"content": "a\0b"}, "body.content", "string_pattern_mismatch"),
        ({"content": 7}, "body.content", "string_type"),
        ({"content": None}, "body.content", "string_type"),
        ({"content": ["Hi"]}, "body.content", "string_type"),
        ({"content": "Hi", "role": "assistant"}, "body.role", "extra_forbidden"),
        ({"Content": "Hi", "content": "Hi"}, "body.Content", "extra_forbidden"),
        ([], "body", "model_attributes_type"),
        ("Hi", "body", "model_attributes_type"),
        (None, "body", "missing"),
    ],
)
async def test_unfit_message_is_refused_with_the_place(
    client: httpx.AsyncClient, messages: str, body: Any, path: str, code: str
) -> None:
    answer = await client.post(messages, json=body)
    assert answer.status_code == 400
    assert (path, code) in [(fault["path"], fault["code"]) for fault in answer.json()["errors"]]
    assert (await client.get(messages)).json()["items"] == []


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("text/event-stream, application/json;q=0.5", "text/event-stream"),
        ("text/*", "text/event-stream"),
    ],
)
async def test_client_chooses_the_form(client: httpx.AsyncClient, messages: str, accept: str, media_type: str) -> None:
    answer = await client.post(messages, json={"content": "Hi"}, headers={"Accept": accept})
    assert answer.headers["content-type"].partition(";")[0] == media_type


async def test_form_that_we_cannot_make_is_refused_before_anything_is_stored(
    client: httpx.AsyncClient, messages: str
) -> None:
    answer = await client.post(messages, json={"content": "Hi"}, headers={"Accept": "text/html"})
    assert (answer.status_code, answer.json()["code"]) == (406, "not-acceptable")
    assert (await client.get(messages)).json()["items"] == []


# ---- pages ----


async def test_pages_follow_one_another_to_the_end(client: httpx.AsyncClient, agents: FakeCatalogue) -> None:
    agents.put(make_agent(greeting="Welcome"))
    made = (await client.post("/v1/agents/travel/conversations")).json()
    path = f"/v1/conversations/{made['id']}/messages"
    for content in ("one", "two"):
        await client.post(path, json={"content": content})
    seen: list[str] = []
    sizes: list[int] = []
    cursor = None
    while True:
        params = {"limit": "2"} if cursor is None else {"limit": "2", "cursor": cursor}
        page = (await client.get(path, params=params)).json()
        seen += [message["content"] for message in page["items"]]
        sizes.append(len(page["items"]))
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert seen == ["Welcome", "one", "Hello world", "two", "Hello world"]
    assert sizes == [2, 2, 1]


async def test_page_that_is_just_full_is_the_last(client: httpx.AsyncClient, messages: str) -> None:
    await client.post(messages, json={"content": "Hi"})
    assert (await client.get(messages, params={"limit": 2})).json()["nextCursor"] is None


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=0", "invalid-request"),
        ("limit=201", "invalid-request"),
        ("limit=x", "invalid-request"),
        ("limt=5", "invalid-request"),
        ("cursor=", "invalid-request"),
        ("cursor=x", "invalid-cursor"),
        ("cursor=AQGiBYAEUXAKp6pWTSZqUN", "invalid-cursor"),
        ("cursor=../../etc/passwd", "invalid-cursor"),
        ("cursor=" + "A" * 101, "invalid-request"),
    ],
)
async def test_unfit_page_is_refused(client: httpx.AsyncClient, messages: str, query: str, code: str) -> None:
    answer = await client.get(f"{messages}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_list_of_an_unknown_conversation_is_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"/v1/conversations/{uuid4()}/messages")
    assert (answer.status_code, answer.json()["code"]) == (404, "conversation-not-found")
