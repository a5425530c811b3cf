"""The client against the real API, and against servers that are something else."""

import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from syntera_cli.client import Piece, TenantClient, Whole
from syntera_cli.connections import FixedUrl
from syntera_cli.errors import AgentUnavailable, AnswerFailed, CliError, RequestRefused, RuntimeUnreachable
from syntera_dev.models.control import Fault, FaultKind
from syntera_dev.models.settings import Behaviour
from syntera_runtime.client import Retries
from syntera_runtime.client.models import Agent
from tests.cli.conftest import RunningTenant
from tests.support.gate import Gate
from tests.support.serving import serving


@pytest.fixture
def client(tenant: RunningTenant) -> Iterator[TenantClient]:
    with TenantClient(FixedUrl(tenant.url), tenant.key) as made:
        yield made


def test_agent_is_described(client: TenantClient) -> None:
    assert client.agent("travel") == Agent(
        name="travel",
        display_name="Travel assistant",
        description="Answers questions on bookings",
        greeting="Hello, how can I help?",
        suggestions=["Where is my booking?", "How much baggage may I take?"],
        revision=3,
    )


@pytest.mark.parametrize("name", ["nobody", "../agents", "a/b", "a?b", "ä"])
def test_unknown_agent_is_answered_with_those_that_there_are(client: TenantClient, name: str) -> None:
    with pytest.raises(AgentUnavailable) as caught:
        client.agent(name)
    assert str(caught.value) == f"There is no agent {name!r} here. Agents: learned, quiet, travel."


def test_conversation_begins_with_the_greeting(client: TenantClient) -> None:
    assert [message.content for message in client.start("travel").messages] == ["Hello, how can I help?"]
    assert client.start("quiet").messages == []


def test_answer_comes_in_pieces_and_then_whole(client: TenantClient, tenant: RunningTenant) -> None:
    tenant.stand_in.say("One two three.")
    *pieces, whole = client.send(str(client.start("travel").id), "Hi")
    assert pieces
    assert "".join(piece.text for piece in pieces if isinstance(piece, Piece)) == "One two three."
    assert whole == Whole("One two three.")


def test_answer_that_somebody_stops_is_whole_as_it_is(client: TenantClient, tenant: RunningTenant) -> None:
    tenant.stand_in.behave(Behaviour(word_delay_seconds=0.05))
    tenant.stand_in.say("word " * 400)
    conversation = str(client.start("travel").id)
    answer = client.send(conversation, "Hi")
    said = [next(answer)]
    headers = {"Authorization": f"Bearer {tenant.key}"}
    httpx.post(f"{tenant.url}/v1/conversations/{conversation}/stop", headers=headers).raise_for_status()
    *rest, whole = answer
    assert isinstance(whole, Whole)
    assert whole.text == "".join(piece.text for piece in [*said, *rest])
    assert len(whole.text.split()) < 400


def test_answer_goes_on_after_a_cut(tenant: RunningTenant) -> None:
    tenant.stand_in.behave(Behaviour(word_delay_seconds=0.02))
    tenant.stand_in.say("word " * 40)
    with Gate(urlsplit(tenant.url).port or 0) as gate:
        way = FixedUrl(f"http://127.0.0.1:{gate.port}")
        with TenantClient(way, tenant.key) as client:
            answer = client.send(str(client.start("travel").id), "Hi")
            pieces = [next(answer)]
            with gate.shut():
                pass
            *rest, whole = answer
    pieces += rest
    assert whole == Whole("".join(piece.text for piece in pieces))
    assert whole.text.split() == ["word"] * 40


def test_conversation_is_remembered(client: TenantClient) -> None:
    conversation = str(client.start("travel").id)
    list(client.send(conversation, "My name is Ada."))
    *_, answer = client.send(conversation, "Who am I?")
    assert "Before this you asked “My name is Ada.”" in answer.text


def test_answer_drives_no_terminal(client: TenantClient, tenant: RunningTenant) -> None:
    tenant.stand_in.say("\x1b[2Jred\u2028line")
    *_, answer = client.send(str(client.start("travel").id), "Hi")
    assert answer == Whole("[2Jred\u2028line")


@pytest.mark.parametrize(
    ("kind", "words"),
    [("drop", "broke off|failed"), ("status", "failed (HTTP 503)"), ("empty", "empty answer")],
)
def test_failed_answer_says_why(client: TenantClient, tenant: RunningTenant, kind: FaultKind, words: str) -> None:
    tenant.stand_in.fail(Fault(kind=kind, times=2))
    with pytest.raises(AnswerFailed) as caught:
        list(client.send(str(client.start("travel").id), "Hi"))
    assert any(word in str(caught.value) for word in words.split("|"))


def test_refusal_is_told_in_the_servers_words(client: TenantClient) -> None:
    with pytest.raises(RequestRefused) as caught:
        list(client.send("00000000-0000-0000-0000-000000000000", "Hi"))
    assert (caught.value.status, caught.value.code) == (404, "conversation-not-found")


def test_unknown_key_is_refused(tenant: RunningTenant) -> None:
    key = tenant.key.replace("syn_sk_", "syn_sk_x")
    with TenantClient(FixedUrl(tenant.url), key) as client, pytest.raises(RequestRefused) as caught:
        client.agents()
    assert caught.value.status == 401


