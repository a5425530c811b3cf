"""Contacts are looked up once in a while."""

import pytest

from syntera_runtime.identity import contacts as module
from syntera_runtime.identity.contacts import TTL_SECONDS, Contacts
from tests.runtime.builders import TENANT
from tests.runtime.fakes import FakeFailingStore
from tests.runtime.identity.clock import Clock


async def test_contact_is_looked_up_once_in_a_while(store: FakeFailingStore, clock: Clock) -> None:
    contacts = Contacts(store, TENANT, monotonic=clock)
    first = await contacts.of_external_id("customer-7")
    clock.now += TTL_SECONDS - 1
    assert await contacts.of_external_id("customer-7") == first
    assert store.calls_of("identify_contact") == 1
    clock.now += 1
    assert await contacts.of_external_id("customer-7") == first
    assert store.calls_of("identify_contact") == 2


async def test_many_people_do_not_grow_the_process(
    store: FakeFailingStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED", 2)
    contacts = Contacts(store, TENANT, monotonic=clock)
    for external_id in ("a", "b", "c", "c", "a"):
        await contacts.of_external_id(external_id)
    assert store.calls_of("identify_contact") == 4
