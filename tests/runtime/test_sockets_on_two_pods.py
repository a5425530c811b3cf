"""Sockets on two processes of a tenant, on a real PostgreSQL and a real Redis: the library's client, and the official one.

Nothing smaller than processes shows that sockets of different pods are told the same, and that a client whose pod dies goes on
at another.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from syntera_crds.contract.api_key import Scope
from tests.runtime.javascript_client import JavaScriptSockets, javascript_sockets
from tests.runtime.pods import Site, make_site
from tests.runtime.processes import Running
from tests.runtime.promises import promised_time
from tests.runtime.sockets import ENDS, SocketClient, open_socket
from tests.runtime.test_dead_pods import two_pods
from tests.support.postgresql import Database
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.long

SCOPES = frozenset({Scope.AGENTS_READ, Scope.CHAT, Scope.CONVERSATIONS_READ})
LONG = "600"
"""Words that a turn takes half a minute for."""


@pytest.fixture
def site(database: Database, redis_server: RedisServer, tmp_path: Path) -> Site:
    """A tenant."""
    return asyncio.run(make_site(database, redis_server, tmp_path))


def url_of(pod: Running) -> str:
    return str(pod.public.base_url).rstrip("/")


def token_of(pod: Running) -> str:
    return pod.public.headers["Authorization"].removeprefix("Bearer ")


async def start(pod: Running) -> str:
    """The id of a new conversation."""
    return (await pod.start()).split("/")[3]


def is_end(told: Any) -> bool:
    return told.name in ENDS


def numbers(socket: SocketClient, conversation: str) -> list[int]:
    return [number for number, _, _ in socket.of_turns(conversation)]


async def revoke(site: Site) -> None:
    """As another pod does, or the operator."""
    connection = await asyncpg.connect(site.database.superuser_dsn)
    try:
        await connection.execute("UPDATE syntera.api_keys SET revoked_at = now() WHERE tenant_id = $1", site.tenant_id)
    finally:
        await connection.close()


async def test_pod_without_sockets_tells_those_of_others(site: Site) -> None:
    async with (
        two_pods(site, lease_seconds=15, scopes=SCOPES) as (one, other),
        open_socket(url_of(other), token_of(one)) as there,
    ):
        conversation = await start(one)
        assert (await there.wait_for_event("conversations.changed"))["conversationId"] == conversation


async def test_sockets_of_two_pods_are_told_the_same(site: Site) -> None:
    async with (
        two_pods(site, lease_seconds=15, scopes=SCOPES) as (one, other),
        open_socket(url_of(one), token_of(one)) as here,
        open_socket(url_of(other), token_of(one)) as there,
    ):
        conversation = await start(one)
        assert (await there.wait_for_event("conversations.changed"))["conversationId"] == conversation
        await here.ask("conversation.join", conversationId=conversation)
        joined = await there.ask("conversation.join", conversationId=conversation)
        assert len(joined["presence"]["members"]) == 2
        await here.wait_for(lambda told: told.name == "presence" and len(told.data["members"]) == 2)
        await here.ask("typing", conversationId=conversation, isTyping=True)
        assert (await there.wait_for_event("typing"))["isTyping"]
        await here.ask("message.send", conversationId=conversation, content="20")
        await here.wait_for(is_end)
        await there.wait_for(is_end)
        assert there.of_turns(conversation) == here.of_turns(conversation)
        assert numbers(there, conversation) == list(range(1, 24))


async def test_client_of_a_killed_pod_goes_on_at_another_without_loss_or_doubles(site: Site) -> None:
    async with two_pods(site, lease_seconds=15, scopes=SCOPES) as (one, other):
        conversation = await start(one)
        async with open_socket(url_of(one), token_of(one)) as first:
            await first.ask("conversation.join", conversationId=conversation)
            async with open_socket(url_of(other), token_of(one)) as speaker:
                await speaker.ask("conversation.join", conversationId=conversation)
                await speaker.ask("message.send", conversationId=conversation, content="60")
                await first.wait_for(lambda told: told.name == "message.delta" and told.data["number"] >= 10)
                await one.kill()
                await first.wait_for_end()
                seen = first.of_turns(conversation)
                async with open_socket(url_of(other), token_of(one)) as again:
                    await again.ask("conversation.join", conversationId=conversation, lastEventId=seen[-1][0])
                    await again.wait_for(is_end)
                    await speaker.wait_for(is_end)
                    assert [*seen, *again.of_turns(conversation)] == speaker.of_turns(conversation)
                assert numbers(speaker, conversation) == list(range(1, 64))


async def test_turn_of_a_killed_pod_fails_for_sockets_of_others(site: Site) -> None:
    async with two_pods(site, lease_seconds=3, scopes=SCOPES) as (one, other):
        conversation = await start(one)
        async with open_socket(url_of(other), token_of(one)) as socket:
            await socket.ask("conversation.join", conversationId=conversation)
            async with open_socket(url_of(one), token_of(one)) as speaker:
                await speaker.ask("message.send", conversationId=conversation, content=LONG)
                await socket.wait_for(lambda told: told.name == "message.delta" and told.data["number"] >= 10)
                await one.kill()
            failed = (await socket.wait_for_event("message.failed", seconds=30))["data"]
            said = "".join(data["text"] for _, name, data in socket.of_turns(conversation) if name == "message.delta")
        assert failed["error"]["code"] == "turn-abandoned"
        assert failed["message"]["content"] == said


async def test_message_that_is_sent_again_to_another_pod_begins_one_turn(site: Site) -> None:
    async with (
        two_pods(site, lease_seconds=15, scopes=SCOPES) as (one, other),
        open_socket(url_of(one), token_of(one)) as here,
        open_socket(url_of(other), token_of(one)) as there,
    ):
        asked = {"conversationId": await start(one), "content": "5", "idempotencyKey": "one"}
        answers = await asyncio.gather(*(socket.ask("message.send", **asked) for socket in (here, there)))
        assert len({answer["turn"]["id"] for answer in answers}) == 1
        assert sorted(answer["isReplayed"] for answer in answers) == [False, True]


async def test_sockets_and_streams_of_a_revoked_key_end_on_every_pod_within_five_seconds(site: Site) -> None:
    async with (
        two_pods(site, lease_seconds=15, scopes=SCOPES) as (one, other),
        open_socket(url_of(one), token_of(one)) as here,
        open_socket(url_of(other), token_of(one)) as there,
    ):
        events = f"/v1/conversations/{await start(one)}/events"
        async with other.public.stream("GET", events) as stream:
            await revoke(site)
            async with promised_time() as taken:
                lines = [line async for line in stream.aiter_lines()]
                for socket in (here, there):
                    assert (await socket.wait_for_event("session.ended"))["error"]["code"] == "key-revoked"
                    await socket.wait_for_end()
                assert taken.seconds < 5.5
        assert "event: stream.ended" in lines


async def test_pod_that_leaves_says_so_and_its_clients_miss_nothing(site: Site) -> None:
    async with two_pods(site, lease_seconds=15, scopes=SCOPES) as (one, other):
        conversation = await start(one)
        async with open_socket(url_of(one), token_of(one)) as first:
            await first.ask("conversation.join", conversationId=conversation)
            await first.ask("message.send", conversationId=conversation, content="60")
            await first.wait_for(lambda told: told.name == "message.delta" and told.data["number"] >= 10)
            one.terminate()
            await first.wait_for_event("server.draining")
            await first.wait_for_end()
            seen = first.of_turns(conversation)
        async with open_socket(url_of(other), token_of(one)) as again:
            await again.ask("conversation.join", conversationId=conversation, lastEventId=seen[-1][0])
            await again.wait_for(is_end)
            assert [number for number, _, _ in [*seen, *again.of_turns(conversation)]] == list(range(1, 64))
        assert await one.wait() == 0


# ---- the official client ----


@asynccontextmanager
async def leading_to(*pods: Running) -> AsyncIterator[str]:
    """The URL of what leads each connection to the first of the pods that takes one, as a Service does."""
    leading: set[asyncio.Task[Any]] = set()

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        leading.add(task)
        try:
            for pod in pods:
                with suppress(ConnectionRefusedError):
                    reader_there, writer_there = await asyncio.open_connection("127.0.0.1", pod.public.base_url.port)
                    try:
                        await first_of(copy(reader, writer_there), copy(reader_there, writer))
                    finally:
                        await close(writer_there)
                    return
        finally:
            await close(writer)
            leading.discard(task)

    server = await asyncio.start_server(lead, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(leading):
            task.cancel()
        await asyncio.gather(*leading, return_exceptions=True)


async def first_of(*work: Coroutine[Any, Any, None]) -> None:
    """Return when one of them has ended, and the others too."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(65_536):
        target.write(data)
        await target.drain()


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


