"""Turns over sockets: the same events as server-sent ones, and what can be done about them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from syntera_runtime.api.sockets import participations
from syntera_runtime.errors import ModelUnavailable
from tests.runtime.events import SentEvents
from tests.runtime.fakes import FakeChatModels
from tests.runtime.sockets import ENDS, SocketClient, open_socket

Start = Callable[[str], Awaitable[str]]
STREAM = {"Accept": "text/event-stream"}


async def say(socket: SocketClient, conversation: str, content: str = "Hi", **more: object) -> Any:
    return await socket.ask("message.send", conversationId=conversation, content=content, **more)


async def ended(socket: SocketClient, number: int = 0) -> None:
    """Return when a turn has ended that began after that number."""
    await socket.wait_for(lambda told: told.name in ENDS and told.data["number"] > number)


async def test_events_are_those_that_are_sent_over_http(url: str, key: str, start: Start) -> None:
    conversation = await start(key)
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        open_socket(url, key) as socket,
        httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client,
    ):
        await socket.ask("conversation.join", conversationId=conversation)
        path = f"/v1/conversations/{conversation}/messages"
        async with client.stream("POST", path, json={"content": "Hi"}, headers=STREAM) as answer:
            sent = await SentEvents(answer).until(*ENDS)
        await ended(socket)
        assert socket.of_turns(conversation) == [tuple(event) for event in sent]
        assert len(sent) == 5


async def test_failure_is_told_as_a_problem(url: str, key: str, start: Start, models: FakeChatModels) -> None:
    models.scripts = [["Hel", ModelUnavailable(endpoint="stand-in")]]
    conversation = await start(key)
    async with open_socket(url, key) as socket:
        await socket.ask("conversation.join", conversationId=conversation)
        await say(socket, conversation)
        failed = (await socket.wait_for_event("message.failed"))["data"]
    assert (failed["error"]["code"], failed["message"]["content"]) == ("model-unavailable", "Hel")


@pytest.mark.parametrize(("last", "numbers"), [(0, [1, 2, 3, 4, 5]), (2, [3, 4, 5]), (5, []), (None, [])])
async def test_socket_goes_on_after_the_event_that_it_names(
    url: str, key: str, start: Start, last: int | None, numbers: list[int]
) -> None:
    conversation = await start(key)
    async with open_socket(url, key) as one:
        await one.ask("conversation.join", conversationId=conversation)
        await say(one, conversation)
        await ended(one)
        async with open_socket(url, key) as other:
            await other.ask("conversation.join", conversationId=conversation, lastEventId=last)
            await say(one, conversation)
            await ended(other, 5)
            await ended(one, 5)
            heard, spoken = other.of_turns(conversation), one.of_turns(conversation)
    assert [number for number, _, _ in heard] == [*numbers, 6, 7, 8, 9, 10]
    assert heard == [event for event in spoken if event[0] in {*numbers, 6, 7, 8, 9, 10}]


async def test_who_joins_again_begins_anew_and_gets_nothing_twice(url: str, key: str, start: Start) -> None:
    conversation = await start(key)
    async with open_socket(url, key) as socket:
        first = await socket.ask("conversation.join", conversationId=conversation)
        await say(socket, conversation)
        await ended(socket)
        again = await socket.ask("conversation.join", conversationId=conversation, lastEventId=4)
        await socket.wait_for(lambda _: len(socket.of_turns(conversation)) == 6)
        await say(socket, conversation)
        await ended(socket, 5)
        numbers = [number for number, _, _ in socket.of_turns(conversation)]
    assert numbers == [1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 10]
    assert again["memberId"] == first["memberId"]


async def test_who_has_left_hears_no_more(url: str, key: str, start: Start) -> None:
    conversation = await start(key)
    async with open_socket(url, key) as socket, open_socket(url, key) as other:
        await socket.ask("conversation.join", conversationId=conversation)
        await other.ask("conversation.join", conversationId=conversation)
        await socket.ask("conversation.leave", conversationId=conversation)
        await say(socket, conversation)
        await ended(other)
        await socket.ask("conversation.leave", conversationId=conversation)
        assert socket.of_turns(conversation) == []


async def test_conversations_of_one_socket_are_told_apart(url: str, key: str, start: Start) -> None:
    one, other = await start(key), await start(key)
    async with open_socket(url, key) as socket:
        await socket.ask("conversation.join", conversationId=one)
        await socket.ask("conversation.join", conversationId=other)
        for conversation in (one, other):
            await say(socket, conversation)
            await socket.wait_for(
                lambda told, wanted=conversation: told.name in ENDS and told.data["conversationId"] == wanted  # type: ignore[misc]
            )
        assert [number for number, _, _ in socket.of_turns(one)] == [1, 2, 3, 4, 5]
        assert [number for number, _, _ in socket.of_turns(other)] == [1, 2, 3, 4, 5]


async def test_message_that_is_sent_again_begins_one_turn(url: str, key: str, start: Start) -> None:
    conversation = await start(key)
    async with open_socket(url, key) as socket:
        await socket.ask("conversation.join", conversationId=conversation)
        first = await say(socket, conversation, idempotencyKey="one")
        await ended(socket)
        again = await say(socket, conversation, idempotencyKey="one")
        other = await socket.refusal(
            "message.send", {"conversationId": conversation, "content": "Bye", "idempotencyKey": "one"}
        )
    assert (first["isReplayed"], again["isReplayed"]) == (False, True)
    assert (again["turn"]["id"], again["messageId"]) == (first["turn"]["id"], first["messageId"])
    assert other["code"] == "idempotency-key-reused"


async def test_message_takes_files_along(url: str, key: str, start: Start) -> None:
    conversation = await start(key)
    async with (
        open_socket(url, key) as socket,
        httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client,
    ):
        files = [
            (await client.post("/v1/files", params={"name": name}, content=b"Sea view")).json()["id"]
            for name in ("one.txt", "two.txt")
        ]
        attachments = [{"fileId": file} for file in files]
        await socket.ask("conversation.join", conversationId=conversation)
        sent = await say(socket, conversation, attachments=attachments)
        started = await socket.wait_for_event("message.started")
        await ended(socket)
        asked = {"conversationId": conversation, "content": "Hi", "attachments": attachments}
        assert (await socket.refusal("message.send", asked))["code"] == "file-attached"
    parts = sent["userMessage"]["parts"]
    assert [part["file"]["id"] for part in parts if part["type"] == "file"] == files
    assert started["data"]["userMessage"]["parts"] == parts


async def test_key_of_a_message_is_the_same_over_http(url: str, key: str, start: Start) -> None:
    conversation = await start(key)
    async with open_socket(url, key) as socket, httpx.AsyncClient(base_url=url) as client:
        sent = await say(socket, conversation, idempotencyKey="one")
        answer = await client.post(
            f"/v1/conversations/{conversation}/messages",
            json={"content": "Hi"},
            headers={"Authorization": f"Bearer {key}", "Idempotency-Key": "one"},
        )
    assert answer.headers["idempotency-replayed"] == "true"
    assert answer.json()["turn"]["id"] == sent["turn"]["id"]


async def test_message_to_a_busy_conversation_is_refused_and_the_turn_can_be_stopped(
    url: str, key: str, start: Start, models: FakeChatModels
) -> None:
    models.scripts = [["Hel", asyncio.Event()]]
    conversation = await start(key)
    async with open_socket(url, key) as socket:
        await socket.ask("conversation.join", conversationId=conversation)
        running = await say(socket, conversation)
        problem = await socket.refusal("message.send", {"conversationId": conversation, "content": "Hi"})
        assert problem["code"] == "conversation-busy"
        assert (problem["turnId"], problem["retryAfterSeconds"]) == (running["turn"]["id"], 1)
        other = await socket.ask("turn.stop", conversationId=conversation, turnId=str(uuid4()))
        assert other == {"turnId": None}
        stopped = await socket.ask("turn.stop", conversationId=conversation)
        assert stopped == {"turnId": running["turn"]["id"]}
        await socket.wait_for_event("message.stopped")


async def test_socket_can_be_in_so_many_conversations(
    url: str, key: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(participations, "MOST_JOINED", 1)
    one, other = await start(key), await start(key)
    async with open_socket(url, key) as socket:
        await socket.ask("conversation.join", conversationId=one)
        await socket.ask("conversation.join", conversationId=one)
        problem = await socket.refusal("conversation.join", {"conversationId": other})
        assert problem["code"] == "too-many-joined"
        await socket.ask("conversation.leave", conversationId=one)
        await socket.ask("conversation.join", conversationId=other)


@pytest.mark.parametrize(
    ("event", "data", "path"),
    [
        ("conversation.join", [{}], "conversationId"),
        ("conversation.join", [{"conversationId": "x"}], "conversationId"),
        ("conversation.join", [{"conversationId": str(uuid4()), "lastEventId": -1}], "lastEventId"),
        ("conversation.join", [{"conversationId": str(uuid4()), "lastEventId": 2**63}], "lastEventId"),
        ("conversation.join", [{"conversationId": str(uuid4()), "lastEventId": "1"}], "lastEventId"),
        ("conversation.join", [{"conversationId": str(uuid4()), "more": 1}], "more"),
        ("message.send", [{"conversationId": str(uuid4()), "content": " "}], "content"),
        ("message.send", [{"conversationId": str(uuid4()), "content": "a\0b"}], "content"),
        ("message.send", [{"conversationId": str(uuid4()), "content": "a", "idempotencyKey": "ä"}], "idempotencyKey"),
        ("typing", [{"conversationId": str(uuid4()), "isTyping": "yes"}], "isTyping"),
        ("session.renew", [{"token": ""}], "token"),
        ("conversation.join", ["x"], ""),
        ("conversation.join", [None], ""),
        ("conversation.join", [], None),
        ("conversation.join", [{}, {}], None),
    ],
)
async def test_unfit_event_is_refused_with_the_place(
    url: str, key: str, event: str, data: list[object], path: str | None
) -> None:
    async with open_socket(url, key) as socket:
        answer = await socket.library.call(event, tuple(data) if data else None, timeout=30)
    problem = answer["error"]
    assert (problem["code"], problem["status"]) == ("invalid-request", 400)
    assert (problem["errors"][0]["path"] if path is not None else problem.get("errors")) == path


async def test_unknown_event_is_a_problem(url: str, key: str) -> None:
    async with open_socket(url, key) as socket:
        assert (await socket.refusal("conversation.destroy", {}))["code"] == "event-unknown"


async def test_unknown_conversation_is_a_problem(url: str, key: str) -> None:
    asked = {"conversationId": str(uuid4())}
    async with open_socket(url, key) as socket:
        problems = [
            await socket.refusal("conversation.join", asked),
            await socket.refusal("message.send", {**asked, "content": "Hi"}),
            await socket.refusal("turn.stop", asked),
            await socket.refusal("marks.put", asked),
        ]
    assert {problem["code"] for problem in problems} == {"conversation-not-found"}
