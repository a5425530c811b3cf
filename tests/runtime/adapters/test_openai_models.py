"""The `openai` adapter against servers that behave well, badly and not at all."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from syntera_crds.contract.agent_config import HeaderFromSecret, ModelCandidate, SecretKey
from syntera_dev.models.control import Fault
from syntera_runtime.adapters import openai_models
from syntera_runtime.adapters.openai_clients import ClientPool
from syntera_runtime.adapters.openai_models import OpenAIChatModels, build_body
from syntera_runtime.errors import ModelRefused, ModelTimeout, ModelUnavailable, SecretMissing, SynteraError
from syntera_runtime.metrics import Metrics
from syntera_runtime.models.exchange import (
    ModelEvent,
    ModelFinished,
    ModelMessage,
    ModelRequest,
    ModelStarted,
    TextDelta,
)
from syntera_runtime.models.turns import Usage
from tests.runtime.adapters.fixed_secrets import KEY, FixedSecrets
from tests.runtime.adapters.raw_server import ANSWER, DONE, RawServer, answered, event, head, raw_server, said
from tests.support.stand_in import running_stand_in

REQUEST = ModelRequest(messages=(ModelMessage("system", "Be brief."), ModelMessage("user", "Hi")))
LEAK = "vendor-secret-words"


def make_candidate(base_url: str, **fields: Any) -> ModelCandidate:
    return ModelCandidate.model_validate(
        {"endpoint": "main", "base_url": base_url, "model": "m-1", "timeout_seconds": 30.0, "api_key": KEY, **fields}
    )


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_models, "RETRY_SECONDS", 0.01)


@pytest.fixture
def secrets() -> FixedSecrets:
    return FixedSecrets()


@pytest.fixture
async def models(secrets: FixedSecrets) -> AsyncIterator[OpenAIChatModels]:
    adapter = OpenAIChatModels(secrets)
    yield adapter
    await adapter.aclose()


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    async with raw_server() as running:
        yield running


@pytest.fixture
async def other() -> AsyncIterator[RawServer]:
    async with raw_server() as running:
        running.will_answer(ANSWER)
        yield running


async def ask(
    models: OpenAIChatModels, *candidates: ModelCandidate, request: ModelRequest = REQUEST
) -> list[ModelEvent]:
    async with contextlib.aclosing(models.stream(candidates, request)) as events:
        return [event async for event in events]


async def fail(models: OpenAIChatModels, *candidates: ModelCandidate) -> tuple[list[ModelEvent], SynteraError]:
    """What was said before the failure, and the failure; which must keep the vendor's words to itself."""
    heard: list[ModelEvent] = []

    async def listen() -> None:
        async with contextlib.aclosing(models.stream(candidates, REQUEST)) as events:
            async for event in events:
                heard.append(event)

    with pytest.raises(SynteraError) as caught:
        await listen()
    assert LEAK not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return heard, caught.value


# ---- a good answer ----


async def test_stream_gives_start_text_and_usage(models: OpenAIChatModels, server: RawServer) -> None:
    server.will_answer(ANSWER)
    assert await ask(models, make_candidate(server.url)) == [
        ModelStarted(endpoint="main", model="served-1"),
        TextDelta("Hel"),
        TextDelta("lo"),
        ModelFinished("stop", Usage(7, 2)),
    ]


