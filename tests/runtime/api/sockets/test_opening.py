"""Who gets a socket, from where, and what becomes of connections that are none."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import httpx
import pytest
import websockets

from syntera_crds.contract.api_key import ApiKey, KeyKind, Scope
from syntera_crds.contract.tenant_config import Limits
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.api.app import build_public_app
from syntera_runtime.api.sockets import connections, server
from syntera_runtime.api.sockets.admission import admit_socket
from syntera_runtime.api.sockets.outlet import Outlet
from syntera_runtime.api.sockets.server import SocketServer
from syntera_runtime.errors import StoreUnavailable
from syntera_runtime.services import Services
from tests.runtime.api.sockets.conftest import SITE
from tests.runtime.builders import TENANT, make_publishable_key, make_services, put_key, put_publishable_key
from tests.runtime.fakes import FakeCatalogue, FakeFailingStore
from tests.runtime.identity.issuer import sign
from tests.runtime.serving import served
from tests.runtime.sockets import open_socket, refused

EVIL = "https://evil.example"
RAW = "/v1/socket.io/?EIO=4&transport=websocket"


@asynccontextmanager
async def raw(url: str, path: str = RAW, **options: Any) -> AsyncIterator[Any]:
    """A WebSocket on which a test says whatever it wants; Engine.IO has said hello."""
    async with websockets.connect(url.replace("http://", "ws://") + path, **options) as connection:
        assert str(await connection.recv()).startswith("0{")
        yield connection


async def closed(connection: Any) -> None:
    """Return when the server has closed it."""
    async with asyncio.timeout(30):
        async for _ in connection:  # ends where the connection does
            pass


def limit(agents: FakeCatalogue, **limits: int) -> None:
    """Publish limits."""
    assert agents.tenant_config is not None
    agents.tenant_config = agents.tenant_config.model_copy(update={"limits": Limits(**limits)})


# ---- credentials ----


@pytest.mark.parametrize(
    ("auth", "code"),
    [
        (None, "credentials-missing"),
        ({}, "credentials-missing"),
        ({"key": "x"}, "credentials-missing"),
        ({"token": ""}, "invalid-request"),
        ({"token": 7}, "invalid-request"),
        ({"token": "x" * 20_000}, "invalid-request"),
        ({"token": "nonsense"}, "credentials-malformed"),
        ({"token": ApiKey.generate(KeyKind.SECRET).text}, "key-unknown"),
        ({"token": sign(exp=1)}, "token-expired"),
    ],
)
async def test_socket_is_refused_without_good_credentials(url: str, auth: object, code: str) -> None:
    refusal = await refused(url, auth)
    assert (refusal["message"], refusal["data"]["code"]) == (code, code)
    assert refusal["data"]["status"] in (400, 401)
    assert refusal["data"]["requestId"]


async def test_publishable_key_alone_opens_none(url: str, store: MemoryStore) -> None:
    assert (await refused(url, {"token": put_publishable_key(store)}))["message"] == "publishable-key-refused"


async def test_revoked_key_opens_none(url: str, store: MemoryStore) -> None:
    revoked = put_key(store, revoked_at=datetime.now(UTC))
    assert (await refused(url, {"token": revoked}))["message"] == "key-revoked"


async def test_key_that_reads_no_conversation_opens_none(url: str, store: MemoryStore) -> None:
    key = put_key(store, scopes=frozenset({Scope.AGENTS_READ}))
    assert (await refused(url, {"token": key}))["message"] == "scope-missing"


async def test_store_that_is_away_is_named(url: str, store: FakeFailingStore) -> None:
    key = put_key(store)
    store.fail("find_api_key", StoreUnavailable(store="PostgreSQL"))
    refusal = await refused(url, {"token": key})
    assert (refusal["message"], refusal["data"]["store"]) == ("store-unavailable", "PostgreSQL")


async def test_what_breaks_is_a_problem_too(url: str, store: FakeFailingStore) -> None:
    key = put_key(store)
    store.fail("find_api_key", ZeroDivisionError("secret"))
    refusal = await refused(url, {"token": key})
    assert refusal["message"] == "internal-error"
    assert "secret" not in json.dumps(refusal)


@pytest.mark.parametrize("who", ["secret key", "visitor", "user", "member"])
async def test_whoever_may_follow_a_conversation_gets_one(
    url: str, key: str, visitor: Callable[[], Awaitable[str]], who: str
) -> None:
    tokens = {
        "secret key": key,
        "visitor": await visitor(),
        "user": sign(),
        "member": sign(app_metadata={"role": "member"}),
    }
    async with open_socket(url, tokens[who]) as socket:
        assert (await socket.refusal("typing", {}))["code"] == "invalid-request"


async def test_another_namespace_has_none(url: str, key: str) -> None:
    async with raw(url) as connection:
        await connection.send('40/admin,{"token":"' + key + '"}')
        assert (await connection.recv()).startswith("44/admin,")


# ---- pages of websites ----


@pytest.mark.parametrize("origin", [EVIL, "null", f"{SITE}.evil.example", SITE.upper(), f"{SITE}/"])
async def test_page_of_another_site_gets_none_whatever_it_presents(url: str, key: str, origin: str) -> None:
    refusal = await refused(url, {"token": key}, headers={"Origin": origin})
    assert (refusal["message"], refusal["data"]["status"]) == ("origin-not-allowed", 403)


async def test_page_of_an_allowed_site_connects(url: str, key: str) -> None:
    async with open_socket(url, key, headers={"Origin": SITE}):
        pass


async def test_visitor_s_token_works_on_pages_of_its_key_alone(url: str, store: MemoryStore) -> None:
    shop, other = "https://shop.example", "https://other.example"
    tokens = []
    for origin in (shop, other):
        key = ApiKey.generate(KeyKind.PUBLISHABLE)
        store.put_api_key(TENANT, make_publishable_key(key, allowed_origins=frozenset({origin})))
        async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key.text}"}) as client:
            tokens.append((await client.post("/v1/visitor-tokens")).json()["visitorToken"])
    async with open_socket(url, tokens[0], headers={"Origin": shop}):
        pass
    assert (await refused(url, {"token": tokens[1]}, headers={"Origin": shop}))["message"] == "origin-not-allowed"


# ---- connections ----


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_other_transports_are_refused_with_the_way_out(url: str, method: str) -> None:
    async with httpx.AsyncClient(base_url=url) as client:
        answer = await client.request(method, "/v1/socket.io/?EIO=4&transport=polling")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "transport-refused"
    assert "websocket" in answer.json()["detail"]


async def test_connection_without_a_socket_is_closed(url: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_socket(url, key) as socket, raw(url) as refused_one:
        monkeypatch.setattr(connections, "OPEN_SECONDS", 1)  # long enough for what is said below
        await refused_one.send('40{"token":"nonsense"}')
        assert (await refused_one.recv()).startswith("44{")
        async with raw(url) as silent:
            await closed(silent)
        await closed(refused_one)
        assert (await socket.refusal("typing", {}))["code"] == "invalid-request"


async def test_connection_whose_client_ends_its_socket_is_closed(
    url: str, key: str, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with raw(url) as connection:
        await connection.send('40{"token":"' + key + '"}')
        assert (await connection.recv()).startswith("40{")
        monkeypatch.setattr(connections, "OPEN_SECONDS", 0.3)
        await connection.send("41")
        await closed(connection)
    assert services.metrics.registry.get_sample_value("syntera_sockets_open") == 0


@pytest.mark.parametrize("packet", [b"binary", "", "x", "7", "45-[]", "46-[]", "2" * 100, "4"])
async def test_connection_that_says_no_packet_is_closed(url: str, key: str, packet: str | bytes) -> None:
    async with raw(url) as connection:
        await connection.send('40{"token":"' + key + '"}')
        assert (await connection.recv()).startswith("40{")
        await connection.send(packet)
        await closed(connection)


@pytest.mark.parametrize(
    "packet",
    [
        '42["disconnect"]',
        '42["disconnect","client"]',
        '42["connect"]',
        '42["connect",{"asgi.scope":{}},{"token":"x"}]',
        "42[]",
        "42{}",
        '42[{"a":1}]',
        "42[7]",
        "42nonsense",
        "42" + "[" * 5000,
        "43",
        '437["x"]',
        '44{"message":"x"}',
        "42/admin,[1]",
    ],
)
async def test_packet_that_means_nothing_changes_nothing(url: str, key: str, packet: str) -> None:
    async with raw(url) as connection:
        await connection.send('40{"token":"' + key + '"}')
        assert (await connection.recv()).startswith("40{")
        await connection.send(packet)
        await connection.send('421["typing",{}]')
        async with asyncio.timeout(30):
            answer = await connection.recv()
    assert answer.startswith('431[{"error":')
    assert "invalid-request" in answer


async def test_packet_that_is_too_large_ends_the_connection(url: str, key: str) -> None:
    async with raw(url) as connection:
        await connection.send('40{"token":"' + key + '"}')
        assert (await connection.recv()).startswith("40{")
        await connection.send('421["typing",{"x":"' + "a" * 70_000 + '"}]')
        await closed(connection)


# ---- openings that do not come to an end ----


class SlowAdmission:
    """Admission that waits until a test lets it go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_waiting, self.go_on = asyncio.Event(), asyncio.Event()
        self._admit = admit_socket
        monkeypatch.setattr(server, "admit_socket", self)

    async def __call__(self, *args: Any) -> Any:
        """Admit, later."""
        self.is_waiting.set()
        await self.go_on.wait()
        return await self._admit(*args)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> SlowAdmission:
    """Nobody is admitted until the test wants it."""
    return SlowAdmission(monkeypatch)


