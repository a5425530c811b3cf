"""Who gets in with a key: a table of forged and unfit ones. What each opens is in `test_permissions`."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from syntera_crds.contract.api_key import ApiKey, KeyKind, Scope
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.errors import StoreUnavailable
from syntera_runtime.models.ids import TenantId
from tests.runtime.builders import TENANT, make_stored_key, put_key, resign
from tests.runtime.fakes import FakeFailingStore

PAST = datetime.now(UTC) - timedelta(seconds=1)
KNOWN = ApiKey.generate(KeyKind.SECRET)
UNKNOWN = ApiKey.generate(KeyKind.SECRET)
FORGED = resign(f"{KNOWN.text[:-7]}{'x' if KNOWN.text[-7] != 'x' else 'y'}{KNOWN.text[-6:]}")
"""The known key with one character of its secret changed."""


async def test_answer_says_how_to_ask_when_there_is_no_key(anonymous: httpx.AsyncClient) -> None:
    answer = await anonymous.get("/v1/agents")
    assert (answer.status_code, answer.json()["code"]) == (401, "credentials-missing")
    assert answer.headers["www-authenticate"] == 'Bearer realm="syntera"'


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "credentials-malformed"),
        ("Bearer", "credentials-malformed"),
        ("Bearer ", "credentials-malformed"),
        ("Basic {known}", "credentials-malformed"),
        ("{known}", "credentials-malformed"),
        ("Bearer syn_sk_", "credentials-malformed"),
        ("Bearer " + "A" * 100_000, "credentials-malformed"),
        ("Bearer {cut_short}", "credentials-malformed"),
        ("Bearer {known}0", "credentials-malformed"),
        ("Bearer {known} {known}", "credentials-malformed"),
        ("Bearer {with_a_strange_character}", "credentials-malformed"),
        ("Bearer {of_an_unknown_kind}", "credentials-malformed"),
        ("Bearer {in_the_other_case}", "credentials-malformed"),
        ("Bearer {forged}", "key-unknown"),
        ("Bearer {unknown}", "key-unknown"),
    ],
)
async def test_forged_key_is_refused(anonymous: httpx.AsyncClient, store: MemoryStore, header: str, code: str) -> None:
    store.put_api_key(TENANT, make_stored_key(KNOWN))
    filled = header.format(
        known=KNOWN.text,
        cut_short=KNOWN.text[:-1],
        forged=FORGED,
        unknown=UNKNOWN.text,
        with_a_strange_character=f"{KNOWN.text[:-7]}~{KNOWN.text[-6:]}",
        of_an_unknown_kind=KNOWN.text.replace("sk", "xk", 1),
        in_the_other_case=KNOWN.text.swapcase(),
    )
    answer = await anonymous.get("/v1/agents", headers={"Authorization": filled})
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