async def test_request_carries_key_and_body_and_nothing_of_the_environment(
    models: OpenAIChatModels, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_API_KEY", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, "from-environment")
    monkeypatch.setenv("HTTP_PROXY", "http://localhost:1")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1")
    server.will_answer(ANSWER)
    await ask(models, make_candidate(server.url + "/api/v1"))
    (seen,) = server.seen
    assert seen.target == "/api/v1/chat/completions"
    assert seen.headers["authorization"] == "Bearer sk-one"
    assert "from-environment" not in str(seen.headers)
    assert seen.body == {
        "model": "m-1",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_request_has_no_authorization_when_the_endpoint_asks_for_no_key(
    models: OpenAIChatModels, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    server.will_answer(ANSWER)
    await ask(models, make_candidate(server.url, api_key=None))
    assert "authorization" not in server.seen[0].headers


async def test_headers_come_from_config_and_secrets(
    models: OpenAIChatModels, secrets: FixedSecrets, server: RawServer
) -> None:
    gateway = SecretKey(name="gateway", key="token")
    secrets.values[gateway] = "Basic abc\n"
    server.will_answer(ANSWER)
    await ask(
        models,
        make_candidate(
            server.url,
            headers={"X-Team": "travel", "OpenAI-Organization": "org-1"},
            headers_from=[HeaderFromSecret(name="authorization", secret=gateway)],
        ),
    )
    headers = server.seen[0].headers
    assert (headers["x-team"], headers["openai-organization"]) == ("travel", "org-1")
    assert headers["authorization"] == "Basic abc"


async def test_stream_has_no_usage_when_the_server_gives_none(models: OpenAIChatModels, server: RawServer) -> None:
    server.will_answer([head(), said("Hi"), said(None, "stop"), DONE])
    assert (await ask(models, make_candidate(server.url)))[-1] == ModelFinished("stop", None)


@pytest.mark.parametrize("status", [400, 422])
async def test_stream_options_are_left_out_once_a_server_refused_them(
    models: OpenAIChatModels, server: RawServer, status: int
) -> None:
    refusal = answered(status, {"error": {"message": "Unrecognized request argument: stream_options"}})
    server.will_answer(refusal, ANSWER)
    await ask(models, make_candidate(server.url))
    await ask(models, make_candidate(server.url))
    assert ["stream_options" in seen.body for seen in server.seen] == [True, False, False]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("stop", "stop"), ("length", "length"), ("content_filter", "content_filter"), ("eos", "stop")],
)
async def test_finish_reason_is_told(models: OpenAIChatModels, server: RawServer, reason: str, expected: str) -> None:
    server.will_answer([head(), said("Hi", reason), DONE])
    finished = (await ask(models, make_candidate(server.url)))[-1]
    assert isinstance(finished, ModelFinished)
    assert finished.finish_reason == expected


async def test_filtered_answer_without_text_is_an_answer(models: OpenAIChatModels, server: RawServer) -> None:
    server.will_answer([head(), said(None, "content_filter"), DONE])
    assert await ask(models, make_candidate(server.url)) == [
        ModelStarted(endpoint="main", model="served-1"),
        ModelFinished("content_filter", None),
    ]


async def test_refusal_is_said_like_text(models: OpenAIChatModels, server: RawServer) -> None:
    refusal = {"model": "x", "choices": [{"index": 0, "delta": {"refusal": "No."}, "finish_reason": "stop"}]}
    server.will_answer([head(), event(refusal), DONE])
    assert TextDelta("No.") in await ask(models, make_candidate(server.url))


async def test_other_choices_comments_and_unknown_fields_are_passed_over(
    models: OpenAIChatModels, server: RawServer
) -> None:
    second = {"model": "x", "choices": [{"index": 1, "delta": {"content": "other"}, "finish_reason": "length"}]}
    sparse: dict[str, object] = {"id": "1", "object": "x", "surprise": {}, "choices": None}
    server.will_answer([head(), b": ping\n\n", event(sparse), event(second), *ANSWER[1:]])
    texts = [event.text for event in await ask(models, make_candidate(server.url)) if isinstance(event, TextDelta)]
    assert texts == ["Hel", "lo"]


async def test_whole_answer_stands_when_its_usage_gets_lost(
    models: OpenAIChatModels, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_models, "USAGE_SECONDS", 0.1)
    server.will_answer([head(), said("Hi", "stop"), 60.0])
    assert (await ask(models, make_candidate(server.url)))[-1] == ModelFinished("stop", None)
    server.will_answer([head(), said("Hi", "stop"), event("{")])
    assert (await ask(models, make_candidate(server.url)))[-1] == ModelFinished("stop", None)


# ---- what is asked ----


@pytest.mark.parametrize(
    ("candidate", "request_fields", "expected"),
    [
        ({}, {}, {}),
        ({}, {"temperature": 0.5, "top_p": 0.1}, {"temperature": 0.5, "top_p": 0.1}),
        ({"temperature": 0.0, "top_p": 1.0}, {"temperature": 0.5, "top_p": 0.1}, {"temperature": 0.0, "top_p": 1.0}),
        ({"max_output_tokens": 100}, {"max_output_tokens": 200}, {"max_completion_tokens": 100}),
        ({"max_output_tokens": 100}, {"max_output_tokens": 20}, {"max_completion_tokens": 20}),
        ({}, {"max_output_tokens": 20}, {"max_completion_tokens": 20}),
        (
            {"max_output_tokens": 100, "max_tokens_parameter": "max_tokens"},
            {"max_output_tokens": None},
            {"max_tokens": 100},
        ),
        ({}, {"stop": ("a", "b")}, {"stop": ["a", "b"]}),
        ({"parameters": {"stop": ["END"]}}, {"stop": ("a",)}, {"stop": ["END"]}),
        (
            {"parameters": {"seed": 1, "reasoning_effort": "low", "temperature": 9}, "temperature": 0.5},
            {"extra": {"seed": 2, "user": "u"}},
            {"seed": 1, "reasoning_effort": "low", "user": "u", "temperature": 0.5},
        ),
    ],
)
def test_body_merges_agent_and_client(
    candidate: dict[str, Any], request_fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    request = ModelRequest(messages=REQUEST.messages, **request_fields)
    assert build_body(make_candidate("http://x", **candidate), request) == expected


async def test_pass_through_cannot_change_what_we_set(models: OpenAIChatModels, server: RawServer) -> None:
    server.will_answer(ANSWER)
    await ask(models, make_candidate(server.url, parameters={"stream": False, "messages": [], "model": "x", "seed": 1}))
    body = server.seen[0].body
    assert (body["stream"], body["model"], len(body["messages"]), body["seed"]) == (True, "m-1", 2, 1)


# ---- failures ----


@pytest.mark.parametrize(
    ("status", "error", "words", "tries"),
    [
        (302, ModelRefused, "redirect", 1),
        (400, ModelRefused, "refused the request (HTTP 400)", 1),
        (401, ModelRefused, "refused the credentials", 1),
        (403, ModelRefused, "refused the credentials", 1),
        (404, ModelRefused, "the model 'm-1'", 1),
        (408, ModelUnavailable, "failed (HTTP 408)", 2),
        (422, ModelRefused, "refused the request (HTTP 422)", 1),
        (429, ModelUnavailable, "limits its requests", 2),
        (500, ModelUnavailable, "failed (HTTP 500)", 2),
        (503, ModelUnavailable, "failed (HTTP 503)", 2),
    ],
)
async def test_status_becomes_our_error(  # noqa: PLR0917 - fixtures and columns of one table
    models: OpenAIChatModels, server: RawServer, status: int, error: type[SynteraError], words: str, tries: int
) -> None:
    server.will_answer(answered(status, {"error": {"message": LEAK, "code": LEAK}}, location="http://127.0.0.1:1/"))
    heard, failure = await fail(models, make_candidate(server.url))
    assert type(failure) is error
    assert "'main'" in failure.message
    assert words in failure.message
    assert (heard, len(server.seen)) == ([], tries)


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [("context_length_exceeded", 400, "too long"), ("insufficient_quota", 429, "no quota left")],
)
async def test_known_codes_say_more(
    models: OpenAIChatModels, server: RawServer, code: str, status: int, words: str
) -> None:
    server.will_answer(answered(status, {"error": {"message": LEAK, "code": code}}))
    _, failure = await fail(models, make_candidate(server.url))
    assert isinstance(failure, ModelRefused)
    assert words in failure.message
    assert len(server.seen) == 1


async def test_second_try_answers_when_the_first_failed(models: OpenAIChatModels, server: RawServer) -> None:
    server.will_answer(answered(503), ANSWER)
    events = await ask(models, make_candidate(server.url))
    assert [type(event) for event in events] == [ModelStarted, TextDelta, TextDelta, ModelFinished]


async def test_pause_that_the_server_asks_for_is_kept(models: OpenAIChatModels, server: RawServer) -> None:
    server.will_answer(answered(429, retry_after="0.3"), ANSWER)
    before = time.monotonic()
    await ask(models, make_candidate(server.url))
    assert time.monotonic() - before >= 0.3


async def test_long_pause_is_handed_on_instead_of_kept(models: OpenAIChatModels, server: RawServer) -> None:
    server.will_answer(answered(429, retry_after="60"))
    _, failure = await fail(models, make_candidate(server.url))
    assert failure.retry_after_seconds == 60
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "script",
    [
        pytest.param([], id="closed at once"),
        pytest.param([head()], id="no event"),
        pytest.param([head(), DONE], id="nothing but the end"),
        pytest.param([head(), said(None), DONE], id="no finish reason"),
        pytest.param([head(), said("", "stop"), DONE], id="no text"),
        pytest.param([head(), event("{")], id="no JSON"),
        pytest.param([head(), b"data: \xff\xfe\n\n"], id="no UTF-8"),
        pytest.param([head(), event([1])], id="a list"),
        pytest.param([head(), event({"choices": [{"delta": 5}]})], id="no delta"),
        pytest.param([head(), event({"error": {"message": LEAK}})], id="an error event"),
        pytest.param(answered(200, {"choices": [{"message": {"content": LEAK}}]}), id="no stream"),
        pytest.param([head(200, "text/html"), f"<html>{LEAK}</html>".encode()], id="a web page"),
        pytest.param([b"SSH-2.0-OpenSSH\r\n"], id="no HTTP"),
    ],
)
async def test_broken_answer_is_tried_again_then_unavailable(
    models: OpenAIChatModels, server: RawServer, script: list[bytes]
) -> None:
    server.will_answer(script)
    heard, failure = await fail(models, make_candidate(server.url))
    assert isinstance(failure, ModelUnavailable)
    assert "'main'" in failure.message
    assert (heard, len(server.seen)) == ([], 2)


