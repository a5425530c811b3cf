"""Webhooks through the API."""

import base64
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from syntera_crds.contract.api_key import Scope
from syntera_crds.contract.tenant_config import Egress, TenantConfig
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.models.ids import WebhookId
from syntera_runtime.models.outbox import EventType
from syntera_runtime.models.webhooks import DeliveryState, SendResult, Verdict
from syntera_runtime.webhooks.management import MOST_WEBHOOKS
from tests.runtime.builders import TENANT, put_key
from tests.runtime.fakes import FakeCatalogue

URL = "https://hooks.acme.example/syntera"
UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture
def client(anonymous: httpx.AsyncClient, store: MemoryStore) -> httpx.AsyncClient:
    """An administrator."""
    anonymous.headers["Authorization"] = f"Bearer {put_key(store, scopes=frozenset({Scope.ADMIN}))}"
    return anonymous


async def make(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post("/v1/webhooks", json={"url": URL, **body})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def end_all(store: MemoryStore, webhook_id: str) -> None:
    """Let everything that is due be delivered."""
    lease = timedelta(seconds=9)
    for one in await store.webhooks.claim_due(TENANT, {WebhookId(UUID(webhook_id)): 99}, lease=lease):
        verdict = Verdict(DeliveryState.DELIVERED, SendResult.answered(204))
        await store.webhooks.settle(TENANT, one, verdict, give_up=lease)


async def test_webhook_is_made_with_its_secret_and_shown_without(client: httpx.AsyncClient) -> None:
    made = await make(client, events=["message.completed"], description="Shop", thin=True)
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert made == {
        "id": made["id"],
        "url": URL,
        "events": ["message.completed"],
        "description": "Shop",
        "thin": True,
        "enabled": True,
        "disabledReason": None,
        "failingSince": None,
        "createdBy": made["createdBy"],
        "createdAt": made["createdAt"],
    }
    assert made["createdBy"].startswith("key:")
    assert (await client.get("/v1/webhooks")).json() == {"items": [made]}
    assert (await client.get(f"/v1/webhooks/{made['id']}")).json() == made
    shown = await client.get(f"/v1/webhooks/{made['id']}/secret")
    assert shown.json() == {"secret": secret, "previousUntil": None}


async def test_secrets_of_two_webhooks_differ(client: httpx.AsyncClient) -> None:
    assert (await make(client))["secret"] != (await make(client))["secret"]


async def test_rotation_gives_another_secret_and_says_how_long_the_one_before_holds(client: httpx.AsyncClient) -> None:
    made = await make(client)
    answer = await client.post(f"/v1/webhooks/{made['id']}/rotate-secret")
    assert answer.status_code == 200
    rotated = answer.json()
    assert rotated["secret"] != made["secret"]
    assert rotated["previousUntil"] is not None
    assert (await client.get(f"/v1/webhooks/{made['id']}/secret")).json() == rotated


async def test_secret_before_signs_for_a_day_whoever_rotates_again(client: httpx.AsyncClient) -> None:
    path = f"/v1/webhooks/{(await make(client))['id']}"
    rotated = (await client.post(f"{path}/rotate-secret")).json()
    answer = await client.post(f"{path}/rotate-secret")
    assert (answer.status_code, answer.json()["code"]) == (409, "secret-just-rotated")
    assert (await client.get(f"{path}/secret")).json() == rotated


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.acme.example/",
        "https://hooks.acme.example:8443/",
        "https://127.0.0.1/",
        "https://169.254.169.254/",
        "https://10.0.0.1/",
        "https://[::1]/",
        "https://2130706433/",
        "https://user@hooks.acme.example/",
        "ftp://hooks.acme.example/",
        "nonsense",
    ],
)
async def test_url_that_may_not_be_reached_is_refused_with_its_place(client: httpx.AsyncClient, url: str) -> None:
    made = await make(client)
    for answer in (
        await client.post("/v1/webhooks", json={"url": url}),
        await client.patch(f"/v1/webhooks/{made['id']}", json={"url": url}),
    ):
        assert answer.status_code == 400
        problem = answer.json()
        assert problem["code"] == "invalid-request"
        assert [error["path"] for error in problem["errors"]] == ["body.url"]
    assert (await client.get(f"/v1/webhooks/{made['id']}")).json()["url"] == URL


async def test_url_that_the_tenant_allows_is_taken(client: httpx.AsyncClient, agents: FakeCatalogue) -> None:
    egress = Egress(hosts=["crm.tools.svc"], networks=["10.1.0.0/16"])
    agents.tenant_config = TenantConfig(name="acme", display_name="Acme", egress=egress)
    for url in ("http://crm.tools.svc:8080/in", "http://10.1.2.3/", "https://hooks.acme.example/"):
        await make(client, url=url)
    assert (await client.post("/v1/webhooks", json={"url": "http://10.2.0.1/"})).status_code == 400


