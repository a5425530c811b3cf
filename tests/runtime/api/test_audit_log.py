"""The record of administrative acts: what is in it, what is not, and that nothing is done without it."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from syntera_crds.contract.api_key import Scope
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.adapters.memory_audit import MemoryAuditLog
from syntera_runtime.api.app import build_public_app
from syntera_runtime.errors import StoreUnavailable
from tests.runtime.builders import make_services, put_key

SOME_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
NEW_KEY = {"kind": "sk", "name": "ci", "scopes": ["chat"]}


class FakeAbsentAuditLog(MemoryAuditLog):
    """A record that is away for as long as a test says."""

    is_away_at_begin = False
    is_away_at_end = False

    async def begin_act(self, *args: Any, **options: Any) -> None:
        """See `AuditLog`."""
        if self.is_away_at_begin:
            raise StoreUnavailable(store="PostgreSQL")
        await super().begin_act(*args, **options)

    async def end_act(self, *args: Any, **options: Any) -> None:
        """See `AuditLog`."""
        if self.is_away_at_end:
            raise StoreUnavailable(store="PostgreSQL")
        await super().end_act(*args, **options)


@pytest.fixture
def audit() -> FakeAbsentAuditLog:
    """The record."""
    return FakeAbsentAuditLog()


@pytest.fixture
async def administrator(store: MemoryStore, audit: FakeAbsentAuditLog) -> AsyncIterator[httpx.AsyncClient]:
    """A client that may do everything."""
    services = make_services(store, audit=audit)
    transport = httpx.ASGITransport(app=build_public_app(services), raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {put_key(store, scopes=frozenset({Scope.ADMIN}))}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://runtime", headers=headers) as client:
        yield client
    await services.runner.aclose()


async def recorded(client: httpx.AsyncClient, **query: str) -> list[dict[str, Any]]:
    answer = await client.get("/v1/audit-log", params=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_record_says_who_made_and_revoked_a_key(administrator: httpx.AsyncClient) -> None:
    key_id = (await administrator.post("/v1/api-keys", json=NEW_KEY)).json()["id"]
    revoked = await administrator.delete(f"/v1/api-keys/{key_id}", headers={"X-Request-Id": "mine"})
    assert revoked.status_code == 204
    newest, oldest = await recorded(administrator)
    assert (newest["operation"], newest["status"], newest["requestId"]) == ("revokeApiKey", 204, "mine")
    assert (oldest["operation"], oldest["status"]) == ("createApiKey", 201)
    assert newest["targets"] == oldest["targets"] == {"apiKeyId": key_id}
    assert newest["subject"].startswith("key:")
    assert newest["address"] == "127.0.0.1"


async def test_new_webhook_is_named(administrator: httpx.AsyncClient) -> None:
    made = await administrator.post("/v1/webhooks", json={"url": "https://hooks.acme.example/"})
    [act] = await recorded(administrator, operation="createWebhook")
    assert (act["status"], act["targets"]) == (201, {"webhookId": made.json()["id"]})


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/api-keys", {"kind": "sk"}, 400),
        ("POST", "/v1/api-keys", b"no JSON", 400),
        ("DELETE", f"/v1/api-keys/{SOME_ID}", None, 404),
        ("DELETE", "/v1/api-keys/%00%0a", None, 400),
        ("DELETE", f"/v1/conversations/{SOME_ID}", None, 404),
        ("GET", f"/v1/conversations/{SOME_ID}/export", None, 404),
    ],
)
async def test_attempts_are_recorded_with_their_status(
    administrator: httpx.AsyncClient, method: str, path: str, body: Any, status: int
) -> None:
    content = {"content": body} if isinstance(body, bytes) else {"json": body}
    headers = {"Content-Type": "application/json"}
    assert (await administrator.request(method, path, headers=headers, **content)).status_code == status
    [act] = await recorded(administrator)
    assert act["status"] == status
    assert all(target.isprintable() for target in act["targets"].values())


async def test_reading_and_talking_are_not_recorded(administrator: httpx.AsyncClient) -> None:
    assert (await administrator.post("/v1/agents/travel/conversations")).status_code == 201
    assert (await administrator.get("/v1/conversations")).status_code == 200
    assert (await administrator.get("/v1/audit-log")).status_code == 200
    assert await recorded(administrator) == []


async def test_nothing_is_done_that_cannot_be_recorded(
    administrator: httpx.AsyncClient, audit: FakeAbsentAuditLog
) -> None:
    audit.is_away_at_begin = True
    refused = await administrator.post("/v1/api-keys", json=NEW_KEY)
    assert (refused.status_code, refused.json()["code"]) == (503, "store-unavailable")
    audit.is_away_at_begin = False
    names = [key["name"] for key in (await administrator.get("/v1/api-keys")).json()["items"]]
    assert "ci" not in names


async def test_act_whose_end_cannot_be_recorded_is_done_all_the_same(
    administrator: httpx.AsyncClient, audit: FakeAbsentAuditLog
) -> None:
    audit.is_away_at_end = True
    assert (await administrator.post("/v1/api-keys", json=NEW_KEY)).status_code == 201
    [act] = await recorded(administrator)
    assert act["status"] is None


async def test_record_is_read_in_pages_and_by_filters(administrator: httpx.AsyncClient) -> None:
    for _ in range(3):
        await administrator.post("/v1/api-keys", json=NEW_KEY)
    await administrator.delete(f"/v1/api-keys/{SOME_ID}")
    page = (await administrator.get("/v1/audit-log", params={"limit": "3"})).json()
    rest = (await administrator.get("/v1/audit-log", params={"cursor": page["nextCursor"]})).json()
    assert [len(part["items"]) for part in (page, rest)] == [3, 1]
    assert rest["nextCursor"] is None
    assert len(await recorded(administrator, operation="createApiKey")) == 3
    assert len(await recorded(administrator, subject=page["items"][0]["subject"])) == 4
    assert await recorded(administrator, atBefore="2026-01-01T00:00:00Z") == []
    assert len(await recorded(administrator, atFrom="2026-01-01T00:00:00Z")) == 4


@pytest.mark.parametrize("query", [{"cursor": "x"}, {"subject": "\0"}, {"atFrom": "yesterday"}, {"who": "me"}])
async def test_senseless_queries_are_refused(administrator: httpx.AsyncClient, query: dict[str, str]) -> None:
    answer = await administrator.get("/v1/audit-log", params=query)
    assert answer.status_code == 400, answer.text
