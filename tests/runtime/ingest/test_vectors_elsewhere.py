"""A knowledge base whose vectors were at one host of Pinecone and are at another, or in PostgreSQL: nothing is left behind unsaid."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from syntera_crds.contract.agent_config import SecretKey
from syntera_crds.contract.knowledge_config import KnowledgeBaseConfig, PineconeIndex, SearchMode
from syntera_runtime.adapters.memory_chunks_of_vectors import MemoryChunksOfVectors
from syntera_runtime.adapters.pinecone_clients import PineconeClients
from syntera_runtime.adapters.pinecone_vectors import PineconeVectors
from syntera_runtime.errors import StoreUnavailable
from syntera_runtime.ingest import sync
from syntera_runtime.ingest.erasure import erase
from syntera_runtime.ingest.failures import SyncFailed
from syntera_runtime.knowledge.search import Searcher
from syntera_runtime.metrics import Metrics
from syntera_runtime.models.knowledge import Index, SearchRequest, SearchResult, SyncState
from syntera_runtime.ports.knowledge import VectorIndex
from tests.runtime.adapters.fixed_secrets import FixedSecrets
from tests.runtime.ingest.site import NAME, SyncSite, fetched, make_config
from tests.runtime.knowledge_fakes import FakeKnowledgeBases, FakeReranker, FakeTenant
from tests.runtime.knowledge_stores import PUBLIC
from tests.support.pinecone_server_fake import KEY, PineconeFake, serve_pinecone_fake

SECRET = SecretKey(name="pinecone", key="api-key")


@dataclass(frozen=True, slots=True)
class Places:
    """A knowledge base, and two hosts that its vectors may be at."""

    site: SyncSite
    old: PineconeFake
    new: PineconeFake
    secrets: FixedSecrets

    def move(self, fake: PineconeFake | None, *, rollback_hours: int = 24) -> None:
        """Have the Tenant name this host, or none."""
        pinecone = None if fake is None else PineconeIndex(index_host=fake.url, api_key=SECRET)
        self.site.config = make_config(pinecone=pinecone, rollback_hours=rollback_hours)

    async def indexes(self) -> list[tuple[int, str | None]]:
        """Number and host of each index that is there."""
        base = await self.site.knowledge.reader.find_knowledge_base(self.site.tenant_id, NAME)
        assert base is not None
        found = await self.site.knowledge.writer.list_indexes(self.site.tenant_id, base.id)
        return [(index.number, index.pinecone_host) for index in found]

    async def search(self, mode: SearchMode = SearchMode.VECTOR) -> SearchResult:
        """What a runtime finds that has the configuration already, which the sync has yet to follow."""
        assert self.site.find_vectors is not None
        searcher = Searcher(
            FakeKnowledgeBases(self.site.config),
            self.site.knowledge.reader,
            tenants=FakeTenant(),
            vectors_of=self.site.find_vectors,
            embedder=self.site.embedder,
            reranker=FakeReranker(),
            metrics=Metrics(),
        )
        return await searcher.search(
            self.site.tenant_id, NAME, SearchRequest(question="One.", filter=PUBLIC, mode=mode, min_score=-1.0)
        )

    async def fail_to_erase(self) -> SyncFailed:
        """Why it cannot be erased."""
        with pytest.raises(SyncFailed) as caught:
            await erase(self.site.tools, self.site.config, name=NAME)
        return caught.value


@pytest.fixture
async def places(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Places]:
    """A document was synced to the old host."""
    monkeypatch.setattr(sync, "UNDER_WAY", timedelta(0))
    site, secrets = SyncSite(), FixedSecrets({SECRET: KEY})
    clients = PineconeClients(secrets)

    def find_vectors(config: KnowledgeBaseConfig | None, index: Index) -> VectorIndex:
        if index.pinecone_host is None:
            return site.knowledge.vectors
        configured = None if config is None else config.pinecone
        return PineconeVectors(clients, configured, MemoryChunksOfVectors(site.knowledge.rows))

    site.find_vectors = find_vectors
    async with serve_pinecone_fake() as old, serve_pinecone_fake() as new:
        places = Places(site, old, new, secrets)
        places.move(old)
        await site.sync(fetched("a.md", "One."))
        assert len(old.namespaces) == 1
        yield places
    await clients.aclose()


async def test_old_index_is_searched_where_it_is_until_the_new_one_is_whole(places: Places) -> None:
    places.move(places.new)

    result = await places.search()
    assert ([passage.index_number for passage in result.passages], result.failure) == ([1], None)
    assert (places.old.count("POST /query"), places.new.count("POST /query")) == (1, 0)

    await places.site.sync()
    result = await places.search()
    assert ([passage.index_number for passage in result.passages], result.failure) == ([2], None)
    assert (places.old.count("POST /query"), places.new.count("POST /query")) == (1, 1)


async def test_old_index_without_a_key_is_searched_by_words(places: Places) -> None:
    places.move(None)
    result = await places.search(SearchMode.HYBRID)
    assert ([passage.index_number for passage in result.passages], result.failure) == ([1], "store-unavailable")
    with pytest.raises(StoreUnavailable, match=f"at {places.old.url}.*names no key"):
        await places.search()


async def test_old_index_is_kept_at_the_old_host_and_dropped_there(places: Places) -> None:
    places.move(places.new)
    await places.site.sync()
    assert await places.indexes() == [(1, places.old.url), (2, places.new.url)]
    assert (len(places.old.namespaces), len(places.new.namespaces)) == (1, 1)

    places.move(places.new, rollback_hours=0)
    await places.site.sync()

    assert await places.indexes() == [(2, places.new.url)]
    assert (len(places.old.namespaces), len(places.new.namespaces)) == (0, 1)


async def test_change_that_is_taken_back_finds_the_old_index_as_it_was(places: Places) -> None:
    places.move(places.new)
    await places.site.sync()
    places.move(places.old)
    embedded = places.site.embedder.requests
    await places.site.sync()
    active = await places.site.active()
    assert active is not None
    assert (active.number, active.pinecone_host) == (1, places.old.url)
    assert places.site.embedder.requests == embedded


async def test_index_without_a_key_stays_known_until_there_is_one(places: Places) -> None:
    places.move(None, rollback_hours=0)

    ended = await places.site.sync()

    assert ended.state is SyncState.COMPLETE
    assert await places.indexes() == [(1, places.old.url), (2, None)]
    assert len(places.old.namespaces) == 1

    places.move(places.old, rollback_hours=0)
    await places.site.sync()
    assert await places.indexes() == [(3, places.old.url)]
    assert [name.rsplit(".", 1)[1] for name in places.old.namespaces] == ["3"]


async def test_old_host_that_is_away_does_not_fail_a_sync(places: Places) -> None:
    places.move(places.new, rollback_hours=0)
    places.old.answers = [(503, {"Retry-After": "0"})] * 50
    ended = await places.site.sync()
    assert ended.state is SyncState.COMPLETE
    assert await places.indexes() == [(1, places.old.url), (2, places.new.url)]
    places.old.answers = []
    await places.site.sync()
    assert await places.indexes() == [(2, places.new.url)]


async def test_erasure_goes_to_where_each_index_is(places: Places) -> None:
    places.move(places.new)
    await places.site.sync()
    places.move(None)
    await places.site.sync()
    places.move(places.new)

    assert await erase(places.site.tools, places.site.config, name=NAME)

    assert (places.old.namespaces, places.new.namespaces) == ({}, {})
    assert await places.site.knowledge.reader.find_knowledge_base(places.site.tenant_id, NAME) is None


async def test_erasure_without_a_key_names_what_is_left(places: Places) -> None:
    places.move(None)
    await places.site.sync()
    (namespace,) = places.old.namespaces

    failure = await places.fail_to_erase()

    assert (failure.code, failure.is_final) == ("store-unavailable", True)
    assert f"{namespace} at {places.old.url}" in failure.message
    assert await places.indexes() == [(1, places.old.url)], "what can be reached goes all the same"
    assert await places.site.documents()


async def test_erasure_that_is_refused_may_go_well_later(places: Places) -> None:
    places.secrets.values[SECRET] = "pcsk_wrong"
    failure = await places.fail_to_erase()
    assert (failure.code, failure.is_final) == ("store-unavailable", False)
    assert f"Pinecone at {places.old.url} refused the API key" in failure.message
    places.secrets.values.clear()
    failure = await places.fail_to_erase()
    assert (failure.code, failure.is_final) == ("secret-missing", False)
    places.secrets.values[SECRET] = KEY
    assert await erase(places.site.tools, places.site.config, name=NAME)
    assert places.old.namespaces == {}
