"""Keys through the API, for the tenant's administrators."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from syntera_crds.contract.api_key import ApiKey, KeyKind, Scope
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.api.app import build_public_app
from tests.runtime.builders import make_services, put_key
from tests.runtime.fakes import FakeSigningKey

SECRET: dict[str, Any] = {"kind": "sk", "name": "the shop's server", "scopes": ["chat"]}
PUBLISHABLE: dict[str, Any] = {"kind": "pk", "name": "the shop's pages", "agents": ["travel"]}


@pytest.fixture
def signing_key() -> FakeSigningKey:
    """The tenant's signing key."""
    return FakeSigningKey()


@pytest.fixture
async def admin(store: MemoryStore, signing_key: FakeSigningKey) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the operator's key."""
    key = put_key(store, scopes=frozenset({Scope.ADMIN}))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=build_public_app(make_services(store, signing_key=signing_key))),
        base_url="http://runtime",
        headers={"Authorization": f"Bearer {key}"},
    ) as client:
        yield client


async def create(admin: httpx.AsyncClient, wanted: dict[str, Any] = SECRET, **changes: Any) -> dict[str, Any]:
    answer = await admin.post("/v1/api-keys", json={**wanted, **changes})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_secret_key_works_as_soon_as_it_is_made(admin: httpx.AsyncClient) -> None:
    made = await create(admin)
    key = ApiKey.parse(made["key"])
    assert key is not None
    operators = (await admin.get("/v1/api-keys")).json()["items"][0]
    assert made == {
        "id": made["id"],
        "kind": "sk",
        "name": "the shop's server",
        "prefix": made["key"][:15],
        "scopes": ["chat"],
        "agents": None,
        "allowedOrigins": [],
        "madeBy": "tenant",
        "createdBy": f"key:{operators['id']}",
        "createdAt": made["createdAt"],
        "expiresAt": None,
        "revokedAt": None,
        "lastUsedAt": None,
        "key": key.text,
    }
    answer = await admin.get("/v1/agents", headers={"Authorization": f"Bearer {made['key']}"})
    assert answer.status_code == 200


async def test_publishable_key_is_bound_to_agents_and_origins(admin: httpx.AsyncClient) -> None:
    made = await create(admin, PUBLISHABLE, allowedOrigins=["https://shop.example"])
    assert made["key"].startswith("syn_pk_")
    assert (made["scopes"], made["agents"], made["allowedOrigins"]) == ([], ["travel"], ["https://shop.example"])


async def test_key_is_shown_once(admin: httpx.AsyncClient) -> None:
    made = await create(admin)
    listed = await admin.get("/v1/api-keys")
    assert made["key"] not in listed.text
    assert made["key"][15:-6] not in listed.text
    assert {"id": made["id"]}.items() <= listed.json()["items"][-1].items()


async def test_keys_come_in_pages(admin: httpx.AsyncClient) -> None:
    made = [await create(admin, name=str(number)) for number in range(3)]
    first = (await admin.get("/v1/api-keys", params={"limit": 3})).json()
    second = (await admin.get("/v1/api-keys", params={"limit": 3, "cursor": first["nextCursor"]})).json()
    ids = {item["id"] for item in [*first["items"], *second["items"]]}
    assert len(first["items"]) == 3
    assert second["nextCursor"] is None
    assert ids > {key["id"] for key in made}
    assert len(ids) == 4


async def test_expired_key_is_refused(admin: httpx.AsyncClient, store: MemoryStore) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=5)
    made = await create(admin, expiresAt=soon.isoformat())
    assert datetime.fromisoformat(made["expiresAt"]) == soon
    headers = {"Authorization": f"Bearer {made['key']}"}
    while (answer := await admin.get("/v1/agents", headers=headers)).status_code == 200:
        assert datetime.now(UTC) < soon + timedelta(seconds=20)
        await asyncio.sleep(0.05)
    assert answer.json()["code"] == "key-expired"


async def test_expiry_is_told_in_utc(admin: httpx.AsyncClient) -> None:
    made = await create(admin, expiresAt="2120-01-01T02:00:00+02:00")
    assert made["expiresAt"] == "2120-01-01T00:00:00Z"


async def test_revoked_key_is_refused_at_once_and_stays_in_the_list(admin: httpx.AsyncClient) -> None:
    made = await create(admin)
    headers = {"Authorization": f"Bearer {made['key']}"}
    assert (await admin.get("/v1/agents", headers=headers)).status_code == 200
    for _ in range(2):
        answer = await admin.delete(f"/v1/api-keys/{made['id']}")
        assert (answer.status_code, answer.content) == (204, b"")
    answer = await admin.get("/v1/agents", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "key-revoked")
    assert (await admin.get("/v1/api-keys")).json()["items"][-1]["revokedAt"] is not None


async def test_key_of_the_operator_cannot_be_revoked(admin: httpx.AsyncClient) -> None:
    operators = (await admin.get("/v1/api-keys")).json()["items"][0]
    answer = await admin.delete(f"/v1/api-keys/{operators['id']}")
    assert (answer.status_code, answer.json()["code"]) == (403, "api-key-protected")
    assert (await admin.get("/v1/api-keys")).status_code == 200


