"""The reranking adapter against servers that behave well, badly and not at all."""

import math
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from syntera_crds.contract.knowledge_config import RerankModel
from syntera_runtime.adapters.http_rerank import HttpReranker
from syntera_runtime.errors import ModelRefused, ModelTimeout, ModelUnavailable, SecretMissing, SynteraError
from tests.runtime.adapters.fixed_secrets import KEY, FixedSecrets
from tests.runtime.adapters.raw_server import RawServer, answered, raw_server
from tests.support.stand_in import running_stand_in

LEAK = "vendor-secret-words"
PASSAGES = ["The weather is fine.", "Refunds take ten days.", "Ask for a refund within ten days of delivery."]


def make_model(base_url: str, **fields: Any) -> RerankModel:
    return RerankModel.model_validate(
        {
            "endpoint": "judge",
            "base_url": base_url,
            "model": "r-1",
            "timeout_seconds": 30.0,
            "api_key": KEY,
            **fields,
        }
    )


def results(*scores: tuple[int, object]) -> Sequence[bytes | float]:
    listed = [{"index": index, "relevance_score": score, "document": {"text": "x"}} for index, score in scores]
    return answered(200, {"id": "1", "results": listed, "meta": {"billed_units": {"search_units": 1}}})


@pytest.fixture
def secrets() -> FixedSecrets:
    return FixedSecrets()


@pytest.fixture
async def reranker(secrets: FixedSecrets) -> AsyncIterator[HttpReranker]:
    adapter = HttpReranker(secrets)
    yield adapter
    await adapter.aclose()


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    async with raw_server() as running:
        yield running


async def judge(reranker: HttpReranker, server: RawServer, **fields: Any) -> Sequence[float]:
    return await reranker.rerank(make_model(f"{server.url}/v1", **fields), "refund?", PASSAGES, seconds=5)


async def fail(reranker: HttpReranker, server: RawServer, kind: type[SynteraError], **fields: Any) -> SynteraError:
    """The failure, which must keep the vendor's words to itself."""
    with pytest.raises(kind) as caught:
        await judge(reranker, server, **fields)
    assert LEAK not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value


async def test_question_and_passages_are_sent_and_scores_put_in_order(
    reranker: HttpReranker, server: RawServer
) -> None:
    server.will_answer(results((2, 0.9), (0, 0.1), (1, 0.5)))
    assert await judge(reranker, server) == [0.1, 0.5, 0.9]
    (seen,) = server.seen
    assert seen.target == "/v1/rerank"
    assert seen.headers["authorization"] == "Bearer sk-one"
    assert seen.body == {"model": "r-1", "query": "refund?", "documents": PASSAGES, "top_n": 3}


async def test_nothing_is_asked_where_there_is_nothing_to_judge(reranker: HttpReranker, server: RawServer) -> None:
    assert await reranker.rerank(make_model(server.url), "refund?", [], seconds=5) == []
    assert not server.seen


async def test_logits_become_probabilities(reranker: HttpReranker, server: RawServer) -> None:
    server.will_answer(results((0, -2000.0), (1, 0.0), (2, 3.0)))
    assert await judge(reranker, server) == pytest.approx([0.0, 0.5, 1 / (1 + math.exp(-3))])


async def test_a_passage_that_was_left_out_scores_nothing(reranker: HttpReranker, server: RawServer) -> None:
    server.will_answer(results((1, 0.5)))
    assert await judge(reranker, server) == [0.0, 0.5, 0.0]


@pytest.mark.parametrize(
    "answer",
    [
        answered(200, {"results": []}),
        answered(200, {"data": LEAK}),
        answered(200, [LEAK]),
        answered(200, {"results": [LEAK]}),
        results((3, 0.5)),
        results((-1, 0.5)),
        results((0, LEAK)),
        results((0, None)),
        answered(200, {"results": [{"index": 0, "relevance_score": float("nan")}]}),
        answered(200, {"results": [{"index": 1e999, "relevance_score": 0.5}]}),
    ],
)
async def test_an_answer_that_is_none_is_told(
    reranker: HttpReranker, server: RawServer, answer: Sequence[bytes | float]
) -> None:
    server.will_answer(answer)
    assert "cannot be read" in (await fail(reranker, server, ModelUnavailable)).message


@pytest.mark.parametrize(
    ("status", "kind"), [(401, ModelRefused), (404, ModelRefused), (429, ModelUnavailable), (500, ModelUnavailable)]
)
async def test_errors_are_those_of_models(
    reranker: HttpReranker, server: RawServer, status: int, kind: type[SynteraError]
) -> None:
    server.will_answer(answered(status, {"error": {"message": LEAK}}))
    await fail(reranker, server, kind)
    assert len(server.seen) == 1


async def test_a_judge_that_is_slow_is_not_waited_for(reranker: HttpReranker, server: RawServer) -> None:
    server.will_answer([30.0])
    model = make_model(server.url)
    with pytest.raises(ModelTimeout, match=r"within 0\.2 seconds"):
        await reranker.rerank(model, "refund?", PASSAGES, seconds=0.2)


async def test_a_key_that_is_missing_is_told(reranker: HttpReranker, server: RawServer, secrets: FixedSecrets) -> None:
    secrets.values.clear()
    await fail(reranker, server, SecretMissing)


async def test_the_stand_in_judges_by_words(reranker: HttpReranker) -> None:
    with running_stand_in() as stand_in:
        model = make_model(stand_in.base_url, model="stand-in-rerank")
        scores = await reranker.rerank(model, "How many days does a refund take?", PASSAGES, seconds=30)
    assert scores[0] == 0
    assert scores[1] > scores[2] > 0
