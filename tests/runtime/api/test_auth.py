"""Who gets in: a table of forged and unfit keys, and which scope opens what."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from syntera_crds.contract.api_key import ApiKey, KeyKind, Scope
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.errors import StoreUnavailable
from syntera_runtime.models import TenantId
from tests.runtime.builders import TENANT, make_stored_key, put_key, resign
from tests.runtime.fakes import FakeFailingStore

OPERATIONS = [
    ("GET", "/v1/agents"),
    ("GET", "/v1/agents/travel"),
    ("POST", "/v1/agents/travel/conversations"),
    ("GET", "/v1/conversations/01890a5d-ac96-774b-bcce-b302099a8057"),
    ("GET", "/v1/conversations/01890a5d-ac96-774b-bcce-b302099a8057/messages"),
    ("POST", "/v1/conversations/01890a5d-ac96-774b-bcce-b302099a8057/messages"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/travel"),
    ("POST", "/v1/chat/completions"),
]
READING_AGENTS = {"/v1/agents", "/v1/agents/travel", "/v1/models", "/v1/models/travel"}
PAST = datetime.now(UTC) - timedelta(seconds=1)
KNOWN = ApiKey.generate(KeyKind.SECRET)
FORGED = resign(f"{KNOWN.text[:-7]}{'x' if KNOWN.text[-7] != 'x' else 'y'}{KNOWN.text[-6:]}")
"""The known key with one character of its secret changed."""


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_every_operation_is_closed_without_a_key(anonymous: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await anonymous.request(method, path, content=b"not even JSON")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="syntera"'


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "credentials-malformed"),
        ("Bearer", "credentials-malformed"),
        ("Bearer ", "credentials-malformed"),
        (f"Basic {KNOWN.text}", "credentials-malformed"),
        (KNOWN.text, "credentials-malformed"),
        ("Bearer syn_sk_", "credentials-malformed"),
        ("Bearer " + "A" * 100_000, "credentials-malformed"),
        (f"Bearer {KNOWN.text[:-1]}", "credentials-malformed"),
        (f"Bearer {KNOWN.text}0", "credentials-malformed"),
        (f"Bearer {KNOWN.text} {KNOWN.text}", "credentials-malformed"),
        (f"Bearer {KNOWN.text[:-7]}~{KNOWN.text[-6:]}", "credentials-malformed"),
        (f"Bearer {KNOWN.text.replace('sk', 'xk', 1)}", "credentials-malformed"),
        (f"Bearer {KNOWN.text.swapcase()}", "credentials-malformed"),
        (f"Bearer {FORGED}", "key-unknown"),
        (f"Bearer {ApiKey.generate(KeyKind.SECRET).text}", "key-unknown"),
    ],
)
async def test_forged_key_is_refused(anonymous: httpx.AsyncClient, store: MemoryStore, header: str, code: str) -> None:
    store.put_api_key(TENANT, make_stored_key(KNOWN))
    answer = await anonymous.get("/v1/agents", headers={"Authorization": header})
    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize(
    ("stored", "status", "code"),
    [
        ({"expires_at": PAST}, 401, "key-expired"),
        ({"revoked_at": PAST}, 401, "key-revoked"),
        ({"revoked_at": PAST, "expires_at": PAST}, 401, "key-revoked"),
        ({"hash": b"\0" * 32}, 401, "key-unknown"),
        ({"scopes": frozenset()}, 403, "scope-missing"),
        ({"scopes": frozenset({"chats", "Admin", "agents:write"})}, 403, "scope-missing"),
    ],
)
async def test_unfit_key_is_refused(
    anonymous: httpx.AsyncClient, store: MemoryStore, stored: dict[str, Any], status: int, code: str
) -> None:
    key = put_key(store, **stored)
    answer = await anonymous.get("/v1/agents", headers={"Authorization": f"Bearer {key}"})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_publishable_key_is_refused_with_what_to_do(anonymous: httpx.AsyncClient) -> None:
    key = ApiKey.generate(KeyKind.PUBLISHABLE)
    answer = await anonymous.get("/v1/agents", headers={"Authorization": f"Bearer {key.text}"})
    assert (answer.status_code, answer.json()["code"]) == (403, "publishable-key-refused")
    assert "secret key" in answer.json()["detail"]


async def test_key_of_another_tenant_is_unknown(anonymous: httpx.AsyncClient, store: MemoryStore) -> None:
    key = put_key(store, TenantId(make_stored_key(KNOWN).id))
    answer = await anonymous.get("/v1/agents", headers={"Authorization": f"Bearer {key}"})
    assert answer.json()["code"] == "key-unknown"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_scheme_is_read_without_regard_to_case(
    anonymous: httpx.AsyncClient, store: MemoryStore, scheme: str
) -> None:
    answer = await anonymous.get("/v1/agents", headers={"Authorization": f"{scheme} {put_key(store)}"})
    assert answer.status_code == 200


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
@pytest.mark.parametrize("scope", [*Scope])
async def test_scope_opens_only_what_it_is_for(
    anonymous: httpx.AsyncClient, store: MemoryStore, method: str, path: str, scope: Scope
) -> None:
    key = put_key(store, scopes=frozenset({scope}))
    bodies: dict[str, Any] = {
        "completions": {"model": "travel", "messages": [{"role": "user", "content": "Hi"}]},
        "messages": {"content": "Hi"},
        "conversations": {},
    }
    body = bodies[path.rpartition("/")[2]] if method == "POST" else None
    answer = await anonymous.request(method, path, headers={"Authorization": f"Bearer {key}"}, json=body)
    is_open = scope is not Scope.AGENTS_READ or path in READING_AGENTS
    assert (answer.status_code != 403) == is_open
    assert answer.status_code not in (401, 500)


async def test_missing_scope_is_named(anonymous: httpx.AsyncClient, store: MemoryStore) -> None:
    key = put_key(store, scopes=frozenset({Scope.AGENTS_READ}))
    answer = await anonymous.post("/v1/agents/travel/conversations", headers={"Authorization": f"Bearer {key}"})
    assert "'chat'" in answer.json()["detail"]
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


class TestStoreIsAway:
    """Without PostgreSQL no unknown key can be checked."""

    @pytest.fixture
    def store(self) -> FakeFailingStore:
        """A store that can be told to be away."""
        return FakeFailingStore()

    async def test_answer_names_the_store(self, client: httpx.AsyncClient, store: FakeFailingStore) -> None:
        store.fail("find_api_key", StoreUnavailable(store="PostgreSQL"))
        answer = await client.get("/v1/agents")
        assert answer.status_code == 503
        assert (answer.json()["code"], answer.json()["store"]) == ("store-unavailable", "PostgreSQL")
        assert answer.json()["retryable"] is True
        assert (await client.get("/v1/agents")).status_code == 200
