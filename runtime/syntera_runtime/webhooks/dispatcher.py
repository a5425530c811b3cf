"""Looks for what is new and what is due, in every process of the tenant; the store shares the work among them.

While the process serves anybody, it looks every second: whoever has changed something is itself the one to tell of it. A
tenant that is idle is looked after every `IDLE_SECONDS` and when the next try is due, so that it holds no connection to
the store; what a process left that died right after a change waits for that long.
"""

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta

import structlog

from ..errors import StoreUnavailable
from ..metrics import Metrics
from ..models.ids import TenantId
from ..models.webhooks import Backlog
from ..ports.outbox import Outbox
from ..ports.webhooks import DeliveryStore, WebhookStore
from .deliverer import Deliverer
from .fan_out import FanOut

log = structlog.get_logger(__name__)

BUSY_SECONDS = 1.0
IDLE_SECONDS = 90.0
"""Longer than the pool keeps an idle connection."""
QUIET_AFTER_SECONDS = 10.0
"""A process that has not been asked anything for so long is idle."""
MEASURE_SECONDS = 10.0
"""The whole backlog is counted for it, and an endpoint that is away may leave thousands of deliveries there."""
PRUNE_SECONDS = 3600.0
PRUNED_AT_ONCE = 5000
"""As much is gone within a fraction of a second, and holds up the next look for no longer."""
KEEP_PASSED = timedelta(days=3)
KEEP_UNREAD = timedelta(days=30)
KEEP_DELIVERIES = timedelta(days=30)


class Dispatcher:
    """Tells endpoints what happens."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        webhooks: WebhookStore,
        deliveries: DeliveryStore,
        deliverer: Deliverer,
        quiet_seconds: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        """`quiet_seconds` says for how long nobody has asked this process for anything of the store."""
        self._outbox = outbox
        self._webhooks = webhooks
        self._deliveries = deliveries
        self._deliverer = deliverer
        self._fan_out = FanOut(outbox, webhooks, deliveries)
        self._quiet_seconds = quiet_seconds
        self._metrics = metrics
        self._woken = asyncio.Event()
        self._was_busy = True
        self._backlog = Backlog()
        self._measure_at = 0.0
        self._prune_at: float | None = None
        """By the event loop's clock; None: this process has not begun."""

    async def run(self, tenant_id: TenantId) -> None:
        """Look until cancelled."""
        try:
            while True:
                backlog = Backlog()
                self._woken.clear()
                try:
                    backlog = await self.look(tenant_id)
                    await self._prune_sometimes(tenant_id)
                except StoreUnavailable as error:
                    log.info("webhooks not looked after", store=error.store)
                except Exception:
                    log.exception("look after webhooks broke")
                await self._sleep(backlog)
        finally:
            await self._deliverer.aclose()

    def wake(self) -> None:
        """Look now."""
        self._woken.set()

    async def look(self, tenant_id: TenantId) -> Backlog:
        """Make deliveries of what is new, begin to send what is due, and say what is left.

        Raises:
            StoreUnavailable: The store is away.
        """
        self._was_busy = self._deliverer.is_busy or self._quiet_seconds() < QUIET_AFTER_SECONDS
        await self._fan_out.look(tenant_id)
        webhooks = await self._webhooks.list_webhooks(tenant_id)
        if not any(webhook.is_enabled for webhook in webhooks):
            self._metrics.webhook_backlog_seconds.set(0)
            return Backlog()
        await self._deliverer.start_due(tenant_id, webhooks, on_done=self.wake)
        return await self._measure(tenant_id)

    async def _measure(self, tenant_id: TenantId) -> Backlog:
        """What is left, as it was a few seconds ago: a process that looks every second need not know when to look."""
        now = asyncio.get_running_loop().time()
        if not self._was_busy or now >= self._measure_at:
            self._measure_at = now + MEASURE_SECONDS
            self._backlog = await self._deliveries.measure_backlog(tenant_id)
            self._metrics.webhook_backlog_seconds.set(self._backlog.oldest_seconds)
        return self._backlog

    async def _sleep(self, backlog: Backlog) -> None:
        # As it was before the look: only then is the backlog of this moment known.
        is_busy = self._was_busy
        wait = BUSY_SECONDS if is_busy else IDLE_SECONDS
        if backlog.next_seconds is not None:
            wait = min(wait, max(BUSY_SECONDS, backlog.next_seconds))
        clock = asyncio.get_running_loop().time
        deadline = clock() + wait * random.uniform(0.8, 1.0)  # noqa: S311  # jitter, no secret
        while (left := deadline - clock()) > 0 and not self._woken.is_set():
            # Whoever begins to be asked does not say so: it is seen within a second, without a question to the store.
            if not is_busy and self._quiet_seconds() < QUIET_AFTER_SECONDS:
                return
            try:
                async with asyncio.timeout(min(left, BUSY_SECONDS)):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def _prune_sometimes(self, tenant_id: TenantId) -> None:
        now = asyncio.get_running_loop().time()
        if self._prune_at is None:
            # Processes that start together do not prune together.
            self._prune_at = now + random.random() * PRUNE_SECONDS  # noqa: S311  # jitter, no secret
        if now < self._prune_at:
            return
        self._prune_at = now + PRUNE_SECONDS
        events = await self._outbox.prune(tenant_id, passed=KEEP_PASSED, unread=KEEP_UNREAD, most=PRUNED_AT_ONCE)
        deliveries = await self._deliveries.prune_deliveries(tenant_id, keep=KEEP_DELIVERIES, most=PRUNED_AT_ONCE)
        if max(events, deliveries) >= PRUNED_AT_ONCE:
            # There is more: it goes after the next look.
            self._prune_at = now
