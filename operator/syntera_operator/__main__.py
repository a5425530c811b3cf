"""`python -m syntera_operator`: builds everything, runs it, and closes it in reverse. The only place that reads settings.

Exit codes, from sysexits.h: 0 after SIGTERM or SIGINT, 78 for settings that cannot be used, 70 for an end that the kubelet
should answer with a restart.
"""

import asyncio
import gc
import logging
import os
import secrets
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import NoReturn

import structlog
import uvloop

from syntera_crds import __version__
from syntera_kube import BeforeWrite, ClusterConfig, ConfigError, KubeClient

from .causes import Wakeup
from .cluster import Cluster
from .config import Settings, load_settings
from .endpoints import build_metrics, build_probes, serving
from .engine import Engine
from .handlers import build_registry
from .handlers.framework import run_framework
from .knowledge_requests import KnowledgeRequests
from .leadership import Leadership, LeaseTimes
from .logs import configure_logs
from .manifest import OWN_KINDS
from .metrics import Metrics
from .queue import Key, Outcome, Reconcile, ReconcileQueue
from .reconcile.agent import reconcile_agent
from .reconcile.context import Context
from .reconcile.knowledge_base import reconcile_knowledge_base
from .reconcile.tenant import reconcile_tenant
from .resync import Resync
from .retention import RetentionRounds
from .runtimes import Runtimes
from .schema import migrate
from .stores.faults import StoreObserver
from .stores.postgresql import PostgresqlSettings
from .stores.redis_acl import RedisSettings
from .stores.tenant_stores import TenantStores
from .telemetry import Telemetry
from .tracing import Span, Tracer, tracing

log = structlog.get_logger(__name__)

_COMPONENT = "syntera-operator"
_GARBAGE_THRESHOLDS = (20_000, 20, 100)
"""How many new objects, and younger collections, lead to a collection. Reference counts free nearly everything here; to look
for cycles after every 700 objects, as Python does by default, costs a tenth of the processor time of a busy operator."""


async def run(settings: Settings, config: ClusterConfig) -> int:
    """Run until told to end or until it cannot go on; gives the exit code."""
    stopping = asyncio.Event()

    def take_signals() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)

    take_signals()
    async with AsyncExitStack() as stack:
        engine = await _build(settings, config, stack, take_signals=take_signals)
        work = asyncio.create_task(engine.work())
        stop = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
            await engine.let_go()
        finally:
            stop.cancel()
            work.cancel()
            await asyncio.gather(work, stop, return_exceptions=True)
    if stopping.is_set():
        return os.EX_OK
    log.error("operator cannot go on", exc_info=None if work.cancelled() else work.exception())
    return os.EX_SOFTWARE


async def _build(
    settings: Settings, config: ClusterConfig, stack: AsyncExitStack, *, take_signals: Callable[[], None]
) -> Engine:
    """Everything of one process; what has to be closed is on `stack`."""
    identity = f"{settings.pod_name}_{secrets.token_hex(4)}"
    metrics = Metrics()
    tracer = await stack.enter_async_context(tracing(_describe_process(settings)))
    telemetry = Telemetry(metrics, tracer)
    client = KubeClient.connect(config, component=_COMPONENT, observer=telemetry.requested)
    await stack.enter_async_context(client)
    leadership = Leadership(
        client,
        namespace=settings.operator_namespace,
        identity=identity,
        times=LeaseTimes(settings.lease_seconds, settings.lease_renew_seconds, settings.lease_retry_seconds),
    )
    queue = ReconcileQueue(timeout_seconds=settings.reconcile_timeout_seconds, observer=metrics)

    def enqueue(wakeup: Wakeup) -> None:
        queue.add(wakeup.key, after_seconds=wakeup.after_seconds)

    cluster = Cluster(client, before_write=leadership.before_write, enqueue=enqueue, instance=identity)
    stores = await stack.enter_async_context(
        _build_stores(settings, before_use=leadership.before_write, observer=telemetry.used_store)
    )
    retention = RetentionRounds(cluster, stores, observer=metrics)
    metrics.watch(queue, cluster, retention, is_leader=lambda: leadership.is_leader)
    runtimes = await stack.enter_async_context(
        Runtimes(
            client,
            namespace=settings.operator_namespace,
            service_account=settings.service_account,
            observer=metrics.asked_runtime,
            tracer=tracer,
        )
    )
    resync = Resync(cluster, enqueue, seconds=settings.resync_seconds, observer=metrics.compared)
    registry = build_registry(config, cluster.observe, is_known=cluster.is_known)
    engine = Engine(
        cluster=cluster,
        queue=queue,
        leadership=leadership,
        resync=resync,
        cache=stores,
        retention=retention,
        requests=KnowledgeRequests(cluster, stores.knowledge, enqueue),
        reconcile=_build_reconcile(Context(cluster, stores, stores.knowledge, runtimes, settings), tracer),
        settings=settings,
        watch_own_kinds=lambda: run_framework(registry, kinds=len(OWN_KINDS), spawned=take_signals),
        migrate=migrate,
    )
    probes = build_probes(healthy=engine.trouble, ready=engine.unreadiness)
    await stack.enter_async_context(serving(probes, settings.probe_port))
    await stack.enter_async_context(serving(build_metrics(metrics.registry), settings.metrics_port))
    return engine


