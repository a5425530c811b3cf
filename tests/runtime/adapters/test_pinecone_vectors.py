"""Vectors in Pinecone, on a fake of its HTTP API: what every index of vectors promises, and what only this one can do wrong."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from syntera_crds.contract.agent_config import SecretKey
from syntera_crds.contract.knowledge_config import PineconeIndex
from syntera_runtime.adapters import pinecone_vectors
from syntera_runtime.adapters.memory_chunks_of_vectors import MemoryChunksOfVectors
from syntera_runtime.adapters.memory_files import MemoryFiles
from syntera_runtime.adapters.memory_knowledge import MemoryKnowledge
from syntera_runtime.adapters.pinecone_clients import PineconeClients
from syntera_runtime.adapters.pinecone_vectors import PineconeVectors, build_namespace, may_have_key
from syntera_runtime.adapters.postgresql.chunks_of_vectors import PostgresqlChunksOfVectors
from syntera_runtime.errors import SecretMissing, StoreUnavailable
from syntera_runtime.ids import new_id
from syntera_runtime.models.ids import TenantId
from syntera_runtime.models.knowledge import Index, SearchFilter
from syntera_runtime.ports.knowledge import ChunksOfVectors
from tests.runtime.adapters.fixed_secrets import FixedSecrets
from tests.runtime.conftest import PostgresqlStores
from tests.runtime.knowledge_stores import PUBLIC, KnowledgeStores, embedded_hash, make_postgresql_knowledge
from tests.support.pinecone_server_fake import KEY, PineconeFake, serve_pinecone_fake

# Collected here once more, with vectors in Pinecone.
from .test_knowledge_indexes import (
    EAST,
    NORTH,
    UP,
    fill,
    test_audience_that_changes_counts_at_once,  # noqa: F401
    test_chunks_that_share_a_vector_are_all_found,  # noqa: F401
    test_nearest_chunks_come_first,  # noqa: F401
    test_only_what_passes_the_filter_is_found,  # noqa: F401
    test_similarities_are_of_those_that_are_there,  # noqa: F401
    test_vector_is_replaced_by_a_later_one,  # noqa: F401
    test_vectors_belong_to_one_index,  # noqa: F401
    test_vectors_without_chunks_and_chunks_without_vectors_are_not_found,  # noqa: F401
)

SECRET = SecretKey(name="pinecone", key="api-key")


@pytest.fixture
async def fake() -> AsyncIterator[PineconeFake]:
    async with serve_pinecone_fake() as fake:
        yield fake


@pytest.fixture
def secrets() -> FixedSecrets:
    return FixedSecrets({SECRET: KEY})


@pytest.fixture
async def clients(secrets: FixedSecrets) -> AsyncIterator[PineconeClients]:
    clients = PineconeClients(secrets)
    yield clients
    await clients.aclose()


@pytest.fixture(params=["memory", "postgresql_stores"])
def knowledge(request: pytest.FixtureRequest, fake: PineconeFake, clients: PineconeClients) -> KnowledgeStores:
    """Each store of knowledge in turn, its vectors in Pinecone."""
    if request.param == "memory":
        return make_memory_knowledge(fake, clients)
    made: PostgresqlStores = request.getfixturevalue(request.param)
    vectors = make_vectors(fake, clients, PostgresqlChunksOfVectors(made.pool))
    return replace(make_postgresql_knowledge(made), vectors=vectors, pinecone_host=fake.url)


@pytest.fixture
def in_memory(fake: PineconeFake, clients: PineconeClients) -> KnowledgeStores:
    return make_memory_knowledge(fake, clients)


def make_memory_knowledge(fake: PineconeFake, clients: PineconeClients) -> KnowledgeStores:
    files = MemoryFiles(lambda _tenant_id, _conversation_id: None)
    made = MemoryKnowledge(files)
    vectors = make_vectors(fake, clients, MemoryChunksOfVectors(made.rows))
    return KnowledgeStores(TenantId(new_id()), made.reader, made.editor, made.writer, vectors, files, fake.url)


def make_vectors(fake: PineconeFake, clients: PineconeClients, chunks: ChunksOfVectors) -> PineconeVectors:
    return PineconeVectors(clients, PineconeIndex(index_host=fake.url, api_key=SECRET), chunks)


async def find_all(knowledge: KnowledgeStores, index: Index) -> list[bytes]:
    return [hash async for page in knowledge.vectors.hashes(knowledge.tenant_id, index) for hash in page]


async def test_index_whose_vectors_are_not_there_is_told_and_not_searched_in_vain(
    knowledge: KnowledgeStores, fake: PineconeFake
) -> None:
    index = await fill(knowledge)
    fake.namespaces.clear()
    with pytest.raises(StoreUnavailable, match="has no vectors"):
        await knowledge.vectors.search(knowledge.tenant_id, index, EAST, filter=PUBLIC, limit=5)
    nobody = SearchFilter(audience=frozenset({"nobody"}))
    assert await knowledge.vectors.search(knowledge.tenant_id, index, EAST, filter=nobody, limit=5) == []


async def test_each_index_is_searched_and_dropped_at_the_host_that_it_names(
    knowledge: KnowledgeStores, fake: PineconeFake
) -> None:
    before = await fill(knowledge)
    async with serve_pinecone_fake() as other:
        base = await knowledge.begin()
        after = await knowledge.open_index(base, "f2", pinecone_host=other.url)
        (document,) = [one for one in await knowledge.known(after) if one.origin.path == "a.md"]
        await knowledge.put(after, "a.md", "west", document=document, vectors=[EAST])

        assert (await knowledge.near(before, EAST))[0] == "east"
        assert await knowledge.near(after, EAST) == ["west"]
        assert (fake.count("POST /query"), other.count("POST /query")) == (1, 1)

        await knowledge.vectors.drop(knowledge.tenant_id, before)
        assert (list(fake.namespaces), len(other.namespaces)) == ([], 1)


async def test_key_is_given_to_no_host_of_a_stranger(
    in_memory: KnowledgeStores, fake: PineconeFake, clients: PineconeClients
) -> None:
    """Who writes the tenant's rows does not name a server of their own."""
    async with serve_pinecone_fake() as stranger:
        named = stranger.url.replace("127.0.0.1", "localhost")
        index = await in_memory.open_index(await in_memory.begin(), pinecone_host=named)
        for use in (
            in_memory.vectors.search(in_memory.tenant_id, index, EAST, filter=PUBLIC, limit=1),
            in_memory.vectors.drop(in_memory.tenant_id, index),
        ):
            with pytest.raises(StoreUnavailable, match="is given to no host but"):
                await use
        assert stranger.requests == []


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("https://a-1.svc.x.pinecone.io", True),
        ("https://b-2.svc.y.pinecone.io:8443", True),
        ("https://B-2.svc.Pinecone.IO", True),
        ("https://pinecone.io", False),
        ("http://b-2.svc.y.pinecone.io", False),
        ("https://b-2.svc.y.pinecone.io/path", False),
        ("https://b-2.svc.y.pinecone.io?a", False),
        ("https://stranger.example@b-2.pinecone.io", False),
        ("https://stranger.example/.pinecone.io", False),
        ("https://stranger.example", False),
        ("https://notpinecone.io", False),
        ("https://pinecone.io.stranger.example", False),
        ("https://stranger.example\\@pinecone.io", False),
        ("https://stranger.example\\.pinecone.io", False),
        ("https://b-2.pinecone.io:many", False),
        ("https://10.0.0.1", False),
        ("https://[::1", False),
        ("https://", False),
        ("", False),
    ],
)
def test_key_of_an_index_at_pinecone_is_given_to_pinecone_alone(host: str, expected: bool) -> None:
    assert may_have_key(host, "https://a-1.svc.x.pinecone.io") is expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("https://vectors.acme.co.uk", True),
        ("https://vectors.acme.co.uk:8443", True),
        ("http://vectors.acme.co.uk", False),
        ("https://other.acme.co.uk", False),
        ("https://stranger.co.uk", False),
        ("https://b-2.svc.y.pinecone.io", False),
    ],
)
def test_key_to_a_host_of_somebody_elses_is_given_to_no_other(host: str, expected: bool) -> None:
    """Whose neighbours in a domain are strangers nobody knows here."""
    assert may_have_key(host, "https://vectors.acme.co.uk") is expected


