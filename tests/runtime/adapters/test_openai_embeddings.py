"""The embedding adapter against servers that behave well, badly and not at all."""

import base64
import math
import struct
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from syntera_crds.contract.agent_config import SecretKey
from syntera_crds.contract.knowledge_config import EmbeddingModel
from syntera_runtime.adapters import openai_embeddings
from syntera_runtime.adapters.openai_embeddings import OpenAIEmbedder
from syntera_runtime.errors import ModelRefused, ModelTimeout, ModelUnavailable, SecretMissing, SynteraError
from syntera_runtime.models.tokens import estimate_tokens
from tests.runtime.adapters.fixed_secrets import KEY, FixedSecrets
from tests.runtime.adapters.raw_server import RawServer, answered, raw_server

LEAK = "vendor-secret-words"


def make_model(base_url: str, **fields: Any) -> EmbeddingModel:
    return EmbeddingModel.model_validate(
        {
            "endpoint": "main",
            "base_url": base_url,
            "model": "e-1",
            "timeout_seconds": 30.0,
            "api_key": KEY,
            "dimensions": 3,
            **fields,
        }
    )


def encoded(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def embeddings(*vectors: object, usage: object = None) -> Sequence[bytes | float]:
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    return answered(200, {"object": "list", "data": data, "model": "e-1", **({"usage": usage} if usage else {})})


GOOD = embeddings(encoded(1, 0, 0), usage={"prompt_tokens": 5, "total_tokens": 5})


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_embeddings, "RETRY_SECONDS", 0.01)


@pytest.fixture
def secrets() -> FixedSecrets:
    return FixedSecrets()


@pytest.fixture
async def embedder(secrets: FixedSecrets) -> AsyncIterator[OpenAIEmbedder]:
    adapter = OpenAIEmbedder(secrets)
    yield adapter
    await adapter.aclose()


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    async with raw_server() as running:
        yield running


async def fail(embedder: OpenAIEmbedder, model: EmbeddingModel, kind: type[SynteraError]) -> SynteraError:
    """The failure, which must keep the vendor's words to itself."""
    with pytest.raises(kind) as caught:
        await embedder.embed(model, ["one"])
    assert LEAK not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value


async def test_embed_sends_key_model_and_texts(embedder: OpenAIEmbedder, server: RawServer) -> None:
    server.will_answer(embeddings(encoded(1, 0, 0), encoded(0, 1, 0)))
    await embedder.embed(make_model(server.url + "/v1"), ["one", "two"])
    (seen,) = server.seen
    assert seen.target == "/v1/embeddings"
    assert seen.headers["authorization"] == "Bearer sk-one"
    assert seen.body == {"model": "e-1", "input": ["one", "two"], "encoding_format": "base64"}


async def test_embed_asks_for_dimensions_where_the_model_has_several(
    embedder: OpenAIEmbedder, server: RawServer
) -> None:
    server.will_answer(GOOD)
    await embedder.embed(make_model(server.url, sends_dimensions=True), ["one"])
    assert server.seen[0].body["dimensions"] == 3


@pytest.mark.parametrize("vector", [encoded(3, 0, 4), [3, 0, 4]], ids=["base64", "numbers"])
async def test_vectors_have_length_one(embedder: OpenAIEmbedder, server: RawServer, vector: object) -> None:
    server.will_answer(embeddings(vector))
    (made,) = (await embedder.embed(make_model(server.url), ["one"])).vectors
    assert list(made) == pytest.approx([0.6, 0, 0.8])
    assert math.hypot(*made) == pytest.approx(1)


async def test_vectors_are_in_the_order_of_their_texts(embedder: OpenAIEmbedder, server: RawServer) -> None:
    rows = [{"index": 1, "embedding": encoded(0, 1, 0)}, {"index": 0, "embedding": encoded(1, 0, 0)}]
    server.will_answer(answered(200, {"data": rows}))
    made = (await embedder.embed(make_model(server.url), ["one", "two"])).vectors
    assert [list(vector) for vector in made] == [[1, 0, 0], [0, 1, 0]]


async def test_tokens_are_the_endpoints_or_else_estimated(embedder: OpenAIEmbedder, server: RawServer) -> None:
    server.will_answer(GOOD, embeddings(encoded(1, 0, 0)))
    counted = await embedder.embed(make_model(server.url), ["one"])
    assert (counted.tokens, counted.is_estimated) == (5, False)
    estimated = await embedder.embed(make_model(server.url), ["a longer text"])
    assert (estimated.tokens, estimated.is_estimated) == (estimate_tokens("a longer text"), True)


