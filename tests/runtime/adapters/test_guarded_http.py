"""HTTP to places that others name: only what was checked is connected to, on real sockets."""

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from syntera_runtime.adapters.guarded_http import GuardedHttp, _make_checked_socket
from syntera_runtime.egress.targets import EgressPolicy, Target, TargetRefused
from tests.support.servers import free_port

GOOD, BAD = "127.0.0.2", "127.0.0.1"
"""Two addresses of this machine, of which the policy allows the first."""


class FakeResolver(AbstractResolver):
    """Answers what it is told, one answer after the other; the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=one,
                port=port,
                family=socket.AF_INET6 if ":" in one else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for one in answer
        ]

    async def close(self) -> None: ...


@dataclass(slots=True)
class Recorder:
    """A server at both addresses that answers everything with one answer."""

    port: int
    answer: bytes = b"HTTP/1.1 204 No Content\r\n\r\n"
    requests: list[tuple[str, bytes]] = field(default_factory=list)
    """Which address was connected to, and the head of what came."""
    connections: int = 0
    serving: set[asyncio.Task[Any]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """See `asyncio.start_server`."""
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        address = writer.get_extra_info("sockname")[0]
        try:
            self.requests.append((address, await reader.readuntil(b"\r\n\r\n")))
            writer.write(self.answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            self.serving.discard(task)
            writer.close()
            with suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()


@asynccontextmanager
async def recorded(context: ssl.SSLContext | None = None) -> AsyncIterator[Recorder]:
    recorder = Recorder(free_port())
    async with await asyncio.start_server(recorder.serve, [GOOD, BAD], recorder.port, ssl=context):
        yield recorder
    for task in list(recorder.serving):  # of clients that hold on to their connections
        task.cancel()
    await asyncio.gather(*recorder.serving, return_exceptions=True)


@pytest.fixture
async def server() -> AsyncIterator[Recorder]:
    async with recorded() as recorder:
        yield recorder


@asynccontextmanager
async def guarded(
    resolver: FakeResolver, policy: EgressPolicy | None = None, trust: ssl.SSLContext | None = None
) -> AsyncIterator[GuardedHttp]:
    policy = policy or EgressPolicy(networks=[ip_network(f"{GOOD}/32")], never=())
    http = GuardedHttp(lambda: policy, resolver=resolver, trust=trust)
    yield http
    await http.aclose()


async def ask(http: GuardedHttp, url: str) -> int:
    async with asyncio.timeout(10), http.request("POST", url, body=b"{}") as answer:
        return answer.status


async def test_checked_address_is_connected_to_under_its_name(server: Recorder) -> None:
    resolver = FakeResolver([GOOD])
    async with guarded(resolver) as http:
        assert await ask(http, f"http://hooks.example:{server.port}/in") == 204
    [(address, head)] = server.requests
    assert address == GOOD
    assert f"Host: hooks.example:{server.port}\r\n".encode() in head
    assert resolver.asked == ["hooks.example"]


async def test_name_that_changes_its_address_is_refused_when_it_does(server: Recorder) -> None:
    async with guarded(FakeResolver([GOOD], [BAD])) as http:
        url = f"http://hooks.example:{server.port}/"
        assert await ask(http, url) == 204
        for _ in range(3):
            with pytest.raises(TargetRefused):
                await ask(http, url)
    assert [address for address, _ in server.requests] == [GOOD]
    assert server.connections == 1


async def test_each_request_asks_for_the_name_once_and_connects_to_that(server: Recorder) -> None:
    """Whoever checks one answer and connects by another has a gap: here each answer but the first is a bad one."""
    resolver = FakeResolver([GOOD], [BAD])
    async with guarded(resolver) as http:
        assert await ask(http, f"http://hooks.example:{server.port}/") == 204
    assert len(resolver.asked) == 1
    assert [address for address, _ in server.requests] == [GOOD]


@pytest.mark.parametrize("answer", [[GOOD, BAD], [BAD, GOOD], [GOOD, "10.0.0.1"], [GOOD, "::1"], ["fe80::1%lo"]])
async def test_name_is_refused_when_one_of_its_addresses_is(server: Recorder, answer: list[str]) -> None:
    async with guarded(FakeResolver(answer)) as http:
        with pytest.raises(TargetRefused):
            await ask(http, f"http://hooks.example:{server.port}/")
    assert server.connections == 0


async def test_name_without_addresses_is_no_connection(server: Recorder) -> None:
    async with guarded(FakeResolver([])) as http:
        with pytest.raises(aiohttp.ClientConnectorError):
            await ask(http, f"http://hooks.example:{server.port}/")


async def test_names_that_nobody_answers_for_leave_the_threads_of_the_process_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stores look their names up in these threads, too."""
    answering = threading.Event()

    def wait(*_: object, **__: object) -> list[Any]:
        answering.wait(30)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    http = GuardedHttp(EgressPolicy)
    asking = [asyncio.create_task(ask(http, "https://hooks.invalid/")) for _ in range(64)]
    try:
        async with asyncio.timeout(10):
            await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED, timeout=1)
            assert await asyncio.to_thread(lambda: True)
    finally:
        answering.set()
        for one in asking:
            one.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await http.aclose()