async def test_bound_that_leaves_no_room_for_text_is_named(models: OpenAIChatModels, server: RawServer) -> None:
    server.will_answer([head(), said(None, "length"), DONE])
    _, failure = await fail(models, make_candidate(server.url))
    assert isinstance(failure, ModelRefused)
    assert "maxOutputTokens" in failure.message


@pytest.mark.parametrize("end", [[], [event("{")], [event({"error": {"message": LEAK}})], [DONE]])
async def test_answer_that_breaks_off_keeps_its_text_and_falls_back_to_nobody(
    models: OpenAIChatModels, server: RawServer, other: RawServer, end: list[bytes]
) -> None:
    server.will_answer([head(), said("Hel"), *end])
    heard, failure = await fail(models, make_candidate(server.url), make_candidate(other.url, endpoint="other"))
    assert heard == [ModelStarted(endpoint="main", model="served-1"), TextDelta("Hel")]
    assert isinstance(failure, ModelUnavailable)
    assert (len(server.seen), len(other.seen)) == (1, 0)


async def test_endpoint_that_is_down_is_unavailable(models: OpenAIChatModels) -> None:
    _, failure = await fail(models, make_candidate("http://localhost:1/v1"))
    assert isinstance(failure, ModelUnavailable)
    assert failure.message == "The connection to the model endpoint 'main' failed."
    assert failure.endpoint == "main"