async def test_a_server_that_knows_no_base64_is_asked_without(embedder: OpenAIEmbedder, server: RawServer) -> None:
    refused = answered(400, {"error": {"message": "unknown field encoding_format"}})
    server.will_answer(refused, embeddings([1, 0, 0]))
    for _ in range(2):
        assert len((await embedder.embed(make_model(server.url), ["one"])).vectors) == 1
    assert ["encoding_format" in seen.body for seen in server.seen] == [True, False, False]


async def test_other_dimensions_are_refused(embedder: OpenAIEmbedder, server: RawServer) -> None:
    server.will_answer(embeddings(encoded(1, 0)))
    assert "2 dimensions" in str(await fail(embedder, make_model(server.url), ModelRefused))


@pytest.mark.parametrize(
    "answer",
    [
        answered(200, [LEAK]),
        answered(200, {"data": LEAK}),
        answered(200, {"data": []}),
        answered(200, {"data": [{"index": 1, "embedding": encoded(1, 0, 0)}]}),
        answered(200, {"data": [{"index": 0, "embedding": "no base64!"}]}),
        answered(200, {"data": [{"index": 0, "embedding": "AAA="}]}),
        answered(200, {"data": [{"index": 0, "embedding": [LEAK, 0, 0]}]}),
        answered(200, {"data": [{"index": 0, "embedding": None}]}),
        answered(200, {"data": [{"index": 0, "embedding": [1e300, 0, 0]}]}),
        embeddings(encoded(float("nan"), 0, 0)),
        embeddings(encoded(0, 0, 0)),
        embeddings(encoded(1, 0, 0), encoded(1, 0, 0)),
        [b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{" + LEAK.encode()],
        [b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>" + LEAK.encode()],
    ],
)
async def test_what_cannot_be_read_is_unavailable(
    embedder: OpenAIEmbedder, server: RawServer, answer: Sequence[bytes | float]
) -> None:
    server.will_answer(answer)
    await fail(embedder, make_model(server.url), ModelUnavailable)


async def test_a_failure_that_may_pass_is_tried_once_more(embedder: OpenAIEmbedder, server: RawServer) -> None:
    server.will_answer(answered(503, {"error": LEAK}), GOOD)
    await embedder.embed(make_model(server.url), ["one"])
    assert len(server.seen) == 2


async def test_one_try_is_no_more(secrets: FixedSecrets, server: RawServer) -> None:
    server.will_answer(answered(429, {"error": LEAK}, retry_after="7"))
    embedder = OpenAIEmbedder(secrets, tries=1)
    failure = await fail(embedder, make_model(server.url), ModelUnavailable)
    await embedder.aclose()
    assert failure.retry_after_seconds == 7
    assert len(server.seen) == 1


async def test_a_longer_pause_is_not_waited_for(embedder: OpenAIEmbedder, server: RawServer) -> None:
    server.will_answer(answered(429, {"error": LEAK}, retry_after="60"))
    await fail(embedder, make_model(server.url), ModelUnavailable)
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 302])
async def test_a_refusal_is_final(embedder: OpenAIEmbedder, server: RawServer, status: int) -> None:
    server.will_answer(answered(status, {"error": {"message": LEAK}}))
    await fail(embedder, make_model(server.url), ModelRefused)
    assert len(server.seen) == 1


async def test_too_long_texts_are_called_so(embedder: OpenAIEmbedder, server: RawServer) -> None:
    server.will_answer(answered(400, {"error": {"message": LEAK, "code": "context_length_exceeded"}}))
    assert "targetTokens" in str(await fail(embedder, make_model(server.url), ModelRefused))


@pytest.mark.parametrize("by", ["model", "caller"])
async def test_a_slow_server_times_out(embedder: OpenAIEmbedder, server: RawServer, by: str) -> None:
    server.will_answer([30.0])
    model = make_model(server.url, timeout_seconds=0.1 if by == "model" else 30)
    with pytest.raises(ModelTimeout):
        await embedder.embed(model, ["one"], seconds=0.1 if by == "caller" else None)


async def test_a_missing_secret_is_named(embedder: OpenAIEmbedder, server: RawServer) -> None:
    failure = await fail(embedder, make_model(server.url, api_key=SecretKey(name="gone", key="k")), SecretMissing)
    assert "gone" in str(failure)
