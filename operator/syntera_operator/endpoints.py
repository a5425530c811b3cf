"""The operator's two small HTTP servers: probes for the kubelet, metrics for Prometheus. They decide nothing."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

Check = Callable[[], str | None]
"""Gives what is wrong, None if all is well."""


def build_probes(*, healthy: Check, ready: Check) -> web.Application:
    """`/healthz`: 503 asks for a restart; `/readyz`: 503 while the process could not take over."""
    app = web.Application()
    app.router.add_get("/healthz", _probe(healthy))
    app.router.add_get("/readyz", _probe(ready))
    return app


def build_metrics(registry: CollectorRegistry) -> web.Application:
    """`/metrics` in Prometheus' text format."""

    async def show(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/metrics", show)
    return app


@asynccontextmanager
async def serving(app: web.Application, port: int, *, host: str | None = None) -> AsyncIterator[int]:
    """Serve `app` until the block is left; gives the port, which the system chooses where `port` is 0."""
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _probe(check: Check) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        trouble = check()
        return web.Response(text=(trouble or "ok") + "\n", status=503 if trouble else 200)

    return answer
