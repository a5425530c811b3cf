"""OpenAI's own Python client, blocking and not: each kind of its errors, what it does about them, and how it leaves."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import openai as sdk
import pytest
from openai import AsyncOpenAI, OpenAI

from syntera_crds.contract.api_key import ApiKey, KeyKind, Scope
from syntera_crds.contract.tenant_config import Limits, TenantConfig
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.errors import ModelError, ModelRefused, ModelTimeout, ModelUnavailable, SecretMissing
from tests.runtime.builders import put_key
from tests.runtime.fakes import FakeCatalogue, FakeChatModels

from .test_official_client import HI


@pytest.fixture
async def blocking(openai_url: str, store: MemoryStore) -> AsyncIterator[OpenAI]:
    """The official blocking client, without retries. Call it in a thread: the server is on the test's own event loop."""
    with OpenAI(base_url=openai_url, api_key=put_key(store), max_retries=0, timeout=10) as client:
        yield client


def ask(client: OpenAI, **changes: Any) -> str | None:
    """A whole answer's text."""
    made = client.chat.completions.create(**{"model": "travel", "messages": HI, **changes})
    content: str | None = made.choices[0].message.content
    return content


async def test_blocking_client_gets_whole_and_streamed_answers(blocking: OpenAI) -> None:
    assert await asyncio.to_thread(ask, blocking) == "Hello world"

    def read() -> tuple[str, int | None]:
        said, tokens = "", None
        with blocking.chat.completions.create(
            model="travel", messages=HI, stream=True, stream_options={"include_usage": True}
        ) as stream:
            for chunk in stream:
                said += "".join(choice.delta.content or "" for choice in chunk.choices)
                tokens = chunk.usage.total_tokens if chunk.usage else tokens
        return said, tokens

    assert await asyncio.to_thread(read) == ("Hello world", 9)
    assert [model.id for model in await asyncio.to_thread(lambda: list(blocking.models.list()))] == ["travel"]
    assert (await asyncio.to_thread(blocking.models.retrieve, "travel")).id == "travel"


