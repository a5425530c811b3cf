"""How sockets end: with their credentials, with their process, with their client."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import websockets

from syntera_crds.contract.api_key import ApiKey, KeyKind
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.api.app import build_public_app
from syntera_runtime.api.sockets import connections, participations
from syntera_runtime.api.sockets.server import SocketServer
from syntera_runtime.identity import key_ring, session_watch, visitor_tokens
from syntera_runtime.services import Services
from tests.runtime.api.sockets.test_opening import RAW, raw
from tests.runtime.builders import TENANT, make_stored_key
from tests.runtime.fakes import FakeChatModels
from tests.runtime.identity.issuer import sign
from tests.runtime.promises import promised_time
from tests.runtime.serving import served
from tests.runtime.sockets import open_socket

pytestmark = pytest.mark.long

Start = Callable[[str], Awaitable[str]]
Visitor = Callable[[], Awaitable[str]]


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions are checked, and keys looked up, more often than they would."""
    monkeypatch.setattr(session_watch, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(key_ring, "TTL_SECONDS", 0.1)


async def test_socket_of_a_revoked_key_ends_within_five_seconds(
    url: str, key: str, store: MemoryStore, start: Start
) -> None:
    """At the times that processes have, because these are what is promised."""
    revoked = ApiKey.generate(KeyKind.SECRET)
    stored = make_stored_key(revoked)
    store.put_api_key(TENANT, stored)
    conversation = await start(revoked.text)
    async with open_socket(url, revoked.text) as socket, open_socket(url, key) as other:
        await socket.ask("conversation.join", conversationId=conversation)
        store.put_api_key(TENANT, replace(stored, revoked_at=datetime.now(UTC)))
        async with promised_time() as taken:
            problem = (await socket.wait_for_event("session.ended"))["error"]
            assert taken.seconds < 5
        assert (problem["code"], problem["status"]) == ("key-revoked", 401)
        await socket.wait_for_end()
        await other.ask("conversation.join", conversationId=conversation)
        await other.ask("message.send", conversationId=conversation, content="Hi")
        await other.wait_for_event("message.completed")
        assert socket.of_turns(conversation) == []


@pytest.mark.usefixtures("impatience")
async def test_connection_ends_whose_client_does_not_end_its_socket(url: str, store: MemoryStore) -> None:
    revoked = ApiKey.generate(KeyKind.SECRET)
    stored = make_stored_key(revoked)
    store.put_api_key(TENANT, stored)
    async with raw(url) as connection:
        await connection.send('40{"token":"' + revoked.text + '"}')
        assert (await connection.recv()).startswith("40{")
        store.put_api_key(TENANT, replace(stored, revoked_at=datetime.now(UTC)))
        async with asyncio.timeout(30):
            said = [packet async for packet in connection]
    assert [packet[:17] for packet in said] == ['42["session.ended', "41"]


@pytest.mark.usefixtures("impatience")
async def test_socket_ends_with_the_token_unless_it_is_renewed(
    url: str, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    lasting = await visitor()
    monkeypatch.setattr(visitor_tokens, "LIFETIME", timedelta(seconds=5))
    monkeypatch.setattr("syntera_runtime.identity.visitors.LIFETIME", timedelta(seconds=5))
    short, other = await visitor(), await visitor()
    async with open_socket(url, short) as one, open_socket(url, other) as two:
        assert (await two.refusal("session.renew", {"token": lasting}))["code"] == "subject-changed"
        assert (await two.refusal("session.renew", {"token": "nonsense"}))["code"] == "credentials-malformed"
        for socket in (one, two):
            assert (await socket.wait_for_event("session.ended"))["error"]["code"] == "visitor-token-expired"
            await socket.wait_for_end()


@pytest.mark.usefixtures("impatience")
async def test_socket_goes_on_with_a_newer_token(url: str) -> None:
    expiring = sign(
        exp=int((datetime.now(UTC) - timedelta(seconds=22)).timestamp())
    )  # within the tolerance, for a moment
    async with open_socket(url, expiring) as socket, open_socket(url, expiring) as other:
        await socket.ask("session.renew", token=sign())
        assert (await other.wait_for_event("session.ended"))["error"]["code"] == "token-expired"
        assert (await socket.refusal("typing", {}))["code"] == "invalid-request"
        assert not socket.disconnected


async def test_event_of_a_socket_whose_token_ended_is_refused_at_once(
    url: str, store: MemoryStore, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_ring, "TTL_SECONDS", 0.0)
    monkeypatch.setattr(session_watch, "CHECK_SECONDS", 60)
    revoked = ApiKey.generate(KeyKind.SECRET)
    stored = make_stored_key(revoked)
    store.put_api_key(TENANT, stored)
    conversation = await start(revoked.text)
    async with open_socket(url, revoked.text) as socket:
        store.put_api_key(TENANT, replace(stored, revoked_at=datetime.now(UTC)))
        problem = await socket.refusal("conversation.join", {"conversationId": conversation})
    assert problem["code"] == "key-revoked"


async def test_process_that_ends_sends_its_clients_away(services: Services, key: str) -> None:
    sockets = SocketServer(services)
    running = asyncio.create_task(sockets.run())
    async with served(build_public_app(services, sockets)) as url:
        async with open_socket(url, key) as one, raw(url) as connection:
            await connection.send('40{"token":"' + key + '"}')
            assert (await connection.recv()).startswith("40{")
            await sockets.drain(seconds=0.1)
            assert 0 <= (await one.wait_for_event("server.draining"))["retryAfterSeconds"] <= 2
            await one.wait_for_end()
            async with asyncio.timeout(30):
                said = [packet async for packet in connection]
            assert [packet[:19] for packet in said] == ['42["server.draining']
            assert connection.close_code == 1001  # "going away": clients come again by themselves
        with pytest.raises(websockets.InvalidStatus):  # so that clients try again by themselves
            async with raw(url):
                pass
    running.cancel()


class DeafClient:
    """A client that reads when it is told to, and no library behind its back."""

    def __init__(self, url: str) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.setblocking(False)
        self._port = int(url.rpartition(":")[2])
        self._read = b""

    async def open(self) -> None:
        """Become a WebSocket."""
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._socket, ("127.0.0.1", self._port))
        asked = (
            f"GET {RAW} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: YWFhYWFhYWFhYWFhYWFhYQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        await loop.sock_sendall(self._socket, asked.encode())
        await self.read_until(b"0{")

    async def send(self, text: str) -> None:
        """Send a packet of less than 64 KiB; the mask is all zeros."""
        head = struct.pack("!BBH", 0x81, 0x80 | 126, len(text)) + bytes(4)
        await asyncio.get_running_loop().sock_sendall(self._socket, head + text.encode())

    async def read_until(self, wanted: bytes) -> None:
        """Read no further than to what is waited for."""
        async with asyncio.timeout(30):
            while wanted not in self._read:
                self._read += await asyncio.get_running_loop().sock_recv(self._socket, 1024)

    def close(self) -> None:
        """Leave."""
        self._socket.close()


@pytest.fixture
def wordy(models: FakeChatModels) -> None:
    """More is said than fits between a server and a client that does not read."""
    models.scripts = [["word " * 20_000] * 400]


@pytest.mark.usefixtures("wordy")
async def test_client_that_reads_nothing_is_let_go(
    services: Services, url: str, key: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "SEND_SECONDS", 0.2)
    monkeypatch.setattr(participations, "MOST_WAITING", 5)
    conversation = await start(key)
    client = DeafClient(url)
    with closing(client):
        await client.open()
        await client.send('40{"token":"' + key + '"}')
        await client.read_until(b"40{")
        await client.send('421["conversation.join",{"conversationId":"' + conversation + '"}]')
        await client.read_until(b"431[")
        async with open_socket(url, key) as other:
            await other.ask("message.send", conversationId=conversation, content="Hi")
            sample = services.metrics.registry.get_sample_value
            async with asyncio.timeout(60):
                while sample("syntera_sockets_open") != 1 or services.followers._followers:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
