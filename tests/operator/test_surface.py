"""What an operator process shows and takes: settings, logs, metrics, probes, Events, errors."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterable, Sized
from itertools import islice
from pathlib import Path
from typing import Any

import aiohttp
import kopf
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from syntera_kube import ClusterConfig, KubeClient
from syntera_operator.config import Settings, load_settings
from syntera_operator.endpoints import build_metrics, build_probes, serving
from syntera_operator.errors import CustomResourcesMissing, NameTaken, OperatorError, StoreUnavailable
from syntera_operator.events import Announcer
from syntera_operator.handlers import build_registry
from syntera_operator.handlers.framework import run_framework
from syntera_operator.handlers.process import build_login, configure
from syntera_operator.manifest import OWN_KINDS
from tests.kube.faulty_server import failed, faulty_server, ok
from tests.operator.observed import make_observed_metrics
from tests.support.make import make_tenant_manifest
from tests.support.servers import free_port

REQUIRED = {
    "SYNTERA_OPERATOR_NAMESPACE": "syntera-system",
    "SYNTERA_RUNTIME_IMAGE": "runtime:1",
    "SYNTERA_INGESTION_IMAGE": "ingestion:1",
    "SYNTERA_TENANT_CLUSTER_ROLE": "syntera-tenant-namespace",
    "SYNTERA_POSTGRESQL_URL": "postgresql://operator@postgresql/syntera",
    "SYNTERA_REDIS_URL": "redis://operator@redis",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_settings_come_from_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SYNTERA_NETWORK", '{"store_cidrs": ["10.1.0.0/16"]}')
    environment.setenv("SYNTERA_IMAGE_PULL_SECRETS", '["registry"]')

    settings = load_settings()

    assert settings.operator_subject == "system:serviceaccount:syntera-system:syntera-operator"
    assert settings.network.store_cidrs == ["10.1.0.0/16"]
    assert settings.network.dns[0].pod_labels == {"k8s-app": "kube-dns"}
    assert settings.image_pull_secrets == ["registry"]
    assert settings.postgresql_password_file is None


def test_unknown_setting_is_an_error_that_names_it(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SYNTERA_WORKER", "4")

    with pytest.raises(ValueError, match="SYNTERA_WORKER"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SYNTERA_WORKERS", "0"),
        ("SYNTERA_LOG_LEVEL", "LOUD"),
        ("SYNTERA_LEASE_RENEW_SECONDS", "20"),
        ("SYNTERA_NETWORK", '{"store": []}'),
    ],
)
def test_setting_that_makes_no_sense_is_an_error(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment.setenv(name, value)

    with pytest.raises(ValueError, match=name.removeprefix("SYNTERA_").lower().partition("_")[0]):
        load_settings()


def test_missing_setting_is_an_error(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("SYNTERA_RUNTIME_IMAGE")

    with pytest.raises(ValueError, match="runtime_image"):
        load_settings()


def test_every_setting_can_be_named_in_the_environment() -> None:
    assert Settings.model_config["env_prefix"] == "SYNTERA_"
    assert all(field.islower() for field in Settings.model_fields)


async def get(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session, session.get(path) as response:
        return response.status, await response.text()


async def test_probes_tell_what_is_wrong() -> None:
    trouble: list[str] = []

    def check() -> str | None:
        return trouble[0] if trouble else None

    async with serving(build_probes(healthy=check, ready=check), 0, host="127.0.0.1") as port:
        for path in ("/healthz", "/readyz"):
            trouble.clear()
            assert await get(port, path) == (200, "ok\n")
            trouble.append("the queue does not move")
            assert await get(port, path) == (503, "the queue does not move\n")


async def test_metrics_show_the_queue_and_the_leader() -> None:
    async with serving(build_metrics(make_observed_metrics().registry), 0, host="127.0.0.1") as port:
        _, text = await get(port, "/metrics")

    lines = text.splitlines()
    assert "syntera_queue_depth 1.0" in lines
    assert "syntera_leader 1.0" in lines
    assert "process_resident_memory_bytes" in text


async def test_server_gives_its_port_back() -> None:
    port = free_port()
    async with serving(build_metrics(CollectorRegistry()), port, host="127.0.0.1"):
        pass
    async with serving(web.Application(), port, host="127.0.0.1") as again:
        assert again == port


async def test_event_that_could_not_be_posted_is_tried_at_the_next_occasion() -> None:
    async with faulty_server() as server, KubeClient.connect(server.config, component="test") as client:
        server.answers = [failed(403), ok({"metadata": {}})]
        announcer = Announcer(client, instance="test")
        for _ in range(3):
            await announcer.tell(make_tenant_manifest(), type="Normal", reason="Tested", message="Done.")

    assert len(server.requests) == 2


async def test_news_are_told_again_after_a_while() -> None:
    now = 0.0
    async with faulty_server() as server, KubeClient.connect(server.config, component="test") as client:
        server.answers = [ok({"metadata": {}})]
        announcer = Announcer(client, instance="test", clock=lambda: now)
        for moment in (0.0, 599.0, 601.0):
            now = moment
            await announcer.tell(make_tenant_manifest(), type="Normal", reason="Tested", message="Done.")

    assert len(server.requests) == 2
    assert server.bodies[0]["metadata"]["namespace"] == "default"
    assert server.bodies[0]["regarding"]["kind"] == "Tenant"


def test_errors_have_a_code_and_say_by_default_what_they_are() -> None:
    assert str(NameTaken()) == "An object that the operator needs exists already and belongs to somebody else."
    assert "Redis" in str(StoreUnavailable(store="Redis"))
    codes = [error.code for error in OperatorError.__subclasses__()]
    assert len(set(codes)) == len(codes)


async def test_handlers_hand_events_on() -> None:
    seen: list[tuple[Any, ...]] = []

    def observe(resource: Any, obj: Any, /, *, deleted: bool, listed: bool) -> None:
        seen.append((resource, deleted, listed))

    registry = build_registry(ClusterConfig(server="http://127.0.0.1:9"), observe, is_known=lambda _: False)
    handlers = registry._watching.get_all_handlers()
    for handler in handlers:
        for kind in ("ADDED", None, "DELETED"):
            await handler.fn(event={"type": kind, "object": {"metadata": {}}})  # type: ignore[misc,call-arg]

    told = ((False, False), (False, True), (True, False))
    assert seen == [(resource, *deleted_listed) for resource in OWN_KINDS for deleted_listed in told]


def test_no_name_of_the_framework_gets_into_the_cluster() -> None:
    settings = kopf.OperatorSettings()
    configure(settings)

    assert settings.persistence.finalizer.startswith("syntera.io/")
    assert settings.posting.enabled is False
    assert settings.scanning.disabled is True
    assert getattr(settings.persistence.progress_storage, "prefix", None) == "syntera.io"


def test_framework_never_gives_a_request_up() -> None:
    settings = kopf.OperatorSettings()
    configure(settings)

    backoffs = settings.networking.error_backoffs
    assert isinstance(backoffs, Iterable)
    assert not isinstance(backoffs, Sized)  # kopf would count tries
    for _ in range(2):  # each request begins anew
        pauses = list(islice(backoffs, 1000))
        assert len(pauses) == 1000
        assert pauses[0] < 1
        assert max(pauses) <= 10


def test_framework_compares_nothing_and_remembers_nothing() -> None:
    settings = kopf.OperatorSettings()
    configure(settings)
    storage, body, patch = settings.persistence.diffbase_storage, kopf.Body({}), kopf.Patch()

    storage.store(body=body, patch=patch, essence=storage.build(body=body))

    assert storage.build(body=body) == {}
    assert storage.fetch(body=body) is None
    assert not patch


async def test_framework_ends_when_it_would_leave_out_a_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was not served for a moment, which it would never look for again."""

    async def spawn(*, insights: Any, **_: Any) -> list[asyncio.Task[Any]]:
        insights.watched_resources.add("tenants")
        insights.ready_resources.set()
        return []

    async def run(*_: Any, **__: Any) -> None:
        await asyncio.sleep(3600)

    monkeypatch.setattr(kopf, "spawn_tasks", spawn)
    monkeypatch.setattr(kopf, "run_tasks", run)

    async with asyncio.timeout(30):
        with pytest.raises(CustomResourcesMissing):
            await run_framework(kopf.OperatorRegistry(), kinds=2, spawned=lambda: None)


