"""One trace across two processes: the operator asks a runtime, and both tell the same collector.

Nothing smaller shows that what the one sends is what the other reads.
"""

from uuid import UUID

import pytest

from syntera_kube import KubeClient
from syntera_operator.runtimes import Runtimes
from syntera_operator.tracing import tracing
from tests.kube.faulty_server import faulty_server, ok
from tests.runtime.processes import running
from tests.support.otlp import running_collector

TENANT = UUID("01890000-0000-7000-8000-000000000001")
TOKEN = {"spec": {"expirationSeconds": 3600}, "status": {"token": "operator"}}
ASK = "GET /internal/v1/config/agents/{agent}"
CLIENT, SERVER = 3, 2


async def test_trace_goes_on_from_the_operator_into_the_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_collector() as collector, faulty_server() as api:
        api.answers = [ok(TOKEN)]
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        async with (
            running(**variables, SYNTERA_DRAIN_SECONDS="0") as runtime,
            tracing({"service.name": "syntera-operator"}) as tracer,
            KubeClient.connect(api.config, component="test") as client,
            Runtimes(
                client,
                namespace="system",
                service_account="operator",
                port=runtime.internal.base_url.port or 0,
                tracer=tracer,
            ) as runtimes,
        ):
            with tracer.span("reconcile Agent", {"syntera.name": "travel"}):
                loaded = await runtimes.loaded("127.0.0.1", TENANT, "travel", digest="d", wait_seconds=0)
            assert loaded is not None
            served = await collector.wait_for(lambda span: span.service == "syntera-runtime" and span.name == ASK)
            asked = await collector.wait_for(lambda span: span.service == "syntera-operator" and span.name == ASK)
            top = await collector.wait_for(lambda span: span.name == "reconcile Agent")

            runtime.terminate()
            assert await runtime.wait() == 0

    assert served.trace_id == asked.trace_id == top.trace_id
    assert (top.parent_id, asked.parent_id, served.parent_id) == ("", top.span_id, asked.span_id)
    assert (asked.kind, served.kind) == (CLIENT, SERVER)
    assert not any(b"Bearer" in body or b"operator\x22" in body for body in collector.bodies)