async def nothing_held(services: Services, sockets: SocketServer) -> None:
    """Return when nothing is left of any socket."""
    async with asyncio.timeout(30):
        while (  # noqa: ASYNC110  # nobody announces it
            sockets._sockets
            or services.stream_slots._open
            or services.session_watch._watched
            or sockets._manager.rooms.get("/", {}).get(None)
        ):
            await asyncio.sleep(0.01)


async def test_opening_that_takes_too_long_is_refused(
    url: str, key: str, slow: SlowAdmission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "ADMIT_SECONDS", 0.1)
    refusal = await refused(url, {"token": key})
    assert (refusal["message"], refusal["data"]["retryable"]) == ("request-timeout", True)
    monkeypatch.setattr(server, "ADMIT_SECONDS", 30)
    slow.go_on.set()
    async with open_socket(url, key):
        pass


def test_openings_end_long_before_the_library_gives_connections_up() -> None:
    assert server.ADMIT_SECONDS <= server.PING_TIMEOUT_SECONDS / 2


@pytest.mark.parametrize("is_seen", [True, False], ids=["seen-at-once", "seen-when-the-connection-ends"])
async def test_socket_whose_connection_has_gone_while_it_opened_leaves_nothing(
    store: FakeFailingStore, key: str, slow: SlowAdmission, monkeypatch: pytest.MonkeyPatch, is_seen: bool
) -> None:
    monkeypatch.setattr(server, "PING_TIMEOUT_SECONDS", 1)  # and not before the opening has begun
    if not is_seen:
        monkeypatch.setattr(Outlet, "has", lambda *_: True)
    services = make_services(store, ping_seconds=1)
    sockets = SocketServer(services)
    refusals = partial(
        services.metrics.registry.get_sample_value,
        "syntera_socket_connections_total",
        {"outcome": "client-disconnected"},
    )
    running = asyncio.create_task(sockets.run())
    async with served(build_public_app(services, sockets)) as url, raw(url, ping_interval=None) as connection:
        await connection.send('40{"token":"' + key + '"}')
        await slow.is_waiting.wait()
        async with asyncio.timeout(30):
            while any(not engine.closed for engine in sockets._server.eio.sockets.values()):  # noqa: ASYNC110  # nor this
                await asyncio.sleep(0.01)
        slow.go_on.set()
        if is_seen:
            async with asyncio.timeout(30):
                while refusals() is None:  # noqa: ASYNC110  # nobody announces it
                    await asyncio.sleep(0.01)
        await nothing_held(services, sockets)
    running.cancel()


