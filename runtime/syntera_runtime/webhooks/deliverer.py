"""Takes deliveries that are due and sends them, a few at a time to each endpoint, so that a slow one holds up nobody else."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import structlog

from ..errors import SigningKeyMissing, StoreUnavailable
from ..metrics import Metrics
from ..models.ids import TenantId, WebhookId
from ..models.webhooks import Delivery, DeliveryFailure, DeliveryState, SendResult, Webhook
from ..ports.webhooks import DeliveryStore, WebhookSecrets, WebhookSender
from .payloads import Payloads
from .signatures import build_headers
from .verdicts import GIVE_UP, judge

log = structlog.get_logger(__name__)

AT_ONCE = 4
"""Deliveries to one endpoint that a process has under way."""
SEND_SECONDS = 15.0
LEASE = timedelta(seconds=60)
"""How long a delivery stays with a process that may have died: longer than reading, sending and storing it take."""


class Deliverer:
    """Has deliveries under way. A try counts when it is known how it went, so that faults of ours use up none."""

    def __init__(
        self,
        deliveries: DeliveryStore,
        payloads: Payloads,
        secrets: WebhookSecrets,
        sender: WebhookSender,
        *,
        metrics: Metrics,
        send_seconds: float = SEND_SECONDS,
    ) -> None:
        self._deliveries = deliveries
        self._payloads = payloads
        self._secrets = secrets
        self._sender = sender
        self._metrics = metrics
        self._send_seconds = send_seconds
        self._tasks: set[asyncio.Task[None]] = set()
        self._under_way: Counter[WebhookId] = Counter()

    @property
    def is_busy(self) -> bool:
        """Whether something is under way."""
        return bool(self._tasks)

    async def aclose(self) -> None:
        """Break off what is under way; it is due again when its lease has ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def start_due(self, tenant_id: TenantId, webhooks: Sequence[Webhook], *, on_done: Callable[[], None]) -> None:
        """Begin to send what is due. `on_done` is called whenever there is room again.

        Raises:
            StoreUnavailable: Nothing was begun.
        """
        by_id = {webhook.id: webhook for webhook in webhooks if webhook.is_enabled}
        room = {id_: AT_ONCE - self._under_way[id_] for id_ in by_id if self._under_way[id_] < AT_ONCE}
        if not room:
            return
        for delivery in await self._deliveries.claim_due(tenant_id, room, lease=LEASE):
            task = asyncio.create_task(self._deliver(tenant_id, by_id[delivery.webhook_id], delivery))
            self._under_way[delivery.webhook_id] += 1
            self._tasks.add(task)
            task.add_done_callback(lambda done, id_=delivery.webhook_id: self._forget(done, id_, on_done))  # type: ignore[misc]  # mypy cannot infer lambdas with defaults

    def _forget(self, task: asyncio.Task[None], webhook_id: WebhookId, on_done: Callable[[], None]) -> None:
        self._tasks.discard(task)
        self._under_way[webhook_id] -= 1
        on_done()

    async def _deliver(self, tenant_id: TenantId, webhook: Webhook, delivery: Delivery) -> None:
        ids = {"webhook_id": str(webhook.id), "delivery_id": str(delivery.id), "event_id": str(delivery.event_id)}
        try:
            result = await self._try(tenant_id, webhook, delivery, ids)
            verdict = judge(result, attempts=delivery.attempts + 1)
            disabled = await self._deliveries.settle(tenant_id, delivery, verdict, give_up=GIVE_UP)
        except (SigningKeyMissing, StoreUnavailable) as error:
            # It is due again when its lease has ended, and nothing was counted.
            log.info("delivery put off", code=error.code, **ids)
            return
        except Exception:
            log.exception("delivery not settled", **ids)
            return
        outcome = result.failure or DeliveryState.DELIVERED
        self._metrics.webhook_deliveries.labels(outcome.value).inc()
        if verdict.state is DeliveryState.DEAD:
            self._metrics.webhook_dead_letters.inc()
            log.warning("delivery given up", failure=outcome.value, status=result.status, **ids)
        if disabled is not None and disabled.disabled_reason is not None:
            log.warning("webhook disabled", webhook_id=str(webhook.id), reason=disabled.disabled_reason.value)

    async def _try(
        self, tenant_id: TenantId, webhook: Webhook, delivery: Delivery, ids: Mapping[str, str]
    ) -> SendResult:
        try:
            return await self._send(tenant_id, webhook, delivery)
        except (SigningKeyMissing, StoreUnavailable):
            raise
        except Exception:
            # It would break again and again: its tries come to an end like those of others.
            log.exception("delivery broke", **ids)
            return SendResult(failure=DeliveryFailure.INTERNAL)

    async def _send(self, tenant_id: TenantId, webhook: Webhook, delivery: Delivery) -> SendResult:
        body = await self._payloads.build(tenant_id, delivery, is_thin=webhook.is_thin)
        now = datetime.now(UTC)
        secrets = [self._secrets.of_webhook(webhook.id, version) for version in webhook.secret_versions(now)]
        headers = build_headers(delivery.event_id, body, secrets, now=now)
        return await self._sender.send(webhook.url, body, headers, seconds=self._send_seconds)
