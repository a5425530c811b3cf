"""Knowledge bases over HTTP: what they are, their syncs, and searches in them."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from syntera_crds.contract.api_key import Scope
from syntera_crds.contract.knowledge_config import MOST_KNOWLEDGE_BASES, SearchMode
from syntera_crds.contract.tenant_config import Limits
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.api.app import build_public_app
from syntera_runtime.errors import KnowledgeBaseNotReady, ModelUnavailable, SearchTimedOut
from syntera_runtime.ids import new_id
from syntera_runtime.models.ids import TenantId
from syntera_runtime.models.knowledge import (
    DocumentOrigin,
    Failing,
    Passage,
    SearchFilter,
    SearchRequest,
    SearchResult,
    SearchStage,
    SyncCounts,
    SyncFailure,
    SyncState,
)
from tests.runtime.builders import TENANT, make_agent, make_knowledge_base, make_services, put_key
from tests.runtime.fakes import PLAIN_TENANT, FakeCatalogue, FakeKeySets, FakeSearcher
from tests.runtime.identity.issuer import JWKS_URL, key_set, make_tenant, sign
from tests.runtime.knowledge_fakes import make_config, make_site
from tests.runtime.knowledge_stores import KnowledgeStores

_UNKNOWN = "01981b4c-0000-7000-8000-000000000000"
"""The same in each process that collects these tests."""

BASE = "/v1/knowledge-bases/handbook"


@pytest.fixture
def searcher() -> FakeSearcher:
    """What searches."""
    return FakeSearcher()


@pytest.fixture
def catalogue() -> FakeCatalogue:
    """The knowledge base `handbook`."""
    catalogue = FakeCatalogue(make_agent(), tenant=make_tenant())
    catalogue.knowledge_bases["handbook"] = make_knowledge_base()
    return catalogue


@pytest.fixture
async def client(
    store: MemoryStore, catalogue: FakeCatalogue, searcher: FakeSearcher
) -> AsyncIterator[httpx.AsyncClient]:
    """A program that may read and fill knowledge bases."""
    key_sets = FakeKeySets()
    key_sets.published[JWKS_URL] = key_set()
    services = make_services(store, agents=catalogue, searches=searcher, key_sets=key_sets)
    transport = httpx.ASGITransport(app=build_public_app(services), raise_app_exceptions=False)
    key = put_key(store, scopes=frozenset({Scope.KNOWLEDGE_READ, Scope.KNOWLEDGE_WRITE}))
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://runtime", headers=headers) as client:
        yield client
    await services.runner.aclose()


@pytest.fixture
def stores(store: MemoryStore) -> KnowledgeStores:
    """The stores, to be filled as syncs do."""
    known = store.knowledge
    return KnowledgeStores(TENANT, known.reader, known.editor, known.writer, known.vectors, store.files)


def member() -> dict[str, str]:
    """The headers of one of the tenant's own people, who is no administrator."""
    return {"Authorization": f"Bearer {sign(app_metadata={'role': 'member'})}"}


def make_passage(**changes: Any) -> Passage:
    fields: dict[str, Any] = {
        "knowledge_base": "handbook",
        "index_number": 1,
        "document_id": new_id(),
        "origin": DocumentOrigin("docs", "baggage.md"),
        "title": "Baggage",
        "url": "https://acme.example/baggage",
        "headings": ("Baggage", "Cabin"),
        "page": 2,
        "last_page": 3,
        "start": 10,
        "end": 32,
        "text": "One cabin bag of 8 kg.",
        "tokens": 8,
        "score": 0.83,
        "scores": {"vector": 0.83, "fused": 0.016},
        "modified_at": datetime(2026, 11, 1, tzinfo=UTC),
    }
    return Passage(**{**fields, **changes})


# ---- knowledge bases ----


