"""How often a process asks the store, by a clock that jumps."""

import asyncio
from collections import Counter
from typing import Any

from syntera_runtime.adapters.memory_webhooks import MemoryWebhooks
from syntera_runtime.errors import StoreUnavailable
from syntera_runtime.identity.derived_keys import DerivedKeys
from syntera_runtime.metrics import Metrics
from syntera_runtime.models.ids import TenantId
from syntera_runtime.models.webhooks import Webhook
from syntera_runtime.webhooks.deliverer import Deliverer
from syntera_runtime.webhooks.dispatcher import IDLE_SECONDS, PRUNE_SECONDS, PRUNED_AT_ONCE, Dispatcher
from syntera_runtime.webhooks.payloads import Payloads
from tests.runtime.builders import TENANT
from tests.runtime.conftest import make_memory_stores
from tests.runtime.fakes import FakeSigningKey
from tests.support.virtual_time import virtual_time


class FakeCountingStore(MemoryWebhooks):
    """Says how often it was asked, and is away for as long as a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.is_away = False
        self.old = 0
        """Deliveries that may be forgotten."""

    async def list_webhooks(self, tenant_id: TenantId) -> list[Webhook]:
        """See `WebhookStore`."""
        self.calls["list"] += 1
        if self.is_away:
            raise StoreUnavailable(store="PostgreSQL")
        return list(await super().list_webhooks(tenant_id))

    async def prune_deliveries(self, *args: Any, **options: Any) -> int:
        """See `DeliveryStore`."""
        self.calls["prune"] += 1
        gone = min(self.old, int(options["most"]))
        self.old -= gone
        return gone


class FakeUse:
    """For how long nobody has asked the process for anything."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


def make_dispatcher(store: FakeCountingStore, use: FakeUse) -> Dispatcher:
    stores, metrics = make_memory_stores(), Metrics()
    keys = DerivedKeys(FakeSigningKey(), TENANT)
    sender: Any = None  # nothing is sent here
    return Dispatcher(
        outbox=stores.outbox,
        webhooks=store,
        deliveries=store,
        deliverer=Deliverer(store, Payloads(stores.subjects), keys, sender, metrics=metrics),
        quiet_seconds=use,
        metrics=metrics,
    )


async def looks_within(seconds: float, dispatcher: Dispatcher, store: FakeCountingStore) -> int:
    """How often the store is asked in that time."""
    before = store.calls["list"]
    running = asyncio.create_task(dispatcher.run(TENANT))
    await asyncio.sleep(seconds)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return store.calls["list"] - before


@virtual_time
async def test_process_that_is_used_looks_every_second() -> None:
    store = FakeCountingStore()
    assert 60 <= await looks_within(60, make_dispatcher(store, FakeUse(0)), store) <= 80


@virtual_time
async def test_process_that_nobody_uses_leaves_the_store_alone() -> None:
    store = FakeCountingStore()
    looks = await looks_within(IDLE_SECONDS * 10, make_dispatcher(store, FakeUse(1000)), store)
    assert 10 <= looks <= 14


@virtual_time
async def test_process_that_begins_to_be_used_looks_within_two_seconds() -> None:
    store, use = FakeCountingStore(), FakeUse(1000)
    running = asyncio.create_task(make_dispatcher(store, use).run(TENANT))
    await asyncio.sleep(5)
    assert store.calls["list"] == 1
    use.seconds = 0
    await asyncio.sleep(2)
    assert store.calls["list"] > 1
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@virtual_time
async def test_old_rows_are_pruned_once_an_hour() -> None:
    store = FakeCountingStore()
    await looks_within(PRUNE_SECONDS * 5, make_dispatcher(store, FakeUse(1000)), store)
    assert 3 <= store.calls["prune"] <= 5


@virtual_time
async def test_more_than_goes_at_once_is_pruned_within_the_hour() -> None:
    store = FakeCountingStore()
    store.old = PRUNED_AT_ONCE * 40 + 1
    looks = await looks_within(PRUNE_SECONDS * 2, make_dispatcher(store, FakeUse(0)), store)
    assert store.old == 0
    assert store.calls["prune"] in (41, 42, 43)
    assert looks > PRUNE_SECONDS  # none was held up


@virtual_time
async def test_process_goes_on_when_the_store_was_away() -> None:
    store = FakeCountingStore()
    store.is_away = True
    assert await looks_within(10, make_dispatcher(store, FakeUse(0)), store) > 5
