"""Counts of limits that a test looks into."""

from collections.abc import Sequence
from typing import Any

from syntera_runtime.adapters.memory_rate_limits import MemoryRateLimits
from syntera_runtime.errors import StoreUnavailable
from syntera_runtime.models.ids import TenantId
from syntera_runtime.models.limits import Charge, Taken


class FakeRateLimits(MemoryRateLimits):
    """Counts in memory, remembers what it was asked, and fails while a test says so."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.is_away = False
        self.asked: list[Sequence[Charge]] = []

    async def take(self, tenant_id: TenantId, charges: Sequence[Charge]) -> Taken:
        """See `RateLimits`."""
        self.asked.append(charges)
        self._maybe_fail()
        return await super().take(tenant_id, charges)

    async def open_stream(self, *arguments: Any, **options: Any) -> bool:
        """See `RateLimits`."""
        self._maybe_fail()
        return await super().open_stream(*arguments, **options)

    async def renew_streams(self, *arguments: Any, **options: Any) -> None:
        """See `RateLimits`."""
        self._maybe_fail()
        await super().renew_streams(*arguments, **options)

    async def close_streams(self, *arguments: Any, **options: Any) -> None:
        """See `RateLimits`."""
        self._maybe_fail()
        await super().close_streams(*arguments, **options)

    def _maybe_fail(self) -> None:
        if self.is_away:
            raise StoreUnavailable(store="Redis") from ConnectionRefusedError()
