"""What stores promise of indexes and of searching them: memory and PostgreSQL pass the same tests."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syntera_runtime.ids import new_id
from syntera_runtime.models.ids import ChunkId
from syntera_runtime.models.knowledge import (
    Index,
    IndexModel,
    IndexState,
    IndexStorage,
    KnowledgeBase,
    SearchFilter,
    Vector,
)
from tests.runtime.knowledge_fakes import make_embedding
from tests.runtime.knowledge_stores import PUBLIC, KnowledgeStores, embedded_hash

EAST: Vector = (1.0, 0.0, 0.0, 0.0)
NORTH: Vector = (0.0, 1.0, 0.0, 0.0)
NORTH_EAST: Vector = (0.6, 0.8, 0.0, 0.0)
UP: Vector = (0.0, 0.0, 1.0, 0.0)
DAY = timedelta(days=1)


async def state_of(knowledge: KnowledgeStores, base: KnowledgeBase) -> list[tuple[int, IndexState]]:
    found = await knowledge.writer.list_indexes(knowledge.tenant_id, base.id)
    return [(index.number, index.state) for index in found]


# ---- versions of an index ----


async def test_index_is_the_same_as_long_as_its_fingerprint_is(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    made = await knowledge.open_index(base, dimensions=7)
    assert (made.number, made.state, made.dimensions) == (1, IndexState.BUILDING, 7)
    assert await knowledge.open_index(base, dimensions=7) == made
    active = await knowledge.publish(made)
    assert active.activated_at is not None
    assert await knowledge.open_index(base) == active
    found = await knowledge.reader.find_knowledge_base(knowledge.tenant_id, "handbook")
    assert found is not None
    assert found.active == active


async def test_index_keeps_where_its_vectors_are(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    made = await knowledge.publish(await knowledge.open_index(base, pinecone_host="https://one.example"))
    assert (made.storage, made.pinecone_host) == (IndexStorage.PINECONE, "https://one.example")
    assert await knowledge.open_index(base, pinecone_host="https://other.example") == made
    here = await knowledge.open_index(base, "f2", pinecone_host=None)
    assert (here.storage, here.pinecone_host) == (IndexStorage.COMMON, None)
    found = await knowledge.reader.find_knowledge_base(knowledge.tenant_id, "handbook")
    assert found is not None
    assert found.active == made
    assert await knowledge.writer.list_indexes(knowledge.tenant_id, base.id) == [made, here]


async def test_index_keeps_the_model_that_its_vectors_are_made_with(knowledge: KnowledgeStores) -> None:
    model = IndexModel.of(make_embedding(query_prefix="query: ", document_prefix='ü"', sends_dimensions=True))
    base = await knowledge.begin()
    made = await knowledge.open_index(base, embedding=model)
    assert made.embedding == model
    active = await knowledge.publish(made)
    await knowledge.open_index(base, "f2", embedding=IndexModel.of(make_embedding(model="other")))
    found = await knowledge.reader.find_knowledge_base(knowledge.tenant_id, "handbook")
    assert found is not None
    assert found.active is not None
    assert (found.active, found.active.embedding) == (active, model)


async def test_index_says_at_which_endpoint_its_model_was_when_it_was_opened_last(knowledge: KnowledgeStores) -> None:
    moved = IndexModel.of(make_embedding(endpoint="gateway", base_url="http://gateway.example/v1"))
    base = await knowledge.begin()
    made = await knowledge.open_index(base, embedding=IndexModel.of(make_embedding()))
    assert (await knowledge.open_index(base, embedding=moved)).embedding == moved
    active = await knowledge.publish(made)
    assert active == await knowledge.open_index(base, embedding=moved)
    assert active.embedding == moved
    await knowledge.publish(await knowledge.open_index(base, "f2"))
    again = await knowledge.open_index(base, embedding=IndexModel.of(make_embedding()))
    assert (again.id, again.embedding) == (made.id, IndexModel.of(make_embedding()))


async def test_new_index_is_searched_once_it_is_active(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    old = await knowledge.publish(await knowledge.open_index(base))
    made = await knowledge.put(old, "a.md", "old text")
    new = await knowledge.open_index(base, "f2")
    (known,) = await knowledge.known(new)
    assert (known.indexed_hash, known.content_hash is not None, known.reader) == (None, True, "r1")
    await knowledge.put(new, "a.md", "new text", document=known, reader="r2")
    assert await knowledge.chunks_of(old, made) == ["old text"]
    assert await knowledge.with_words(old, "text") == ["old text"]
    assert await state_of(knowledge, base) == [(1, IndexState.ACTIVE), (2, IndexState.BUILDING)]
    new = await knowledge.publish(new)
    await knowledge.writer.activate_index(knowledge.tenant_id, new)  # once more changes nothing
    assert await state_of(knowledge, base) == [(1, IndexState.RETIRED), (2, IndexState.ACTIVE)]
    assert await knowledge.with_words(new, "text") == ["new text"]
    # Searches that began before the switch.
    assert await knowledge.with_words(old, "text") == ["old text"]


async def test_index_that_was_replaced_is_kept_for_a_while(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    old = await knowledge.publish(await knowledge.open_index(base))
    await knowledge.put(old, "a.md", "one")
    new = await knowledge.publish(await knowledge.open_index(base, "f2"))
    expired = knowledge.writer.list_expired_indexes
    assert list(await expired(knowledge.tenant_id, base.id, kept=DAY)) == []
    again = await knowledge.open_index(base)
    assert (again.id, again.state, again.retired_at) == (old.id, IndexState.BUILDING, None)
    assert await state_of(knowledge, base) == [(1, IndexState.BUILDING), (2, IndexState.ACTIVE)]
    assert (await knowledge.open_index(base, "f2")).id == new.id
    assert await state_of(knowledge, base) == [(1, IndexState.RETIRED), (2, IndexState.ACTIVE)]
    listed = await expired(knowledge.tenant_id, base.id, kept=timedelta())
    assert [index.id for index in listed] == [old.id]
    # It may be half gone from here on.
    assert (await knowledge.open_index(base)).number == 3
    assert [index.id for index in await expired(knowledge.tenant_id, base.id, kept=DAY)] == [old.id]
    await knowledge.vectors.drop(knowledge.tenant_id, old)
    await knowledge.writer.drop_index(knowledge.tenant_id, old)
    assert await state_of(knowledge, base) == [(2, IndexState.ACTIVE), (3, IndexState.BUILDING)]
    assert await knowledge.with_words(old, "one") == []


async def test_index_whose_building_was_given_up_expires_at_once(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    first = await knowledge.open_index(base)
    second = await knowledge.open_index(base, "f2")
    assert await state_of(knowledge, base) == [(1, IndexState.RETIRED), (2, IndexState.BUILDING)]
    expired = await knowledge.writer.list_expired_indexes(knowledge.tenant_id, base.id, kept=DAY)
    assert [index.id for index in expired] == [first.id]
    await knowledge.writer.drop_index(knowledge.tenant_id, first)
    assert (await knowledge.open_index(base, "f2")).id == second.id
    assert (await knowledge.open_index(base)).number == 3


async def test_index_notes_its_languages(knowledge: KnowledgeStores) -> None:
    base = await knowledge.begin()
    index = await knowledge.open_index(base)
    await knowledge.put(index, "a.md", "one", language="en")
    made = await knowledge.put(index, "b.md", "zwei", language="de")
    await knowledge.put(index, "c.md", "three")
    index = await knowledge.publish(index)
    assert index.languages == {"en", "de", ""}
    await knowledge.writer.remove_documents(knowledge.tenant_id, [made])
    assert (await knowledge.publish(index)).languages == {"en", ""}


# ---- vectors ----


async def fill(knowledge: KnowledgeStores) -> Index:
    index = await knowledge.open_index(await knowledge.begin())
    await knowledge.put(index, "a.md", "east", "north", vectors=[EAST, NORTH])
    await knowledge.put(index, "b.md", "between", vectors=[NORTH_EAST])
    return await knowledge.publish(index)


async def test_nearest_chunks_come_first(knowledge: KnowledgeStores) -> None:
    index = await fill(knowledge)
    hits = await knowledge.vectors.search(knowledge.tenant_id, index, EAST, filter=PUBLIC, limit=2)
    assert await knowledge.contents(index, hits) == ["east", "between"]
    assert [hit.score for hit in hits] == pytest.approx([1.0, 0.6], abs=1e-3)
    assert hits[0].embedded_hash == embedded_hash("east")
    assert (hits[0].position, hits[1].position) == (0, 0)


async def test_chunks_that_share_a_vector_are_all_found(knowledge: KnowledgeStores) -> None:
    index = await fill(knowledge)
    await knowledge.put(index, "c.md", "east")
    hits = await knowledge.vectors.search(knowledge.tenant_id, index, EAST, filter=PUBLIC, limit=2)
    assert await knowledge.contents(index, hits) == ["east", "east"]
    assert len({hit.document_id for hit in hits}) == 2


async def test_vectors_without_chunks_and_chunks_without_vectors_are_not_found(knowledge: KnowledgeStores) -> None:
    index = await fill(knowledge)
    await knowledge.vectors.write(knowledge.tenant_id, index, {embedded_hash("loose"): UP})
    await knowledge.put(index, "c.md", "bare")
    hits = await knowledge.vectors.search(knowledge.tenant_id, index, UP, filter=PUBLIC, limit=10)
    assert {hit.embedded_hash for hit in hits} == {embedded_hash(text) for text in ("east", "north", "between")}


async def test_vector_is_replaced_by_a_later_one(knowledge: KnowledgeStores) -> None:
    index = await fill(knowledge)
    await knowledge.vectors.write(knowledge.tenant_id, index, {embedded_hash("east"): UP})
    assert (await knowledge.near(index, UP))[0] == "east"


async def test_similarities_are_of_those_that_are_there(knowledge: KnowledgeStores) -> None:
    index = await fill(knowledge)
    asked = [embedded_hash(text) for text in ("between", "north", "nowhere")]
    found = await knowledge.vectors.similarities(knowledge.tenant_id, index, EAST, asked)
    assert found == pytest.approx({asked[0]: 0.6, asked[1]: 0.0}, abs=1e-3)
    assert await knowledge.vectors.similarities(knowledge.tenant_id, index, EAST, []) == {}


async def test_unused_vectors_are_found_and_forgotten(knowledge: KnowledgeStores) -> None:
    index = await fill(knowledge)
    loose = embedded_hash("loose")
    await knowledge.vectors.write(knowledge.tenant_id, index, {loose: UP})
    kept = [hash async for page in knowledge.vectors.hashes(knowledge.tenant_id, index) for hash in page]
    assert set(kept) == {loose, *(embedded_hash(text) for text in ("east", "north", "between"))}
    assert await knowledge.writer.known_vectors(knowledge.tenant_id, index, [loose, b"0" * 16]) == {loose}
    used = await knowledge.writer.used_hashes(knowledge.tenant_id, index, kept)
    assert used == set(kept) - {loose}
    await knowledge.vectors.delete(knowledge.tenant_id, index, [loose, b"0" * 16])
    assert await knowledge.writer.known_vectors(knowledge.tenant_id, index, kept) == used


async def test_vectors_belong_to_one_index(knowledge: KnowledgeStores) -> None:
    index = await fill(knowledge)
    other = await knowledge.open_index(await knowledge.begin(), "f2")
    known = await knowledge.writer.known_vectors(knowledge.tenant_id, other, [embedded_hash("east")])
    assert known == frozenset()
    await knowledge.vectors.drop(knowledge.tenant_id, other)
    assert len(await knowledge.near(index, EAST)) == 3
    await knowledge.vectors.drop(knowledge.tenant_id, index)
    assert [page async for page in knowledge.vectors.hashes(knowledge.tenant_id, index)] == []


async def test_vectors_in_pinecone_are_known_by_the_chunks_that_need_them(knowledge: KnowledgeStores) -> None:
    index = await knowledge.open_index(await knowledge.begin(), pinecone_host="https://one.example")
    await knowledge.put(index, "a.md", "one")
    asked = [embedded_hash("one"), embedded_hash("two")]
    assert await knowledge.writer.known_vectors(knowledge.tenant_id, index, asked) == {asked[0]}


# ---- words ----


async def test_rare_words_weigh_more_than_common_ones(knowledge: KnowledgeStores) -> None:
    index = await knowledge.open_index(await knowledge.begin())
    for number in range(8):
        await knowledge.put(index, f"{number}.md", f"the printer, part {number}")
    await knowledge.put(index, "x.md", "a zeppelin")
    index = await knowledge.publish(index)
    found = await knowledge.with_words(index, "printer zeppelin?", limit=3)
    assert (found[0], len(found)) == ("a zeppelin", 3)


async def test_chunk_with_more_of_the_words_comes_first(knowledge: KnowledgeStores) -> None:
    index = await knowledge.open_index(await knowledge.begin())
    await knowledge.put(index, "a.md", "paper jam")
    await knowledge.put(index, "b.md", "paper tray")
    await knowledge.put(index, "c.md", "network cable")
    index = await knowledge.publish(index)
    assert await knowledge.with_words(index, "how do I clear a paper jam") == ["paper jam", "paper tray"]
    hits = await knowledge.reader.search_words(knowledge.tenant_id, index, "paper jam", filter=PUBLIC, limit=5)
    assert hits[0].score > hits[1].score > 0


async def test_words_of_headings_are_found(knowledge: KnowledgeStores) -> None:
    index = await knowledge.open_index(await knowledge.begin())
    await knowledge.put(index, "a.md", "Press the button.", headings=("Printer", "Reset"))
    index = await knowledge.publish(index)
    assert await knowledge.with_words(index, "printer reset") == ["Press the button."]


@pytest.mark.parametrize(
    "words", ["", "   ", "?!", "& | ! ( ) <-> :*", "\\ ' \" $1 %", "zeppelin & !printer:*", "a" * 3000, "\0"]
)
async def test_any_question_is_answered(knowledge: KnowledgeStores, words: str) -> None:
    index = await knowledge.open_index(await knowledge.begin())
    await knowledge.put(index, "a.md", "the printer", language="en")
    index = await knowledge.publish(index)
    found = await knowledge.with_words(index, words)
    assert found == (["the printer"] if "printer" in words else [])


async def test_long_question_is_answered(knowledge: KnowledgeStores) -> None:
    index = await knowledge.open_index(await knowledge.begin())
    await knowledge.put(index, "a.md", "the printer", language="en")
    index = await knowledge.publish(index)
    assert await knowledge.with_words(index, "printer " + " ".join(f"w{number}" for number in range(10_000))) == [
        "the printer"
    ]


async def test_index_without_chunks_finds_nothing(knowledge: KnowledgeStores) -> None:
    index = await knowledge.publish(await knowledge.open_index(await knowledge.begin()))
    assert await knowledge.with_words(index, "printer") == []
    assert await knowledge.near(index, EAST) == []


# ---- what may be found ----


async def fill_for_filters(knowledge: KnowledgeStores) -> Index:
    index = await knowledge.open_index(await knowledge.begin())
    documents: dict[str, dict[str, Any]] = {
        "docs/a.md": {"audience": {"public"}, "tags": {"x"}, "modified_at": datetime(2026, 1, 1, tzinfo=UTC)},
        "docs/b.md": {"audience": {"authenticated"}, "tags": {"x", "y"}},
        "blog/c_d%.md": {"audience": {"admin", "owner"}, "modified_at": datetime(2026, 2, 1, tzinfo=UTC)},
    }
    for path, facts in documents.items():
        await knowledge.put(index, path, f"text {path}", vectors=[EAST], **facts)
    await knowledge.put(index, "docs/e.md", "text web", source="web", vectors=[EAST])
    return await knowledge.publish(index)


EVERYBODY = SearchFilter(audience=frozenset({"public", "authenticated", "admin"}))


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (PUBLIC, {"text docs/a.md", "text web"}),
        (SearchFilter(audience=frozenset()), set()),
        (SearchFilter(audience=frozenset({"PUBLIC", "*", "{public}"})), set()),
        (SearchFilter(audience=frozenset({"owner"})), {"text blog/c_d%.md"}),
        (EVERYBODY, {"text docs/a.md", "text docs/b.md", "text blog/c_d%.md", "text web"}),
        (replace(EVERYBODY, sources=frozenset({"web", "nowhere"})), {"text web"}),
        (replace(EVERYBODY, sources=frozenset()), set()),
        (replace(EVERYBODY, path_prefix="docs/"), {"text docs/a.md", "text docs/b.md", "text web"}),
        (replace(EVERYBODY, path_prefix="blog/c_d%"), {"text blog/c_d%.md"}),
        (replace(EVERYBODY, path_prefix="_"), set()),
        (replace(EVERYBODY, path_prefix=""), {"text docs/a.md", "text docs/b.md", "text blog/c_d%.md", "text web"}),
        (replace(EVERYBODY, tags=frozenset({"x"})), {"text docs/a.md", "text docs/b.md"}),
        (replace(EVERYBODY, tags=frozenset({"x", "y"})), {"text docs/b.md"}),
        (replace(EVERYBODY, modified_from=datetime(2026, 2, 1, tzinfo=UTC)), {"text blog/c_d%.md"}),
        (replace(EVERYBODY, modified_before=datetime(2026, 2, 1, tzinfo=UTC)), {"text docs/a.md"}),
    ],
)
async def test_only_what_passes_the_filter_is_found(
    knowledge: KnowledgeStores, filter: SearchFilter, expected: set[str]
) -> None:
    index = await fill_for_filters(knowledge)
    assert set(await knowledge.near(index, EAST, filter)) == expected
    assert set(await knowledge.with_words(index, "text", filter)) == expected


async def test_audience_that_changes_counts_at_once(knowledge: KnowledgeStores) -> None:
    index = await fill_for_filters(knowledge)
    (known, *_) = await knowledge.known(index, "web")
    await knowledge.writer.set_audience(knowledge.tenant_id, [known.id], frozenset({"owner"}))
    assert await knowledge.near(index, EAST) == ["text docs/a.md"]
    assert await knowledge.with_words(index, "text") == ["text docs/a.md"]


# ---- chunks ----


async def test_neighbours_are_read_once(knowledge: KnowledgeStores) -> None:
    index = await knowledge.open_index(await knowledge.begin())
    await knowledge.put(index, "a.md", *"abcdefg")
    await knowledge.put(index, "b.md", "x", "y")
    index = await knowledge.publish(index)
    ids = {}
    for known in await knowledge.known(index):
        for found in await knowledge.editor.list_chunks(knowledge.tenant_id, index, known.id, limit=10):
            ids[found.chunk.content] = found.id

    async def read(*contents: str, neighbours: int = 0) -> list[str]:
        wanted = [ids[content] for content in contents]
        found = await knowledge.reader.read_chunks(knowledge.tenant_id, index, wanted, neighbours=neighbours)
        return sorted(chunk.chunk.content for chunk in found)

    assert await read("c", "a") == ["a", "c"]
    assert await read("c", "d", neighbours=1) == ["b", "c", "d", "e"]
    assert await read("a", "y", neighbours=2) == ["a", "b", "c", "x", "y"]
    assert await knowledge.reader.read_chunks(knowledge.tenant_id, index, [ChunkId(new_id())], neighbours=2) == []
    assert await knowledge.reader.read_chunks(knowledge.tenant_id, index, []) == []
