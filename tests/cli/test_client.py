"""The client against the real API, and against servers that are something else."""

from collections.abc import Iterator

import pytest

from syntera_cli.client import AgentInfo, Piece, TenantClient, Whole
from syntera_cli.connections import FixedUrl
from syntera_cli.errors import AgentUnavailable, AnswerFailed, CliError, RequestRefused, RuntimeUnreachable
from syntera_dev.models.control import Fault, FaultKind
from tests.cli.conftest import RunningTenant
from tests.support.serving import serving


@pytest.fixture
def client(tenant: RunningTenant) -> Iterator[TenantClient]:
    with TenantClient(FixedUrl(tenant.url), tenant.key) as made:
        yield made


def test_agent_is_described(client: TenantClient) -> None:
    assert client.agent("travel") == AgentInfo(
        name="travel",
        display_name="Travel assistant",
        description="Answers questions on bookings",
        suggestions=["Where is my booking?", "How much baggage may I take?"],
    )


@pytest.mark.parametrize("name", ["nobody", "../agents", "a/b", "a?b", "ä"])
def test_unknown_agent_is_answered_with_those_that_there_are(client: TenantClient, name: str) -> None:
    with pytest.raises(AgentUnavailable) as caught:
        client.agent(name)
    assert str(caught.value) == f"There is no agent {name!r} here. Agents: quiet, travel."


def test_conversation_begins_with_the_greeting(client: TenantClient) -> None:
    assert client.start("travel").greeting == "Hello, how can I help?"
    assert client.start("quiet").greeting is None


def test_answer_comes_in_pieces_and_then_whole(client: TenantClient, tenant: RunningTenant) -> None:
    tenant.stand_in.say("One two three.")
    *pieces, whole = client.send(client.start("travel").id, "Hi")
    assert pieces
    assert "".join(piece.text for piece in pieces if isinstance(piece, Piece)) == "One two three."
    assert whole == Whole("One two three.")


def test_conversation_is_remembered(client: TenantClient) -> None:
    conversation = client.start("travel").id
    list(client.send(conversation, "My name is Ada."))
    *_, answer = client.send(conversation, "Who am I?")
    assert "Before this you asked “My name is Ada.”" in answer.text


def test_answer_drives_no_terminal(client: TenantClient, tenant: RunningTenant) -> None:
    tenant.stand_in.say("\x1b[2Jred\u2028line")
    *_, answer = client.send(client.start("travel").id, "Hi")
    assert answer == Whole("[2Jred\u2028line")


@pytest.mark.parametrize(
    ("kind", "words"),
    [("drop", "broke off|failed"), ("status", "failed (HTTP 503)"), ("empty", "empty answer")],
)
def test_failed_answer_says_why(client: TenantClient, tenant: RunningTenant, kind: FaultKind, words: str) -> None:
    tenant.stand_in.fail(Fault(kind=kind, times=2))
    with pytest.raises(AnswerFailed) as caught:
        list(client.send(client.start("travel").id, "Hi"))
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
    async def other(scope: object, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": body})  # type: ignore[operator]

    with serving(other) as url, TenantClient(FixedUrl(url), "key") as client, pytest.raises(error):
        client.agents()


def test_stream_that_ends_early_is_no_answer() -> None:
    async def other(scope: object, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
        body = b'event: message.new-kind\ndata: {}\n\nevent: message.delta\ndata: {"messageId": "1", "text": "Hel"}\n\n'
        await send({"type": "http.response.body", "body": body})  # type: ignore[operator]

    heard = []
    with serving(other) as url, TenantClient(FixedUrl(url), "key") as client:

        def listen() -> None:
            for told in client.send("c", "Hi"):
                heard.append(told)

        with pytest.raises(AnswerFailed, match="before it was complete"):
            listen()
    assert heard == [Piece("Hel")]


class RestartedConnection:
    """Leads nowhere until it is made anew."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.renewals = 0

    def url(self) -> str:
        return self._url if self.renewals else "http://127.0.0.1:1"

    def renew(self) -> bool:
        self.renewals += 1
        return True


def test_request_is_sent_again_over_a_renewed_connection(tenant: RunningTenant) -> None:
    connection = RestartedConnection(tenant.url)
    with TenantClient(connection, tenant.key) as client:
        assert client.start("travel").id
    assert connection.renewals == 1