def _describe_process(settings: Settings) -> dict[str, str]:
    """What tells its traces from those of others."""
    return {
        "service.name": _COMPONENT,
        "service.version": __version__,
        "service.instance.id": settings.pod_name,
        "k8s.pod.name": settings.pod_name,
        "k8s.namespace.name": settings.operator_namespace,
    }


def _build_stores(settings: Settings, *, before_use: BeforeWrite, observer: StoreObserver) -> TenantStores:
    return TenantStores(
        PostgresqlSettings(
            url=settings.postgresql_url,
            password_file=settings.postgresql_password_file,
            tenant_url=settings.tenant_postgresql_url,
            connection_limit=settings.tenant_connection_limit,
        ),
        RedisSettings(
            url=settings.redis_url, password_file=settings.redis_password_file, tenant_url=settings.tenant_redis_url
        ),
        before_use=before_use,
        observer=observer,
    )


def _build_reconcile(context: Context, tracer: Tracer) -> Reconcile:
    async def reconcile(key: Key) -> Outcome:
        described = {"syntera.kind": key.kind, "syntera.namespace": key.namespace or "", "syntera.name": key.name}
        with (
            tracer.span(f"reconcile {key.kind}", described) as span,
            structlog.contextvars.bound_contextvars(
                kind=key.kind, namespace=key.namespace, name=key.name, **_trace_of(span)
            ),
        ):
            if key.kind == "Tenant":
                return await reconcile_tenant(key.name, context)
            if key.kind == "KnowledgeBase":
                return await reconcile_knowledge_base(key.namespace or "", key.name, context)
            return await reconcile_agent(key.namespace or "", key.name, context)

    return reconcile


def _trace_of(span: Span) -> dict[str, str]:
    """What a line of the log says of the trace that it belongs to."""
    return {} if span.trace_id is None else {"trace_id": span.trace_id}


async def _run_and_end(settings: Settings, config: ClusterConfig) -> NoReturn:
    """Run, then end the process at once.

    Everything of ours is closed by then. Of kopf, when an error of the API server ended it, a request may be left that
    swallows its cancellation, and an event loop that waits for it would keep the process: neither alive nor gone.
    """
    code = await run(settings, config)
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


def main() -> int:
    """Run the operator; gives the exit code."""
    try:
        settings = load_settings()
        config = ClusterConfig.from_environment()
    except (ValueError, ConfigError) as exc:
        print(f"syntera-operator: {exc}", file=sys.stderr)  # noqa: T201 - there is no log yet
        return os.EX_CONFIG
    configure_logs(settings.log_level)
    gc.set_threshold(*_GARBAGE_THRESHOLDS)
    return uvloop.run(_run_and_end(settings, config))


if __name__ == "__main__":
    sys.exit(main())
