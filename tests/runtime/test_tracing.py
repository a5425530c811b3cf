"""Spans of a runtime: who may continue whose trace, what they hold, and that they cost nothing while nobody wants them."""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from opentelemetry.trace import SpanKind

from syntera_crds.contract.agent_config import AgentKnowledge
from syntera_dev.models.control import Fault
from syntera_runtime.adapters import openai_models
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.adapters.openai_models import OpenAIChatModels
from syntera_runtime.api.app import build_public_app
from syntera_runtime.api.internal_app import build_internal_app
from syntera_runtime.errors import ModelUnavailable
from syntera_runtime.models.exchange import ModelMessage, ModelRequest
from syntera_runtime.otlp import OtlpTracer
from syntera_runtime.services import Services
from syntera_runtime.tracing import NO_TRACER, is_wanted, tracing
from tests.runtime.adapters.fixed_secrets import FixedSecrets
from tests.runtime.adapters.raw_server import DONE, head, raw_server, said
from tests.runtime.builders import TENANT, make_agent, make_candidate, make_services, put_key
from tests.runtime.fakes import FakeCatalogue, FakeChatModels
from tests.runtime.knowledge_fakes import make_config, make_site
from tests.runtime.serving import served
from tests.support.spans import RecordedSpans, attributes, parent
from tests.support.stand_in import StandIn, running_stand_in

SECRET = "xyzzy"
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE, SPAN = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7
STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
def recorded() -> RecordedSpans:
    return RecordedSpans()


@pytest.fixture
def tracer(recorded: RecordedSpans) -> OtlpTracer:
    return OtlpTracer(recorded.provider)


@asynccontextmanager
async def public(services: Services, store: MemoryStore) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {put_key(store)}"}
    async with served(build_public_app(services)) as url, httpx.AsyncClient(base_url=url, headers=headers) as client:
        yield client


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_environment_says_whether_there_are_traces(environment: dict[str, str], wanted: bool) -> None:
    assert is_wanted(environment) is wanted


async def test_nobody_is_traced_when_nobody_asks() -> None:
    async with tracing({}, environment={}) as tracer:
        assert tracer is NO_TRACER


def test_sdk_is_not_even_imported_when_nobody_asks() -> None:
    script = "import sys, syntera_runtime.main; print([m for m in sys.modules if m.startswith('opentelemetry.sdk')])"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)

    assert done.stdout == "[]\n"


async def test_message_is_a_trace_from_the_request_to_the_model(
    recorded: RecordedSpans, tracer: OtlpTracer, stand_in: StandIn
) -> None:
    store = MemoryStore()
    models = OpenAIChatModels(FixedSecrets(), tracer=tracer)
    agents = FakeCatalogue(make_agent(models=[make_candidate(base_url=stand_in.base_url)]))
    services = make_services(store, agents=agents, models=models, tracer=tracer)
    async with public(services, store) as client:
        made = (await client.post("/v1/agents/travel/conversations")).json()
        path = f"/v1/conversations/{made['id']}/messages"
        assert (await client.post(path, json={"content": "Hi"}, headers=STREAM)).status_code == 200
        await services.runner.drain(seconds=30)
    await models.aclose()

    request = recorded.one("POST /v1/conversations/{conversationId}/messages")
    turn, call = recorded.one("invoke_agent travel"), recorded.one("chat stand-in-echo")
    assert parent(request) is None
    assert parent(turn) == request.context.span_id
    assert parent(call) == turn.context.span_id
    assert (request.kind, turn.kind, call.kind) == (SpanKind.SERVER, SpanKind.INTERNAL, SpanKind.CLIENT)
    assert attributes(request) == {
        "http.request.method": "POST",
        "http.route": "/v1/conversations/{conversationId}/messages",
        "http.response.status_code": 200,
        "syntera.port": "public",
    }
    assert attributes(turn)["gen_ai.operation.name"] == "invoke_agent"
    assert attributes(turn)["gen_ai.agent.name"] == "travel"
    assert attributes(turn)["gen_ai.conversation.id"] == made["id"]
    assert turn.status.is_ok


@pytest.fixture
def stand_in() -> object:
    """A model server of the test's own."""
    with running_stand_in() as running:
        yield running


