"""Vectors of questions are shared by those who ask the same."""

import asyncio
from typing import Any

import pytest

from syntera_runtime.errors import ModelTimeout, ModelUnavailable
from syntera_runtime.knowledge import questions
from syntera_runtime.knowledge.questions import Questions
from tests.runtime.knowledge_fakes import FakeEmbedder, embed_words, make_embedding

SKIS = (embed_words("skis"), 1)


async def ask(asked: Questions, question: str = "skis", *, seconds: float = 10, **model: Any) -> tuple[Any, int]:
    return await asked.embed(make_embedding(**model), question, seconds=seconds)


async def until_asked(embedder: FakeEmbedder, times: int) -> None:
    async with asyncio.timeout(5):
        while len(embedder.asked) < times:  # noqa: ASYNC110  # it announces nothing
            await asyncio.sleep(0)


async def test_question_is_paid_for_once() -> None:
    embedder = FakeEmbedder()
    asked = Questions(embedder)
    assert [await ask(asked), await ask(asked)] == [SKIS, (SKIS[0], 0)]
    assert len(embedder.asked) == 1


async def test_other_question_or_model_is_another_one() -> None:
    embedder = FakeEmbedder()
    asked = Questions(embedder)
    await asyncio.gather(ask(asked), ask(asked, "fees"), ask(asked, model="other"), ask(asked, query_prefix="query: "))
    assert len(embedder.asked) == 4


async def test_those_who_ask_together_share_the_answer() -> None:
    embedder = FakeEmbedder()
    embedder.released.clear()
    asked = Questions(embedder)
    asking = [asyncio.create_task(ask(asked)) for _ in range(3)]
    await until_asked(embedder, 1)
    embedder.released.set()
    assert sorted(tokens for _, tokens in await asyncio.gather(*asking)) == [0, 0, 1]
    assert len(embedder.asked) == 1


async def test_those_who_ask_together_share_the_failure() -> None:
    embedder = FakeEmbedder(failure=ModelUnavailable())
    embedder.released.clear()
    asked = Questions(embedder)
    asking = [asyncio.create_task(ask(asked)) for _ in range(3)]
    await until_asked(embedder, 1)
    embedder.released.set()
    outcomes = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ModelUnavailable] * 3
    assert len(embedder.asked) == 1
    embedder.failure = None
    assert await ask(asked) == SKIS


async def test_others_get_their_answer_when_the_first_is_stopped() -> None:
    embedder = FakeEmbedder()
    embedder.released.clear()
    asked = Questions(embedder)
    first, second = asyncio.create_task(ask(asked)), asyncio.create_task(ask(asked))
    await until_asked(embedder, 1)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    embedder.released.set()
    assert await second == SKIS  # with the tokens, of which nobody else was told
    assert first.cancelled()
    assert len(embedder.asked) == 1


async def test_each_waits_as_long_as_they_can() -> None:
    embedder = FakeEmbedder()
    embedder.released.clear()
    asked = Questions(embedder)
    first, second = asyncio.create_task(ask(asked, seconds=0.01)), asyncio.create_task(ask(asked))
    with pytest.raises(ModelTimeout, match=r"within 0\.01 seconds"):
        await first
    embedder.released.set()
    assert await second == SKIS
    assert len(embedder.asked) == 1


async def test_request_ends_with_the_last_who_waits_and_the_next_asks_anew() -> None:
    embedder = FakeEmbedder()
    embedder.released.clear()
    asked = Questions(embedder)
    first, second = asyncio.create_task(ask(asked)), asyncio.create_task(ask(asked))
    await until_asked(embedder, 1)
    first.cancel()
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    embedder.released.set()
    assert await ask(asked) == SKIS
    assert len(embedder.asked) == 2


async def test_others_get_their_answer_when_one_who_waits_is_stopped() -> None:
    embedder = FakeEmbedder()
    embedder.released.clear()
    asked = Questions(embedder)
    first, second = asyncio.create_task(ask(asked)), asyncio.create_task(ask(asked))
    await until_asked(embedder, 1)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    embedder.released.set()
    assert await first == SKIS


async def test_old_vectors_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "MOST_KEPT", 2)
    embedder = FakeEmbedder()
    asked = Questions(embedder)
    for question in ("a", "b", "c", "b", "a"):
        await ask(asked, question)
    assert [texts for _, texts in embedder.asked] == [["a"], ["b"], ["c"], ["a"]]
    monkeypatch.setattr(questions, "KEPT_SECONDS", -1.0)
    await ask(asked, "d")
    await ask(asked, "d")
    assert len(embedder.asked) == 6
