"""Keys are remembered for a few seconds, and not for longer."""

from dataclasses import replace
from uuid import uuid4

import pytest

from syntera_crds.contract.api_key import ApiKey, KeyKind
from syntera_runtime.errors import KeyRevoked, KeyUnknown, StoreUnavailable
from syntera_runtime.identity import key_ring
from syntera_runtime.identity.key_ring import KeyRing
from syntera_runtime.models.ids import ApiKeyId
from tests.runtime.builders import NOON, TENANT, make_stored_key, resign
from tests.runtime.conftest import Stores
from tests.runtime.fakes import FakeFailingStore
from tests.runtime.identity.clock import Clock


@pytest.fixture
def ring(store: FakeFailingStore, clock: Clock) -> KeyRing:
    return KeyRing(store, TENANT, monotonic=clock)


async def test_key_opens_what_was_stored_of_it(stores: Stores) -> None:
    key = ApiKey.generate(KeyKind.SECRET)
    stored = make_stored_key(key)
    await stores.put_api_key(stored)
    assert await KeyRing(stores.api_keys, stores.tenant_id).open(key) == stored


async def test_store_is_asked_once_when_a_key_comes_often(ring: KeyRing, store: FakeFailingStore, clock: Clock) -> None:
    key = ApiKey.generate(KeyKind.SECRET)
    store.put_api_key(TENANT, make_stored_key(key))
    await ring.open(key)
    store.fail("find_api_key", StoreUnavailable(store="PostgreSQL"))
    clock.now += key_ring.TTL_SECONDS - 0.1
    await ring.open(key)


async def test_revocation_takes_effect_within_five_seconds(
    ring: KeyRing, store: FakeFailingStore, clock: Clock
) -> None:
    key = ApiKey.generate(KeyKind.SECRET)
    stored = make_stored_key(key)
    store.put_api_key(TENANT, stored)
    await ring.open(key)
    store.put_api_key(TENANT, replace(stored, revoked_at=NOON))
    clock.now += 5
    with pytest.raises(KeyRevoked):
        await ring.open(key)
    with pytest.raises(KeyRevoked):
        await ring.find(key.lookup, stored.id)


async def test_revocation_takes_effect_at_once_where_the_key_is_forgotten(
    ring: KeyRing, store: FakeFailingStore
) -> None:
    key = ApiKey.generate(KeyKind.SECRET)
    stored = make_stored_key(key)
    store.put_api_key(TENANT, stored)
    await ring.open(key)
    store.put_api_key(TENANT, replace(stored, revoked_at=NOON))
    ring.forget(key.lookup)
    with pytest.raises(KeyRevoked):
        await ring.open(key)


async def test_new_key_is_known_within_five_seconds_though_it_was_tried_before(
    ring: KeyRing, store: FakeFailingStore, clock: Clock
) -> None:
    key = ApiKey.generate(KeyKind.SECRET)
    with pytest.raises(KeyUnknown):
        await ring.open(key)
    store.put_api_key(TENANT, make_stored_key(key))
    clock.now += 5
    await ring.open(key)


async def test_remembered_lookup_does_not_let_another_secret_in(ring: KeyRing, store: FakeFailingStore) -> None:
    """Two keys with one lookup part: what is remembered of the right one must not open for the other."""
    key = ApiKey.generate(KeyKind.SECRET)
    store.put_api_key(TENANT, make_stored_key(key))
    await ring.open(key)
    other = ApiKey(KeyKind.SECRET, resign(key.text[:15] + ApiKey.generate(KeyKind.SECRET).text[15:]))
    assert other.lookup == key.lookup
    with pytest.raises(KeyUnknown):
        await ring.open(other)


async def test_key_is_not_found_by_the_id_of_another(ring: KeyRing, store: FakeFailingStore) -> None:
    key = ApiKey.generate(KeyKind.SECRET)
    stored = make_stored_key(key)
    store.put_api_key(TENANT, stored)
    assert await ring.find(key.lookup, stored.id) == stored
    with pytest.raises(KeyUnknown):
        await ring.find(key.lookup, ApiKeyId(uuid4()))


async def test_flood_of_invented_keys_does_not_grow_the_process(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_ring, "MAX_REMEMBERED", 10)
    for _ in range(50):
        with pytest.raises(KeyUnknown):
            await ring.open(ApiKey.generate(KeyKind.SECRET))
    assert ring.remembered == 10
