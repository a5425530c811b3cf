"""What is sent again, and when: against servers that refuse, fail and fall silent."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from syntera_crds.contract.api_key import Scope as KeyScope
from syntera_runtime.client import (
    Client,
    ConnectionFailed,
    ConversationBusy,
    RateLimited,
    Retries,
    ServerError,
    StoreUnavailable,
    UnexpectedAnswer,
)
from syntera_runtime.client.models import Problem
from syntera_runtime.ids import new_id
from tests.runtime.serving import served

QUICK = Retries(attempts=3, first_seconds=0.001, most_seconds=0.001)
AGENTS: dict[str, Any] = {"items": []}
KEY_OF = "idempotency-key"
SOME_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


class Server:
    """Answers as it is told, one answer for each request; then that everything is fine."""

    def __init__(self, *answers: tuple[int, dict[str, str], Any]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, dict[str, str]]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append((scope["method"], scope["path"], headers))
        status, given, body = self.answers.pop(0) if self.answers else (200, {}, AGENTS)
        raw = [(name.encode(), value.encode()) for name, value in given.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})


class Elsewhere:
    """An API that moves when nobody listens where it was. See `Location`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.after = url

    def url(self) -> str:
        """Where it is now."""
        return self._url

    def renew(self) -> None:
        """It moves."""
        self._url = self.after


def problem(
    code: str, status: int, *, retry_after: int | None = None, **members: Any
) -> tuple[int, dict[str, str], Any]:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return status, headers, {"code": code, "detail": "So it is.", "status": status, "requestId": "r", **members}


async def pieces() -> AsyncIterator[bytes]:
    yield b"Hi"