async def ask(models: OpenAIChatModels, *candidates: object) -> None:
    """One answer, whole."""
    async for _ in models.stream(candidates, ModelRequest(messages=(ModelMessage("user", "Hi"),))):  # type: ignore[arg-type]
        pass


async def test_call_of_a_model_speaks_the_conventions(
    recorded: RecordedSpans, tracer: OtlpTracer, stand_in: StandIn
) -> None:
    models = OpenAIChatModels(FixedSecrets(), tracer=tracer)
    await ask(models, make_candidate(base_url=stand_in.base_url))
    await models.aclose()

    said = attributes(recorded.one("chat stand-in-echo"))
    port = int(stand_in.url.rsplit(":", 1)[1])
    assert said.pop("gen_ai.response.time_to_first_chunk") > 0  # type: ignore[operator]
    assert said.pop("gen_ai.usage.input_tokens") is not None
    assert said.pop("gen_ai.usage.output_tokens") is not None
    assert said == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "stand-in-echo",
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "stand-in-echo",
        "gen_ai.response.finish_reasons": ("stop",),
        "server.address": "127.0.0.1",
        "server.port": port,
        "syntera.model_endpoint": "stand-in",
    }


async def test_each_try_and_each_fallback_is_a_call(
    recorded: RecordedSpans, tracer: OtlpTracer, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_models, "RETRY_SECONDS", 0.01)
    stand_in.fail(Fault(kind="status", times=2))
    models = OpenAIChatModels(FixedSecrets(), tracer=tracer)
    first = make_candidate(base_url=stand_in.base_url, endpoint="first")
    second = make_candidate(base_url=stand_in.base_url, endpoint="second")
    await ask(models, first, second)
    await models.aclose()

    told = [(attributes(span)["syntera.model_endpoint"], attributes(span).get("error.type")) for span in recorded.all]
    assert told == [("first", "model-unavailable"), ("first", "model-unavailable"), ("second", None)]
    assert stand_in.journal()
    assert all("traceparent" not in entry.headers for entry in stand_in.journal()), "no business of a vendor's"


@pytest.mark.parametrize(
    ("named", "believed"), [("gpt-4.1-mini", True), (f"you said {SECRET}", False), (SECRET * 99, False)]
)
async def test_name_that_a_server_gives_its_model_is_believed_unless_it_is_a_sentence(
    recorded: RecordedSpans, tracer: OtlpTracer, named: str, believed: bool
) -> None:
    models = OpenAIChatModels(FixedSecrets(), tracer=tracer)
    async with raw_server() as server:
        server.will_answer([head(), said("Hello", "stop", model=named), DONE])
        await ask(models, make_candidate(base_url=f"{server.url}/v1"))
    await models.aclose()

    assert (attributes(recorded.one("chat stand-in-echo")).get("gen_ai.response.model") == named) is believed
    assert SECRET not in recorded.text()


async def test_turn_that_failed_is_marked(recorded: RecordedSpans, tracer: OtlpTracer) -> None:
    store = MemoryStore()
    models = FakeChatModels()
    models.scripts = [[ModelUnavailable()]]
    services = make_services(store, models=models, tracer=tracer)
    async with public(services, store) as client:
        asked = {"model": "travel", "messages": [{"role": "user", "content": "Hi"}]}
        assert (await client.post("/v1/chat/completions", json=asked)).status_code == 503
        await services.runner.drain(seconds=30)

    turn, request = recorded.one("invoke_agent travel"), recorded.one("POST /v1/chat/completions")
    assert attributes(turn)["error.type"] == "model-unavailable"
    assert attributes(request)["error.type"] == "503"
    assert not turn.status.is_ok
    assert not request.status.is_ok


async def test_trace_of_a_public_caller_is_linked_and_not_continued(
    recorded: RecordedSpans, tracer: OtlpTracer
) -> None:
    store = MemoryStore()
    async with public(make_services(store, tracer=tracer), store) as client:
        headers = {"traceparent": CALLER, "tracestate": f"vendor={SECRET}", "baggage": f"user={SECRET}"}
        await client.get("/v1/agents", headers=headers)

    span = recorded.one("GET /v1/agents")
    assert parent(span) is None
    assert span.context.trace_id != TRACE
    [link] = span.links
    assert (link.context.trace_id, link.context.span_id) == (TRACE, SPAN)
    assert SECRET not in recorded.text()