async def test_opening_that_breaks_leaves_nothing(
    store: FakeFailingStore, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Outlet, "enter", fail)
    services = make_services(store)
    sockets = SocketServer(services)
    running = asyncio.create_task(sockets.run())
    async with served(build_public_app(services, sockets)) as url:
        assert (await refused(url, {"token": key}))["message"] == "internal-error"
        await nothing_held(services, sockets)
    running.cancel()


# ---- limits ----


async def test_sockets_count_as_streams(url: str, key: str, agents: FakeCatalogue, services: Services) -> None:
    limit(agents, concurrent_streams=1)
    async with open_socket(url, key):
        refusal = await refused(url, {"token": key})
        assert (refusal["message"], refusal["data"]["retryAfterSeconds"]) == ("rate-limited", 5)
    await ended(services)
    async with open_socket(url, key):
        pass


async def test_sockets_of_one_visitor_leave_room_for_another(
    url: str, visitor: Callable[[], Awaitable[str]], agents: FakeCatalogue
) -> None:
    mine, theirs = await visitor(), await visitor()
    limit(agents, concurrent_streams_per_user=1)
    async with open_socket(url, mine):
        assert (await refused(url, {"token": mine}))["message"] == "rate-limited"
        async with open_socket(url, theirs):
            pass


async def test_events_count_as_requests_and_messages_as_messages(
    url: str, visitor: Callable[[], Awaitable[str]], start: Callable[[str], Awaitable[str]], agents: FakeCatalogue
) -> None:
    token = await visitor()
    conversation = await start(token)
    limit(agents, requests_per_minute=1000, messages_per_minute_per_user=1)
    async with open_socket(url, token) as socket:
        await socket.ask("message.send", conversationId=conversation, content="Hi")
        problem = await socket.refusal("message.send", {"conversationId": conversation, "content": "Hi"})
        assert (problem["code"], problem["status"]) == ("rate-limited", 429)
        assert problem["retryAfterSeconds"] >= 1
        await socket.ask("turn.stop", conversationId=conversation)
        limit(agents, requests_per_minute_per_key=1)
        problems = [await socket.try_("turn.stop", {"conversationId": conversation}) for _ in range(3)]
        assert "rate-limited" in [answer.get("error", {}).get("code") for answer in problems]


