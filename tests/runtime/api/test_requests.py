"""What a request may be: size, time, form; and what every answer carries."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from structlog.testing import capture_logs

from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.api.app import build_public_app
from syntera_runtime.services import Services
from tests.runtime.builders import make_services, put_key
from tests.runtime.fakes import FakeFailingStore
from tests.runtime.serving import served

START = "/v1/agents/travel/conversations"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def messages(client: httpx.AsyncClient) -> str:
    """The path of a new conversation's messages."""
    return f"/v1/conversations/{(await client.post(START)).json()['id']}/messages"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{'content': 'Hi'}",
        b'{"content": "Hi"} trailing',
        b'{"content": NaN}',
        b'{"content": "\xff\xfe"}',
        b'{"content": "\\ud800"}',
        b'{"content": "' + b"\x01" + b'"}',
        b"[" * 5000 + b"]" * 5000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b"\xef\xbb\xbf{}",
    ],
)
async def test_malformed_json_is_refused(client: httpx.AsyncClient, messages: str, body: bytes) -> None:
    answer = await client.post(messages, content=body, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed-body")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])
async def test_other_media_types_are_refused(client: httpx.AsyncClient, messages: str, content_type: str) -> None:
    answer = await client.post(messages, content=b'{"content": "Hi"}', headers={"Content-Type": content_type})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported-media-type")


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
async def test_json_is_recognised_however_it_is_spelt(
    client: httpx.AsyncClient, messages: str, content_type: str
) -> None:
    answer = await client.post(messages, content=b'{"content": "Hi"}', headers={"Content-Type": content_type})
    assert answer.status_code == 200


async def test_large_body_is_refused_by_its_declared_size(client: httpx.AsyncClient, messages: str) -> None:
    answer = await client.post(messages, content=b" " * (64 * 1024 + 1), headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")
    assert str(64 * 1024) in answer.json()["detail"]


async def test_large_body_is_refused_when_its_size_was_not_declared(client: httpx.AsyncClient, messages: str) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 10_000

    answer = await client.post(messages, content=endless(), headers=JSON)
    assert answer.status_code == 413


@pytest.mark.parametrize("framing", ["Content-Length: 900000", "Transfer-Encoding: chunked"])
async def test_client_that_sends_a_large_body_before_it_reads_gets_the_answer(store: MemoryStore, framing: str) -> None:
    async with served(build_public_app(make_services(store))) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        head = f"POST {START} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {put_key(store)}\r\n{framing}\r\n\r\n"
        writer.write(head.encode())
        for _ in range(900):
            writer.write(b"3e8\r\n" + b" " * 1000 + b"\r\n" if "chunked" in framing else b" " * 1000)
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n" if "chunked" in framing else b"")
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"body-too-large" in answer


async def test_client_that_asks_before_it_sends_a_large_body_is_refused_at_once(store: MemoryStore) -> None:
    async with served(build_public_app(make_services(store))) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        head = (
            f"POST {START} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {put_key(store)}\r\n"
            "Content-Length: 900000\r\nExpect: 100-continue\r\n\r\n"
        )
        writer.write(head.encode())
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 413")


async def test_body_of_the_largest_size_is_taken(client: httpx.AsyncClient, messages: str) -> None:
    body = json.dumps({"content": "Hi"}).encode()
    answer = await client.post(messages, content=body + b" " * (64 * 1024 - len(body)), headers=JSON)
    assert answer.status_code == 200


async def test_slow_body_is_refused_in_time(store: MemoryStore) -> None:
    services = make_services(store, body_seconds=0.1)
    async with served(build_public_app(services)) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        key = put_key(store)
        head = f"POST {START} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: 10\r\n\r\n{{"
        writer.write(head.encode())
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in answer.lower()
    assert b"request-timeout" in answer


async def test_client_that_leaves_within_its_body_does_no_harm(store: MemoryStore, services: Services) -> None:
    async with served(build_public_app(services)) as url:
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        head = (
            f"POST {START} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {put_key(store)}\r\nContent-Length: 9\r\n\r\n{{"
        )
        writer.write(head.encode())
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()
        await writer.wait_closed()
        labels = {"port": "public", "method": "POST", "route": "/v1/agents/{agent}/conversations", "status": "499"}
        async with asyncio.timeout(10):
            # The server announces nothing.
            while services.metrics.registry.get_sample_value("syntera_http_requests_total", labels) != 1:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


# ---- paths and methods ----


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v1/agents/", "/healthz", "/metrics", "/docs", "/v2/agents"])
async def test_unknown_path_is_a_problem(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "BREW"])
async def test_other_methods_are_refused_with_those_that_are_taken(client: httpx.AsyncClient, method: str) -> None:
    answer = await client.request(method, "/v1/agents")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"


# ---- every answer ----


@pytest.mark.parametrize("path", ["/v1/agents", "/nowhere", "/v1/openapi.json"])
async def test_every_answer_carries_an_id_and_safe_headers(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers
    assert len(headers["x-request-id"]) == 36
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "server" not in headers


async def test_clients_own_id_is_kept(client: httpx.AsyncClient) -> None:
    answer = await client.get("/nowhere", headers={"X-Request-Id": "order-17_a.b"})
    assert answer.headers["x-request-id"] == answer.json()["requestId"] == "order-17_a.b"


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "ü", '{"a":1}', "<script>", "a;b"])
async def test_id_that_could_harm_is_replaced(client: httpx.AsyncClient, given: str) -> None:
    answer = await client.get("/v1/agents", headers={b"X-Request-Id": given.encode()})
    assert len(answer.headers["x-request-id"]) == 36


# ---- the last catch ----


class TestSomethingBreaks:
    """A fault that nobody foresaw, with a user's words in its message."""

    @pytest.fixture
    def store(self) -> FakeFailingStore:
        """A store that can be told to break."""
        return FakeFailingStore()

    async def test_answer_says_nothing_of_it(self, client: httpx.AsyncClient, store: FakeFailingStore) -> None:
        store.fail("find_api_key", ValueError("the user's words"))
        with capture_logs() as logs:
            answer = await client.get("/v1/agents")
        assert [entry["log_level"] for entry in logs if entry["event"] == "request failed"] == ["error"]
        assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")
        assert "words" not in answer.text
        assert answer.headers["x-request-id"] == answer.json()["requestId"]

    async def test_openai_path_answers_in_its_own_shape(
        self, client: httpx.AsyncClient, store: FakeFailingStore
    ) -> None:
        store.fail("find_api_key", ValueError("the user's words"))
        with capture_logs():
            answer = await client.get("/v1/models")
        assert answer.status_code == 500
        assert answer.json()["error"]["type"] == "server_error"


# ---- what is counted ----


async def test_requests_are_counted_by_route_and_never_by_path(
    client: httpx.AsyncClient, services: Services, messages: str
) -> None:
    await client.get(messages)
    await client.get("/some/path/of/an/attacker")
    await client.request("BREW", "/v1/agents")
    sample = services.metrics.registry.get_sample_value
    labels = {"port": "public", "method": "GET", "route": "/v1/conversations/{conversationId}/messages"}
    assert sample("syntera_http_requests_total", {**labels, "status": "200"}) == 1
    assert sample("syntera_http_request_duration_seconds_count", labels) == 1
    labels = {"port": "public", "method": "GET", "route": "unmatched", "status": "404"}
    assert sample("syntera_http_requests_total", labels) == 1
    labels = {"port": "public", "method": "other", "route": "/v1/agents", "status": "405"}
    assert sample("syntera_http_requests_total", labels) == 1
    assert b"attacker" not in services.metrics.render()