async def test_knowledge_base_that_nothing_is_known_of_is_described_by_its_configuration(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get(BASE)
    assert answer.status_code == 200
    assert answer.json() == {
        "name": "handbook",
        "revision": 4,
        "sources": [
            {
                "name": "docs",
                "kind": "inline",
                "audience": ["public"],
                "tags": [],
                "language": None,
                "maxFileBytes": None,
            },
            {
                "name": "uploads",
                "kind": "upload",
                "audience": ["public"],
                "tags": ["manual"],
                "language": None,
                "maxFileBytes": 1024 * 1024,
            },
        ],
        "embedding": {"endpoint": "stand-in", "model": "stand-in-embed", "dimensions": 4},
        "chunking": {"targetTokens": 350, "overlapTokens": 50},
        "retrieval": {
            "mode": "Hybrid",
            "topK": 5,
            "minScore": 0.0,
            "neighbours": 1,
            "passageTokens": 600,
            "reranks": False,
        },
        "documents": {"pending": 0, "indexed": 0, "failed": 0, "excluded": 0},
        "chunks": 0,
        "activeIndex": None,
        "lastSync": None,
    }
    assert (await client.get("/v1/knowledge-bases")).json() == {"items": [answer.json()]}


async def test_knowledge_base_tells_what_is_in_it(
    client: httpx.AsyncClient, stores: KnowledgeStores, catalogue: FakeCatalogue
) -> None:
    base = await stores.begin()
    fingerprint = catalogue.knowledge_bases["handbook"].fingerprint()
    index = await stores.open_index(base, fingerprint)
    await stores.put(index, "a.md", "One", "Two", language="de")
    sync = await stores.writer.begin_sync(TENANT, base.id, trigger="schedule", revision=4)
    await stores.publish(index)
    ended = replace(
        sync,
        state=SyncState.FAILED,
        ended_at=datetime(2026, 11, 1, tzinfo=UTC),
        index_number=1,
        counts=SyncCounts(documents=2, added=1, failed=1, embedded_tokens=17),
        failures=(
            SyncFailure("docs", None, Failing.UNAVAILABLE, "Try later."),
            SyncFailure("docs", "layoffs.pdf", Failing.NO_TEXT, "Recognise its text."),
        ),
        failure="embedding-failed",
        message="The model did not embed.",
    )
    await stores.writer.report_sync(TENANT, ended)
    told = (await client.get(BASE)).json()
    assert told["documents"] == {"pending": 0, "indexed": 1, "failed": 0, "excluded": 0}
    assert told["chunks"] == 2
    active = told["activeIndex"]
    assert (active["number"], active["storage"], active["current"], active["languages"]) == (1, "common", True, ["de"])
    last = told["lastSync"]
    assert (last["id"], last["state"], last["failure"]) == (str(sync.id), "failed", "embedding-failed")
    away, unread = [
        {"source": "docs", "document": None, "reason": "Unavailable", "message": "Try later."},
        {"source": "docs", "document": "layoffs.pdf", "reason": "NoText", "message": "Recognise its text."},
    ]
    assert last["failures"] == [away, unread]
    for path, headers, failures in (("/syncs", {}, [away, unread]), ("/syncs", member(), [away])):
        assert (await client.get(f"{BASE}{path}", headers=headers)).json()["items"][0]["failures"] == failures
    assert (await client.get(BASE, headers=member())).json()["lastSync"]["failures"] == [away]
    assert last["counts"]["embeddedTokens"] == 17
    catalogue.knowledge_bases["handbook"] = make_knowledge_base(chunking={"target_tokens": 100})
    assert (await client.get(BASE)).json()["activeIndex"]["current"] is False


async def test_list_asks_the_store_once_however_long_it_is(
    client: httpx.AsyncClient, catalogue: FakeCatalogue, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "z"):
        catalogue.knowledge_bases[name] = make_knowledge_base(name=name)
        await store.knowledge.editor.request_sync(TENANT, name)
    asked: list[Sequence[str]] = []
    describe = store.knowledge.editor.describe_knowledge_bases

    async def watched(tenant_id: TenantId, names: Sequence[str]) -> Sequence[Any]:
        asked.append(names)
        return await describe(tenant_id, names)

    monkeypatch.setattr(store.knowledge.editor, "describe_knowledge_bases", watched)
    items = (await client.get("/v1/knowledge-bases")).json()["items"]
    assert asked == [[item["name"] for item in items]] == [["a", "handbook", "z"]]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("GET", "/syncs", None),
        ("POST", "/syncs", None),
        ("POST", "/search", {"question": "Hi"}),
        ("GET", "/documents", None),
        ("POST", "/documents?name=x", None),
        ("GET", f"/documents/{_UNKNOWN}", None),
        ("DELETE", f"/documents/{_UNKNOWN}", None),
        ("POST", f"/documents/{_UNKNOWN}/reingest", None),
        ("GET", f"/documents/{_UNKNOWN}/chunks", None),
    ],
)
async def test_knowledge_base_that_is_not_published_is_not_there(
    client: httpx.AsyncClient, stores: KnowledgeStores, method: str, path: str, body: Any
) -> None:
    await stores.begin("forgotten")
    for name in ("forgotten", "%2e%2e", "Hand book"):
        answer = await client.request(method, f"/v1/knowledge-bases/{name}{path}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (404, "knowledge-base-not-found")


# ---- syncs ----


async def test_sync_is_asked_for_and_who_did_is_recorded(client: httpx.AsyncClient, store: MemoryStore) -> None:
    for _ in range(2):
        answer = await client.post(f"{BASE}/syncs")
        assert (answer.status_code, answer.json()) == (202, {"knowledgeBase": "handbook"})
    assert store.knowledge.is_sync_requested(TENANT, "handbook")
    administrator = {"Authorization": f"Bearer {put_key(store, scopes=frozenset({Scope.ADMIN}))}"}
    acts = (await client.get("/v1/audit-log", headers=administrator)).json()["items"]
    assert [(act["operation"], act["targets"], act["status"]) for act in acts] == [
        ("requestSync", {"knowledgeBase": "handbook"}, 202)
    ] * 2


async def test_knowledge_base_for_which_there_is_no_room_says_so(client: httpx.AsyncClient, store: MemoryStore) -> None:
    for number in range(MOST_KNOWLEDGE_BASES):
        await store.knowledge.editor.request_sync(TENANT, f"base {number}")
    answer = await client.post(f"{BASE}/syncs")
    assert (answer.status_code, answer.json()["code"]) == (409, "too-many-knowledge-bases")


async def test_syncs_come_in_pages_newest_first(client: httpx.AsyncClient, stores: KnowledgeStores) -> None:
    assert (await client.get(f"{BASE}/syncs")).json() == {"items": [], "nextCursor": None}
    base = await stores.begin()
    made = [str((await stores.writer.begin_sync(TENANT, base.id, trigger="request", revision=1)).id) for _ in range(3)]
    first = (await client.get(f"{BASE}/syncs", params={"limit": 2})).json()
    assert [one["id"] for one in first["items"]] == made[:0:-1]
    second = (await client.get(f"{BASE}/syncs", params={"limit": 2, "cursor": first["nextCursor"]})).json()
    assert ([one["id"] for one in second["items"]], second["nextCursor"]) == (made[:1], None)


@pytest.mark.parametrize("path", ["/syncs", "/documents", f"/documents/{_UNKNOWN}/chunks"])
async def test_unfit_parts_of_lists_are_refused(client: httpx.AsyncClient, path: str) -> None:
    for query in ({"cursor": "AA"}, {"cursor": "x" * 200}, {"limit": 0}, {"limit": 201}, {"page": 1}):
        answer = await client.get(f"{BASE}{path}", params=query)
        assert (answer.status_code, answer.json()["code"]) in (
            (400, "invalid-request"),
            (400, "invalid-cursor"),
        )


# ---- searches ----


async def test_search_asks_for_what_is_wanted(client: httpx.AsyncClient, searcher: FakeSearcher) -> None:
    body = {
        "question": "How many bags?",
        "mode": "Keyword",
        "topK": 3,
        "minScore": 0.25,
        "rerank": False,
        "neighbours": 0,
        "filter": {
            "audience": ["public", "owner"],
            "sources": ["docs"],
            "pathPrefix": "guide/",
            "tags": ["baggage"],
            "modifiedFrom": "2026-01-01T00:00:00Z",
            "modifiedBefore": "2026-02-01T00:00:00+01:00",
        },
    }
    answer = await client.post(f"{BASE}/search", json=body)
    assert answer.status_code == 200, answer.text
    assert searcher.asked == [
        (
            "handbook",
            SearchRequest(
                question="How many bags?",
                mode=SearchMode.KEYWORD,
                top_k=3,
                min_score=0.25,
                rerank=False,
                neighbours=0,
                filter=SearchFilter(
                    audience=frozenset({"public", "owner"}),
                    sources=frozenset({"docs"}),
                    path_prefix="guide/",
                    tags=frozenset({"baggage"}),
                    modified_from=datetime(2026, 1, 1, tzinfo=UTC),
                    modified_before=datetime(2026, 1, 31, 23, tzinfo=UTC),
                ),
            ),
        )
    ]


async def test_search_is_for_everybody_unless_it_says_otherwise(
    client: httpx.AsyncClient, searcher: FakeSearcher
) -> None:
    await client.post(f"{BASE}/search", json={"question": "Hi"})
    (_, asked) = searcher.asked[0]
    assert asked == SearchRequest(question="Hi", filter=SearchFilter(audience=frozenset({"public"})))


async def test_search_tells_passages_and_stages(client: httpx.AsyncClient, searcher: FakeSearcher) -> None:
    passage = make_passage()
    stages = (SearchStage("embed", 0.1, 0, failure="model-unavailable"), SearchStage("keyword", 0.002, 7))
    searcher.result = SearchResult([passage], stages, SearchMode.HYBRID, embedding_tokens=5, left_out=2)
    assert (await client.post(f"{BASE}/search", json={"question": "Hi"})).json() == {
        "passages": [
            {
                "documentId": str(passage.document_id),
                "indexNumber": 1,
                "title": "Baggage",
                "source": "docs",
                "path": "baggage.md",
                "url": "https://acme.example/baggage",
                "headings": ["Baggage", "Cabin"],
                "page": 2,
                "lastPage": 3,
                "start": 10,
                "end": 32,
                "text": "One cabin bag of 8 kg.",
                "tokens": 8,
                "score": 0.83,
                "scores": {"vector": 0.83, "fused": 0.016},
                "modifiedAt": "2026-11-01T00:00:00Z",
            }
        ],
        "mode": "Hybrid",
        "stages": [
            {"name": "embed", "seconds": 0.1, "found": 0, "failure": "model-unavailable"},
            {"name": "keyword", "seconds": 0.002, "found": 7, "failure": None},
        ],
        "leftOut": 2,
        "embeddingTokens": 5,
    }


async def test_search_finds_what_syncs_have_indexed_for_whoever_it_is_for(store: MemoryStore) -> None:
    site = make_site(TENANT)
    config = make_config()
    documents: dict[str, Sequence[str]] = {
        "bags.md": ["One cabin bag of 8 kg is free."],
        "seats.md": ["Seats are chosen at the desk."],
    }
    await site.fill(config, documents)
    [base] = await site.stores.editor.describe_knowledge_bases(TENANT, ["handbook"])
    index = base.active
    await site.add(index, "fees.md", "A second cabin bag costs 20 euros.", audience={"owner"})
    catalogue = FakeCatalogue(make_agent())
    catalogue.knowledge_bases["handbook"] = config
    app = build_public_app(make_services(store, agents=catalogue, searches=site.searcher))
    headers = {"Authorization": f"Bearer {put_key(store, scopes=frozenset({Scope.KNOWLEDGE_READ}))}"}
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://runtime", headers=headers) as client:
        for mode in SearchMode:
            body: dict[str, Any] = {"question": "cabin bag", "mode": mode.value, "topK": 2}
            found = (await client.post(f"{BASE}/search", json=body)).json()
            assert found["passages"][0]["path"] == "bags.md"
            assert "fees.md" not in {passage["path"] for passage in found["passages"]}
            assert {stage["name"] for stage in found["stages"]} >= {"read", "join"}
            body["filter"] = {"audience": ["owner"]}
            found = (await client.post(f"{BASE}/search", json=body)).json()
            assert [passage["path"] for passage in found["passages"]] == ["fees.md"]


async def test_people_search_for_what_is_for_them(client: httpx.AsyncClient, searcher: FakeSearcher) -> None:
    for audience, status in ((["public", "authenticated", "member"], 200), (["public", "owner"], 403)):
        body = {"question": "Hi", "filter": {"audience": audience}}
        answer = await client.post(f"{BASE}/search", json=body, headers=member())
        assert answer.status_code == status
    assert answer.json()["code"] == "audience-not-held"
    assert len(searcher.asked) == 1
    admin = {"Authorization": f"Bearer {sign(app_metadata={'role': 'admin'})}"}
    assert (await client.post(f"{BASE}/search", json=body, headers=admin)).status_code == 200


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "body.question"),
        ({"question": "  "}, "body.question"),
        ({"question": "a\0b"}, "body.question"),
        ({"question": "x" * 4001}, "body.question"),
        ({"question": "Hi", "topK": 51}, "body.topK"),
        ({"question": "Hi", "topK": "5"}, "body.topK"),
        ({"question": "Hi", "minScore": 1.5}, "body.minScore"),
        ({"question": "Hi", "mode": "hybrid"}, "body.mode"),
        ({"question": "Hi", "filter": {"audience": []}}, "body.filter.audience"),
        ({"question": "Hi", "filter": {"audience": ["everybody"]}}, "body.filter.audience[0]"),
        ({"question": "Hi", "filter": {"tenant": "other"}}, "body.filter.tenant"),
        ({"question": "Hi", "filter": {"modifiedFrom": "yesterday"}}, "body.filter.modifiedFrom"),
        ({"question": "Hi", "audience": ["owner"]}, "body.audience"),
    ],
)
async def test_unfit_searches_are_refused_with_the_place(
    client: httpx.AsyncClient, searcher: FakeSearcher, body: Any, path: str
) -> None:
    answer = await client.post(f"{BASE}/search", json=body)
    assert answer.status_code == 400
    assert path in [fault["path"] for fault in answer.json()["errors"]]
    assert not searcher.asked


