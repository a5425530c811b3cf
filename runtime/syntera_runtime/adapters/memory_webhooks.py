"""Endpoints of others and what they are told, in memory: for tests and for trying the API without a database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from ..errors import SecretJustRotated, TooManyWebhooks, WebhookDisabled
from ..models.ids import DeliveryId, EventId, RequestKey, TenantId, WebhookId
from ..models.webhooks import (
    Backlog,
    Delivery,
    DeliveryFailure,
    DeliveryState,
    DisabledReason,
    NewDelivery,
    NewWebhook,
    Verdict,
    Webhook,
    WebhookChange,
)


@dataclass(slots=True)
class _Rows:
    webhooks: dict[WebhookId, Webhook] = field(default_factory=dict)
    deliveries: dict[DeliveryId, Delivery] = field(default_factory=dict)
    request_keys: dict[DeliveryId, RequestKey | None] = field(default_factory=dict)
    pending_since: dict[DeliveryId, datetime] = field(default_factory=dict)

    def is_enabled(self, webhook_id: WebhookId) -> bool:
        """Whether the endpoint is there and told anything."""
        webhook = self.webhooks.get(webhook_id)
        return webhook is not None and webhook.is_enabled

    def drop_pending(self, webhook_id: WebhookId) -> None:
        """Give up what an endpoint would still have been told."""
        for id_, one in self.deliveries.items():
            if one.webhook_id == webhook_id and one.state is DeliveryState.PENDING:
                self.deliveries[id_] = replace(
                    one,
                    state=DeliveryState.DEAD,
                    failure=DeliveryFailure.WEBHOOK_DISABLED,
                    ended_at=datetime.now(UTC),
                )


class MemoryWebhooks:
    """`WebhookStore` and `DeliveryStore` in memory."""

    def __init__(self) -> None:
        self._tenants: dict[TenantId, _Rows] = {}

    async def add_webhook(self, tenant_id: TenantId, new: NewWebhook, *, most: int) -> Webhook:
        """See `WebhookStore`."""
        rows = self._rows(tenant_id)
        if len(rows.webhooks) >= most:
            raise TooManyWebhooks(f"There can be {most} webhooks. Delete one first.")
        made = Webhook(
            id=new.id,
            url=new.url,
            events=new.events,
            description=new.description,
            is_thin=new.is_thin,
            secret_version=1,
            secret_rotated_at=None,
            failing_since=None,
            disabled_reason=None,
            created_by=new.created_by,
            created_at=datetime.now(UTC),
        )
        rows.webhooks[made.id] = made
        return made

    async def find_webhook(self, tenant_id: TenantId, webhook_id: WebhookId) -> Webhook | None:
        """See `WebhookStore`."""
        return self._rows(tenant_id).webhooks.get(webhook_id)

    async def list_webhooks(self, tenant_id: TenantId) -> Sequence[Webhook]:
        """See `WebhookStore`."""
        return sorted(self._rows(tenant_id).webhooks.values(), key=lambda webhook: webhook.id)

    async def change_webhook(self, tenant_id: TenantId, webhook_id: WebhookId, change: WebhookChange) -> Webhook | None:
        """See `WebhookStore`."""
        rows = self._rows(tenant_id)
        before = rows.webhooks.get(webhook_id)
        if before is None:
            return None
        reason, failing_since = before.disabled_reason, before.failing_since
        if change.is_enabled and reason is not None:
            reason, failing_since = None, None
        elif change.is_enabled is False:
            reason = reason or DisabledReason.ASKED
            rows.drop_pending(webhook_id)
        rows.webhooks[webhook_id] = replace(
            before,
            url=before.url if change.url is None else change.url,
            events=before.events if change.events is None else change.events,
            description=before.description if change.description is None else change.description,
            is_thin=before.is_thin if change.is_thin is None else change.is_thin,
            disabled_reason=reason,
            failing_since=failing_since,
        )
        return rows.webhooks[webhook_id]

    async def delete_webhook(self, tenant_id: TenantId, webhook_id: WebhookId) -> bool:
        """See `WebhookStore`."""
        rows = self._rows(tenant_id)
        rows.drop_pending(webhook_id)
        return rows.webhooks.pop(webhook_id, None) is not None

    async def rotate_secret(self, tenant_id: TenantId, webhook_id: WebhookId) -> Webhook | None:
        """See `WebhookStore`."""
        rows = self._rows(tenant_id)
        before = rows.webhooks.get(webhook_id)
        if before is None:
            return None
        now = datetime.now(UTC)
        if len(before.secret_versions(now)) > 1:
            raise SecretJustRotated
        rows.webhooks[webhook_id] = replace(before, secret_version=before.secret_version + 1, secret_rotated_at=now)
        return rows.webhooks[webhook_id]

    async def add_deliveries(self, tenant_id: TenantId, new: Sequence[NewDelivery]) -> None:
        """See `DeliveryStore`."""
        rows, now = self._rows(tenant_id), datetime.now(UTC)
        told = {(one.webhook_id, one.event_id) for one in rows.deliveries.values()}
        for one in new:
            if (one.webhook_id, one.event_id) in told or not rows.is_enabled(one.webhook_id):
                continue
            rows.deliveries[one.id] = Delivery(
                id=one.id,
                webhook_id=one.webhook_id,
                event_id=one.event_id,
                type=one.type,
                subjects=one.subjects,
                payload=one.payload,
                occurred_at=one.occurred_at,
                state=DeliveryState.PENDING,
                attempts=0,
                next_attempt_at=now,
                created_at=now,
            )

    async def claim_due(
        self, tenant_id: TenantId, room: Mapping[WebhookId, int], *, lease: timedelta
    ) -> Sequence[Delivery]:
        """See `DeliveryStore`."""
        deliveries, now = self._rows(tenant_id).deliveries, datetime.now(UTC)
        claimed = []
        for webhook_id, most in room.items():
            due = [
                one
                for one in deliveries.values()
                if one.webhook_id == webhook_id and one.state is DeliveryState.PENDING and one.next_attempt_at <= now
            ]
            for one in sorted(due, key=lambda each: each.next_attempt_at)[:most]:
                deliveries[one.id] = replace(one, claims=one.claims + 1, next_attempt_at=now + lease)
                claimed.append(deliveries[one.id])
        return claimed

    async def settle(
        self, tenant_id: TenantId, delivery: Delivery, verdict: Verdict, *, give_up: timedelta
    ) -> Webhook | None:
        """See `DeliveryStore`."""
        rows, now = self._rows(tenant_id), datetime.now(UTC)
        held = rows.deliveries.get(delivery.id)
        if held is None or held.claims != delivery.claims or held.state is not DeliveryState.PENDING:
            return None
        rows.deliveries[held.id] = replace(
            held,
            state=verdict.state,
            attempts=held.attempts + 1,
            next_attempt_at=now + verdict.next_attempt_in,
            response_status=verdict.result.status,
            failure=verdict.result.failure,
            ended_at=None if verdict.state is DeliveryState.PENDING else now,
        )
        webhook = rows.webhooks.get(held.webhook_id)
        if webhook is None or not webhook.is_enabled:
            return None
        if verdict.result.failure is None:
            rows.webhooks[webhook.id] = replace(webhook, failing_since=None)
            return None
        if not verdict.result.is_failing:
            return None
        since = webhook.failing_since or now
        reason = verdict.disables or (DisabledReason.FAILING if since < now - give_up else None)
        rows.webhooks[webhook.id] = replace(webhook, failing_since=since, disabled_reason=reason)
        if reason is None:
            return None
        rows.drop_pending(webhook.id)
        return rows.webhooks[webhook.id]

    async def list_deliveries(
        self, tenant_id: TenantId, webhook_id: WebhookId, *, before: DeliveryId | None, limit: int
    ) -> Sequence[Delivery]:
        """See `DeliveryStore`."""
        told = [one for one in self._rows(tenant_id).deliveries.values() if one.webhook_id == webhook_id]
        wanted = [one for one in told if before is None or one.id < before]
        return sorted(wanted, key=lambda one: one.id, reverse=True)[:limit]

    async def find_event_delivery(
        self, tenant_id: TenantId, webhook_id: WebhookId, event_id: EventId
    ) -> Delivery | None:
        """See `DeliveryStore`."""
        told = self._rows(tenant_id).deliveries.values()
        return next((one for one in told if (one.webhook_id, one.event_id) == (webhook_id, event_id)), None)

    async def redeliver(
        self, tenant_id: TenantId, webhook_id: WebhookId, delivery_id: DeliveryId, *, request_key: RequestKey | None
    ) -> Delivery | None:
        """See `DeliveryStore`."""
        rows = self._rows(tenant_id)
        if not rows.is_enabled(webhook_id):
            raise WebhookDisabled
        held = rows.deliveries.get(delivery_id)
        if held is None or held.webhook_id != webhook_id:
            return None
        is_same = request_key is not None and rows.request_keys.get(delivery_id) == request_key
        if held.state is not DeliveryState.PENDING and not is_same:
            rows.request_keys[delivery_id] = request_key
            rows.pending_since[delivery_id] = datetime.now(UTC)
            rows.deliveries[delivery_id] = replace(
                held,
                state=DeliveryState.PENDING,
                attempts=0,
                next_attempt_at=datetime.now(UTC),
                response_status=None,
                failure=None,
                ended_at=None,
            )
        return rows.deliveries[delivery_id]

    async def measure_backlog(self, tenant_id: TenantId) -> Backlog:
        """See `DeliveryStore`."""
        rows = self._rows(tenant_id)
        pending = [one for one in rows.deliveries.values() if one.state is DeliveryState.PENDING]
        waiting = [rows.pending_since.get(one.id, one.created_at) for one in pending]
        if not pending:
            return Backlog()
        now, next_at = datetime.now(UTC), min(one.next_attempt_at for one in pending)
        return Backlog((now - min(waiting)).total_seconds(), max(0.0, (next_at - now).total_seconds()))

    async def prune_deliveries(self, tenant_id: TenantId, *, keep: timedelta, most: int) -> int:
        """See `DeliveryStore`."""
        rows, until = self._rows(tenant_id), datetime.now(UTC) - keep
        old = [one.id for one in rows.deliveries.values() if one.ended_at is not None and one.ended_at < until]
        for id_ in old[:most]:
            del rows.deliveries[id_]
        return len(old[:most])

    def _rows(self, tenant_id: TenantId) -> _Rows:
        return self._tenants.setdefault(tenant_id, _Rows())