async def test_unknown_host_is_named_as_the_reason(models: OpenAIChatModels) -> None:
    _, failure = await fail(models, make_candidate("http://nowhere.invalid/v1"))
    assert "host name" in failure.message


@pytest.mark.parametrize("script", [[60.0], [head(), 60.0], [head(), said(None), 60.0]])
async def test_silence_ends_at_the_deadline(
    models: OpenAIChatModels, server: RawServer, script: list[bytes | float]
) -> None:
    server.will_answer(script)
    before = time.monotonic()
    _, failure = await fail(models, make_candidate(server.url, timeout_seconds=1.5))
    assert time.monotonic() - before < 20
    assert isinstance(failure, ModelTimeout)
    assert failure.message == "The model endpoint 'main' did not finish its answer within 1.5 seconds."
    assert len(server.seen) == 1


async def test_deadline_bounds_the_whole_answer(models: OpenAIChatModels, server: RawServer) -> None:
    server.will_answer([head(), *[step for _ in range(300) for step in (said("x"), 0.1)]])
    before = time.monotonic()
    heard, failure = await fail(models, make_candidate(server.url, timeout_seconds=2))
    assert time.monotonic() - before < 20
    assert isinstance(failure, ModelTimeout)
    assert TextDelta("x") in heard


async def test_slow_consumer_is_not_cancelled_by_the_deadline(models: OpenAIChatModels, server: RawServer) -> None:
    server.will_answer([head(), said("a"), 60.0])
    candidate = make_candidate(server.url, timeout_seconds=2)
    async with contextlib.aclosing(models.stream([candidate], REQUEST)) as events:
        await anext(events)
        await asyncio.sleep(2.2)
        assert await anext(events) == TextDelta("a")
        with pytest.raises(ModelTimeout):
            await anext(events)


