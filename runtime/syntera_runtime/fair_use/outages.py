"""What happens while Redis is away: everything passes, and somebody is told."""

import time
from collections.abc import Callable

import structlog

from ..errors import StoreUnavailable
from ..metrics import Metrics

log = structlog.get_logger(__name__)

QUIET_SECONDS = 60


class Outages:
    """Counts what passes unchecked, and says it in the log once a minute."""

    def __init__(self, metrics: Metrics, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._monotonic = monotonic
        self._told_at: float | None = None

    def passed_unchecked(self, error: StoreUnavailable) -> None:
        """Something was let pass because the counts are away."""
        self._metrics.rate_limits_unchecked.inc()
        now = self._monotonic()
        if self._told_at is None or now - self._told_at >= QUIET_SECONDS:
            self._told_at = now
            log.warning("limits not checked", store=error.store, cause=type(error.__cause__ or error).__name__)
