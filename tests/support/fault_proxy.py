"""A proxy between an operator and its API server that fails as it is told: what a network or a server in trouble does.

Plain HTTP towards the operator, whose kubeconfig names the proxy; TLS towards the API server, logged in as one user, so that
the audit log knows whose a request was. It runs in a thread of its own, and faults may be set and lifted at any time: a
watch that is open feels them too.
"""

import asyncio
import contextlib
import json
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import web

from syntera_kube import ClusterConfig

_START_SECONDS = 30
_LAST_TURNS_SECONDS = 0.05
"""For aborted connections, which close in a later turn of the loop."""
_SHARED_HEADERS = ("Accept", "Content-Type", "User-Agent")


@dataclass(slots=True, eq=False)
class Asked:
    """A request of the operator's."""

    method: str
    path: str
    query: Mapping[str, str]
    agent: str
    """The User-Agent: kopf and the operator's own client are two."""
    accept: str
    began: float
    """`time.monotonic`."""
    status: int | None = None
    """What the operator was answered; None while, or if, it was not."""

    @property
    def is_watch(self) -> bool:
        """Whether it asks for an endless answer."""
        return "watch" in self.query


Which = Callable[[Asked], bool]
"""Whether a fault strikes a request."""


def everything(_: Asked) -> bool:
    """Every request."""
    return True


def writes(asked: Asked) -> bool:
    """Everything that changes something, Leases apart."""
    return asked.method != "GET" and "/leases" not in asked.path


def of_lease(asked: Asked) -> bool:
    """Whatever is about the Lease."""
    return "/leases" in asked.path


def watches(plural: str) -> Which:
    """Watches of a kind."""
    return lambda asked: asked.is_watch and asked.path.endswith(f"/{plural}")


def lists(plural: str) -> Which:
    """Lists of a kind."""
    return lambda asked: asked.method == "GET" and not asked.is_watch and asked.path.endswith(f"/{plural}")


@dataclass(slots=True, eq=False, kw_only=True)
class Fault:
    """What befalls requests, the next `times` of those that it strikes."""

    which: Which = everything
    times: float = math.inf
    struck: int = 0
    """How often it did."""
    lifted: asyncio.Event = field(default_factory=asyncio.Event)

    def strike(self) -> None:
        """Count one."""
        self.times -= 1
        self.struck += 1