@pytest.mark.parametrize(
    ("error", "status"),
    [(KnowledgeBaseNotReady(), 409), (ModelUnavailable(), 503), (SearchTimedOut(), 504)],
)
async def test_search_that_fails_says_so(
    client: httpx.AsyncClient, searcher: FakeSearcher, error: Any, status: int
) -> None:
    searcher.result = error
    answer = await client.post(f"{BASE}/search", json={"question": "Hi"})
    assert (answer.status_code, answer.json()["code"]) == (status, error.code)


async def test_searches_of_a_person_are_limited_as_messages_are(
    client: httpx.AsyncClient, catalogue: FakeCatalogue
) -> None:
    limits = Limits(messages_per_minute_per_user=2)
    catalogue.tenant_config = make_tenant().model_copy(update={"limits": limits})
    statuses = [
        (await client.post(f"{BASE}/search", json={"question": "Hi"}, headers=member())).status_code for _ in range(3)
    ]
    assert statuses == [200, 200, 429]
    assert (await client.get(BASE, headers=member())).status_code == 200


async def test_other_tenants_know_nothing_of_it(
    client: httpx.AsyncClient, store: MemoryStore, stores: KnowledgeStores
) -> None:
    """The same name is another knowledge base there."""
    base = await stores.begin()
    index = await stores.publish(await stores.open_index(base))
    document_id = await stores.put(index, "a.md", "One")
    await stores.writer.begin_sync(TENANT, base.id, trigger="request", revision=1)
    elsewhere = TenantId(new_id())
    other = make_services(store, tenant_id=elsewhere, agents=FakeCatalogue(tenant=PLAIN_TENANT))
    other.agents.knowledge_bases["handbook"] = make_knowledge_base()  # type: ignore[attr-defined]
    headers = {"Authorization": f"Bearer {put_key(store, elsewhere, scopes=frozenset({Scope.ADMIN}))}"}
    transport = httpx.ASGITransport(app=build_public_app(other))
    async with httpx.AsyncClient(transport=transport, base_url="http://other", headers=headers) as stranger:
        assert (await stranger.get(BASE)).json()["documents"]["indexed"] == 0
        assert (await stranger.get(f"{BASE}/syncs")).json()["items"] == []
        assert (await stranger.get(f"{BASE}/documents")).json()["items"] == []
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/reingest"), ("GET", "/chunks")):
            answer = await stranger.request(method, f"{BASE}/documents/{document_id}{path}")
            assert (answer.status_code, answer.json()["code"]) == (404, "document-not-found")
    assert (await client.get(f"{BASE}/documents/{document_id}")).status_code == 200