@asynccontextmanager
async def asking(server: Server, **options: Any) -> AsyncIterator[Client]:
    async with (
        served(server) as url,  # type: ignore[arg-type]  # any ASGI application will do
        Client(url, "key", **{"retries": QUICK, **options}) as client,
    ):
        yield client


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client would have waited."""
    seconds: list[float] = []

    async def wait(duration: float) -> None:
        seconds.append(duration)

    monkeypatch.setattr("syntera_runtime.client.retries.pause", wait)
    return seconds


async def test_refusal_is_waited_for_as_long_as_the_server_says_and_a_little_more(waited: list[float]) -> None:
    server = Server(problem("rate-limited", 429, retry_after=7, retryable=True))
    async with asking(server) as client:
        assert await client.agents() == []
    (seconds,) = waited
    assert 7 <= seconds <= 7 * 1.25


async def test_refusal_for_too_long_is_the_callers(waited: list[float]) -> None:
    server = Server(problem("rate-limited", 429, retry_after=3600, retryable=True))
    async with asking(server) as client:
        with pytest.raises(RateLimited) as caught:
            await client.agents()
    assert (caught.value.retry_after_seconds, waited) == (3600, [])


async def test_store_that_stays_away_is_named_in_the_end() -> None:
    away = problem("store-unavailable", 503, retryable=True, store="PostgreSQL")
    server = Server(away, away, away, away)
    async with asking(server) as client:
        with pytest.raises(StoreUnavailable) as caught:
            await client.agents()
    assert caught.value.store == "PostgreSQL"
    assert len(server.asked) == 3


async def test_proxy_without_a_server_behind_it_is_asked_again() -> None:
    server = Server((502, {}, "<html>"), (503, {}, "<html>"))
    async with asking(server) as client:
        assert await client.agents() == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 422, 500])
async def test_what_is_wrong_with_the_request_is_not_asked_again(status: int) -> None:
    server = Server(problem("conversation-busy" if status == 409 else "some-code", status, retryable=True))
    async with asking(server) as client:
        with pytest.raises(ConversationBusy if status == 409 else Exception):
            await client.agents()
    assert len(server.asked) == 1


async def test_message_keeps_its_key_however_often_it_is_sent() -> None:
    server = Server(problem("store-unavailable", 503, retryable=True), problem("conversation-ended", 409))
    async with asking(server, stream_retries=QUICK) as client:
        with pytest.raises(Exception, match="So it is"):
            await client.ask(SOME_ID, "Hi")
        with pytest.raises(UnexpectedAnswer):
            await client.ask(SOME_ID, "Hi")
    first, second, other = (headers[KEY_OF] for _, _, headers in server.asked)
    assert first == second != other


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.api_keys.create_secret("x", [KeyScope.CHAT]),
        lambda client: client.stop(SOME_ID),
        lambda client: client.delete_conversation(SOME_ID),
        lambda client: client.files.delete(SOME_ID),
        lambda client: client.files.upload("a.txt", pieces()),
        lambda client: client.webhooks.create("https://hooks.acme.example/"),
        lambda client: client.webhooks.rotate_secret(SOME_ID),
        lambda client: client.webhooks.delete(SOME_ID),
        lambda client: client.change_conversation(SOME_ID, title="x", revision=1),
        lambda client: anext(client.completions.stream("travel", "Hi")),
    ],
)
async def test_what_may_have_happened_is_not_done_again(ask: Callable[[Client], Awaitable[Any]]) -> None:
    server = Server(problem("store-unavailable", 503, retryable=True))
    async with asking(server) as client:
        with pytest.raises(ServerError):
            await ask(client)
    assert len(server.asked) == 1


async def test_what_was_refused_before_it_happened_is_done_again() -> None:
    server = Server(problem("rate-limited", 429, retryable=True), (202, {}, {"turnId": None}))
    async with asking(server) as client:
        assert (await client.stop(SOME_ID)).turn_id is None


FILE = {
    "id": SOME_ID,
    "name": "a.txt",
    "mediaType": "text/plain",
    "bytes": 2,
    "createdAt": "2026-11-01T12:00:00Z",
}


async def test_file_whose_bytes_are_at_hand_is_sent_again_with_its_key() -> None:
    server = Server(problem("store-unavailable", 503, retryable=True), (201, {}, FILE))
    async with asking(server) as client:
        assert (await client.files.upload("a.txt", b"Hi")).bytes == 2
    first, second = (headers[KEY_OF] for _, _, headers in server.asked)
    assert first == second


async def test_pieces_that_nobody_has_taken_are_sent_again() -> None:
    """A refused connection has read nothing of them, a refused request has."""
    service = Elsewhere("http://127.0.0.1:1")
    server = Server((201, {}, FILE))
    async with served(server) as url, Client(service, "key", retries=QUICK) as client:  # type: ignore[arg-type]
        service.after = url
        assert (await client.files.upload("a.txt", pieces())).bytes == 2


async def test_pieces_that_were_taken_are_not_sent_again_without_them() -> None:
    server = Server(problem("rate-limited", 429, retryable=True), (201, {}, FILE))
    async with asking(server) as client:
        with pytest.raises(RateLimited):
            await client.files.upload("a.txt", pieces())
    assert len(server.asked) == 1


async def test_delivery_is_asked_for_again_with_its_key() -> None:
    server = Server(*[problem("store-unavailable", 503, retryable=True)] * 3)
    async with asking(server) as client:
        with pytest.raises(StoreUnavailable):
            await client.webhooks.redeliver(SOME_ID, SOME_ID)
    assert len({headers[KEY_OF] for _, _, headers in server.asked}) == 1
    assert len(server.asked) == 3


async def test_problem_says_when_to_come_back_where_no_header_does() -> None:
    server = Server(problem("conversation-busy", 409, retryAfterSeconds=1))
    async with asking(server) as client:
        with pytest.raises(ConversationBusy) as caught:
            await client.agents()
    assert caught.value.retry_after_seconds == 1


async def test_server_that_never_answers_is_given_up() -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    async with asking(silent, request_seconds=0.3) as client:  # type: ignore[arg-type]
        with pytest.raises(ConnectionFailed, match=r"did not answer within 0\.3 seconds"):
            await client.agents()


async def test_server_that_is_not_there_is_named() -> None:
    async with Client("http://127.0.0.1:1/", "key", retries=QUICK) as client:
        with pytest.raises(ConnectionFailed, match=r"at http://127\.0\.0\.1:1 does not answer"):
            await client.agents()


async def test_date_in_retry_after_is_understood() -> None:
    refusal = (429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, {"code": "rate-limited", "detail": "x"})
    async with asking(Server(refusal), retries=Retries(attempts=1)) as client:
        with pytest.raises(RateLimited) as caught:
            await client.agents()
    assert caught.value.retry_after_seconds == 0


async def test_credentials_go_nowhere_else() -> None:
    """A redirect is no answer of the API's; to follow it would hand out the key."""
    server = Server((302, {"Location": "http://127.0.0.1:1/"}, None))
    async with asking(server) as client:
        with pytest.raises(Exception, match="HTTP 302"):
            await client.agents()


@given(st.integers(1, 2000))
def test_waits_are_bounded_and_spread(attempt: int) -> None:
    retries = Retries(first_seconds=0.25, most_seconds=8)
    assert 0 <= retries.wait_seconds(attempt) <= min(8, 0.25 * 2 ** min(attempt, 20))


def test_problem_of_a_newer_server_is_read() -> None:
    read = Problem.model_validate({"code": "from-the-future", "detail": "x", "invented": 1, "requestId": str(new_id())})
    assert read.code == "from-the-future"
