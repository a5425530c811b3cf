"""Keys are remembered for a few seconds, and not for longer."""

from dataclasses import replace

import pytest

from syntera_crds.contract.api_key import ApiKey, KeyKind, Scope
from syntera_runtime import identity
from syntera_runtime.errors import KeyRevoked, KeyUnknown, StoreUnavailable
from syntera_runtime.identity import Authenticator
from tests.runtime.builders import NOON, TENANT, make_stored_key, resign
from tests.runtime.conftest import Stores
from tests.runtime.fakes import FakeFailingStore


class Clock:
    """A monotonic clock that tests turn."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> FakeFailingStore:
    return FakeFailingStore()


@pytest.fixture
def authenticator(store: FakeFailingStore, clock: Clock) -> Authenticator:
    return Authenticator(store, TENANT, monotonic=clock)


async def test_principal_is_who_the_key_says(stores: Stores) -> None:
    key = ApiKey.generate(KeyKind.SECRET)
    stored = make_stored_key(key)
    await stores.put_api_key(stored)
    principal = await Authenticator(stores.api_keys, stores.tenant_id).authenticate(key.text)
    assert (principal.tenant_id, principal.key_id) == (stores.tenant_id, stored.id)
    assert principal.kind is KeyKind.SECRET
    assert principal.scopes == frozenset({str(Scope.CHAT), str(Scope.AGENTS_READ)})


async def test_store_is_asked_once_when_a_key_comes_often(
    authenticator: Authenticator, store: FakeFailingStore, clock: Clock
) -> None:
    key = ApiKey.generate(KeyKind.SECRET)
    store.put_api_key(TENANT, make_stored_key(key))
    await authenticator.authenticate(key.text)
    store.fail("find_api_key", StoreUnavailable(store="PostgreSQL"))
    clock.now += identity.TTL_SECONDS - 0.1
    await authenticator.authenticate(key.text)


async def test_revocation_takes_effect_within_five_seconds(
    authenticator: Authenticator, store: FakeFailingStore, clock: Clock
) -> None:
    key = ApiKey.generate(KeyKind.SECRET)
    stored = make_stored_key(key)
    store.put_api_key(TENANT, stored)
    await authenticator.authenticate(key.text)
    store.put_api_key(TENANT, replace(stored, revoked_at=NOON))
    clock.now += 5
    with pytest.raises(KeyRevoked):
        await authenticator.authenticate(key.text)


async def test_new_key_is_known_within_five_seconds_though_it_was_tried_before(
    authenticator: Authenticator, store: FakeFailingStore, clock: Clock
) -> None:
    key = ApiKey.generate(KeyKind.SECRET)
    with pytest.raises(KeyUnknown):
        await authenticator.authenticate(key.text)
    store.put_api_key(TENANT, make_stored_key(key))
    clock.now += 5
    await authenticator.authenticate(key.text)


async def test_forgotten_lookup_does_not_let_another_secret_in(
    authenticator: Authenticator, store: FakeFailingStore
) -> None:
    """Two keys with one lookup part: what is remembered of the right one must not open for the other."""
    key = ApiKey.generate(KeyKind.SECRET)
    store.put_api_key(TENANT, make_stored_key(key))
    await authenticator.authenticate(key.text)
    other = ApiKey(KeyKind.SECRET, key.text[:15] + ApiKey.generate(KeyKind.SECRET).text[15:])
    assert other.lookup == key.lookup
    store.put_api_key(TENANT, make_stored_key(key))
    with pytest.raises(KeyUnknown):
        await authenticator.authenticate(resign(other.text))


async def test_flood_of_invented_keys_does_not_grow_the_process(
    authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "MAX_REMEMBERED", 10)
    for _ in range(50):
        with pytest.raises(KeyUnknown):
            await authenticator.authenticate(ApiKey.generate(KeyKind.SECRET).text)
    assert authenticator.remembered == 10
