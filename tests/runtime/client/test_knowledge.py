"""Knowledge bases through the client, against the real API: on stores in memory, where they must be filled, and on real ones."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from syntera_crds.contract.api_key import Scope
from syntera_crds.contract.knowledge_config import SearchMode
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.api.app import build_public_app
from syntera_runtime.client import Client, Conflict, Forbidden, InvalidRequest, NotFound
from syntera_runtime.ids import new_id
from syntera_runtime.models.knowledge import (
    DocumentOrigin,
    DocumentState,
    Passage,
    SearchResult,
    SearchStage,
    SyncState,
)
from tests.runtime.builders import TENANT, make_agent, make_knowledge_base, make_services, put_key
from tests.runtime.fakes import FakeCatalogue, FakeSearcher
from tests.runtime.knowledge_stores import KnowledgeStores
from tests.runtime.serving import served

from .conftest import Api

TEXT = b"# Baggage\n\nOne cabin bag of 8 kg.\n"


@pytest.fixture
def store() -> MemoryStore:
    """All stores."""
    return MemoryStore()


@pytest.fixture
def stores(store: MemoryStore) -> KnowledgeStores:
    """The stores of knowledge, to be filled as syncs do."""
    known = store.knowledge
    return KnowledgeStores(TENANT, known.reader, known.editor, known.writer, known.vectors, store.files)


@pytest.fixture
def searcher() -> FakeSearcher:
    """What searches."""
    return FakeSearcher()


@pytest.fixture
async def url(store: MemoryStore, searcher: FakeSearcher) -> AsyncIterator[str]:
    """Where the API is, with the knowledge base `handbook`."""
    catalogue = FakeCatalogue(make_agent())
    catalogue.knowledge_bases["handbook"] = make_knowledge_base()
    services = make_services(store, agents=catalogue, searches=searcher)
    async with served(build_public_app(services)) as url:
        yield url
    await services.runner.aclose()


@pytest.fixture
async def client(url: str, store: MemoryStore) -> AsyncIterator[Client]:
    """A client that may read and fill knowledge bases."""
    key = put_key(store, scopes=frozenset({Scope.KNOWLEDGE_READ, Scope.KNOWLEDGE_WRITE}))
    async with Client(url, key) as client:
        yield client


async def in_pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 10):
        yield content[start : start + 10]


async def test_document_from_its_upload_to_its_end(client: Client, store: MemoryStore) -> None:
    bases = client.knowledge_bases
    made = await bases.upload(
        "handbook", "baggage.md", TEXT, title="Bags", audience=["member", "public"], tags=["a", "b"], language="en"
    )
    assert (made.state, made.title, made.audience, made.tags) == (
        DocumentState.PENDING,
        "Bags",
        ["member", "public"],
        ["a", "b", "manual"],
    )
    assert await bases.document("handbook", made.id) == made
    assert [one.id async for one in bases.documents("handbook", words="BAG", state=DocumentState.PENDING)] == [made.id]
    assert (await bases.get("handbook")).documents.pending == 1
    assert (await bases.upload("handbook", "other.md", in_pieces(TEXT))).id == made.id
    assert (await bases.reingest_document("handbook", made.id)).id == made.id
    assert store.knowledge.is_sync_requested(TENANT, "handbook")
    await bases.delete_document("handbook", made.id)
    for failing in (
        bases.document("handbook", made.id),
        bases.delete_document("handbook", made.id),
        bases.reingest_document("handbook", made.id),
    ):
        with pytest.raises(NotFound):
            await failing


async def test_document_is_the_same_on_every_pod(api: Api, administrator: Client) -> None:
    key = await api.key(Scope.KNOWLEDGE_READ, Scope.KNOWLEDGE_WRITE)
    async with Client(api.urls[1], key) as elsewhere:
        here, there = administrator.knowledge_bases, elsewhere.knowledge_bases
        assert [document async for document in here.documents("handbook")] == []
        said: dict[str, Any] = {"audience": ["owner"], "tags": ["a"], "idempotency_key": "once"}
        made = await here.upload("handbook", "baggage.md", TEXT, **said)
        assert await here.upload("handbook", "baggage.md", TEXT, **said) == made
        with pytest.raises(InvalidRequest) as reused:
            await here.upload("handbook", "baggage.md", TEXT, idempotency_key="once")
        assert reused.value.code == "idempotency-key-reused"
        assert await there.upload("handbook", "other.md", in_pieces(TEXT)) == made
        assert [document async for document in there.documents("handbook", words="BAGG", page_size=1)] == [made]
        replaced = await there.upload("handbook", "baggage.md", b"Two bags.")
        assert (replaced.id, replaced.audience, replaced.tags) == (made.id, ["public"], ["manual"])
        assert (await here.reingest_document("handbook", made.id)).state is DocumentState.PENDING
        with pytest.raises(Conflict) as caught:
            [chunk async for chunk in here.chunks("handbook", made.id)]
        assert caught.value.code == "knowledge-base-not-ready"
        assert (await there.get("handbook")).documents.pending == 1
        assert [sync async for sync in there.syncs("handbook")] == []
        await here.delete_document("handbook", made.id)
        with pytest.raises(NotFound):
            await there.document("handbook", made.id)
        acts = [act.operation async for act in administrator.audit_log.list()]
        assert sorted(set(acts)) == ["createDocument", "deleteDocument", "reingestDocument"]


async def test_uploads_at_once_come_once(client: Client) -> None:
    sending = (client.knowledge_bases.upload("handbook", "a.md", TEXT, idempotency_key="once") for _ in range(2))
    one, other = await asyncio.gather(*sending)
    assert one.id == other.id


async def test_refusals_say_why(client: Client) -> None:
    bases = client.knowledge_bases
    with pytest.raises(InvalidRequest) as refused:
        await bases.upload("handbook", "a.pdf", b"\0\1\2")
    assert refused.value.code == "file-type-refused"
    with pytest.raises(Conflict) as conflict:
        await bases.upload("handbook", "a.md", TEXT, source="docs")
    assert conflict.value.code == "uploads-not-taken"
    with pytest.raises(NotFound) as missing:
        await bases.get("none")
    assert missing.value.code == "knowledge-base-not-found"


async def test_chunks_and_syncs_are_read_page_by_page(client: Client, stores: KnowledgeStores) -> None:
    bases = client.knowledge_bases
    base = await stores.begin()
    index = await stores.publish(await stores.open_index(base))
    document_id = await stores.put(index, "a.md", "One. ", "Two. ", "Three.")
    chunks = [chunk async for chunk in bases.chunks("handbook", document_id, page_size=2)]
    assert [(chunk.position, chunk.text) for chunk in chunks] == [(0, "One. "), (1, "Two. "), (2, "Three.")]
    assert (await bases.request_sync("handbook")).knowledge_base == "handbook"
    made = [(await stores.writer.begin_sync(TENANT, base.id, trigger="request", revision=4)).id for _ in range(3)]
    syncs = [sync async for sync in bases.syncs("handbook", page_size=2)]
    assert [sync.id for sync in syncs] == made[::-1]
    assert syncs[0].state is SyncState.RUNNING
    (told,) = await bases.list()
    assert (told.last_sync, told.chunks) == (syncs[0], 3)
    assert told.active_index is not None


async def test_search_sends_what_is_wanted_and_reads_what_was_found(client: Client, searcher: FakeSearcher) -> None:
    passage = Passage(
        knowledge_base="handbook",
        index_number=1,
        document_id=new_id(),  # type: ignore[arg-type]
        origin=DocumentOrigin("docs", "a.md"),
        title="Baggage",
        url=None,
        headings=("Cabin",),
        page=None,
        last_page=None,
        start=0,
        end=4,
        text="Bag.",
        tokens=2,
        score=0.5,
        scores={"keyword": 0.5},
    )
    searcher.result = SearchResult([passage], [SearchStage("keyword", 0.01, 1)], SearchMode.KEYWORD, left_out=3)
    since = datetime(2026, 11, 1, tzinfo=UTC)
    found = await client.knowledge_bases.search(
        "handbook",
        "How many bags?",
        mode=SearchMode.KEYWORD,
        top_k=2,
        min_score=0.1,
        rerank=False,
        neighbours=0,
        audience=["public", "member"],
        sources=["docs"],
        path_prefix="a",
        tags=["t"],
        modified_from=since,
        modified_before=since,
    )
    assert (found.mode, found.left_out, found.passages[0].text) == (SearchMode.KEYWORD, 3, "Bag.")
    ((_, asked),) = searcher.asked
    assert (asked.mode, asked.top_k, asked.min_score, asked.rerank, asked.neighbours) == (
        SearchMode.KEYWORD,
        2,
        0.1,
        False,
        0,
    )
    assert asked.filter.audience == {"public", "member"}
    assert (asked.filter.sources, asked.filter.path_prefix, asked.filter.tags) == (
        frozenset({"docs"}),
        "a",
        frozenset({"t"}),
    )
    assert (asked.filter.modified_from, asked.filter.modified_before) == (since, since)


async def test_key_without_the_scope_is_told(url: str, store: MemoryStore) -> None:
    async with Client(url, put_key(store)) as stranger:
        with pytest.raises(Forbidden) as refused:
            await stranger.knowledge_bases.search("handbook", "Hi")
    assert refused.value.code == "scope-missing"
