"""Documents of knowledge bases over HTTP: uploaded, looked at, taken in anew, taken out, and for whom they are."""

import asyncio
import codecs
import hashlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest

from syntera_crds.contract.api_key import Scope
from syntera_crds.contract.knowledge_config import Source, UploadSource
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.api.app import build_public_app
from syntera_runtime.errors import StoreUnavailable
from syntera_runtime.ids import new_id
from syntera_runtime.models.ids import DocumentId
from syntera_runtime.services import Services
from tests.runtime.builders import TENANT, make_agent, make_knowledge_base, make_services, put_key
from tests.runtime.fakes import FakeCatalogue, FakeKeySets
from tests.runtime.files.samples import OOXML, PDF, make_archive, make_png
from tests.runtime.identity.issuer import JWKS_URL, key_set, make_tenant, sign
from tests.runtime.knowledge_stores import KnowledgeStores
from tests.runtime.sockets import serving_sockets

BASE = "/v1/knowledge-bases/handbook"
DOCUMENTS = f"{BASE}/documents"
TEXT = b"# Baggage\n\nOne cabin bag of 8 kg.\n"
DOCX = make_archive("[Content_Types].xml", "word/document.xml")


@pytest.fixture
def catalogue() -> FakeCatalogue:
    """The knowledge base `handbook`, whose source `uploads` takes a megabyte."""
    catalogue = FakeCatalogue(make_agent(), tenant=make_tenant())
    catalogue.knowledge_bases["handbook"] = make_knowledge_base()
    return catalogue


@pytest.fixture
async def services(store: MemoryStore, catalogue: FakeCatalogue) -> AsyncIterator[Services]:
    """What is behind the API."""
    key_sets = FakeKeySets()
    key_sets.published[JWKS_URL] = key_set()
    services = make_services(store, agents=catalogue, key_sets=key_sets)
    yield services
    await services.runner.aclose()