def events_of(sockets: JavaScriptSockets, name: str) -> list[tuple[int, str]]:
    return [
        (data["number"], event)
        for socket, event, data in sockets.told
        if socket == name and event.startswith(("message.", "usage"))
    ]


async def test_official_client_talks_across_two_replicas(site: Site) -> None:
    async with two_pods(site, lease_seconds=15, scopes=SCOPES) as (one, other), javascript_sockets() as sockets:
        for name, pod in (("here", one), ("there", other)):
            await sockets.open(name, url_of(pod), token_of(one))
            await sockets.wait_for(name, "connect")
        conversation = await start(one)
        changed = await sockets.wait_for("there", "conversations.changed")
        assert changed == {"conversationId": conversation, "change": "created"}
        for name in ("here", "there"):
            joined = await sockets.ask(name, "conversation.join", conversationId=conversation)
            assert joined["data"]["version"] == 1
        await sockets.wait_for("here", "presence", lambda presence: len(presence["members"]) == 2)
        await sockets.ask("there", "typing", conversationId=conversation, isTyping=True)
        assert (await sockets.wait_for("here", "typing"))["isTyping"]
        sent = await sockets.ask(
            "there", "message.send", conversationId=conversation, content="20", idempotencyKey="one"
        )
        assert not sent["data"]["isReplayed"]
        for name in ("here", "there"):
            await sockets.wait_for(name, "message.completed")
        assert events_of(sockets, "here") == events_of(sockets, "there")
        assert [number for number, _ in events_of(sockets, "here")] == list(range(1, 24))
        refusal = await sockets.ask("here", "conversation.join", conversationId="nonsense")
        assert refusal["error"]["code"] == "invalid-request"


