"""Streams as no server of today sends them, or only after a loss: from a server that says what it is told."""

import json
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from syntera_runtime.api.examples import build_answers
from syntera_runtime.client import (
    Client,
    ConnectionFailed,
    Event,
    MessageCitation,
    MessageCompleted,
    MessageDelta,
    MessageRetrieval,
    MessageSnapshot,
    MessageStarted,
    ReplyLost,
    Retries,
    TurnUsage,
    Unauthenticated,
    UnexpectedAnswer,
    UnknownEvent,
)
from tests.runtime.serving import served

QUICK = Retries(attempts=3, first_seconds=0.001, most_seconds=0.001)
STARTED, RETRIEVAL, DELTA, CITATION, USAGE, COMPLETED = (
    json.loads(part.partition("data: ")[2].partition("\n")[0])
    for part in build_answers()["followConversation"]["text/event-stream"].split("\n\n")[:6]
)
SOME_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


def sse(number: int, name: str, data: dict[str, Any]) -> str:
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n"


ENDED = 'event: stream.ended\ndata: {"error": {"code": "token-expired", "detail": "The token has expired.", "status": 401}}\n\n'


class Teller:
    """Answers each request with the next stream, the last one again and again."""

    def __init__(self, *streams: str, media_type: str = "text/event-stream") -> None:
        self._streams = list(streams)
        self._media_type = media_type
        self.asked: list[tuple[str, str | None]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append((scope["method"], headers.get("last-event-id")))
        body = self._streams.pop(0) if len(self._streams) > 1 else self._streams[0]
        given = [(b"content-type", self._media_type.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": given})
        await send({"type": "http.response.body", "body": body.encode()})


async def listen(teller: Teller) -> list[Event]:
    async with (
        served(teller) as url,  # type: ignore[arg-type]  # any ASGI application will do
        Client(url, "key", retries=QUICK, stream_retries=QUICK) as client,
    ):
        return [event async for event in client.send(SOME_ID, "Hi")]


async def test_what_came_before_the_cut_is_not_told_again() -> None:
    teller = Teller(
        sse(1, "message.started", STARTED) + sse(2, "message.delta", DELTA),
        sse(1, "message.started", STARTED) + sse(2, "message.delta", DELTA) + sse(3, "message.completed", COMPLETED),
    )
    events = await listen(teller)
    assert [type(event) for event in events] == [MessageStarted, MessageDelta, MessageCompleted]
    assert teller.asked == [("POST", None), ("GET", "2")]


async def test_snapshot_takes_the_place_of_lost_pieces() -> None:
    snapshot = {**STARTED, "text": "One cabin"}
    teller = Teller(
        sse(1, "message.started", STARTED),
        sse(5, "message.snapshot", snapshot) + sse(6, "message.completed", COMPLETED),
    )
    events = await listen(teller)
    assert [type(event) for event in events] == [MessageStarted, MessageSnapshot, MessageCompleted]


async def test_events_after_the_end_are_not_read() -> None:
    after = sse(9, "message.completed", COMPLETED) + sse(10, "message.started", STARTED)
    events = await listen(Teller(sse(8, "message.started", STARTED) + after))
    assert [event.number for event in events] == [8, 9]


async def test_reply_whose_end_is_forgotten_is_lost() -> None:
    other = {**STARTED, "messageId": SOME_ID}
    with pytest.raises(ReplyLost, match="list of messages"):
        await listen(Teller(sse(1, "message.started", STARTED), sse(99, "message.started", other)))


async def test_event_of_a_newer_server_is_given_on() -> None:
    stream = (
        sse(1, "message.started", STARTED) + sse(2, "tool.called", {"x": 1}) + sse(3, "message.completed", COMPLETED)
    )
    events = await listen(Teller(stream))
    assert events[1] == UnknownEvent(number=2, name="tool.called", data={"x": 1})


async def test_usage_comes_before_the_end() -> None:
    events = await listen(
        Teller(
            sse(1, "message.started", STARTED) + sse(2, "usage", USAGE) + sse(3, "message.completed", COMPLETED),
        )
    )
    usage = events[1]
    assert isinstance(usage, TurnUsage)
    assert (usage.usage.total_tokens, usage.usage.is_estimated) == (129, False)


async def test_knowledge_is_told_as_it_is_looked_up_and_cited() -> None:
    stream = (
        sse(1, "message.started", STARTED)
        + sse(2, "retrieval", RETRIEVAL)
        + sse(3, "message.delta", DELTA)
        + sse(4, "citation", CITATION)
        + sse(5, "message.completed", COMPLETED)
    )
    _, retrieval, _, cited, completed = await listen(Teller(stream))
    assert isinstance(retrieval, MessageRetrieval)
    assert [(one.knowledge_base, one.passages) for one in retrieval.searches] == [("handbook", 3)]
    assert isinstance(cited, MessageCitation)
    assert isinstance(completed, MessageCompleted)
    assert completed.message.citations == [cited.citation]


@pytest.mark.parametrize("before", ["", sse(1, "message.started", STARTED)])
async def test_end_of_the_credentials_is_the_callers(before: str) -> None:
    with pytest.raises(Unauthenticated, match="has expired") as caught:
        await listen(Teller(before + ENDED))
    assert (caught.value.code, caught.value.status) == ("token-expired", 401)


async def test_stream_goes_on_with_other_credentials_where_there_are_such() -> None:
    teller = Teller(
        sse(1, "message.started", STARTED) + ENDED,
        sse(2, "message.delta", DELTA) + sse(3, "message.completed", COMPLETED),
    )

    async def current() -> str:
        return "key"

    async with (
        served(teller) as url,  # type: ignore[arg-type]  # any ASGI application will do
        Client(url, current, retries=QUICK, stream_retries=QUICK) as client,
    ):
        events = [event async for event in client.send(SOME_ID, "Hi")]
    assert [event.number for event in events] == [1, 2, 3]
    assert teller.asked == [("POST", None), ("GET", "1")]


@pytest.mark.parametrize(
    "stream",
    [
        "data: {}\n\n",
        "id: x\ndata: {}\n\n",
        "id: 1\nevent: message.delta\ndata: {}\n\n",
        "id: 1\ndata: [\n\n",
        "event: stream.ended\ndata: {}\n\n",
    ],
)
async def test_stream_of_something_else_is_none_of_ours(stream: str) -> None:
    with pytest.raises(UnexpectedAnswer):
        await listen(Teller(stream))


async def test_page_that_is_no_stream_is_none_of_ours() -> None:
    with pytest.raises(UnexpectedAnswer):
        await listen(Teller("<html>", media_type="text/html"))


async def test_stream_that_never_gets_on_is_given_up() -> None:
    teller = Teller(sse(1, "message.started", STARTED))
    with pytest.raises(ConnectionFailed, match="again and again"):
        await listen(teller)
    assert [method for method, _ in teller.asked] == ["POST", "GET", "GET"]
