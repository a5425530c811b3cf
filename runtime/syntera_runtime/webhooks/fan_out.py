"""Makes a delivery of each event for each endpoint that wants it: the first reader of the outbox."""

from datetime import timedelta
from uuid import UUID, uuid4

from ..ids import new_id
from ..models.ids import DeliveryId, TenantId
from ..models.outbox import OutboxBatch, OutboxEvent
from ..models.webhooks import NewDelivery, Webhook
from ..ports.outbox import Outbox
from ..ports.webhooks import DeliveryStore, WebhookStore

READER = "webhooks"
BATCH = 200
LEASE = timedelta(seconds=30)
"""Longer than storing a batch takes, or the store is away."""


class FanOut:
    """Reads the outbox. A batch that was stored and not passed is stored again, which changes nothing."""

    def __init__(self, outbox: Outbox, webhooks: WebhookStore, deliveries: DeliveryStore) -> None:
        self._outbox = outbox
        self._webhooks = webhooks
        self._deliveries = deliveries
        self._holder: UUID = uuid4()

    async def look(self, tenant_id: TenantId) -> None:
        """Make deliveries of everything that is new.

        Raises:
            StoreUnavailable: Some of it is left for later.
        """
        while (batch := await self._read(tenant_id)) is not None:
            # After the events: an endpoint that was made before one of them is among these.
            webhooks = await self._webhooks.list_webhooks(tenant_id)
            new = [
                _build(event, webhook)
                for event in batch.events
                for webhook in webhooks
                if webhook.is_enabled and _concerns(event, webhook)
            ]
            if new:
                await self._deliveries.add_deliveries(tenant_id, new)
            is_ours = await self._outbox.advance(tenant_id, READER, batch, holder=self._holder)
            if not is_ours or len(batch.events) < BATCH:
                return

    async def _read(self, tenant_id: TenantId) -> OutboxBatch | None:
        return await self._outbox.read(tenant_id, READER, holder=self._holder, lease=LEASE, limit=BATCH)


def _concerns(event: OutboxEvent, webhook: Webhook) -> bool:
    """What had happened before the endpoint was made is none of its business."""
    return webhook.wants(event.type) and event.created_at >= webhook.created_at


def _build(event: OutboxEvent, webhook: Webhook) -> NewDelivery:
    return NewDelivery(
        id=DeliveryId(new_id()),
        webhook_id=webhook.id,
        event_id=event.id,
        type=event.type,
        subjects=event.subjects,
        payload=event.payload,
        occurred_at=event.created_at,
    )