async def test_unused_vectors_are_listed_page_by_page_and_forgotten(
    in_memory: KnowledgeStores, fake: PineconeFake
) -> None:
    index = await fill(in_memory)
    loose = [embedded_hash(f"loose {number}") for number in range(2_500)]
    await in_memory.vectors.write(in_memory.tenant_id, index, dict.fromkeys(loose, UP))
    assert fake.count("POST /vectors/upsert") == 2 + 3
    kept = await find_all(in_memory, index)
    assert set(kept) == {*loose, *(embedded_hash(text) for text in ("east", "north", "between"))}
    assert fake.count("GET /vectors/list") == 26
    await in_memory.vectors.delete(in_memory.tenant_id, index, [*loose, b"0" * 16])
    assert fake.count("POST /vectors/delete") == 3
    assert len(await find_all(in_memory, index)) == 3


async def test_a_request_stays_below_what_pinecone_takes(in_memory: KnowledgeStores, fake: PineconeFake) -> None:
    fake.dimensions = 3072
    index = await in_memory.open_index(await in_memory.begin(), dimensions=fake.dimensions)
    vector = [0.123456789012345678] * fake.dimensions
    hashes = [embedded_hash(str(number)) for number in range(50)]
    await in_memory.vectors.write(in_memory.tenant_id, index, dict.fromkeys(hashes, vector))
    # The fake refuses bodies of more than two megabytes.
    assert len(await find_all(in_memory, index)) == 50