@pytest.mark.parametrize(
    "body",
    [{}, {"url": URL, "events": ["nonsense"]}, {"url": URL, "secret": "x"}, {"url": URL, "description": "x" * 201}],
)
async def test_body_that_is_not_valid_is_refused(client: httpx.AsyncClient, body: Any) -> None:
    assert (await client.post("/v1/webhooks", json=body)).status_code == 400


async def test_every_type_of_event_can_be_named(client: httpx.AsyncClient) -> None:
    made = await make(client, events=[type_.value for type_ in EventType])
    assert made["events"] == sorted(EventType)


async def test_change_disables_and_enables(client: httpx.AsyncClient) -> None:
    made = await make(client, events=["message.completed"])
    path = f"/v1/webhooks/{made['id']}"
    changed = (await client.patch(path, json={"enabled": False, "description": "off"})).json()
    assert (changed["enabled"], changed["disabledReason"], changed["description"]) == (False, "asked", "off")
    assert changed["events"] == ["message.completed"]
    for refused in (f"{path}/test", f"{path}/deliveries/{UNKNOWN}/redeliver"):
        answer = await client.post(refused)
        assert (answer.status_code, answer.json()["code"]) == (409, "webhook-disabled")
    changed = (await client.patch(path, json={"enabled": True, "events": []})).json()
    assert (changed["enabled"], changed["disabledReason"], changed["events"]) == (True, None, [])


async def test_webhook_that_was_deleted_is_not_there(client: httpx.AsyncClient) -> None:
    path = f"/v1/webhooks/{(await make(client))['id']}"
    assert (await client.delete(path)).status_code == 204
    for answer in (
        await client.get(path),
        await client.patch(path, json={}),
        await client.delete(path),
        await client.get(f"{path}/secret"),
        await client.post(f"{path}/rotate-secret"),
        await client.post(f"{path}/test"),
        await client.get(f"{path}/deliveries"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "webhook-not-found")


async def test_webhooks_are_bounded(client: httpx.AsyncClient) -> None:
    for _ in range(MOST_WEBHOOKS):
        await make(client)
    answer = await client.post("/v1/webhooks", json={"url": URL})
    assert (answer.status_code, answer.json()["code"]) == (409, "too-many-webhooks")


async def test_test_event_is_a_delivery_and_the_same_request_makes_one(client: httpx.AsyncClient) -> None:
    path = f"/v1/webhooks/{(await make(client, events=['message.failed']))['id']}"
    first = await client.post(f"{path}/test", headers={"Idempotency-Key": "a"})
    assert first.status_code == 202
    delivery = first.json()
    assert (delivery["type"], delivery["state"], delivery["attempts"]) == ("webhook.test", "pending", 0)
    assert (await client.post(f"{path}/test", headers={"Idempotency-Key": "a"})).json() == delivery
    other = (await client.post(f"{path}/test", headers={"Idempotency-Key": "b"})).json()
    third = (await client.post(f"{path}/test")).json()
    listed = (await client.get(f"{path}/deliveries")).json()
    assert [one["id"] for one in listed["items"]] == [third["id"], other["id"], delivery["id"]]


async def test_deliveries_come_in_pages_and_are_sent_again(client: httpx.AsyncClient, store: MemoryStore) -> None:
    made = await make(client)
    path = f"/v1/webhooks/{made['id']}/deliveries"
    ids = [(await client.post(f"/v1/webhooks/{made['id']}/test")).json()["id"] for _ in range(3)]
    page = (await client.get(path, params={"limit": 2})).json()
    rest = (await client.get(path, params={"limit": 2, "cursor": page["nextCursor"]})).json()
    assert [one["id"] for one in page["items"] + rest["items"]] == ids[::-1]
    assert rest["nextCursor"] is None
    await end_all(store, made["id"])
    ended = (await client.get(path)).json()["items"][0]
    assert (ended["state"], ended["responseStatus"], ended["nextAttemptAt"]) == ("delivered", 204, None)
    again = await client.post(f"{path}/{ids[2]}/redeliver", headers={"Idempotency-Key": "a"})
    assert again.status_code == 202
    assert (again.json()["state"], again.json()["eventId"]) == ("pending", ended["eventId"])
    await end_all(store, made["id"])
    same = await client.post(f"{path}/{ids[2]}/redeliver", headers={"Idempotency-Key": "a"})
    assert same.json()["state"] == "delivered"
    missing = await client.post(f"{path}/{UNKNOWN}/redeliver")
    assert (missing.status_code, missing.json()["code"]) == (404, "delivery-not-found")