# ---- fallbacks ----


@pytest.mark.parametrize("script", [answered(401), answered(503), [head(), event("{")], [60.0]])
async def test_next_candidate_answers_when_one_fails_before_its_first_word(
    models: OpenAIChatModels, server: RawServer, other: RawServer, script: list[bytes | float]
) -> None:
    server.will_answer(script)
    events = await ask(
        models, make_candidate(server.url, timeout_seconds=0.4), make_candidate(other.url, endpoint="other")
    )
    assert events[0] == ModelStarted(endpoint="other", model="served-1", candidate=1)
    assert events[-1] == ModelFinished("stop", Usage(7, 2))


async def test_candidate_without_its_secret_is_passed_over(models: OpenAIChatModels, other: RawServer) -> None:
    missing = make_candidate("http://localhost:1", api_key=SecretKey(name="gone", key="k"))
    assert (await ask(models, missing, make_candidate(other.url, endpoint="other")))[0] == ModelStarted(
        endpoint="other", model="served-1", candidate=1
    )
    with pytest.raises(SecretMissing):
        await ask(models, missing)


async def test_last_failure_is_told_when_all_fail(models: OpenAIChatModels, server: RawServer) -> None:
    server.will_answer(answered(401))
    _, failure = await fail(models, make_candidate("http://localhost:1"), make_candidate(server.url, endpoint="last"))
    assert isinstance(failure, ModelRefused)
    assert failure.endpoint == "last"


# ---- connections ----


async def test_rotated_key_is_used_by_the_next_request(
    models: OpenAIChatModels, secrets: FixedSecrets, server: RawServer
) -> None:
    server.will_answer(ANSWER)
    await ask(models, make_candidate(server.url))
    secrets.values[KEY] = "sk-two"
    await ask(models, make_candidate(server.url))
    assert [seen.headers["authorization"] for seen in server.seen] == ["Bearer sk-one", "Bearer sk-two"]


