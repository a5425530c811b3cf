"""What OpenAI's own Python client makes of us."""

import asyncio

import openai as sdk
import pytest
from openai import AsyncOpenAI, AsyncStream
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

from syntera_crds.contract.api_key import ApiKey, KeyKind
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.errors import ModelRefused, ModelTimeout, ModelUnavailable
from syntera_runtime.models.turns import Usage
from tests.runtime.builders import make_agent
from tests.runtime.fakes import FakeCatalogue, FakeChatModels

HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hi"}]


async def test_whole_answer(openai: AsyncOpenAI) -> None:
    answer = await openai.chat.completions.create(model="travel", messages=HI)
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == "travel"
    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content) == ("assistant", "Hello world")
    assert choice.finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (7, 2, 9)
    assert answer.system_fingerprint == "revision-3"
    assert answer._request_id is not None


async def test_usage_is_absent_when_the_endpoint_does_not_say(openai: AsyncOpenAI, models: FakeChatModels) -> None:
    models.scripts = [["Hello"]]
    answer = await openai.chat.completions.create(model="travel", messages=HI)
    assert answer.usage is None


async def test_finish_reason_is_the_models(openai: AsyncOpenAI, models: FakeChatModels) -> None:
    models.finish_reason = "length"
    answer = await openai.chat.completions.create(model="travel", messages=HI)
    assert answer.choices[0].finish_reason == "length"


async def test_streamed_answer(openai: AsyncOpenAI) -> None:
    stream = await openai.chat.completions.create(model="travel", messages=HI, stream=True)
    chunks = [chunk async for chunk in stream]
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == "Hello world"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, None, "stop"]
    assert all(chunk.usage is None for chunk in chunks)


async def test_streamed_answer_ends_with_its_usage_when_it_is_asked_for(openai: AsyncOpenAI) -> None:
    stream = await openai.chat.completions.create(
        model="travel", messages=HI, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = [chunk async for chunk in stream]
    assert all(chunk.usage is None for chunk in chunks)
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens == 9


async def test_empty_answer_is_streamed(openai: AsyncOpenAI, models: FakeChatModels) -> None:
    models.scripts = [[Usage(7, 0)]]
    stream = await openai.chat.completions.create(model="travel", messages=HI, stream=True)
    chunks = [chunk async for chunk in stream]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, "stop"]


async def test_stream_helper_of_the_client_understands_us(openai: AsyncOpenAI) -> None:
    async with openai.chat.completions.stream(model="travel", messages=HI) as stream:
        async for _ in stream:
            pass
        final = await stream.get_final_completion()
    assert final.choices[0].message.content == "Hello world"


async def test_agents_are_models(openai: AsyncOpenAI, agents: FakeCatalogue) -> None:
    agents.put(make_agent(name="billing"))
    assert [model.id async for model in openai.models.list()] == ["billing", "travel"]
    assert (await openai.models.retrieve("travel")).id == "travel"


# ---- errors ----


async def read(stream: AsyncStream[ChatCompletionChunk], *, into: list[str]) -> None:
    async for chunk in stream:
        into.append(chunk.choices[0].delta.content or "")


async def test_unknown_model(openai: AsyncOpenAI) -> None:
    with pytest.raises(sdk.NotFoundError) as caught:
        await openai.chat.completions.create(model="nobody", messages=HI)
    assert (caught.value.code, caught.value.param, caught.value.type) == (
        "model_not_found",
        "model",
        "invalid_request_error",
    )
    with pytest.raises(sdk.NotFoundError):
        await openai.models.retrieve("nobody")


async def test_wrong_key(openai: AsyncOpenAI) -> None:
    stranger = openai.with_options(api_key=ApiKey.generate(KeyKind.SECRET).text)
    with pytest.raises(sdk.AuthenticationError) as caught:
        await stranger.chat.completions.create(model="travel", messages=HI)
    assert caught.value.code == "invalid_api_key"
    with pytest.raises(sdk.AuthenticationError):
        await openai.with_options(api_key="sk-of-openai").models.list()


async def test_publishable_key(openai: AsyncOpenAI) -> None:
    visitor = openai.with_options(api_key=ApiKey.generate(KeyKind.PUBLISHABLE).text)
    with pytest.raises(sdk.PermissionDeniedError) as caught:
        await visitor.models.list()
    assert caught.value.code == "publishable_key_refused"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ModelUnavailable(endpoint="stand-in"), 503, "model_unavailable"),
        (ModelTimeout(endpoint="stand-in"), 504, "model_timeout"),
        (ModelRefused(endpoint="stand-in"), 502, "model_refused"),
    ],
)
async def test_model_that_cannot_answer_has_its_own_status(
    openai: AsyncOpenAI, models: FakeChatModels, *, error: Exception, status: int, code: str, stream: bool
) -> None:
    models.scripts = [[error]]
    with pytest.raises(sdk.InternalServerError) as caught:
        await openai.chat.completions.create(model="travel", messages=HI, stream=stream)
    assert (caught.value.status_code, caught.value.code, caught.value.type) == (status, code, "server_error")


async def test_client_tries_again_when_the_model_was_away(openai: AsyncOpenAI, models: FakeChatModels) -> None:
    models.scripts = [[ModelUnavailable(retry_after_seconds=1)]]
    answer = await openai.with_options(max_retries=1).chat.completions.create(model="travel", messages=HI)
    assert answer.choices[0].message.content == "Hello world"


async def test_stream_that_breaks_off_raises_in_the_client(openai: AsyncOpenAI, models: FakeChatModels) -> None:
    models.scripts = [["Hel", ModelUnavailable(endpoint="stand-in")]]
    stream = await openai.chat.completions.create(model="travel", messages=HI, stream=True)
    said: list[str] = []
    with pytest.raises(sdk.APIError, match="broke off") as caught:
        await read(stream, into=said)
    assert "".join(said) == "Hel"
    assert caught.value.code == "model_unavailable"


async def test_clients_timeout_stops_the_answer(openai: AsyncOpenAI, models: FakeChatModels) -> None:
    models.scripts = [["Hel", asyncio.Event()]]
    with pytest.raises(sdk.APITimeoutError):
        await openai.with_options(timeout=2).chat.completions.create(model="travel", messages=HI)
    async with asyncio.timeout(10):
        await models.ended.wait()


async def test_store_holds_nothing_of_the_text(openai: AsyncOpenAI, store: MemoryStore) -> None:
    await openai.chat.completions.create(model="travel", messages=[{"role": "user", "content": "tell nobody"}])
    assert "tell nobody" not in repr(vars(store))
    assert "Hello world" not in repr(vars(store))