async def test_framework_logs_in_as_our_own_client_does(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    config = ClusterConfig(server="https://api.example", token_file=file, namespace="mine")

    first = build_login(config, is_known=lambda _: False)
    file.write_text("two\n")
    second = build_login(config, is_known=lambda _: False)

    assert (first.server, first.default_namespace) == ("https://api.example", "mine")
    assert first.aiohttp_session.headers["Authorization"] == "Bearer one"
    assert second.aiohttp_session.headers["Authorization"] == "Bearer two"
    assert first.expiration is not None
    for login in (first, second):
        await login.aiohttp_session.close()


def test_process_ends_although_something_in_its_event_loop_does_not() -> None:
    script = """
import asyncio, contextlib
from syntera_operator import __main__ as operator

async def linger():
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)

async def run(settings, config):
    vars(operator)["lingering"] = asyncio.create_task(linger())
    await asyncio.sleep(0)
    return 70

vars(operator).update(run=run, load_settings=lambda: operator.Settings.model_construct(log_level="INFO"))
operator.ClusterConfig.from_environment = lambda: None
operator.main()
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=60, check=False).returncode == 70


def test_logs_are_json_lines_also_those_of_libraries() -> None:
    script = """
import logging
import structlog
from syntera_operator.logs import configure_logs
configure_logs("INFO")
log = structlog.get_logger("x")
log.debug("hidden")
with structlog.contextvars.bound_contextvars(kind="Agent"):
    log.info("agent published", revision=3)
logging.getLogger("kopf").info("hidden too")
logging.getLogger("kopf").warning("watch %s", "broke")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("reconcile broke")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]

    assert [line["event"] for line in lines] == ["agent published", "watch broke", "reconcile broke"]
    assert (lines[0]["kind"], lines[0]["revision"], lines[0]["level"]) == ("Agent", 3, "info")
    assert lines[1]["logger"] == "kopf"
    assert "ZeroDivisionError" in lines[2]["exception"]


def test_variables_of_opentelemetry_are_settings_too(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.monitoring:4318")
    environment.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    environment.setenv("OTEL_TRACES_SAMPLER_ARG", "0.1")
    environment.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer xyzzy")

    settings = load_settings()

    assert settings.runtime_tracing == {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.monitoring:4318",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.1",
    }
    assert settings.collector_port == 4318


@pytest.mark.parametrize(
    ("endpoint", "port"), [("http://collector", 80), ("https://collector/otlp", 443), ("", None), (None, None)]
)
def test_port_of_the_collector_is_the_protocols_own(
    environment: pytest.MonkeyPatch, endpoint: str | None, port: int | None
) -> None:
    if endpoint is not None:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)

    assert load_settings().collector_port == port


@pytest.mark.parametrize(
    "endpoint", ["collector:4318", "grpc://collector:4317", "http://me:secret@collector", "http://"]
)
def test_collector_that_tenants_could_not_be_told_of_is_an_error(
    environment: pytest.MonkeyPatch, endpoint: str
) -> None:
    environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)

    with pytest.raises(ValueError, match="without credentials"):
        load_settings()