async def test_unknown_key_is_a_problem(admin: httpx.AsyncClient) -> None:
    for answer in (
        await admin.delete(f"/v1/api-keys/{uuid4()}"),
        await admin.get(f"/v1/api-keys/{uuid4()}/identity-secret"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "api-key-not-found")


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ({}, "body"),
        ({"kind": "xk"}, "body"),
        ({**SECRET, "scopes": []}, "body.scopes"),
        ({**SECRET, "scopes": ["everything"]}, "body.scopes[0]"),
        ({**SECRET, "agents": ["travel"]}, "body.agents"),
        ({**SECRET, "name": ""}, "body.name"),
        ({**SECRET, "name": " "}, "body.name"),
        ({**SECRET, "name": "a\u0000b"}, "body.name"),
        ({**SECRET, "name": "a\nb"}, "body.name"),
        ({**SECRET, "name": "x" * 101}, "body.name"),
        ({**SECRET, "madeBy": "operator"}, "body.madeBy"),
        ({**SECRET, "expiresAt": "2020-01-01T00:00:00Z"}, "body.expiresAt"),
        ({**SECRET, "expiresAt": "2120-01-01T00:00:00"}, "body.expiresAt"),
        ({**SECRET, "expiresAt": 4_000_000_000}, "body.expiresAt"),
        ({**SECRET, "expiresAt": "tomorrow"}, "body.expiresAt"),
        ({**SECRET, "expiresAt": "9999-12-31T23:59:59-12:00"}, "body.expiresAt"),
        ({**PUBLISHABLE, "agents": []}, "body.agents"),
        ({"kind": "pk", "name": "x"}, "body.agents"),
        ({**PUBLISHABLE, "agents": ["Travel"]}, "body.agents[0]"),
        ({**PUBLISHABLE, "scopes": ["admin"]}, "body.scopes"),
        ({**PUBLISHABLE, "allowedOrigins": ["*"]}, "body.allowedOrigins[0]"),
        ({**PUBLISHABLE, "allowedOrigins": ["null"]}, "body.allowedOrigins[0]"),
        ({**PUBLISHABLE, "allowedOrigins": ["https://*.example"]}, "body.allowedOrigins[0]"),
        ({**PUBLISHABLE, "allowedOrigins": ["https://shop.example/"]}, "body.allowedOrigins[0]"),
        ({**PUBLISHABLE, "allowedOrigins": ["https://Shop.example"]}, "body.allowedOrigins[0]"),
        ({**PUBLISHABLE, "allowedOrigins": ["https://user@shop.example"]}, "body.allowedOrigins[0]"),
        ({**PUBLISHABLE, "allowedOrigins": ["shop.example"]}, "body.allowedOrigins[0]"),
        ({**PUBLISHABLE, "allowedOrigins": ["http://shop.example"]}, "body.allowedOrigins[0]"),
        ({**PUBLISHABLE, "allowedOrigins": ["https://shop.example:443"]}, "body.allowedOrigins[0]"),
        ({**PUBLISHABLE, "allowedOrigins": ["https://shop.example:65536"]}, "body.allowedOrigins[0]"),
        ({**PUBLISHABLE, "allowedOrigins": ["https://shop.example\n"]}, "body.allowedOrigins[0]"),
    ],
)
async def test_key_that_cannot_be_is_refused_with_the_place(
    admin: httpx.AsyncClient, wanted: dict[str, Any], path: str
) -> None:
    answer = await admin.post("/v1/api-keys", json=wanted)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["path"] == path
    assert len((await admin.get("/v1/api-keys")).json()["items"]) == 1


@pytest.mark.parametrize(
    "origin", ["https://shop.example", "http://localhost:5173", "https://shop.example:65535", "https://a-b.c.example"]
)
async def test_origin_is_taken_as_browsers_write_it(admin: httpx.AsyncClient, origin: str) -> None:
    assert (await create(admin, PUBLISHABLE, allowedOrigins=[origin]))["allowedOrigins"] == [origin]


async def test_identity_secret_is_the_same_each_time_and_differs_from_key_to_key(admin: httpx.AsyncClient) -> None:
    keys = [await create(admin, PUBLISHABLE) for _ in range(2)]
    paths = [f"/v1/api-keys/{key['id']}/identity-secret" for key in (keys[0], keys[0], keys[1])]
    first, again, other = [(await admin.get(path)).json()["secret"] for path in paths]
    assert first == again != other
    assert len(first) == 64


async def test_secret_key_has_no_identity_secret(admin: httpx.AsyncClient) -> None:
    made = await create(admin)
    answer = await admin.get(f"/v1/api-keys/{made['id']}/identity-secret")
    assert (answer.status_code, answer.json()["code"]) == (404, "api-key-not-found")


async def test_identity_secret_needs_the_signing_key(admin: httpx.AsyncClient, signing_key: FakeSigningKey) -> None:
    made = await create(admin, PUBLISHABLE)
    signing_key.value = None
    answer = await admin.get(f"/v1/api-keys/{made['id']}/identity-secret")
    assert (answer.status_code, answer.json()["code"]) == (503, "signing-key-missing")


def test_kinds_of_the_input_are_those_that_there_are() -> None:
    assert {SECRET["kind"], PUBLISHABLE["kind"]} == set(KeyKind)
