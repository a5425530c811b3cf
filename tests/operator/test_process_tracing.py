"""The operator as a program that sends traces: everything that a reconcile asks is told, and its end does not wait.

Only the program shows that the pieces are wired, and what tracing does to its end.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import kubernetes
import pytest

from syntera_dev.cluster.control_plane import control_plane
from syntera_kube.resources import NAMESPACES
from syntera_operator.manifest import TENANTS
from tests.support.apiserver import RunningApiServer, unique_name
from tests.support.make import make_tenant_manifest
from tests.support.operator_process import OperatorProcess
from tests.support.otlp import running_collector
from tests.support.postgresql import Database
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.api


@pytest.fixture(scope="module")
def own_server() -> Iterator[RunningApiServer]:
    """An operator takes every Tenant that it finds, also other tests'."""
    # A short path: the store's socket stands in it, and the kernel bounds the length of those.
    with (
        tempfile.TemporaryDirectory(prefix="syntera-ot-") as path,
        control_plane(Path(path)) as plane,
        kubernetes.config.new_client_from_config(  # type: ignore[no-untyped-call]  # its author left it untyped
            config_file=str(plane.kubeconfig)
        ) as client,
    ):
        server = RunningApiServer(plane, client)
        server.install_crds()
        yield server


@pytest.fixture
def settings(own_server: RunningApiServer, database: Database, redis_server: RedisServer) -> dict[str, str]:
    system = unique_name("system")
    own_server.send("POST", NAMESPACES.path(), {"metadata": {"name": system}})
    return {
        "KUBECONFIG": str(own_server.kubeconfig),
        "SYNTERA_OPERATOR_NAMESPACE": system,
        "SYNTERA_RUNTIME_IMAGE": "runtime:1",
        "SYNTERA_INGESTION_IMAGE": "ingestion:1",
        "SYNTERA_TENANT_CLUSTER_ROLE": "syntera-tenant-namespace",
        "SYNTERA_POSTGRESQL_URL": database.operator_dsn,
        "SYNTERA_REDIS_URL": redis_server.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }


@pytest.fixture
def processes() -> Iterator[list[OperatorProcess]]:
    started: list[OperatorProcess] = []
    yield started
    for process in started:
        process.kill()


async def test_reconcile_is_told_with_all_that_it_asks(
    own_server: RunningApiServer, settings: dict[str, str], processes: list[OperatorProcess], tmp_path: Path
) -> None:
    async with running_collector() as collector:
        operator = OperatorProcess(tmp_path, {**settings, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint})
        processes.append(operator)
        await asyncio.to_thread(operator.wait_until, operator.is_leader)
        manifest = make_tenant_manifest(unique_name("acme"))
        await asyncio.to_thread(
            own_server.send, "POST", TENANTS.path(),
            {key: manifest[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": {"name": manifest["metadata"]["name"]}},
        )  # fmt: skip
        # Before the end, which leaves the sending only a moment.
        wanted = {
            "PATCH namespaces",
            "PATCH secrets",
            "PostgreSQL",
            "Redis",
            "PATCH deployments",
            "PATCH tenants/status",
        }
        for name in (*wanted, "reconcile Tenant"):
            await collector.wait_for(lambda span, name=name: span.name == name)  # type: ignore[misc]
        assert await asyncio.to_thread(operator.terminate) == 0

    tops = {span.span_id for span in collector.spans if not span.parent_id}
    assert {span.name for span in collector.spans if span.span_id in tops} == {"reconcile Tenant"}
    assert {span.service for span in collector.spans} == {"syntera-operator"}
    assert not any(span.status_message or span.events for span in collector.spans)
    assert not any("leases" in span.name for span in collector.spans)
    assert "trace_id" in operator.log


async def test_end_does_not_wait_for_a_collector_that_is_away(
    settings: dict[str, str], processes: list[OperatorProcess], tmp_path: Path
) -> None:
    operator = OperatorProcess(tmp_path, {**settings, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})
    processes.append(operator)
    await asyncio.to_thread(operator.wait_until, operator.is_leader)
    started = time.monotonic()

    assert await asyncio.to_thread(operator.terminate) == 0

    assert time.monotonic() - started < 10  # the SDK by itself would take half a minute
