"""An API server that fails as it is told: a real HTTP server, for answers that a real API server gives only in trouble."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from syntera_kube import ClusterConfig

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FaultyServer:
    """Answers each request with the next of `answers`; the last one stays."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        """Method, path and query of what was asked."""
        self.headers: list[dict[str, str]] = []
        self.bodies: list[Any] = []
        self.url = ""

    @property
    def config(self) -> ClusterConfig:
        """How to reach it."""
        return ClusterConfig(server=self.url)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        self.requests.append((request.method, request.path, dict(request.query)))
        self.headers.append(dict(request.headers))
        self.bodies.append(await request.json() if request.can_read_body else None)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answer(request)


@asynccontextmanager
async def faulty_server() -> AsyncIterator[FaultyServer]:
    """Serve until the block ends."""
    server = FaultyServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


def ok(body: Any) -> Answer:
    """200 with JSON."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(body)

    return answer


def failed(status: int, *, reason: str = "", message: str = "", retry_after: int | None = None) -> Answer:
    """An error as the API server words it."""

    async def answer(_: web.Request) -> web.StreamResponse:
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        body = {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": status}
        return web.json_response(body, status=status, headers=headers)

    return answer


def dropped() -> Answer:
    """The connection is closed without an answer."""

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    return answer


def streamed(*lines: dict[str, Any] | str, then: Callable[[], Awaitable[Any]] | None = None) -> Answer:
    """A watch that sends `lines`, waits for `then`, and ends well."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for line in lines:
            text = line if isinstance(line, str) else json.dumps(line) + "\n"
            await response.write(text.encode())
        if then is not None:
            await then()
        return response

    return answer


def make_object(name: str, *, version: int, uid: str | None = None, **content: Any) -> dict[str, Any]:
    """A ConfigMap in the namespace `test`."""
    metadata = {"name": name, "namespace": "test", "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **content}


def make_list(*items: dict[str, Any], version: int, following: str = "") -> dict[str, Any]:
    """A page of a list."""
    metadata = {"resourceVersion": str(version)} | ({"continue": following} if following else {})
    return {"kind": "ConfigMapList", "apiVersion": "v1", "metadata": metadata, "items": list(items)}


def event(kind: str, item: dict[str, Any]) -> dict[str, Any]:
    """A line of a watch."""
    return {"type": kind, "object": item}


def bookmark(version: int) -> dict[str, Any]:
    """A line that tells how far the watch is."""
    return event("BOOKMARK", {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"resourceVersion": str(version)}})
