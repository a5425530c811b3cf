"""Files over HTTP: sent as they are, told by their bytes, handed out so that no browser runs them, and attached."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from syntera_crds.contract.agent_config import Access
from syntera_crds.contract.tenant_config import FilesConfig, TenantConfig
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.adapters.memory_files import MemoryBlobs
from syntera_runtime.api.app import build_public_app
from syntera_runtime.errors import StoreUnavailable
from syntera_runtime.ids import new_id
from syntera_runtime.models.files import Storage
from syntera_runtime.models.ids import FileId, TenantId
from syntera_runtime.services import Services
from tests.runtime.builders import TENANT, make_agent, make_services, put_key, put_publishable_key
from tests.runtime.fakes import FakeCatalogue, FakeChatModels
from tests.runtime.files.samples import PDF, make_png
from tests.runtime.sockets import serving_sockets

PNG = make_png()


class FakeAwayBlobs(MemoryBlobs):
    """A store of bytes that is away."""

    is_away = True

    async def read(self, tenant_id: TenantId, file_id: FileId) -> AsyncGenerator[bytes, None]:
        """See `BlobStore`."""
        if self.is_away:
            raise StoreUnavailable(store="S3")
        yield b""


MESSAGE = "/v1/conversations/{}/messages"


async def send(
    client: httpx.AsyncClient, content: bytes = PNG, name: str = "beach.png", headers: dict[str, str] | None = None
) -> httpx.Response:
    return await client.post("/v1/files", params={"name": name}, content=content, headers=headers)


async def send_ok(client: httpx.AsyncClient, content: bytes = PNG, name: str = "beach.png") -> dict[str, Any]:
    answer = await send(client, content, name)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def start(client: httpx.AsyncClient) -> str:
    conversation_id: str = (await client.post("/v1/agents/travel/conversations")).json()["id"]
    return conversation_id


async def say(client: httpx.AsyncClient, conversation_id: str, *file_ids: str, text: str = "See") -> httpx.Response:
    body = {"content": text, "attachments": [{"fileId": file_id} for file_id in file_ids]}
    return await client.post(MESSAGE.format(conversation_id), json=body)


async def visitor(client: httpx.AsyncClient, store: MemoryStore, agents: FakeCatalogue) -> dict[str, str]:
    """The headers of a new visitor."""
    agents.put(make_agent(access=Access.PUBLIC))
    key = {"Authorization": f"Bearer {put_publishable_key(store)}"}
    token = (await client.post("/v1/visitor-tokens", headers=key)).json()["visitorToken"]
    return {"Authorization": f"Bearer {token}"}


async def test_file_is_kept_as_it_was_sent(client: httpx.AsyncClient) -> None:
    made = await send_ok(client, name="../Süd\n.png")
    assert made == {
        "id": made["id"],
        "name": "Süd.png",
        "mediaType": "image/png",
        "bytes": len(PNG),
        "width": 3,
        "height": 4,
        "url": f"/v1/files/{made['id']}/content",
        "sha256": made["sha256"],
        "createdAt": made["createdAt"],
        "conversationId": None,
        "messageId": None,
    }
    assert (await client.get(f"/v1/files/{made['id']}")).json() == made
    answer = await client.get(made["url"])
    assert answer.content == PNG


@pytest.mark.parametrize(
    ("content", "name", "media_type", "disposition"),
    [
        (PNG, "a.html", "image/png", "inline"),
        (PDF, "a.pdf", "application/pdf", "attachment"),
        (b"<html><script>alert(1)</script>", "a.png", "text/plain; charset=utf-8", "attachment"),
    ],
)
async def test_nothing_that_is_handed_out_can_run_in_a_browser(
    client: httpx.AsyncClient, content: bytes, name: str, media_type: str, disposition: str
) -> None:
    sent = await send(client, content, name, headers={"Content-Type": "text/html"})
    made = sent.json()
    link = (await client.post(f"/v1/files/{made['id']}/links")).json()
    for url in (made["url"], link["url"]):
        answer = await client.get(url)
        assert answer.headers["content-type"] == media_type
        assert answer.headers["content-disposition"].startswith(f"{disposition}; filename=")
        assert answer.headers["content-length"] == str(len(content))
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'; sandbox"
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        (b"", (415, "file-type-refused")),
        (b"MZ\x90\0" + b"\0" * 100, (415, "file-type-refused")),
        (make_png(20_000, 1), (413, "file-too-large")),
        (b"x" * (1024 * 1024 + 1), (413, "file-too-large")),
    ],
)
async def test_file_that_is_not_taken_leaves_nothing_behind(
    client: httpx.AsyncClient, agents: FakeCatalogue, store: MemoryStore, content: bytes, refusal: tuple[int, str]
) -> None:
    agents.tenant_config = TenantConfig(name="acme", display_name="Acme", files=FilesConfig(max_megabytes=1))
    answer = await send(client, content)
    assert (answer.status_code, answer.json()["code"]) == refusal
    assert not store.files._rows(TENANT)


async def test_file_without_a_declared_length_is_bounded_while_it_comes(
    client: httpx.AsyncClient, agents: FakeCatalogue, store: MemoryStore
) -> None:
    agents.tenant_config = TenantConfig(name="acme", display_name="Acme", files=FilesConfig(max_megabytes=1))
    taken = 0

    async def endless() -> Any:
        nonlocal taken
        while True:
            taken += 1
            yield b"x" * 100_000

    answer = await client.post("/v1/files?name=x", content=endless())
    assert (answer.status_code, answer.json()["code"]) == (413, "file-too-large")
    assert not store.files._rows(TENANT)


async def test_sender_of_too_much_without_a_declared_length_gets_to_read_the_answer(
    store: MemoryStore, agents: FakeCatalogue
) -> None:
    """On a real connection: closed while the client still sends, it would be reset, and the answer with it."""
    agents.tenant_config = TenantConfig(name="acme", display_name="Acme", files=FilesConfig(max_megabytes=1))
    services = make_services(store, agents=agents)
    headers = {"Authorization": f"Bearer {put_key(store)}"}

    async def large() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b"x" * 64 * 1024

    async with serving_sockets(services) as url, httpx.AsyncClient(base_url=url, headers=headers, timeout=20) as client:
        answer = await client.post("/v1/files?name=x", content=large())
    assert (answer.status_code, answer.json()["code"]) == (413, "file-too-large")
    assert not store.files._rows(TENANT)


@pytest.mark.parametrize("query", ["", "?name=", f"?name={'a' * 256}", "?name=a%00b"])
async def test_file_needs_a_name(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.post(f"/v1/files{query}", content=PNG)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")


async def test_file_is_sent_once_by_one_key(client: httpx.AsyncClient) -> None:
    first = await send(client, headers={"Idempotency-Key": "k"})
    again = await send(client, headers={"Idempotency-Key": "k"})
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    other = await send(client, name="other.png", headers={"Idempotency-Key": "k"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")


@pytest.mark.parametrize("is_whole", [True, False])
async def test_file_that_is_sent_twice_at_once_by_one_key_is_there_once(
    client: httpx.AsyncClient, store: MemoryStore, is_whole: bool
) -> None:
    headers = {"Idempotency-Key": "k"}
    second: list[httpx.Response] = []
    gone = asyncio.Event()

    async def first() -> AsyncIterator[bytes]:
        yield PNG
        if is_whole:
            second.append(await send(client, headers=headers))
        else:
            later = asyncio.create_task(client.post("/v1/files?name=beach.png", content=stuck(), headers=headers))
            await gone.wait()
            later.cancel()

    async def stuck() -> AsyncIterator[bytes]:
        yield PNG
        gone.set()
        await asyncio.Event().wait()

    answer = await client.post("/v1/files?name=beach.png", content=first(), headers=headers)
    if is_whole:
        assert (answer.status_code, answer.json()) == (201, second[0].json())
        assert answer.headers["idempotency-replayed"] == "true"
    else:
        assert (answer.status_code, answer.json()["code"], answer.json()["retryable"]) == (409, "file-overtaken", True)
    assert len([row for row in store.files._rows(TENANT).values() if row.state == "ready"]) == is_whole


async def test_deleted_file_is_gone(client: httpx.AsyncClient) -> None:
    made = await send_ok(client)
    link = (await client.post(f"/v1/files/{made['id']}/links")).json()["url"]
    assert (await client.delete(f"/v1/files/{made['id']}")).status_code == 204
    for method, path in (("GET", ""), ("GET", "/content"), ("POST", "/links"), ("DELETE", "")):
        answer = await client.request(method, f"/v1/files/{made['id']}{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "file-not-found")
    assert (await client.get(link)).json()["code"] == "file-not-found"


async def test_files_of_a_visitor_are_there_for_nobody_else(
    client: httpx.AsyncClient, store: MemoryStore, agents: FakeCatalogue
) -> None:
    anna, bert = await visitor(client, store, agents), await visitor(client, store, agents)
    made = (await send(client, headers=anna)).json()
    for method, path in (("GET", ""), ("GET", "/content"), ("POST", "/links"), ("DELETE", "")):
        answer = await client.request(method, f"/v1/files/{made['id']}{path}", headers=bert)
        assert (answer.status_code, answer.json()["code"]) == (404, "file-not-found")
    assert (await client.get(made["url"], headers=anna)).content == PNG
    assert (await client.get(made["url"])).content == PNG  # the tenant's side sees all


async def test_link_needs_no_credentials_and_lasts_a_quarter_of_an_hour(
    client: httpx.AsyncClient, anonymous: httpx.AsyncClient
) -> None:
    made = await send_ok(client)
    shown = (await client.post(f"/v1/files/{made['id']}/links")).json()["url"]
    saved = (await client.post(f"/v1/files/{made['id']}/links", json={"disposition": "attachment"})).json()["url"]
    del anonymous.headers["Authorization"]
    for url, disposition in ((shown, "inline"), (saved, "attachment")):
        answer = await anonymous.get(url)
        assert answer.content == PNG
        assert answer.headers["content-disposition"].startswith(disposition)
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    parts = urlsplit(shown)
    for forged in (
        shown.replace("inline", "attachment"),
        shown.replace(made["id"], str(new_id())),
        shown + "&x=1",
        shown.replace("expires=", "expires=9"),
        parts.path,
        f"{parts.path}?disposition=inline&expires=x&signature=y",
        f"/v1/files/{made['id']}/links",
    ):
        answer = await anonymous.request("POST" if forged.endswith("/links") else "GET", forged)
        assert answer.status_code in (401, 403)


async def test_link_that_has_ended_says_so(client: httpx.AsyncClient, services: Any) -> None:
    made = await send_ok(client)
    link = (await client.post(f"/v1/files/{made['id']}/links")).json()["url"]
    now = services.file_links._now
    services.file_links._now = lambda: now() + timedelta(minutes=15).total_seconds()
    answer = await client.get(link)
    assert (answer.status_code, answer.json()["code"]) == (403, "link-expired")


async def test_file_that_does_not_come_is_given_up(store: MemoryStore) -> None:
    services = make_services(store, body_seconds=0.2)
    transport = httpx.ASGITransport(app=build_public_app(services))
    headers = {"Authorization": f"Bearer {put_key(store)}"}

    async def stuck() -> AsyncIterator[bytes]:
        yield PNG
        await asyncio.Event().wait()

    async with httpx.AsyncClient(transport=transport, base_url="http://runtime", headers=headers) as client:
        answer = await client.post("/v1/files?name=x", content=stuck())
    assert (answer.status_code, answer.json()["code"]) == (408, "request-timeout")
    assert not store.files._rows(TENANT)


async def test_store_that_is_away_has_its_own_status_before_anything_is_handed_out(
    client: httpx.AsyncClient, services: Services
) -> None:
    made = await send_ok(client)
    services.files._blobs = {storage: FakeAwayBlobs() for storage in Storage}
    for url in (made["url"], (await client.post(f"/v1/files/{made['id']}/links")).json()["url"]):
        answer = await client.get(url)
        assert (answer.status_code, answer.json()["store"]) == (503, "S3")


# ---- messages ----


async def test_message_shows_its_files_wherever_it_stands(client: httpx.AsyncClient) -> None:
    conversation_id = await start(client)
    picture, document = await send_ok(client), await send_ok(client, PDF, "terms.pdf")
    answer = await say(client, conversation_id, picture["id"], document["id"])
    assert answer.status_code == 200, answer.text
    sent = answer.json()["userMessage"]
    shown = ("id", "name", "mediaType", "bytes", "width", "height", "url")
    assert sent["content"] == "See"
    assert sent["parts"] == [
        {"type": "text", "text": "See"},
        {"type": "image", "file": {key: picture[key] for key in shown}},
        {"type": "file", "file": {key: document[key] for key in shown}},
    ]
    listed = (await client.get(MESSAGE.format(conversation_id))).json()["items"]
    assert listed[0] == sent
    assert listed[1]["parts"] == [{"type": "text", "text": "Hello world"}]
    exported = (await client.get(f"/v1/conversations/{conversation_id}/export")).json()
    assert exported["messages"][0] == sent
    markdown = await client.get(f"/v1/conversations/{conversation_id}/export", params={"format": "markdown"})
    assert f"> See\n> [beach.png (image/png, {len(PNG)} bytes)]\n> [terms.pdf (application/pdf" in markdown.text
    told = (await client.get(f"/v1/files/{picture['id']}")).json()
    assert (told["conversationId"], told["messageId"]) == (conversation_id, sent["id"])


async def test_repeated_message_with_files_is_taken_once(client: httpx.AsyncClient, models: FakeChatModels) -> None:
    conversation_id = await start(client)
    file, other = await send_ok(client), await send_ok(client)
    body = {"content": "See", "attachments": [{"fileId": file["id"]}]}
    key = {"Idempotency-Key": "k"}
    first = await client.post(MESSAGE.format(conversation_id), json=body, headers=key)
    again = await client.post(MESSAGE.format(conversation_id), json=body, headers=key)
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
    assert len(models.asked) == 1
    for attachments in ([], [{"fileId": other["id"]}]):
        changed = await client.post(
            MESSAGE.format(conversation_id), json={"content": "See", "attachments": attachments}, headers=key
        )
        assert changed.json()["code"] == "idempotency-key-reused"


async def test_streamed_message_tells_its_parts(client: httpx.AsyncClient) -> None:
    conversation_id, file = await start(client), await send_ok(client)
    body = {"attachments": [{"fileId": file["id"]}]}
    answer = await client.post(MESSAGE.format(conversation_id), json=body, headers={"Accept": "text/event-stream"})
    begun = answer.text.split("\n\n")[0]
    assert '"parts":[{"type":"image","file":{' in begun
    assert '"content":""' in begun


async def test_attached_file_goes_with_its_conversation_and_not_before(client: httpx.AsyncClient) -> None:
    conversation_id, file = await start(client), await send_ok(client)
    await say(client, conversation_id, file["id"])
    refused = await client.delete(f"/v1/files/{file['id']}")
    assert (refused.status_code, refused.json()["code"]) == (409, "file-attached")
    again = await say(client, conversation_id, file["id"])
    assert (again.status_code, again.json()["code"]) == (409, "file-attached")
    await client.delete(f"/v1/conversations/{conversation_id}")
    assert (await client.get(file["url"])).status_code == 404


async def test_file_of_somebody_else_cannot_be_attached(
    client: httpx.AsyncClient, store: MemoryStore, agents: FakeCatalogue
) -> None:
    anna, bert = await visitor(client, store, agents), await visitor(client, store, agents)
    file = (await send(client, headers=anna)).json()
    conversation_id = (await client.post("/v1/agents/travel/conversations", headers=bert)).json()["id"]
    body = {"content": "See", "attachments": [{"fileId": file["id"]}]}
    answer = await client.post(MESSAGE.format(conversation_id), json=body, headers=bert)
    assert (answer.status_code, answer.json()["code"]) == (404, "file-not-found")
    assert (await client.get(MESSAGE.format(conversation_id), headers=bert)).json()["items"] == []


@pytest.mark.parametrize(
    ("attachments", "path"),
    [
        ([{"fileId": "x"}], "body.attachments[0].fileId"),
        ([{}], "body.attachments[0].fileId"),
        ([{"fileId": str(new_id())}] * 2, "body.attachments"),
        ([{"fileId": str(new_id())} for _ in range(11)], "body.attachments"),
        ([{"fileId": str(new_id()), "url": "http://evil.example"}], "body.attachments[0].url"),
    ],
)
async def test_unfit_attachments_are_refused_with_the_place(
    client: httpx.AsyncClient, attachments: list[dict[str, str]], path: str
) -> None:
    body = {"content": "See", "attachments": attachments}
    answer = await client.post(MESSAGE.format(new_id()), json=body)
    assert answer.status_code == 400
    assert path in [fault["path"] for fault in answer.json()["errors"]]
