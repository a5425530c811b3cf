"""Searches while another index is built and takes over: none fails, and none mixes what two indexes hold."""

import asyncio
from dataclasses import replace
from itertools import chain

from syntera_runtime.models.knowledge import Index, IndexModel, SearchFilter, SearchRequest, SearchResult
from tests.runtime.knowledge_fakes import (
    FakeEmbedder,
    FakeKnowledgeBases,
    FakeTenant,
    embed_words,
    make_config,
    make_embedding,
    make_endpoint,
    make_searcher,
)
from tests.runtime.knowledge_stores import KnowledgeStores

SWITCHES = 12
READERS = 4
OLD, NEW = make_config(), make_config(revision=2, embedding=make_embedding(model="newer-embed"))
TEXTS = {1: "old", 2: "new"}


async def fill(knowledge: KnowledgeStores, index: Index) -> None:
    """What an index holds says which one it is."""
    word = TEXTS[index.number]
    texts = [f"Chapter {number}: the desk opens at nine, says the {word} handbook. " for number in range(6)]
    known = {one.origin.path: one for one in await knowledge.known(index)}
    vectors = [embed_words(text) for text in texts]
    await knowledge.put(index, "desk.md", *texts, document=known.get("desk.md"), vectors=vectors)


async def open_index(knowledge: KnowledgeStores, of: object) -> Index:
    config = OLD if of is OLD else NEW
    base = await knowledge.begin()
    return await knowledge.open_index(
        base, config.fingerprint(), dimensions=64, embedding=IndexModel.of(config.embedding)
    )


async def until_all_have_searched(results: list[list[SearchResult]]) -> None:
    """Return when each reader's search that is under way has ended: none lasts longer than one step of a switch. An index that is taken
    up again and filled anew while one runs has other chunks than that has found."""
    before = [len(found) for found in results]
    async with asyncio.timeout(30):
        while any(len(found) <= number for found, number in zip(results, before, strict=True)):  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_searches_during_switches_are_whole_and_of_one_index(knowledge: KnowledgeStores) -> None:
    configs, embedder = FakeKnowledgeBases(OLD), FakeEmbedder()
    searcher = make_searcher(knowledge, configs, embedder=embedder)
    first = await open_index(knowledge, OLD)
    await fill(knowledge, first)
    await knowledge.publish(first)
    results: list[list[SearchResult]] = [[] for _ in range(READERS)]
    has_ended = asyncio.Event()

    async def search(reader: int) -> None:
        request = SearchRequest(question="when does the desk open?", filter=SearchFilter(frozenset({"public"})))
        while not has_ended.is_set():
            numbered = replace(request, question=f"when does the desk open? {reader} {len(results[reader])}")
            results[reader].append(await searcher.search(knowledge.tenant_id, "handbook", numbered))

    async with asyncio.TaskGroup() as group:
        readers = [group.create_task(search(reader)) for reader in range(READERS)]
        for number in range(SWITCHES):
            config = NEW if number % 2 == 0 else OLD
            configs.configs["handbook"] = config  # as published: before the index is built
            index = await open_index(knowledge, config)
            await until_all_have_searched(results)
            await fill(knowledge, index)
            await until_all_have_searched(results)
            await knowledge.publish(index)
            await until_all_have_searched(results)
        has_ended.set()
        await asyncio.gather(*readers)
    for result in chain.from_iterable(results):
        assert result.failure is None
        numbers = {passage.index_number for passage in result.passages}
        assert len(numbers) == 1
        word = TEXTS[numbers.pop()]
        assert all(f"the {word} handbook" in passage.text for passage in result.passages)
    assert {name for name, _ in embedder.asked} == {"stand-in-embed", "newer-embed"}


async def test_index_is_searched_at_its_own_endpoint_while_another_is_built_at_another(
    knowledge: KnowledgeStores,
) -> None:
    newer = make_endpoint(endpoint="newer", base_url="http://newer.example/v1")
    # Its key was replaced since the index was made.
    older = make_endpoint(api_key={"name": "rotated", "key": "key"}, headers={"X-Team": "a"})
    configs, embedder = FakeKnowledgeBases(), FakeEmbedder()
    searcher = make_searcher(knowledge, configs, embedder=embedder, tenants=FakeTenant(newer, older))
    first = await open_index(knowledge, OLD)
    await fill(knowledge, first)
    await knowledge.publish(first)
    embedding = make_embedding(**dict(newer), model="newer-embed", dimensions=8)
    configs.configs["handbook"] = make_config(revision=2, embedding=embedding)
    request = SearchRequest(question="when does the desk open?", filter=SearchFilter(frozenset({"public"})))
    result = await searcher.search(knowledge.tenant_id, "handbook", request)
    assert (result.failure, result.scored_by) == (None, "vector stand-in stand-in-embed")
    assert embedder.models == [make_embedding(**dict(older))]