async def test_running_answer_survives_the_rotation(secrets: FixedSecrets, server: RawServer) -> None:
    models = OpenAIChatModels(secrets, clients=ClientPool(idle_seconds=0))
    server.will_answer([head(), said("a"), 0.3, said("b", "stop"), DONE], ANSWER)
    async with contextlib.aclosing(models.stream([make_candidate(server.url)], REQUEST)) as events:
        heard = [await anext(events), await anext(events)]
        secrets.values[KEY] = "sk-two"
        await ask(models, make_candidate(server.url))
        heard += [event async for event in events]
    assert [event.text for event in heard if isinstance(event, TextDelta)] == ["a", "b"]
    await models.aclose()


@pytest.mark.parametrize("value", ["", " \n", "sk-ä", "sk\none"])
async def test_key_that_no_header_can_carry_is_refused(
    models: OpenAIChatModels, secrets: FixedSecrets, server: RawServer, value: str
) -> None:
    secrets.values[KEY] = value
    _, failure = await fail(models, make_candidate(server.url))
    assert isinstance(failure, ModelRefused)
    assert "'api-key' of the Secret 'openai'" in failure.message
    assert server.seen == []


@pytest.mark.parametrize("url", ["http://localhost:99999/v1", "http://[::1/v1", "http://☃.com/v1"])
@pytest.mark.parametrize("field", ["base_url", "proxy_url"])
async def test_unusable_address_is_refused(models: OpenAIChatModels, url: str, field: str) -> None:
    _, failure = await fail(models, make_candidate("http://localhost:1").model_copy(update={field: url}))
    assert isinstance(failure, ModelRefused)
    assert "'main'" in failure.message


async def test_proxy_is_used_where_one_is_named(models: OpenAIChatModels, server: RawServer) -> None:
    server.will_answer(ANSWER)
    await ask(models, make_candidate("http://models.invalid/v1", proxy_url=server.url))
    assert server.seen[0].target == "http://models.invalid/v1/chat/completions"


async def test_leaving_early_ends_the_request(models: OpenAIChatModels, server: RawServer) -> None:
    server.will_answer([head(), said("a"), 60.0])
    async with contextlib.aclosing(models.stream([make_candidate(server.url)], REQUEST)) as events:
        await anext(events)
    async with asyncio.timeout(20):
        await models.aclose()


async def test_stand_in_answers_and_fails_as_told() -> None:
    models = OpenAIChatModels(FixedSecrets())
    with running_stand_in() as stand_in:
        candidate = make_candidate(stand_in.base_url, model="stand-in-echo")
        stand_in.say("Forty two.")
        events = await ask(models, candidate)
        stand_in.fail(Fault(kind="drop", after_words=1))
        heard, failure = await fail(models, candidate)
    assert events[0] == ModelStarted(endpoint="main", model="stand-in-echo")
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "Forty two."
    assert isinstance(failure, ModelUnavailable)
    assert len(heard) == 2
    await models.aclose()


def count(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


async def test_each_request_is_counted_with_its_outcome(server: RawServer, other: RawServer) -> None:
    metrics = Metrics()
    server.will_answer(answered(503))
    models = OpenAIChatModels(FixedSecrets(), metrics=metrics)

    await ask(models, make_candidate(server.url, endpoint="first"), make_candidate(other.url, endpoint="second"))
    await models.aclose()

    requests = "syntera_model_requests_total"
    assert count(metrics, requests, model_endpoint="first", outcome="model-unavailable") == 2
    assert count(metrics, requests, model_endpoint="second", outcome="complete") == 1
    assert count(metrics, "syntera_model_retries_total", model_endpoint="first") == 1
    assert count(metrics, "syntera_model_fallbacks_total", model_endpoint="first") == 1


async def test_answer_that_nobody_waits_for_any_more_counts_as_cancelled(server: RawServer) -> None:
    metrics = Metrics()
    server.will_answer(ANSWER)
    models = OpenAIChatModels(FixedSecrets(), metrics=metrics)
    async with contextlib.aclosing(models.stream([make_candidate(server.url)], REQUEST)) as events:
        await anext(events)
    await models.aclose()

    assert count(metrics, "syntera_model_requests_total", model_endpoint="main", outcome="cancelled") == 1
