"""Spans of the operator: what they hold, what they never hold, and that they cost nothing while nobody wants them."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from uuid import UUID

import pytest
from aiohttp import web
from opentelemetry.trace import SpanKind

from syntera_kube import KubeClient
from syntera_kube.errors import Conflict
from syntera_kube.resources import CONFIG_MAPS
from syntera_kube.transport import Request
from syntera_operator.endpoints import serving
from syntera_operator.errors import RuntimeUnreachable, StoreUnavailable
from syntera_operator.metrics import Metrics
from syntera_operator.otlp import OtlpTracer
from syntera_operator.runtimes import Runtimes
from syntera_operator.telemetry import Telemetry, resource_in
from syntera_operator.tracing import NO_TRACER, is_wanted, tracing
from tests.kube.faulty_server import faulty_server, make_object, ok
from tests.support.otlp import running_collector
from tests.support.spans import RecordedSpans, attributes, parent

SECRET = "xyzzy"
TENANT = UUID("01890000-0000-7000-8000-000000000001")


class Recorded(RecordedSpans):
    """The spans of an operator's tracer."""

    def __init__(self) -> None:
        super().__init__()
        self.tracer = OtlpTracer(self.provider)


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "True"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_environment_says_whether_there_are_traces(environment: dict[str, str], wanted: bool) -> None:
    assert is_wanted(environment) is wanted


async def test_nobody_is_traced_when_nobody_asks() -> None:
    async with tracing({}, environment={}) as tracer:
        assert tracer is NO_TRACER
        with tracer.span("reconcile Tenant", {}) as span, tracer.call("GET", {}) as call:
            tracer.add_call("PostgreSQL", {}, seconds=1)
            assert (span.trace_id, call.headers()) == (None, {})


def test_opentelemetry_is_not_even_imported_when_nobody_asks() -> None:
    script = "import sys, syntera_operator.__main__; print([m for m in sys.modules if m.startswith('opentelemetry')])"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)

    assert done.stdout == "[]\n"


def test_opentelemetry_can_be_imported_when_somebody_asks() -> None:
    """It is hidden from the Redis client alone."""
    script = "import syntera_operator.__main__, syntera_operator.otlp, opentelemetry.sdk.metrics, opentelemetry.metrics"

    subprocess.run([sys.executable, "-c", script], check=True)


def test_what_a_reconcile_asks_is_below_it(recorded: Recorded) -> None:
    telemetry = Telemetry(Metrics(), recorded.tracer)
    with recorded.tracer.span("reconcile Agent", {"syntera.name": "travel"}) as span:
        trace_id = span.trace_id
        telemetry.requested(Request("PATCH", "/api/v1/namespaces/acme/configmaps/agent-travel"), 200, 0.25)
        telemetry.used_store("PostgreSQL", None, 0.1)

    top = recorded.one("reconcile Agent")
    patch, store = recorded.one("PATCH configmaps"), recorded.one("PostgreSQL")
    assert parent(top) is None
    assert parent(patch) == parent(store) == top.context.span_id
    assert f"{patch.context.trace_id:032x}" == trace_id
    assert patch.start_time is not None
    assert patch.end_time is not None
    assert patch.end_time - patch.start_time == 250_000_000
    assert attributes(patch) == {
        "http.request.method": "PATCH",
        "http.response.status_code": 200,
        "url.path": "/api/v1/namespaces/acme/configmaps/agent-travel",
    }
    assert attributes(store) == {"db.system.name": "postgresql"}
    assert patch.kind is store.kind is SpanKind.CLIENT


def test_what_belongs_to_no_reconcile_is_not_told(recorded: Recorded) -> None:
    """Leases, watches and polls would fill a collector for nothing."""
    telemetry = Telemetry(Metrics(), recorded.tracer)
    telemetry.requested(Request("PUT", "/apis/coordination.k8s.io/v1/namespaces/system/leases/operator"), 200, 0.1)
    telemetry.used_store("Redis", None, 0.1)
    with recorded.tracer.span("reconcile Agent", {}):
        telemetry.requested(Request("GET", "/api/v1/secrets", params={"watch": "true"}), 200, 0.1)

    assert [span.name for span in recorded.all] == ["reconcile Agent"]