async def test_namespaces_tell_tenants_knowledge_bases_and_versions_apart(
    in_memory: KnowledgeStores, fake: PineconeFake
) -> None:
    index = await fill(in_memory)
    assert list(fake.namespaces) == [f"{in_memory.tenant_id}.{index.knowledge_base_id}.1"]
    other = TenantId(new_id())
    assert build_namespace(other, index) != build_namespace(in_memory.tenant_id, index)
    assert await in_memory.vectors.search(other, index, EAST, filter=PUBLIC, limit=5) == []
    assert await in_memory.vectors.similarities(other, index, EAST, [embedded_hash("east")]) == {}
    await in_memory.vectors.drop(other, index)
    assert len(await find_all(in_memory, index)) == 3


async def test_what_is_not_there_is_dropped_all_the_same(in_memory: KnowledgeStores) -> None:
    index = await in_memory.open_index(await in_memory.begin())
    await in_memory.vectors.drop(in_memory.tenant_id, index)
    await in_memory.vectors.delete(in_memory.tenant_id, index, [embedded_hash("east")])
    assert await find_all(in_memory, index) == []


async def fill_with_strangers(knowledge: KnowledgeStores, *, others: int, own: int) -> Index:
    """Many chunks that nobody but owners sees lie nearer than the few that all see."""
    index = await knowledge.open_index(await knowledge.begin())
    near = [(1.0, 0.001 * number, 0.0, 0.0) for number in range(others)]
    await knowledge.put(index, "a.md", *(f"near {n}" for n in range(others)), vectors=near, audience={"owner"})
    far = [(0.0, 1.0, 0.001 * number, 0.0) for number in range(own)]
    await knowledge.put(index, "b.md", *(f"far {n}" for n in range(own)), vectors=far)
    return await knowledge.publish(index)


async def test_few_chunks_that_pass_are_found_among_many_that_do_not(
    in_memory: KnowledgeStores, fake: PineconeFake
) -> None:
    index = await fill_with_strangers(in_memory, others=200, own=3)
    assert await in_memory.near(index, EAST, limit=2) == ["far 0", "far 1"]
    assert [content["topK"] for operation, content in fake.requests if operation == "POST /query"] == [8, 80]
    assert fake.count("GET /vectors/fetch") == 1


async def test_many_chunks_that_pass_are_looked_for_among_all(
    in_memory: KnowledgeStores, fake: PineconeFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pinecone_vectors, "MOST_COMPARED", 2)
    index = await fill_with_strangers(in_memory, others=200, own=3)
    assert await in_memory.near(index, EAST, limit=2) == ["far 0", "far 1"]
    assert [content["topK"] for operation, content in fake.requests if operation == "POST /query"] == [8, 80, 10_000]


async def test_vectors_that_somebody_else_put_there_are_left_alone(
    in_memory: KnowledgeStores, fake: PineconeFake
) -> None:
    index = await fill(in_memory)
    (namespace,) = fake.namespaces.values()
    namespace.update({"theirs": [*EAST], "AB" * 16: [*EAST], "ab" * 20: [*EAST]})
    assert await in_memory.near(index, EAST, limit=2) == ["east", "between"]
    assert len(await find_all(in_memory, index)) == 3


async def test_nothing_is_told_of_documents(in_memory: KnowledgeStores, fake: PineconeFake) -> None:
    index = await fill(in_memory)
    await in_memory.near(index, EAST, SearchFilter(audience=frozenset({"public"}), sources=frozenset({"docs"})))
    told = str(fake.requests)
    assert not any(word in told for word in ("docs", "public", "a.md", "metadata"))


@pytest.mark.parametrize(
    ("status", "most_tries", "words"),
    [
        (401, 1, "refused the API key (HTTP 401). Check the entry 'api-key' of the Secret 'pinecone'"),
        (403, 1, "refused the API key"),
        (404, 1, "knows no index at"),
        (400, 1, "as many dimensions"),
        (429, 4, "limits its requests"),
        (503, 4, "answered with an error (HTTP 503)"),
    ],
)
async def test_errors_are_told_in_our_words(
    in_memory: KnowledgeStores, fake: PineconeFake, status: int, most_tries: int, words: str
) -> None:
    index = await fill(in_memory)
    asked = len(fake.requests)
    fake.answers = [(status, {"Retry-After": "0"})] * 10
    with pytest.raises(StoreUnavailable) as caught:
        await in_memory.near(index, EAST)
    assert words in caught.value.message
    assert "as told" not in str(caught.value.__cause__)
    assert caught.value.store == "Pinecone"
    assert len(fake.requests) - asked <= most_tries