async def test_name_of_the_system_is_found(server: Recorder) -> None:
    policy = EgressPolicy(networks=[ip_network("127.0.0.0/8"), ip_network("::1/128")], never=())
    http = GuardedHttp(lambda: policy)
    assert await ask(http, f"http://localhost:{server.port}/") == 204
    await http.aclose()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{port}/", "http://[::1]:{port}/", "http://[::ffff:127.0.0.1]:{port}/"]
)
async def test_address_in_the_url_is_refused(server: Recorder, url: str) -> None:
    async with guarded(FakeResolver([GOOD])) as http:
        with pytest.raises(TargetRefused):
            await ask(http, url.format(port=server.port))
    assert server.connections == 0


async def test_socket_is_checked_though_no_resolver_was_asked(
    server: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last wall: whatever the connector does before, a socket to a bad address is never made."""
    monkeypatch.setattr(EgressPolicy, "check_url", lambda self, url: _named(url))
    async with guarded(FakeResolver([GOOD])) as http:
        with pytest.raises(TargetRefused):
            await ask(http, f"http://{BAD}:{server.port}/")
    assert server.connections == 0
    with pytest.raises(LookupError):
        _make_checked_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", (GOOD, 80)))


def _named(url: str) -> Target:
    return Target(url, "http", "hooks.example", 80, None)


async def test_redirect_is_an_answer_and_followed_by_nobody(server: Recorder) -> None:
    location = f"http://{BAD}:{server.port}/"
    server.answer = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
    async with guarded(FakeResolver([GOOD])) as http:
        assert await ask(http, f"http://hooks.example:{server.port}/") == 302
    assert server.connections == 1


async def test_environment_names_no_proxy(server: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://{BAD}:{server.port}")
    async with guarded(FakeResolver([GOOD])) as http:
        assert await ask(http, f"http://hooks.example:{server.port}/") == 204
    # Whatever else of the process heeds the environment comes to the server as well.
    assert [address for address, asked in server.requests if b"hooks.example" in asked] == [GOOD]


async def test_policy_of_the_moment_counts(server: Recorder) -> None:
    policies = [EgressPolicy(networks=[ip_network(f"{GOOD}/32")], never=()), EgressPolicy()]
    http = GuardedHttp(lambda: policies.pop(0), resolver=FakeResolver([GOOD]))
    url = f"http://hooks.example:{server.port}/"
    assert await ask(http, url) == 204
    with pytest.raises(TargetRefused):
        await ask(http, url)
    await http.aclose()


async def test_certificate_is_that_of_the_name(
    certificate: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("tls")
    for file, text in zip(("cert.pem", "key.pem"), certificate, strict=True):
        (folder / file).write_text(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    names: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    trust = ssl.create_default_context(cadata=certificate[0])
    async with recorded(context) as server, guarded(FakeResolver([GOOD]), trust=trust) as http:
        assert await ask(http, f"https://localhost:{server.port}/") == 204
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await ask(http, f"https://hooks.example:{server.port}/")
    assert names == ["localhost", "hooks.example"]