@pytest.mark.parametrize(
    ("status", "code"), [(200, None), (404, "404"), (409, "409"), (503, "503"), (0, "unreachable")]
)
def test_request_that_failed_is_marked(recorded: Recorded, status: int, code: str | None) -> None:
    with recorded.tracer.span("reconcile Agent", {}):
        Telemetry(Metrics(), recorded.tracer).requested(Request("GET", "/api/v1/nodes"), status, 0.1)

    span = recorded.one("GET nodes")
    assert attributes(span).get("error.type") == code
    assert span.status.is_ok is (code is None)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Conflict(SECRET), "conflict"),
        (StoreUnavailable(SECRET, store="Redis"), "store_unavailable"),
        (ValueError(SECRET), "unexpected"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
@pytest.mark.parametrize("make", ["span", "call"])
def test_exception_is_told_by_its_code_and_never_by_its_words(
    recorded: Recorded, make: str, error: BaseException, code: str
) -> None:
    begin: Callable[..., object] = getattr(recorded.tracer, make)
    with pytest.raises(type(error)), begin("work", {}):  # type: ignore[attr-defined]  # a context manager either way
        raise error

    span = recorded.one("work")
    assert attributes(span) == {"error.type": code}
    assert not span.status.is_ok
    assert span.status.description is None
    assert span.events == ()
    assert SECRET not in span.to_json()


async def test_requests_of_the_real_client_are_below_the_reconcile(recorded: Recorded) -> None:
    telemetry = Telemetry(Metrics(), recorded.tracer)
    async with (
        faulty_server() as server,
        KubeClient.connect(server.config, component="test", observer=telemetry.requested) as client,
    ):
        server.answers = [ok(make_object("one", version=5))]
        with recorded.tracer.span("reconcile Agent", {}):
            async with asyncio.TaskGroup() as tasks:
                for _ in range(2):
                    tasks.create_task(client.get(CONFIG_MAPS, "one", namespace="test"))

    asked = [span for span in recorded.all if span.name == "GET configmaps"]
    assert len(asked) == 2
    assert {parent(span) for span in asked} == {recorded.one("reconcile Agent").context.span_id}


async def ask(recorded: Recorded, answer: Callable[[web.Request], web.Response]) -> list[dict[str, str]]:
    """Ask a runtime pod that answers so; the headers that it got."""
    headers: list[dict[str, str]] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        headers.append(dict(request.headers))
        return answer(request)

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    async with (
        serving(app, 0, host="127.0.0.1") as port,
        faulty_server() as api,
        KubeClient.connect(api.config, component="test") as client,
        Runtimes(client, namespace="system", service_account="operator", port=port, tracer=recorded.tracer) as runtimes,
    ):
        api.answers = [ok({"spec": {"expirationSeconds": 3600}, "status": {"token": SECRET}})]
        with recorded.tracer.span("reconcile Agent", {}):
            await runtimes.loaded("127.0.0.1", TENANT, "travel", digest="d", wait_seconds=0)
    return headers


async def test_runtime_is_asked_to_go_on_with_the_trace(recorded: Recorded) -> None:
    [headers] = await ask(recorded, lambda _: web.json_response({"name": "travel", "revision": 3, "digest": "d"}))

    span = recorded.one("GET /internal/v1/config/agents/{agent}")
    version, trace_id, span_id, flags = headers["traceparent"].split("-")
    assert (version, trace_id, span_id) == ("00", f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}")
    assert int(flags, 16) & 1, "it is recorded there too"
    assert parent(span) == recorded.one("reconcile Agent").context.span_id
    assert attributes(span)["http.response.status_code"] == 200
    assert attributes(span)["syntera.agent"] == "travel"
    assert SECRET not in recorded.text()


async def test_runtime_that_answers_nonsense_is_marked_without_its_words(recorded: Recorded) -> None:
    with pytest.raises(RuntimeUnreachable):
        await ask(recorded, lambda _: web.Response(status=500, text=SECRET))

    assert attributes(recorded.one("reconcile Agent"))["error.type"] == "runtime_unreachable"
    assert attributes(recorded.one("GET /internal/v1/config/agents/{agent}"))["http.response.status_code"] == 500
    assert SECRET not in recorded.text()


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/api/v1/nodes", "nodes"),
        ("/api/v1/namespaces/acme", "namespaces"),
        ("/api/v1/namespaces/acme/configmaps", "configmaps"),
        ("/api/v1/namespaces/acme/configmaps/agent-travel", "configmaps"),
        ("/api/v1/namespaces/system/serviceaccounts/operator/token", "serviceaccounts/token"),
        ("/apis/syntera.io/v1alpha1/tenants/acme/status", "tenants/status"),
        ("/apis/syntera.io/v1alpha1/namespaces/acme/agents/travel/status", "agents/status"),
        ("/apis/syntera.io/v1alpha1", ""),
    ],
)
def test_path_tells_the_kind(path: str, resource: str) -> None:
    assert resource_in(path) == resource


async def test_spans_reach_a_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        async with tracing({"service.name": "syntera-operator", "k8s.pod.name": "operator-0"}) as tracer:
            with tracer.span("reconcile Tenant", {"syntera.name": "acme"}):
                pass
        await collector.wait_for(lambda _: True)  # a busy machine sends it after the moment that the end is given

        [span] = collector.spans
    assert (span.service, span.name, span.attributes["syntera.name"]) == (
        "syntera-operator",
        "reconcile Tenant",
        'string_value: "acme"',
    )


async def test_environment_names_the_service_and_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "platform")
        async with tracing({"service.name": "syntera-operator"}) as tracer:
            with tracer.span("all", {}):
                pass
        await collector.wait_for(lambda span: span.name == "all")
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
        monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
        async with tracing({"service.name": "syntera-operator"}) as tracer:
            with tracer.span("none", {}) as span:
                assert span.trace_id is None

    assert [(span.service, span.name) for span in collector.spans] == [("platform", "all")]


async def test_collector_that_is_away_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    async with tracing({}) as tracer:
        with tracer.span("reconcile Tenant", {}):
            pass
        started = time.monotonic()

    assert time.monotonic() - started < 10  # the SDK by itself would take half a minute