@pytest.fixture
async def client(store: MemoryStore, services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """A program that may read and fill knowledge bases."""
    transport = httpx.ASGITransport(app=build_public_app(services), raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {program(store)}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://runtime", headers=headers) as client:
        yield client


@pytest.fixture
def stores(store: MemoryStore) -> KnowledgeStores:
    """The stores, to be filled as syncs do."""
    known = store.knowledge
    return KnowledgeStores(TENANT, known.reader, known.editor, known.writer, known.vectors, store.files)


def program(store: MemoryStore) -> str:
    return put_key(store, scopes=frozenset({Scope.KNOWLEDGE_READ, Scope.KNOWLEDGE_WRITE}))


def member() -> dict[str, str]:
    """The headers of one of the tenant's own people, who is no administrator."""
    return {"Authorization": f"Bearer {sign(app_metadata={'role': 'member'})}"}


async def send(
    client: httpx.AsyncClient,
    content: bytes | AsyncIterator[bytes] = TEXT,
    name: str = "baggage.md",
    headers: dict[str, str] | None = None,
    **query: Any,
) -> httpx.Response:
    return await client.post(DOCUMENTS, params={"name": name, **query}, content=content, headers=headers)


async def send_ok(client: httpx.AsyncClient, content: bytes = TEXT, name: str = "baggage.md") -> dict[str, Any]:
    answer = await send(client, content, name)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def listed(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await client.get(DOCUMENTS, params=query)).json()["items"]
    return items


def kept(store: MemoryStore) -> list[str]:
    """The states of what is known of files."""
    return sorted(row.state for row in store.files._rows(TENANT).values())


# ---- uploads ----


async def test_upload_becomes_a_document_that_a_sync_takes_in(client: httpx.AsyncClient, store: MemoryStore) -> None:
    answer = await send(client, name="../Süd\n.md")
    assert answer.status_code == 201
    made = answer.json()
    assert made == {
        "id": made["id"],
        "source": "uploads",
        "path": "Süd.md",
        "title": "Süd.md",
        "url": None,
        "state": "pending",
        "failure": None,
        "mediaType": "text/plain",
        "language": None,
        "audience": ["public"],
        "tags": ["manual"],
        "bytes": len(TEXT),
        "sha256": hashlib.sha256(TEXT).hexdigest(),
        "characters": 0,
        "chunks": 0,
        "modifiedAt": made["modifiedAt"],
        "createdAt": made["createdAt"],
        "updatedAt": made["updatedAt"],
        "checkedAt": None,
    }
    assert (await client.get(f"{DOCUMENTS}/{made['id']}")).json() == made
    assert store.knowledge.is_sync_requested(TENANT, "handbook")


async def test_upload_says_what_is_to_be_said_of_it(client: httpx.AsyncClient) -> None:
    answer = await send(
        client,
        title="Bags",
        url="https://acme.example/bags",
        language="de",
        audience=["member", "authenticated"],
        tags=["a", "b"],
        source="uploads",
    )
    made = answer.json()
    told = {key: made[key] for key in ("title", "url", "language", "audience", "tags", "source")}
    assert told == {
        "title": "Bags",
        "url": "https://acme.example/bags",
        "language": "de",
        "audience": ["authenticated", "member"],
        "tags": ["a", "b", "manual"],
        "source": "uploads",
    }


async def test_upload_that_names_no_audience_follows_its_source(client: httpx.AsyncClient, store: MemoryStore) -> None:
    for audience in ([], ["owner"]):
        made = (await send(client, content=TEXT + repr(audience).encode(), audience=audience)).json()
        base = await store.knowledge.reader.find_knowledge_base(TENANT, "handbook")
        assert base is not None
        document = await store.knowledge.editor.find_document(TENANT, base.id, DocumentId(UUID(made["id"])))
        assert document is not None
        assert document.facts.keeps_audience is bool(audience)


async def test_bytes_that_are_there_make_no_second_document(client: httpx.AsyncClient, store: MemoryStore) -> None:
    made = await send_ok(client)
    again = await send(client, name="other.md", title="Other")
    assert (again.status_code, again.json()) == (200, made)
    assert "idempotency-replayed" not in again.headers
    assert len(await listed(client)) == 1
    assert kept(store) == ["ready"]


async def test_file_of_the_same_name_replaces_the_one_before(client: httpx.AsyncClient, store: MemoryStore) -> None:
    made = await send_ok(client)
    again = await send_ok(client, b"Two cabin bags.")
    assert (again["id"], again["sha256"]) == (made["id"], hashlib.sha256(b"Two cabin bags.").hexdigest())
    assert len(await listed(client)) == 1
    assert kept(store) == ["doomed", "ready"]


async def test_upload_is_made_once_by_one_key(client: httpx.AsyncClient, store: MemoryStore) -> None:
    key = {"Idempotency-Key": "k"}
    first = await send(client, headers=key)
    again = await send(client, b"ignored", headers=key)
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    other = await send(client, name="other.md", headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    assert kept(store) == ["ready"]


@pytest.mark.parametrize(
    "changed",
    [
        {"audience": ["owner"]},
        {"tags": ["a", "b"]},
        {"title": "Other"},
        {"url": "https://acme.example/other"},
        {"language": "fr"},
        {"source": "more"},
    ],
    ids=lambda changed: next(iter(changed)),
)
async def test_key_of_an_upload_stands_for_all_that_was_said_of_it(
    client: httpx.AsyncClient, catalogue: FakeCatalogue, store: MemoryStore, changed: dict[str, Any]
) -> None:
    sources = [
        Source(name=name, audience=["public"], upload=UploadSource(max_file_megabytes=1))
        for name in ("uploads", "more")
    ]
    catalogue.knowledge_bases["handbook"] = make_knowledge_base(sources=sources)
    key = {"Idempotency-Key": "k"}
    said: dict[str, Any] = {
        "title": "Bags",
        "url": "https://acme.example/bags",
        "language": "de",
        "audience": ["member", "authenticated"],
        "tags": ["a"],
    }
    first = await send(client, headers=key, **said)
    assert first.status_code == 201
    other = await send(client, headers=key, **said | changed)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    again = await send(client, headers=key, **said | {"audience": ["authenticated", "member"], "source": "uploads"})
    assert (again.status_code, again.json()) == (201, first.json())
    assert kept(store) == ["ready"]


async def test_key_of_an_upload_stands_for_something_else_elsewhere(
    client: httpx.AsyncClient, catalogue: FakeCatalogue, store: MemoryStore
) -> None:
    catalogue.knowledge_bases["other"] = make_knowledge_base(name="other")
    headers = {
        "Idempotency-Key": "k",
        "Authorization": f"Bearer {put_key(store, scopes=frozenset({Scope.ADMIN}))}",
    }
    file = await client.post("/v1/files?name=baggage.md", content=TEXT, headers=headers)
    first = await send(client, headers=headers)
    second = await client.post("/v1/knowledge-bases/other/documents?name=baggage.md", content=TEXT, headers=headers)
    assert [answer.status_code for answer in (file, first, second)] == [201] * 3
    assert first.json()["id"] != second.json()["id"]


async def test_upload_whose_process_died_before_the_document_was_made_is_taken_up_again(
    client: httpx.AsyncClient, services: Services, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = {"Idempotency-Key": "k"}

    async def fail(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable(store="PostgreSQL")

    with monkeypatch.context() as patched:
        patched.setattr(store.knowledge.editor, "add_upload", fail)
        assert (await send(client, headers=key)).status_code == 503
    assert await listed(client) == []
    again = await send(client, headers=key)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert [one["id"] for one in await listed(client)] == [again.json()["id"]]
    assert kept(store) == ["ready"]


@pytest.mark.parametrize("headers", [{"Idempotency-Key": "k"}, {}])
async def test_upload_that_is_sent_again_asks_for_the_sync_that_it_lacks(
    client: httpx.AsyncClient,
    stores: KnowledgeStores,
    store: MemoryStore,
    monkeypatch: pytest.MonkeyPatch,
    headers: dict[str, str],
) -> None:
    await stores.begin()

    async def fail(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable(store="PostgreSQL")

    with monkeypatch.context() as patched:
        patched.setattr(store.knowledge.editor, "request_sync", fail)
        assert (await send(client, headers=headers)).status_code == 503
    assert not store.knowledge.is_sync_requested(TENANT, "handbook")
    assert (await send(client, headers=headers)).is_success
    assert store.knowledge.is_sync_requested(TENANT, "handbook")


async def test_upload_whose_bytes_came_by_another_request_meanwhile_is_that_ones_document(
    client: httpx.AsyncClient, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = {"Idempotency-Key": "k"}

    async def fail(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable(store="PostgreSQL")

    with monkeypatch.context() as patched:
        patched.setattr(store.knowledge.editor, "add_upload", fail)
        assert (await send(client, headers=key)).status_code == 503
    other = await send_ok(client, name="other.md")
    again = await send(client, headers=key)
    assert (again.status_code, again.json(), again.headers["idempotency-replayed"]) == (200, other, "true")
    assert kept(store) == ["ready"]


async def test_upload_that_another_try_has_just_made_a_document_of_is_that_document(
    client: httpx.AsyncClient, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = store.knowledge.editor.add_upload

    async def add_after_another(*arguments: Any, **facts: Any) -> Any:
        await add(*arguments, **facts)
        return await add(*arguments, **facts)

    monkeypatch.setattr(store.knowledge.editor, "add_upload", add_after_another)
    answer = await send(client, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.headers["idempotency-replayed"]) == (201, "true")
    assert [one["id"] for one in await listed(client)] == [answer.json()["id"]]


@pytest.mark.parametrize("is_whole", [True, False])
async def test_upload_that_is_sent_twice_at_once_by_one_key_is_there_once(
    client: httpx.AsyncClient, store: MemoryStore, is_whole: bool
) -> None:
    key = {"Idempotency-Key": "k"}
    second: list[httpx.Response] = []
    gone = asyncio.Event()

    async def first() -> AsyncIterator[bytes]:
        yield TEXT
        if is_whole:
            second.append(await send(client, headers=key))
        else:
            later = asyncio.create_task(send(client, stuck(), headers=key))
            await gone.wait()
            later.cancel()

    async def stuck() -> AsyncIterator[bytes]:
        yield TEXT
        gone.set()
        await asyncio.Event().wait()

    answer = await send(client, first(), headers=key)
    if is_whole:
        assert (answer.status_code, answer.json()) == (201, second[0].json())
    else:
        assert (answer.status_code, answer.json()["code"]) == (409, "file-overtaken")
    assert len(await listed(client)) == is_whole


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (PDF, "application/pdf"),
        (DOCX, f"{OOXML}wordprocessingml.document"),
        (make_archive("[Content_Types].xml", "xl/workbook.xml"), f"{OOXML}spreadsheetml.sheet"),
        (make_archive("[Content_Types].xml", "ppt/presentation.xml"), f"{OOXML}presentationml.presentation"),
        (b"<html><p>Hi</p></html>", "text/plain"),
        (b"a,b\n1,2\n", "text/plain"),
        (b'{"a": 1}', "text/plain"),
        ("Grüße aus Zürich".encode("latin-1"), "text/plain"),
        (codecs.BOM_UTF16_LE + "Grüße".encode("utf-16-le"), "text/plain"),
    ],
)
async def test_documents_are_told_by_their_bytes(client: httpx.AsyncClient, content: bytes, media_type: str) -> None:
    answer = await send(client, content, name="whatever.exe", headers={"Content-Type": "application/x-msdownload"})
    assert (answer.status_code, answer.json()["mediaType"]) == (201, media_type)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"MZ\x90\0" + b"\0" * 100,
        b"\x7fELF\x02\x01\x01" + b"\0" * 100,
        make_png(),
        make_archive("a.txt"),
        make_archive("content.xml", mimetype="application/vnd.oasis.opendocument.text"),
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600,
        b"text with \0 in it",
        "half a character".encode("utf-16")[:-1],
    ],
)
async def test_what_no_document_is_leaves_nothing_behind(
    client: httpx.AsyncClient, store: MemoryStore, content: bytes
) -> None:
    answer = await send(client, content, name="invoice.pdf", headers={"Content-Type": "application/pdf"})
    assert (answer.status_code, answer.json()["code"]) == (415, "file-type-refused")
    assert kept(store) == []
    assert not store.knowledge.is_sync_requested(TENANT, "handbook")


async def test_archive_is_not_opened(client: httpx.AsyncClient, services: Services) -> None:
    """What a document unpacks to is for the sync to bound, in a process of its own."""
    bomb = make_archive("word/document.xml", *(f"word/{number}.xml" for number in range(200)))
    assert (await send(client, bomb)).status_code == 201


@pytest.mark.parametrize("is_declared", [True, False])
async def test_file_that_is_too_large_is_refused_while_it_comes(
    store: MemoryStore, services: Services, is_declared: bool
) -> None:
    """On a real connection: closed while the client still sends, it would be reset, and the answer with it."""
    headers = {"Authorization": f"Bearer {program(store)}"}

    async def large() -> AsyncIterator[bytes]:
        for _ in range(26):
            yield b"x" * 1024 * 64

    content: Any = b"x" * (26 * 1024 * 64) if is_declared else large()
    async with serving_sockets(services) as url, httpx.AsyncClient(base_url=url, headers=headers, timeout=20) as client:
        answer = await send(client, content)
    assert (answer.status_code, answer.json()["code"]) == (413, "file-too-large")
    assert kept(store) == []


async def test_source_says_how_large_files_may_be(client: httpx.AsyncClient, catalogue: FakeCatalogue) -> None:
    assert (await send(client, b"x" * (1024 * 1024 + 1))).status_code == 413
    large = Source(name="large", upload=UploadSource(max_file_megabytes=2))
    known = make_knowledge_base()
    catalogue.knowledge_bases["handbook"] = known.model_copy(update={"sources": [*known.sources, large]})
    assert (await send(client, b"x" * (1024 * 1024 + 1))).status_code == 413
    assert (await send(client, b"x" * (1024 * 1024 + 1), source="large")).json()["source"] == "large"


async def test_file_that_does_not_come_is_given_up(store: MemoryStore, catalogue: FakeCatalogue) -> None:
    services = make_services(store, agents=catalogue, body_seconds=0.2)
    transport = httpx.ASGITransport(app=build_public_app(services))
    headers = {"Authorization": f"Bearer {program(store)}"}

    async def stuck() -> AsyncIterator[bytes]:
        yield TEXT
        await asyncio.Event().wait()

    async with httpx.AsyncClient(transport=transport, base_url="http://runtime", headers=headers) as client:
        answer = await send(client, stuck())
    assert (answer.status_code, answer.json()["code"]) == (408, "request-timeout")
    assert kept(store) == []


async def test_file_whose_sender_leaves_is_given_up(store: MemoryStore, services: Services) -> None:
    headers = {"Authorization": f"Bearer {program(store)}"}
    begun = asyncio.Event()

    async def half() -> AsyncIterator[bytes]:
        yield TEXT
        begun.set()
        await asyncio.Event().wait()

    async with serving_sockets(services) as url, httpx.AsyncClient(base_url=url, headers=headers, timeout=20) as client:
        sending = asyncio.create_task(send(client, half()))
        await begun.wait()
        async with asyncio.timeout(20):
            while kept(store) != ["incoming"]:  # noqa: ASYNC110  # nobody announces it
                await asyncio.sleep(0.01)
            sending.cancel()
            while kept(store):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert await store.knowledge.reader.find_knowledge_base(TENANT, "handbook") is None


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ({"name": ""}, "query.name"),
        ({"name": "a\0b"}, "query.name"),
        ({"name": "a" * 256}, "query.name"),
        ({"url": "javascript:alert(1)"}, "query.url"),
        ({"url": "x"}, "query.url"),
        ({"language": "german"}, "query.language"),
        ({"audience": ["pubic"]}, "query.audience[0]"),
        ({"tags": [""]}, "query.tags[0]"),
        ({"tags": ["x"] * 21}, "query.tags"),
        ({"title": "two\nlines"}, "query.title"),
        ({"tenant": "other"}, "query.tenant"),
    ],
)
async def test_unfit_words_of_an_upload_are_refused_with_the_place(
    client: httpx.AsyncClient, store: MemoryStore, query: dict[str, Any], path: str
) -> None:
    answer = await send(client, **{"name": "x", **query})
    assert answer.status_code == 400
    assert path in [fault["path"] for fault in answer.json()["errors"]]
    assert kept(store) == []


async def test_upload_needs_a_source_that_takes_it(client: httpx.AsyncClient, catalogue: FakeCatalogue) -> None:
    for source, refusal in (("docs", (409, "uploads-not-taken")), ("none", (404, "source-not-found"))):
        answer = await send(client, source=source)
        assert (answer.status_code, answer.json()["code"]) == refusal
    catalogue.knowledge_bases["handbook"] = make_knowledge_base(sources=make_knowledge_base().sources[:1])
    answer = await send(client)
    assert (answer.status_code, answer.json()["code"]) == (409, "uploads-not-taken")


# ---- looking ----


async def test_documents_are_found_and_come_in_pages(client: httpx.AsyncClient, stores: KnowledgeStores) -> None:
    assert await listed(client) == []
    base = await stores.begin()
    index = await stores.publish(await stores.open_index(base))
    ids = [str(await stores.put(index, f"{name}.md", name, title=name)) for name in ("Alpha", "Beta", "Gamma")]
    uploaded = (await send_ok(client))["id"]
    first = (await client.get(DOCUMENTS, params={"limit": 3})).json()
    assert [one["id"] for one in first["items"]] == ids
    second = (await client.get(DOCUMENTS, params={"limit": 3, "cursor": first["nextCursor"]})).json()
    assert ([one["id"] for one in second["items"]], second["nextCursor"]) == ([uploaded], None)
    for query, found in (
        ({"source": "docs"}, ids),
        ({"state": "pending"}, [uploaded]),
        ({"q": "ALPH"}, ids[:1]),
        ({"source": "docs", "state": "failed"}, []),
    ):
        assert [one["id"] for one in await listed(client, **query)] == found
    assert (await client.get(DOCUMENTS, params={"state": "gone"})).status_code == 400


async def test_chunks_of_a_document_are_shown_in_pages(client: httpx.AsyncClient, stores: KnowledgeStores) -> None:
    base = await stores.begin()
    index = await stores.open_index(base)
    document_id = await stores.put(index, "a.md", "One. ", "Two. ", "Three.", headings=("Top",))
    url = f"{DOCUMENTS}/{document_id}/chunks"
    early = await client.get(url)
    assert (early.status_code, early.json()["code"]) == (409, "knowledge-base-not-ready")
    await stores.publish(index)
    first = (await client.get(url, params={"limit": 2})).json()
    assert [(one["position"], one["start"], one["end"], one["text"]) for one in first["items"]] == [
        (0, 0, 5, "One. "),
        (1, 5, 10, "Two. "),
    ]
    assert first["items"][0] == {
        "id": first["items"][0]["id"],
        "position": 0,
        "start": 0,
        "end": 5,
        "overlap": 0,
        "headings": ["Top"],
        "page": None,
        "lastPage": None,
        "tokens": 2,
        "text": "One. ",
    }
    cursor = first["nextCursor"]
    second = (await client.get(url, params={"cursor": cursor})).json()
    assert ([one["text"] for one in second["items"]], second["nextCursor"]) == (["Three."], None)

    other = await stores.open_index(base, "f2")
    await stores.publish(other)
    stale = await client.get(url, params={"cursor": cursor})
    assert (stale.status_code, stale.json()["code"]) == (400, "invalid-cursor")
    assert (await client.get(url)).json()["items"] == []


async def test_document_that_is_not_there_is_told(client: httpx.AsyncClient, stores: KnowledgeStores) -> None:
    await stores.begin()
    await stores.begin("other")
    for document_id in (new_id(), "00000000-0000-0000-0000-000000000000"):
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/reingest"), ("GET", "/chunks")):
            answer = await client.request(method, f"{DOCUMENTS}/{document_id}{path}")
            assert (answer.status_code, answer.json()["code"]) == (404, "document-not-found")
    assert (await client.get(f"{DOCUMENTS}/x")).status_code == 400


async def test_document_of_another_knowledge_base_is_not_there(
    client: httpx.AsyncClient, catalogue: FakeCatalogue
) -> None:
    catalogue.knowledge_bases["other"] = make_knowledge_base(name="other")
    made = await send_ok(client)
    await client.post("/v1/knowledge-bases/other/syncs")
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/reingest"), ("GET", "/chunks")):
        answer = await client.request(method, f"/v1/knowledge-bases/other/documents/{made['id']}{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "document-not-found")
    assert await listed(client) == [made]


async def test_documents_for_others_are_not_there_for_people(
    client: httpx.AsyncClient, stores: KnowledgeStores, store: MemoryStore
) -> None:
    base = await stores.begin()
    index = await stores.publish(await stores.open_index(base))
    secret = await stores.put(index, "salaries.md", "Ten", audience={"owner"})
    shown = await stores.put(index, "desk.md", "Nine to five", audience={"member", "owner"})
    page = (await client.get(DOCUMENTS, params={"limit": 1}, headers=member())).json()
    assert page["items"] == []
    rest = (await client.get(DOCUMENTS, params={"cursor": page["nextCursor"]}, headers=member())).json()
    assert [one["id"] for one in rest["items"]] == [str(shown)]
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/reingest"), ("GET", "/chunks")):
        answer = await client.request(method, f"{DOCUMENTS}/{secret}{path}", headers=member())
        assert (answer.status_code, answer.json()["code"]) == (404, "document-not-found")
    admin = {"Authorization": f"Bearer {sign(app_metadata={'role': 'admin'})}"}
    for headers in (admin, {}):
        assert (await client.get(f"{DOCUMENTS}/{secret}/chunks", headers=headers)).json()["items"][0]["text"] == "Ten"


async def test_people_replace_nothing_that_is_for_others(client: httpx.AsyncClient, store: MemoryStore) -> None:
    made = (await send(client, name="salaries.md", audience=["owner"])).json()
    refused = await send(client, b"Mine", name="/salaries.md", headers=member())
    assert (refused.status_code, refused.json()["code"]) == (403, "audience-not-held")
    same_bytes = await send(client, name="mine.md", headers=member())
    assert same_bytes.status_code == 201
    assert same_bytes.json()["id"] != made["id"]
    assert (await client.get(f"{DOCUMENTS}/{made['id']}")).json() == made
    assert (await send(client, b"Mine", name="salaries.md")).json()["id"] == made["id"]
    assert kept(store) == ["doomed", "ready", "ready"]  # nothing of the one that was refused


# ---- taking out, and in anew ----


async def test_uploaded_document_that_is_deleted_is_gone(client: httpx.AsyncClient, store: MemoryStore) -> None:
    made = await send_ok(client)
    answer = await client.delete(f"{DOCUMENTS}/{made['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert await listed(client) == []
    assert kept(store) == ["doomed"]
    assert (await client.delete(f"{DOCUMENTS}/{made['id']}")).status_code == 404
    assert (await send_ok(client))["id"] != made["id"]


async def test_deleted_document_of_another_source_stays_out_until_it_is_taken_in_anew(
    client: httpx.AsyncClient, stores: KnowledgeStores, store: MemoryStore
) -> None:
    base = await stores.begin()
    index = await stores.publish(await stores.open_index(base))
    document_id: DocumentId = await stores.put(index, "a.md", "One")
    url = f"{DOCUMENTS}/{document_id}"
    assert (await client.delete(url)).status_code == 204
    told = (await client.get(url)).json()
    assert (told["state"], told["chunks"], told["characters"]) == ("excluded", 0, 0)
    assert (await client.get(f"{url}/chunks")).json()["items"] == []
    assert store.knowledge.is_sync_requested(TENANT, "handbook")
    again = await client.post(f"{url}/reingest")
    assert (again.status_code, again.json()["state"]) == (202, "pending")


async def test_reingestion_asks_for_a_sync(
    client: httpx.AsyncClient, stores: KnowledgeStores, store: MemoryStore
) -> None:
    base = await stores.begin()
    index = await stores.publish(await stores.open_index(base))
    document_id = await stores.put(index, "a.md", "One")
    assert not store.knowledge.is_sync_requested(TENANT, "handbook")
    answer = await client.post(f"{DOCUMENTS}/{document_id}/reingest")
    assert (answer.status_code, answer.json()["state"], answer.json()["chunks"]) == (202, "pending", 1)
    assert store.knowledge.is_sync_requested(TENANT, "handbook")


async def test_acts_are_recorded(client: httpx.AsyncClient, store: MemoryStore) -> None:
    made = await send_ok(client)
    await client.post(f"{DOCUMENTS}/{made['id']}/reingest")
    await client.delete(f"{DOCUMENTS}/{made['id']}")
    await client.delete(f"{DOCUMENTS}/{made['id']}")
    await send(client, b"")
    headers = {"Authorization": f"Bearer {put_key(store, scopes=frozenset({Scope.ADMIN}))}"}
    acts = (await client.get("/v1/audit-log", headers=headers)).json()["items"]
    targets = {"knowledgeBase": "handbook", "documentId": made["id"]}
    assert [(act["operation"], act["targets"], act["status"]) for act in reversed(acts)] == [
        ("createDocument", targets, 201),
        ("reingestDocument", targets, 202),
        ("deleteDocument", targets, 204),
        ("deleteDocument", targets, 404),
        ("createDocument", {"knowledgeBase": "handbook"}, 415),
    ]
