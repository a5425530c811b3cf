"""What the first reader of the outbox makes of what it reads."""

from typing import Any

from syntera_runtime.ids import new_id
from syntera_runtime.models.ids import WebhookId
from syntera_runtime.models.outbox import OutboxBatch
from syntera_runtime.models.webhooks import NewWebhook
from syntera_runtime.webhooks.fan_out import FanOut
from tests.runtime.adapters.test_stores import start_conversation
from tests.runtime.conftest import Stores, make_memory_stores


class FakeOutbox:
    """An outbox in memory, of which a test changes a part."""

    def __init__(self, stores: Stores) -> None:
        self._outbox = stores.outbox

    async def read(self, *args: Any, **options: Any) -> OutboxBatch | None:
        """See `Outbox`."""
        return await self._outbox.read(*args, **options)

    async def advance(self, *args: Any, **options: Any) -> bool:
        """See `Outbox`."""
        return await self._outbox.advance(*args, **options)

    async def prune(self, *args: Any, **options: Any) -> int:
        """See `Outbox`."""
        return await self._outbox.prune(*args, **options)


async def add(stores: Stores) -> WebhookId:
    new = NewWebhook(
        id=WebhookId(new_id()),
        url="https://hooks.example/",
        events=frozenset(),
        description="",
        is_thin=False,
        created_by="key:1",
    )
    return (await stores.webhooks.add_webhook(stores.tenant_id, new, most=9)).id


async def test_endpoint_that_is_made_while_the_reader_looks_is_told_what_happens_then() -> None:
    stores = make_memory_stores()
    made: list[WebhookId] = []

    class FakeSlowOutbox(FakeOutbox):
        """Something happens between the question and its answer."""

        async def read(self, *args: Any, **options: Any) -> OutboxBatch | None:
            if not made:
                made.append(await add(stores))
                await start_conversation(stores)
            return await super().read(*args, **options)

    await FanOut(FakeSlowOutbox(stores), stores.webhooks, stores.deliveries).look(stores.tenant_id)
    told = await stores.deliveries.list_deliveries(stores.tenant_id, made[0], before=None, limit=9)
    assert [one.type for one in told] == ["conversation.created"]


async def test_batch_that_is_read_twice_is_told_once() -> None:
    stores = make_memory_stores()
    webhook_id = await add(stores)
    await start_conversation(stores)

    class FakeForgetfulOutbox(FakeOutbox):
        """Never knows that a batch was passed."""

        async def advance(self, *args: Any, **options: Any) -> bool:
            return False

    fan_out = FanOut(FakeForgetfulOutbox(stores), stores.webhooks, stores.deliveries)
    for _ in range(2):
        await fan_out.look(stores.tenant_id)
    assert len(await stores.deliveries.list_deliveries(stores.tenant_id, webhook_id, before=None, limit=9)) == 1
