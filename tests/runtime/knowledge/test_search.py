"""Searches over stores in memory, with models that may fail."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from syntera_crds.contract.knowledge_config import RerankModel, SearchMode
from syntera_runtime.errors import (
    KnowledgeBaseNotFound,
    KnowledgeBaseNotReady,
    ModelRefused,
    ModelUnavailable,
    SearchTimedOut,
    StoreUnavailable,
)
from syntera_runtime.metrics import Metrics
from syntera_runtime.models.knowledge import SearchFilter, SearchRequest, SearchResult
from tests.runtime.knowledge_fakes import KnowledgeSite, embed_words, make_config, make_embedding, make_site

DOCUMENTS: dict[str, Sequence[str]] = {
    "cancel.md": ["Cancel a booking free of charge within 24 hours. ", "Later a fee of 30 euros is due. "],
    "luggage.md": ["Each passenger may take one suitcase. ", "Skis cost 40 euros. ", "Surfboards fly only in summer. "],
    "errors.md": ["Error XK-4711 means that the card was declined. "],
}
RERANK = RerankModel(endpoint="judge", base_url="http://judge.example/v1", model="stand-in-rerank", timeout_seconds=10)


def ask(question: str, *, audience: str = "public", **fields: Any) -> SearchRequest:
    return SearchRequest(question=question, filter=SearchFilter(frozenset({audience})), **fields)


async def find(site: KnowledgeSite, question: str, **fields: Any) -> SearchResult:
    return await site.searcher.search(site.stores.tenant_id, "handbook", ask(question, **fields))


def paths(result: SearchResult) -> list[str]:
    return [passage.origin.path for passage in result.passages]


@pytest.fixture
async def site() -> KnowledgeSite:
    """With three documents."""
    made = make_site()
    await made.fill(make_config(), DOCUMENTS)
    return made


# ---- what is found ----


@pytest.mark.parametrize("mode", list(SearchMode))
async def test_best_passage_comes_first_in_every_mode(site: KnowledgeSite, mode: SearchMode) -> None:
    result = await find(site, "cancel a booking", mode=mode)
    assert paths(result)[0] == "cancel.md"
    assert result.mode is mode


async def test_passage_tells_where_it_is_from_and_how_it_was_found(site: KnowledgeSite) -> None:
    result = await find(site, "cancel a booking free of charge", neighbours=0, top_k=1)
    (passage,) = result.passages
    assert (passage.knowledge_base, passage.index_number, passage.origin.source) == ("handbook", 1, "docs")
    assert (passage.start, passage.end, passage.text) == (0, 49, DOCUMENTS["cancel.md"][0])
    assert set(passage.scores) == {"vector", "keyword", "fused"}
    assert passage.score == passage.scores["vector"] > 0.7


async def test_stages_tell_what_each_left(site: KnowledgeSite) -> None:
    result = await find(site, "what do skis cost?")
    assert sorted(stage.name for stage in result.stages) == ["embed", "fuse", "join", "keyword", "read", "vector"]
    assert all(stage.seconds >= 0 and stage.failure is None for stage in result.stages)
    assert result.stages[-1].found == len(result.passages)
    assert (result.failure, result.embedding_tokens) == (None, 1)


async def test_neighbours_are_joined(site: KnowledgeSite) -> None:
    result = await find(site, "skis", top_k=1)
    assert result.passages[0].text == "".join(DOCUMENTS["luggage.md"])
    alone = await find(site, "skis", top_k=1, neighbours=0)
    assert alone.passages[0].text == "Skis cost 40 euros. "


async def test_threshold_leaves_out_what_is_not_similar(site: KnowledgeSite) -> None:
    result = await find(site, "cancel a booking free of charge", min_score=0.5)
    assert paths(result) == ["cancel.md"]
    assert result.left_out > 0
    nothing = await find(site, "cancel a booking free of charge", min_score=1.0)
    assert (nothing.passages, nothing.failure) == ([], None)


async def test_threshold_is_about_scaled_ranks_where_words_alone_are_searched(site: KnowledgeSite) -> None:
    assert paths(await find(site, "XK-4711", mode=SearchMode.KEYWORD, min_score=0.1)) == ["errors.md"]
    assert paths(await find(site, "XK-4711", mode=SearchMode.KEYWORD, min_score=0.99)) == []


async def test_same_text_of_two_documents_is_given_once() -> None:
    site = make_site()
    await site.fill(make_config(), {"a.md": ["Cancel within 24 hours."], "b.md": ["Cancel within 24 hours."]})
    assert len((await find(site, "cancel")).passages) == 1


@pytest.mark.parametrize("inline", [0, 40_000], ids=["in-a-thread", "inline"])
async def test_nearly_same_texts_are_given_once(inline: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syntera_runtime.knowledge.search.COMPARED_INLINE", inline)
    rule = "Bookings can be cancelled free of charge until two days before the departure of the first flight."
    site = make_site()
    await site.fill(make_config(), {"a.md": [rule], "b.md": [f"{rule} Ask us."], "c.md": ["Flights depart on time."]})
    found = paths(await find(site, "when can bookings be cancelled?"))
    assert len(found) == 2
    assert "c.md" in found


# ---- who may know what ----


async def test_documents_of_others_are_not_found(site: KnowledgeSite) -> None:
    base = await site.stores.begin()
    assert base.active is not None
    await site.add(base.active, "salaries.md", "The salary of a clerk is 2000 euros. ", audience={"admin"})
    for mode in SearchMode:
        assert "salaries.md" not in paths(await find(site, "what is the salary of a clerk?", mode=mode))
    assert paths(await find(site, "what is the salary of a clerk?", audience="admin")) == ["salaries.md"]


async def test_document_that_a_store_brings_by_mistake_is_not_given() -> None:
    class Leaky:
        """Forgets for whom it searches."""

        def __init__(self, reader: Any) -> None:
            self._reader = reader

        def __getattr__(self, name: str) -> Any:
            return getattr(self._reader, name)

        async def search_words(self, *args: Any, **options: Any) -> Any:
            return await self._reader.search_words(*args, **{**options, "filter": SearchFilter(frozenset({"admin"}))})

    site = make_site(reader=Leaky)
    await site.fill(make_config(), {"salaries.md": ["The salary of a clerk is 2000 euros."]}, audience={"admin"})
    assert paths(await find(site, "salary")) == []


@pytest.mark.parametrize("mode", list(SearchMode))
async def test_document_that_is_written_anew_while_it_is_searched_is_found(mode: SearchMode) -> None:
    class Overtaken:
        """A sync comes between the search for words and the first reading."""

        def __init__(self, reader: Any) -> None:
            self._reader = reader
            self.reads = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(self._reader, name)

        async def read_chunks(self, *args: Any, **options: Any) -> Any:
            self.reads += 1
            if self.reads == 1:
                base = await made.stores.begin()
                assert base.active is not None
                (known,) = await made.stores.known(base.active)
                await made.add(base.active, "skis.md", "Skis cost 50 euros. ", document=known)
            return await self._reader.read_chunks(*args, **options)

    made = make_site(reader=Overtaken)
    await made.fill(make_config(), {"skis.md": ["Skis cost 40 euros. "]})
    result = await find(made, "what do skis cost?", mode=mode)
    assert [passage.text for passage in result.passages] == ["Skis cost 50 euros. "]
    assert result.embedding_tokens == (mode is not SearchMode.KEYWORD)


# ---- what fails ----


async def test_unknown_and_unready_knowledge_bases_are_told_apart() -> None:
    site = make_site()
    with pytest.raises(KnowledgeBaseNotFound):
        await find(site, "skis")
    site.configs.configs["handbook"] = make_config()
    with pytest.raises(KnowledgeBaseNotReady):
        await find(site, "skis")
    await site.stores.open_index(await site.stores.begin(), dimensions=64)
    with pytest.raises(KnowledgeBaseNotReady):
        await find(site, "skis")


async def test_words_alone_are_searched_when_the_question_cannot_be_embedded(site: KnowledgeSite) -> None:
    site.embedder.failure = ModelUnavailable()
    result = await find(site, "what do skis cost?", min_score=0.9)
    assert paths(result)[0] == "luggage.md"
    assert result.failure == "model-unavailable"
    assert [stage.name for stage in result.stages if stage.failure] == ["embed"]


async def test_search_by_vectors_alone_fails_when_the_question_cannot_be_embedded(site: KnowledgeSite) -> None:
    site.embedder.failure = ModelRefused()
    with pytest.raises(ModelRefused):
        await find(site, "skis", mode=SearchMode.VECTOR)


async def test_question_is_not_embedded_for_words(site: KnowledgeSite) -> None:
    await find(site, "skis", mode=SearchMode.KEYWORD)
    assert site.embedder.asked == []


class Failing:
    """A store some of whose methods raise, or never answer."""

    def __init__(self, store: Any, **failures: Exception | None) -> None:
        self._store = store
        self._failures = failures

    def __getattr__(self, name: str) -> Any:
        if name not in self._failures:
            return getattr(self._store, name)
        failure = self._failures[name]

        async def fail(*args: Any, **options: Any) -> Any:
            if failure is None:
                await asyncio.Event().wait()
            assert failure is not None
            raise failure

        return fail


async def test_search_fails_when_words_cannot_be_searched() -> None:
    away = StoreUnavailable(store="PostgreSQL")
    site = make_site(reader=lambda store: Failing(store, search_words=away))
    await site.fill(make_config(), DOCUMENTS)
    site.embedder.released.clear()  # whoever waits for it is not waited for
    with pytest.raises(StoreUnavailable):
        await find(site, "skis")


async def test_words_do_when_the_vectors_are_away() -> None:
    away = StoreUnavailable(store="Pinecone")
    site = make_site(vectors=lambda store: Failing(store, search=away))
    await site.fill(make_config(), DOCUMENTS)
    result = await find(site, "skis")
    assert (paths(result)[0], result.failure) == ("luggage.md", "store-unavailable")
    with pytest.raises(StoreUnavailable):
        await find(site, "skis", mode=SearchMode.VECTOR)


async def test_search_ends_at_its_deadline() -> None:
    metrics = Metrics()
    site = make_site(reader=lambda store: Failing(store, search_words=None), metrics=metrics)
    await site.fill(make_config(), DOCUMENTS)
    with pytest.raises(SearchTimedOut):
        await find(site, "skis", seconds=0.05)
    labels = {"knowledge_base": "handbook", "outcome": "search-timed-out"}
    assert metrics.registry.get_sample_value("syntera_knowledge_searches_total", labels) == 1


# ---- models ----


async def test_same_question_is_embedded_once(site: KnowledgeSite) -> None:
    await asyncio.gather(*(find(site, "skis") for _ in range(3)))
    assert (await find(site, "skis")).embedding_tokens == 0
    assert site.embedder.asked == [("stand-in-embed", ["skis"])]


async def test_failure_is_not_remembered(site: KnowledgeSite) -> None:
    site.embedder.failure = ModelUnavailable()
    await find(site, "skis")
    site.embedder.failure = None
    assert (await find(site, "skis")).failure is None


async def test_question_has_its_prefix() -> None:
    site = make_site()
    await site.fill(make_config(embedding=make_embedding(query_prefix="query: ")), DOCUMENTS)
    await find(site, "skis")
    assert site.embedder.asked == [("stand-in-embed", ["query: skis"])]


async def test_index_is_searched_with_its_own_model_while_another_is_built(site: KnowledgeSite) -> None:
    base = await site.stores.begin()
    assert base.active is not None
    # The configuration names another model already, whose vectors have other dimensions.
    newer = make_config(revision=2, embedding=make_embedding(model="newer-embed", dimensions=8))
    site.configs.configs["handbook"] = newer
    await site.stores.open_index(base, newer.fingerprint(), dimensions=8)
    result = await find(site, "skis")
    assert (paths(result)[0], result.failure) == ("luggage.md", None)
    assert site.embedder.asked == [("stand-in-embed", ["skis"])]


async def test_words_do_when_nobody_knows_the_model_of_an_index(site: KnowledgeSite) -> None:
    base = await site.stores.begin("older")
    index = await site.stores.open_index(base, dimensions=64)
    await site.add(index, "luggage.md", *DOCUMENTS["luggage.md"])
    await site.stores.publish(index)
    site.configs.configs["older"] = make_config("older", embedding=make_embedding(dimensions=8))
    result = await site.searcher.search(site.stores.tenant_id, "older", ask("skis"))
    assert (paths(result)[0], result.failure) == ("luggage.md", "knowledge-base-not-ready")
    assert site.embedder.asked == []


async def test_reranker_decides_the_order_and_its_score_the_threshold() -> None:
    site = make_site()
    await site.fill(make_config(retrieval={"rerank": RERANK}), DOCUMENTS)
    result = await find(site, "declined card", min_score=0.6)
    assert paths(result) == ["errors.md"]
    assert result.passages[0].score == result.passages[0].scores["rerank"] == 1.0
    assert len(site.reranker.asked[0][1]) > 1
    assert "errors.md" in site.reranker.asked[0][1][0] + site.reranker.asked[0][1][-1]


async def test_order_before_stays_when_the_reranker_fails() -> None:
    site = make_site()
    await site.fill(make_config(retrieval={"rerank": RERANK, "min_score": 0.9}), DOCUMENTS)
    site.reranker.failure = ModelUnavailable()
    result = await find(site, "what do skis cost?")
    assert (paths(result)[0], result.failure) == ("luggage.md", "model-unavailable")


async def test_reranker_is_left_out_when_the_request_says_so() -> None:
    site = make_site()
    await site.fill(make_config(retrieval={"rerank": RERANK}), DOCUMENTS)
    await find(site, "skis", rerank=False)
    assert site.reranker.asked == []


def test_vectors_of_the_stand_in_tell_words_apart() -> None:
    assert embed_words("skis") != embed_words("card")