async def test_official_client_is_told_why_it_is_refused(site: Site) -> None:
    async with two_pods(site, lease_seconds=15, scopes=SCOPES) as (one, _), javascript_sockets() as sockets:
        await sockets.open("wrong", url_of(one), "nonsense")
        refusal = await sockets.wait_for("wrong", "connect_error")
        assert (refusal["message"], refusal["data"]["status"]) == ("credentials-malformed", 401)
        forged = {"extraHeaders": {"Origin": "https://evil.example"}}
        await sockets.open("forged", url_of(one), token_of(one), **forged)
        assert (await sockets.wait_for("forged", "connect_error"))["message"] == "origin-not-allowed"
        await sockets.open("polling", url_of(one), token_of(one), transports=["polling"], reconnection=False)
        await sockets.wait_for("polling", "connect_error")


async def test_official_client_comes_back_by_itself_when_its_pod_leaves_and_not_when_its_key_is_revoked(
    site: Site,
) -> None:
    async with (
        two_pods(site, lease_seconds=15, scopes=SCOPES) as (one, other),
        javascript_sockets() as sockets,
        leading_to(one, other) as front,
    ):
        await sockets.open("client", front, token_of(one))
        await sockets.wait_for("client", "connect")
        conversation = await start(one)
        await sockets.ask("client", "conversation.join", conversationId=conversation)
        await sockets.ask("client", "message.send", conversationId=conversation, content="10")
        await sockets.wait_for("client", "message.completed")
        one.terminate()
        await sockets.wait_for("client", "server.draining")
        await sockets.wait_for("client", "disconnect")
        last = events_of(sockets, "client")[-1][0]
        async with asyncio.timeout(60):
            while len(sockets.of("client", "connect")) < 2:  # noqa: ASYNC110  # nobody announces it
                await asyncio.sleep(0.02)
        await sockets.ask("client", "conversation.join", conversationId=conversation, lastEventId=last)
        await sockets.ask("client", "message.send", conversationId=conversation, content="10")
        await sockets.wait_for("client", "message.completed", lambda data: data["number"] > last)
        assert [number for number, _ in events_of(sockets, "client")] == list(range(1, 27))
        await revoke(site)
        ended = await sockets.wait_for("client", "session.ended")
        assert ended["error"]["code"] == "key-revoked"
        await sockets.wait_for("client", "disconnect", lambda reason: reason == "io server disconnect")
        assert len(sockets.of("client", "connect")) == 2