def test_server_that_is_down_is_named() -> None:
    with TenantClient(FixedUrl("http://127.0.0.1:1/"), "key") as client, pytest.raises(RuntimeUnreachable) as caught:
        client.agents()
    assert str(caught.value).startswith("The tenant's API at http://127.0.0.1:1 does not answer: ")


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, b"<html>", RuntimeUnreachable),
        (200, b'{"items": 5}', RuntimeUnreachable),
        (502, b"<html>", RequestRefused),
        (302, b"", RequestRefused),
    ],
)
def test_other_servers_are_told_from_a_tenants_api(status: int, body: bytes, error: type[CliError]) -> None:
    async def other(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})

    with serving(other) as url, TenantClient(FixedUrl(url), "key") as client, pytest.raises(error):
        client.agents()


async def send_stream(send: Send, body: bytes) -> None:
    """Answer with events and then nothing more."""
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def test_stream_that_never_gets_to_its_end_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syntera_cli.client._STREAMS", Retries(attempts=2))
    asked = []

    async def other(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope["method"])
        delta = {"messageId": "01890a5d-ac96-774b-bcce-b302099a8057", "text": "Hel"}
        body = (
            f"id: 1\nevent: message.new-kind\ndata: {{}}\n\nid: 2\nevent: message.delta\ndata: {json.dumps(delta)}\n\n"
        )
        await send_stream(send, body.encode())

    heard = []
    with serving(other) as url, TenantClient(FixedUrl(url), "key") as client:

        def listen() -> None:
            for told in client.send("c", "Hi"):
                heard.append(told)

        with pytest.raises(AnswerFailed, match="lost again and again"):
            listen()
    assert heard == [Piece("Hel")]
    assert asked == ["POST", "GET"]


def test_stream_that_ends_with_the_key_says_why() -> None:
    async def other(scope: object, receive: object, send: object) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})  # type: ignore[operator]
        body = (
            b"id: 1\nevent: message.delta\n"
            b'data: {"messageId": "01890a5d-ac96-774b-bcce-b302099a8057", "text": "Hel"}\n\n'
            b"event: stream.ended\n"
            b'data: {"error": {"code": "key-revoked", "detail": "This API key was revoked.", "status": 401}}\n\n'
        )
        await send({"type": "http.response.body", "body": body})  # type: ignore[operator]

    with (
        serving(other) as url,
        TenantClient(FixedUrl(url), "key") as client,
        pytest.raises(AnswerFailed, match="was revoked") as caught,
    ):
        list(client.send("c", "Hi"))
    assert caught.value.code == "key-revoked"


def test_completion_comes_in_pieces(client: TenantClient, tenant: RunningTenant) -> None:
    tenant.stand_in.say("One two \x1b[2Jthree.")
    pieces = list(client.complete("travel", "Hi"))
    assert len(pieces) > 1
    assert "".join(pieces) == "One two [2Jthree."


def test_completion_that_cannot_begin_says_why_with_a_code(client: TenantClient, tenant: RunningTenant) -> None:
    tenant.stand_in.fail(Fault(kind="status", status=401))
    with pytest.raises(RequestRefused) as caught:
        list(client.complete("travel", "Hi"))
    assert (caught.value.status, caught.value.code) == (502, "model_refused")
    assert "refused the credentials" in str(caught.value)


def test_completion_that_breaks_off_says_why_with_a_code(client: TenantClient, tenant: RunningTenant) -> None:
    tenant.stand_in.fail(Fault(kind="drop", after_words=1))
    with pytest.raises(AnswerFailed) as caught:
        list(client.complete("travel", "Hi"))
    assert caught.value.code == "model_unavailable"


def test_completion_without_an_end_is_no_answer() -> None:
    async def other(scope: Scope, receive: Receive, send: Send) -> None:
        await send_stream(send, b'data: {"choices": [{"delta": {"content": "Hel"}}]}\n\n')

    with (
        serving(other) as url,
        TenantClient(FixedUrl(url), "key") as client,
        pytest.raises(AnswerFailed, match="before it was whole"),
    ):
        list(client.complete("travel", "Hi"))


class RestartedConnection:
    """Leads nowhere until it is made anew."""

    is_local = True

    def __init__(self, url: str) -> None:
        self._url = url
        self.renewals = 0

    def url(self) -> str:
        return self._url if self.renewals else "http://127.0.0.1:1"

    def renew(self) -> bool:
        self.renewals += 1
        return True


class BrokenConnection:
    """Leads nowhere, and cannot be made anew."""

    is_local = True

    def __init__(self) -> None:
        self.ways = 0

    def url(self) -> str:
        self.ways += 1
        return "http://127.0.0.1:1"

    def renew(self) -> bool:
        return False


def test_no_way_is_made_but_for_a_request() -> None:
    connection = BrokenConnection()
    with TenantClient(connection, "key") as client:
        assert connection.ways == 0
        with pytest.raises(RuntimeUnreachable, match=r"at http://127\.0\.0\.1:1 does not answer"):
            client.agents()
    assert connection.ways > 0


def test_request_is_sent_again_over_a_renewed_connection(tenant: RunningTenant) -> None:
    connection = RestartedConnection(tenant.url)
    with TenantClient(connection, tenant.key) as client:
        assert str(client.start("travel").id)
    assert connection.renewals == 1