async def test_a_request_that_failed_once_is_tried_again(fake: PineconeFake, clients: PineconeClients) -> None:
    # By another name than the other tests use: the vendor's client keeps a budget of tries for each.
    fake.url = fake.url.replace("127.0.0.1", "localhost")
    in_memory = make_memory_knowledge(fake, clients)
    index = await fill(in_memory)
    fake.answers = [(503, {})]
    assert (await in_memory.near(index, EAST))[0] == "east"


async def test_a_pause_that_is_asked_for_is_bounded_like_all_else(
    in_memory: KnowledgeStores, fake: PineconeFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = await fill(in_memory)
    monkeypatch.setattr(pinecone_vectors, "SEARCH_SECONDS", 0.5)
    fake.answers = [(429, {"Retry-After": "60"})] * 5
    async with asyncio.timeout(20):
        with pytest.raises(StoreUnavailable):
            await in_memory.near(index, EAST)


async def test_a_server_that_is_slow_is_not_waited_for(
    in_memory: KnowledgeStores, fake: PineconeFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pinecone_vectors, "SEARCH_SECONDS", 0.1)
    index = await fill(in_memory)
    fake.pause_seconds = 30
    async with asyncio.timeout(10):
        with pytest.raises(StoreUnavailable, match=r"within 0\.1 seconds"):
            await in_memory.near(index, EAST)
        fake.pause_seconds = 0


async def test_a_rotated_key_is_used_at_once(
    in_memory: KnowledgeStores, fake: PineconeFake, secrets: FixedSecrets
) -> None:
    index = await fill(in_memory)
    secrets.values[SECRET] = "pcsk_wrong"
    with pytest.raises(StoreUnavailable, match="refused the API key"):
        await in_memory.near(index, EAST)
    secrets.values[SECRET] = f" {KEY}\n"
    assert (await in_memory.near(index, NORTH))[0] == "north"
    secrets.values.clear()
    with pytest.raises(SecretMissing):
        await in_memory.near(index, EAST)


@pytest.mark.parametrize("key", ["", "two\nlines", "\u00fc"])
async def test_a_key_that_is_none_is_told(in_memory: KnowledgeStores, secrets: FixedSecrets, key: str) -> None:
    index = await fill(in_memory)
    secrets.values[SECRET] = key
    with pytest.raises(StoreUnavailable, match="not usable"):
        await in_memory.near(index, EAST)


async def test_a_server_that_is_away_is_told(in_memory: KnowledgeStores, clients: PineconeClients) -> None:
    index = await in_memory.open_index(await in_memory.begin(), pinecone_host="http://127.0.0.1:9")
    target = PineconeIndex(index_host="http://127.0.0.1:9", api_key=SECRET)
    vectors = PineconeVectors(
        clients, target, MemoryChunksOfVectors(MemoryKnowledge(MemoryFiles(lambda _a, _b: None)).rows)
    )
    with pytest.raises(StoreUnavailable, match=r"connection to Pinecone at http://127\.0\.0\.1:9 failed"):
        await vectors.write(in_memory.tenant_id, index, {embedded_hash("east"): EAST})


async def test_an_index_whose_key_nobody_names_is_told_when_it_is_asked(
    in_memory: KnowledgeStores, clients: PineconeClients, fake: PineconeFake
) -> None:
    index = await in_memory.open_index(await in_memory.begin())
    vectors = PineconeVectors(
        clients, None, MemoryChunksOfVectors(MemoryKnowledge(MemoryFiles(lambda _a, _b: None)).rows)
    )
    with pytest.raises(StoreUnavailable, match=f"at {fake.url}.*names no key"):
        await vectors.search(in_memory.tenant_id, index, EAST, filter=PUBLIC, limit=1)


async def test_clients_that_nobody_uses_are_closed(fake: PineconeFake, secrets: FixedSecrets) -> None:
    clients = PineconeClients(secrets, idle_seconds=0)
    target = PineconeIndex(index_host=fake.url, api_key=SECRET)
    async with clients.borrow(target, seconds=5) as first, clients.borrow(target, seconds=5) as second:
        assert first is second
    secrets.values[SECRET] = "pcsk_other"
    async with clients.borrow(target, seconds=5) as third:
        assert third is not first
    secrets.values[SECRET] = KEY
    async with clients.borrow(target, seconds=5) as fourth:
        assert fourth is not first
    await clients.aclose()