@pytest.mark.parametrize("header", ["nonsense", f"00-{'0' * 32}-{'0' * 16}-01", SECRET * 100])
async def test_trace_that_makes_no_sense_is_none(recorded: RecordedSpans, tracer: OtlpTracer, header: str) -> None:
    store = MemoryStore()
    async with public(make_services(store, tracer=tracer), store) as client:
        assert (await client.get("/v1/agents", headers={"traceparent": header})).status_code == 200

    assert recorded.one("GET /v1/agents").links == ()
    assert SECRET not in recorded.text()


async def test_trace_of_the_operator_is_continued(recorded: RecordedSpans, tracer: OtlpTracer) -> None:
    headers = {"Authorization": "Bearer operator", "traceparent": CALLER, "tracestate": f"vendor={SECRET}"}
    async with (
        served(build_internal_app(make_services(tracer=tracer))) as url,
        httpx.AsyncClient(base_url=url, headers=headers) as client,
    ):
        assert (await client.get("/internal/v1/config/agents/travel", params={"digest": "d"})).status_code == 200

    span = recorded.one("GET /internal/v1/config/agents/{agent}")
    assert (span.context.trace_id, parent(span)) == (TRACE, SPAN)
    assert SECRET not in recorded.text()


async def test_probes_and_scrapes_are_not_traced(recorded: RecordedSpans, tracer: OtlpTracer) -> None:
    async with (
        served(build_internal_app(make_services(tracer=tracer))) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await client.get(path, headers={"traceparent": CALLER})).status_code == 200

    assert recorded.all == ()


async def test_nothing_that_people_write_is_in_a_span(recorded: RecordedSpans, tracer: OtlpTracer) -> None:
    store, models = MemoryStore(), FakeChatModels()
    agents = FakeCatalogue(make_agent(instructions=f"Never say {SECRET}."))
    services = make_services(store, models=models, agents=agents, tracer=tracer)
    scripts: list[list[str | Exception]] = [[SECRET], [SECRET, ModelUnavailable(SECRET)], [ValueError(SECRET)]]
    async with public(services, store) as client:
        made = (await client.post("/v1/agents/travel/conversations")).json()
        path = f"/v1/conversations/{made['id']}/messages"
        for script in scripts:
            for headers in ({}, STREAM):
                models.scripts = [[*script]]
                await client.post(path, json={"content": SECRET}, headers=headers)
        await client.get(f"/v1/agents/{SECRET}")
        await client.get(f"/{SECRET}?{SECRET}={SECRET}", headers={"X-Request-Id": SECRET, "User-Agent": SECRET})
        key = client.headers["Authorization"]
    await services.runner.drain(seconds=30)

    assert len(recorded.all) == 15
    for text in (SECRET, key[10:]):
        assert text not in recorded.text()


async def test_search_is_below_the_turn_and_holds_no_text(recorded: RecordedSpans, tracer: OtlpTracer) -> None:
    site = make_site(TENANT, tracer=tracer)
    await site.fill(make_config(), {"desk.md": [f"The {SECRET} desk opens at nine every morning."]})
    store, agents = MemoryStore(), FakeCatalogue(make_agent(knowledge=[AgentKnowledge(name="handbook")]))
    services = make_services(store, agents=agents, tracer=tracer, searcher=site.searcher)
    async with public(services, store) as client:
        made = (await client.post("/v1/agents/travel/conversations")).json()
        await client.post(f"/v1/conversations/{made['id']}/messages", json={"content": f"When does {SECRET} open?"})
    await services.runner.drain(seconds=10)
    turn, search = recorded.one("invoke_agent travel"), recorded.one("search_knowledge_base")
    assert parent(search) == turn.context.span_id
    assert attributes(search) == {"syntera.knowledge_base": "handbook"}
    stages = [span for span in recorded.all if span.name.startswith("search_") and span is not search]
    assert {attributes(span)["syntera.search.stage"] for span in stages} == {
        "embed",
        "vector",
        "keyword",
        "fuse",
        "read",
        "join",
    }
    assert {parent(span) for span in stages} == {search.context.span_id}
    assert SECRET not in recorded.text()