async def test_unknown_events_count_as_requests(url: str, key: str, agents: FakeCatalogue) -> None:
    limit(agents, requests_per_minute_per_key=2)
    async with open_socket(url, key) as socket:  # the first of them
        codes = [(await socket.refusal("nothing.known", {}))["code"] for _ in range(3)]
    assert codes == ["event-unknown", "rate-limited", "rate-limited"]


async def test_address_that_guesses_is_limited(url: str, key: str, agents: FakeCatalogue) -> None:
    limit(agents, requests_per_minute_per_address=3)
    codes = [(await refused(url, {"token": "nonsense"}))["message"] for _ in range(5)]
    assert codes[0] == "credentials-malformed"
    assert codes[-1] == "rate-limited"
    assert (await refused(url, {"token": key}))["message"] == "rate-limited"


async def test_socket_s_events_at_once_are_limited(
    url: str, key: str, store: FakeFailingStore, start: Callable[[str], Awaitable[str]]
) -> None:
    conversation = await start(key)
    waiting = asyncio.Event()
    original = store.find_position

    async def wait(*arguments: Any, **options: Any) -> Any:
        await waiting.wait()
        return await original(*arguments, **options)

    store.find_position = wait  # type: ignore[method-assign]
    async with open_socket(url, key) as socket:
        asked = [
            asyncio.create_task(socket.try_("conversation.join", {"conversationId": conversation})) for _ in range(17)
        ]
        done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED, timeout=30)
        assert [task.result()["error"]["code"] for task in done] == ["rate-limited"]
        waiting.set()
        assert sum("data" in answer for answer in await asyncio.gather(*asked)) == 16


async def test_open_sockets_and_events_are_counted(url: str, key: str, services: Services) -> None:
    sample = services.metrics.registry.get_sample_value
    async with open_socket(url, key) as socket:
        assert sample("syntera_sockets_open") == 1
        await socket.refusal("made.up", {})
        await socket.refusal("typing", {})
    await ended(services)
    assert sample("syntera_sockets_open") == 0
    assert sample("syntera_socket_connections_total", {"outcome": "success"}) == 1
    told = {"event": "unknown", "outcome": "event-unknown"}
    assert sample("syntera_socket_events_total", told) == 1
    assert sample("syntera_socket_events_total", {"event": "typing", "outcome": "invalid-request"}) == 1


async def ended(services: Services) -> None:
    """Return when the server knows that all sockets have ended, and no stream is counted any more."""
    async with asyncio.timeout(30):
        while (  # noqa: ASYNC110  # nobody announces it
            services.metrics.registry.get_sample_value("syntera_sockets_open") or services.stream_slots._open
        ):
            await asyncio.sleep(0.01)
        await services.stream_slots.aclose()