@dataclass(slots=True, eq=False, kw_only=True)
class Refuse(Fault):
    """The API server is not asked; the operator is answered with an error."""

    status: int
    retry_after: int | None = None

    def answer(self) -> web.Response:
        """As the API server words it."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": self.status, "message": "a fault"}
        return web.json_response(body, status=self.status, headers=headers)


@dataclass(slots=True, eq=False, kw_only=True)
class Reset(Fault):
    """The connection breaks: before the API server is asked, or after it has done what it was asked."""

    is_done: bool = False


@dataclass(slots=True, eq=False, kw_only=True)
class Silence(Fault):
    """Nothing comes back until the fault is lifted; open watches fall silent too."""


@dataclass(slots=True, eq=False, kw_only=True)
class Stale(Fault):
    """A list is answered as it was the first time."""

    remembered: dict[tuple[str, str], bytes] = field(default_factory=dict)


@dataclass(slots=True, eq=False, kw_only=True)
class Garble(Fault):
    """Watches send something else than what happened: `change` makes lines of each event, bookmarks apart."""

    change: Callable[[bytes], list[bytes]] = lambda line: [line]
    delay_seconds: float = 0.0


def dropped(_: bytes) -> list[bytes]:
    """For `Garble`: the event is lost."""
    return []


def doubled(line: bytes) -> list[bytes]:
    """For `Garble`: the event comes twice."""
    return [line, line]


def expired(_: bytes) -> list[bytes]:
    """For `Garble`: instead of the event, the watch is told that it is too far behind."""
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410}
    return [json.dumps({"type": "ERROR", "object": status}).encode()]


class FaultProxy:
    """The proxy; use it as a context manager."""

    def __init__(self, kubeconfig: Path) -> None:
        """Prepare; `kubeconfig` says which API server, and as whom."""
        self.requests: list[Asked] = []
        """Everything that the operator asked."""
        self.kubeconfig = kubeconfig.with_name(f"{kubeconfig.name}-by-proxy")
        """What the operator is to be started with."""
        self._config = ClusterConfig.from_kubeconfig(kubeconfig)
        self._faults: list[Fault] = []
        self._streams: dict[Asked, asyncio.Transport] = {}
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._port: int | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fault proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(_START_SECONDS) or self._port is None:
            raise RuntimeError("the fault proxy did not start")
        self.kubeconfig.write_text(json.dumps(_kubeconfig(f"http://127.0.0.1:{self._port}")))
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_START_SECONDS)

    @contextmanager
    def suffering(self, *faults: Fault) -> Iterator[None]:
        """Have these faults for the length of the block; of several that strike, the first counts."""
        self._faults = [*faults, *self._faults]
        try:
            yield
        finally:
            self._faults = [fault for fault in self._faults if fault not in faults]
            for fault in faults:
                self._loop.call_soon_threadsafe(fault.lifted.set)

    def break_watches(self, which: Which = everything) -> None:
        """Break open watches."""
        self._loop.call_soon_threadsafe(self._break, which)

    def asked(self, which: Which, *, since: float = 0.0) -> list[Asked]:
        """The requests that somebody is interested in, those that began after a moment of `time.monotonic`."""
        return [asked for asked in list(self.requests) if asked.began >= since and which(asked)]

    # In the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        app = web.Application(client_max_size=16 * 1024 * 1024)
        # A client that gave up must not have its request done afterwards.
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        timeout = aiohttp.ClientTimeout(total=None)
        connector = aiohttp.TCPConnector(limit=0, ssl=self._config.ssl_context() or True)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:

            async def handle(request: web.Request) -> web.StreamResponse:
                return await self._handle(request, session)

            app.router.add_route("*", "/{path:.*}", handle)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self._port = runner.addresses[0][1]
            self._ready.set()
            await self._stop.wait()
            self._break(everything)
            await runner.cleanup()
            await asyncio.sleep(_LAST_TURNS_SECONDS)

    async def _handle(self, request: web.Request, session: aiohttp.ClientSession) -> web.StreamResponse:
        agent, accept = (request.headers.get(name, "") for name in ("User-Agent", "Accept"))
        asked = Asked(request.method, request.path, dict(request.query), agent, accept, time.monotonic())
        self.requests.append(asked)
        fault = self._strike(asked)
        if isinstance(fault, Refuse):
            asked.status = fault.status
            return fault.answer()
        if isinstance(fault, Silence):
            await fault.lifted.wait()
        if isinstance(fault, Reset) and not fault.is_done:
            return _reset(request)
        try:
            return await self._pass_on(request, asked, fault, session)
        except (aiohttp.ClientError, ConnectionError):  # one of the two is gone
            return _reset(request)

    async def _pass_on(
        self, request: web.Request, asked: Asked, fault: Fault | None, session: aiohttp.ClientSession
    ) -> web.StreamResponse:
        async with session.request(
            request.method,
            self._config.server + str(request.rel_url),
            headers={name: request.headers[name] for name in _SHARED_HEADERS if name in request.headers},
            data=await request.read() or None,
        ) as upstream:
            if asked.is_watch and upstream.status == 200:
                return await self._stream(request, asked, upstream)
            body = await upstream.read()
        if isinstance(fault, Reset):
            return _reset(request)
        if isinstance(fault, Stale):
            body = fault.remembered.setdefault((asked.path, request.query_string), body)
        asked.status = upstream.status
        headers = {name: upstream.headers[name] for name in ("Content-Type", "Retry-After") if name in upstream.headers}
        return web.Response(status=upstream.status, headers=headers, body=body)

    async def _stream(self, request: web.Request, asked: Asked, upstream: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": upstream.headers["Content-Type"]})
        await response.prepare(request)
        asked.status = 200
        assert request.transport is not None
        self._streams[asked] = request.transport
        due: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue()

        async def take() -> None:
            async for line in _lines(upstream):
                for made, moment in self._garble(asked, line):
                    due.put_nowait((moment, made))
            due.put_nowait(None)

        taking = asyncio.create_task(take())
        try:
            while (item := await due.get()) is not None:
                moment, line = item
                await asyncio.sleep(max(0.0, moment - time.monotonic()))
                if silence := self._find(asked, Silence):
                    await silence.lifted.wait()
                await response.write(line + b"\n")
        finally:
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)
            del self._streams[asked]
        return response

    def _garble(self, asked: Asked, line: bytes) -> Iterator[tuple[bytes, float]]:
        """The lines that the operator gets, and when."""
        now = time.monotonic()
        fault = self._find(asked, Garble)
        if not isinstance(fault, Garble) or json.loads(line)["type"] == "BOOKMARK" or fault.times <= 0:
            yield line, now
            return
        fault.strike()
        yield from ((made, now + fault.delay_seconds) for made in fault.change(line))

    def _strike(self, asked: Asked) -> Fault | None:
        for fault in self._faults:
            if not isinstance(fault, Garble) and fault.times > 0 and fault.which(asked):
                fault.strike()
                return fault
        return None

    def _find(self, asked: Asked, kind: type[Fault]) -> Fault | None:
        """The fault of a kind that an open watch suffers from."""
        return next((fault for fault in self._faults if isinstance(fault, kind) and fault.which(asked)), None)

    def _break(self, which: Which) -> None:
        for asked, transport in list(self._streams.items()):
            if which(asked):
                transport.abort()


def _reset(request: web.Request) -> web.Response:
    if isinstance(request.transport, asyncio.Transport):
        request.transport.abort()
    return web.Response()


async def _lines(upstream: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    rest = b""
    with contextlib.suppress(aiohttp.ClientError):  # an API server that went away: the watch ends
        async for chunk in upstream.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line


def _kubeconfig(url: str) -> dict[str, Any]:
    context = {"cluster": "proxy", "user": "nobody"}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "proxy", "cluster": {"server": url}}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "proxy", "context": context}],
        "current-context": "proxy",
    }
