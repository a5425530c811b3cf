"""When keys were used last is written now and then, and not in a request's way."""

import asyncio

from syntera_crds.contract.api_key import ApiKey, KeyKind
from syntera_runtime.errors import StoreUnavailable
from syntera_runtime.identity.key_use import KeyUse
from syntera_runtime.models.identity import StoredApiKey
from syntera_runtime.models.ids import ApiKeyId
from tests.runtime.builders import TENANT, make_stored_key
from tests.runtime.fakes import FakeFailingStore


def put_key(store: FakeFailingStore) -> StoredApiKey:
    key = make_stored_key(ApiKey.generate(KeyKind.SECRET))
    store.put_api_key(TENANT, key)
    return key


async def was_used(store: FakeFailingStore, key_id: ApiKeyId) -> bool:
    record = await store.find_key_record(TENANT, key_id)
    assert record is not None
    return record.last_used_at is not None


async def test_uses_are_written_together_and_once(store: FakeFailingStore) -> None:
    keys = [put_key(store) for _ in range(3)]
    use = KeyUse(store, TENANT)
    for key in [*keys[:2], *keys[:2]]:
        use.note(key.id)
    await use.write()
    await use.write()
    assert [await was_used(store, key.id) for key in keys] == [True, True, False]
    assert store.calls_of("note_used") == 1


async def test_nothing_is_asked_of_the_store_when_nobody_came(store: FakeFailingStore) -> None:
    await KeyUse(store, TENANT).write()
    assert store.calls_of("note_used") == 0


async def test_uses_are_kept_while_the_store_is_away(store: FakeFailingStore) -> None:
    key = put_key(store)
    use = KeyUse(store, TENANT)
    use.note(key.id)
    store.fail("note_used", StoreUnavailable(store="PostgreSQL"))
    await use.write()
    assert not await was_used(store, key.id)
    await use.write()
    assert await was_used(store, key.id)


async def test_writing_goes_on_until_it_is_cancelled(store: FakeFailingStore) -> None:
    key = put_key(store)
    use = KeyUse(store, TENANT, write_seconds=0)
    running = asyncio.create_task(use.run())
    use.note(key.id)
    await store.wait_for_call("note_used")
    use.note(key.id)
    await store.wait_for_call("note_used")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()