REFUSALS: dict[str, tuple[dict[str, Any], type[sdk.APIStatusError], str, str | None]] = {
    "two choices": ({"n": 2}, sdk.BadRequestError, "unsupported_parameter", "n"),
    "tools": ({"tools": [{"type": "function"}]}, sdk.BadRequestError, "unsupported_parameter", "tools"),
    "too hot": ({"temperature": 3}, sdk.BadRequestError, "invalid_request", "temperature"),
    "no messages": ({"messages": []}, sdk.BadRequestError, "invalid_request", "messages"),
    "usage of no stream": (
        {"stream_options": {"include_usage": True}},
        sdk.BadRequestError,
        "invalid_request",
        "stream_options",
    ),
    "unknown model": ({"model": "nobody"}, sdk.NotFoundError, "model_not_found", "model"),
    "too large": ({"user": "x" * 100_000}, sdk.APIStatusError, "body_too_large", None),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_refused_requests(blocking: OpenAI, openai: AsyncOpenAI, case: str) -> None:
    changes, kind, code, parameter = REFUSALS[case]
    for refused in (
        asyncio.to_thread(ask, blocking, **changes),
        openai.chat.completions.create(**{"model": "travel", "messages": HI, **changes}),
    ):
        with pytest.raises(kind) as caught:
            await refused
        assert (caught.value.code, caught.value.param) == (code, parameter)
        assert caught.value.request_id


async def test_key_that_is_unknown_and_one_that_may_not(blocking: OpenAI, store: MemoryStore) -> None:
    stranger = blocking.with_options(api_key=ApiKey.generate(KeyKind.SECRET).text)
    with pytest.raises(sdk.AuthenticationError) as unknown:
        await asyncio.to_thread(ask, stranger)
    assert (unknown.value.code, unknown.value.type) == ("invalid_api_key", "authentication_error")
    reader = blocking.with_options(api_key=put_key(store, scopes=frozenset({Scope.CONVERSATIONS_READ})))
    with pytest.raises(sdk.PermissionDeniedError) as refused:
        await asyncio.to_thread(ask, reader)
    assert (refused.value.code, refused.value.type) == ("scope_missing", "permission_error")


async def test_too_many_requests_say_when_to_come_back(blocking: OpenAI, agents: FakeCatalogue) -> None:
    agents.tenant_config = TenantConfig(name="acme", display_name="Acme", limits=Limits(requests_per_minute_per_key=1))
    assert await asyncio.to_thread(ask, blocking) == "Hello world"
    with pytest.raises(sdk.RateLimitError) as caught:
        await asyncio.to_thread(ask, blocking)
    assert (caught.value.code, caught.value.type) == ("rate_limit_exceeded", "requests")
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 120


@pytest.mark.parametrize("error", [ModelError, ModelRefused, ModelUnavailable, ModelTimeout, SecretMissing])
@pytest.mark.parametrize("stream", [False, True])
async def test_servers_failures(
    blocking: OpenAI, models: FakeChatModels, error: Callable[[], Any], *, stream: bool
) -> None:
    models.scripts = [[error()]]
    with pytest.raises(sdk.InternalServerError) as caught:
        await asyncio.to_thread(ask, blocking, stream=stream)
    assert (caught.value.status_code, caught.value.type) == (error().status, "server_error")
    assert caught.value.code == error().code.replace("-", "_")


async def test_clients_retries_heed_what_the_server_says(blocking: OpenAI, models: FakeChatModels) -> None:
    models.scripts = [[ModelUnavailable(retry_after_seconds=1)], [ModelUnavailable(retry_after_seconds=1)]]
    patient = blocking.with_options(max_retries=2)
    assert await asyncio.to_thread(ask, patient) == "Hello world"
    assert len(models.asked) == 3


async def test_request_that_is_wrong_is_not_tried_again(blocking: OpenAI, models: FakeChatModels) -> None:
    with pytest.raises(sdk.BadRequestError):
        await asyncio.to_thread(ask, blocking.with_options(max_retries=5), n=2)
    assert models.asked == []


async def test_server_that_is_not_there() -> None:
    with (
        OpenAI(base_url="http://127.0.0.1:1/v1", api_key="key", max_retries=0) as nowhere,
        pytest.raises(sdk.APIConnectionError),
    ):
        await asyncio.to_thread(ask, nowhere)


# ---- leaving ----


async def until_ended(models: FakeChatModels) -> None:
    async with asyncio.timeout(10):
        await models.ended.wait()


async def test_timeout_of_the_blocking_client_stops_the_answer(blocking: OpenAI, models: FakeChatModels) -> None:
    models.scripts = [["Hel", asyncio.Event()]]
    with pytest.raises(sdk.APITimeoutError):
        await asyncio.to_thread(ask, blocking.with_options(timeout=2))
    await until_ended(models)


async def test_cancelled_task_stops_the_whole_answer(openai: AsyncOpenAI, models: FakeChatModels) -> None:
    models.scripts = [["Hel", asyncio.Event()]]
    asking = asyncio.create_task(openai.chat.completions.create(model="travel", messages=HI))
    async with asyncio.timeout(10):
        await models.begun.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await until_ended(models)


async def test_cancelled_task_stops_the_stream(openai: AsyncOpenAI, models: FakeChatModels) -> None:
    models.scripts = [["Hel", asyncio.Event()]]
    first = asyncio.Event()

    async def read() -> None:
        async with await openai.chat.completions.create(model="travel", messages=HI, stream=True) as stream:
            async for _ in stream:
                first.set()

    reading = asyncio.create_task(read())
    async with asyncio.timeout(10):
        await first.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await until_ended(models)


async def test_closed_stream_stops_the_answer(blocking: OpenAI, models: FakeChatModels) -> None:
    models.scripts = [["Hel", asyncio.Event()]]

    def read_one() -> str | None:
        with blocking.chat.completions.create(model="travel", messages=HI, stream=True) as stream:
            next(stream)
            return next(stream).choices[0].delta.content

    assert await asyncio.to_thread(read_one) == "Hel"
    await until_ended(models)


async def test_silent_model_ends_the_stream_at_the_clients_timeout(openai: AsyncOpenAI, models: FakeChatModels) -> None:
    models.scripts = [["Hel", asyncio.Event()]]
    stream = await openai.with_options(timeout=2).chat.completions.create(model="travel", messages=HI, stream=True)
    with pytest.raises(sdk.APITimeoutError):
        [chunk async for chunk in stream]
    await until_ended(models)
