"""The counts of limits in memory: for tests and for trying the API without Redis. Every process has its own."""

import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta

from ..models.ids import StreamId, TenantId
from ..models.limits import Charge, Count, Limit, Taken


class MemoryRateLimits:
    """`RateLimits` in memory."""

    def __init__(self, *, window: timedelta = timedelta(minutes=1)) -> None:
        self._length = window.total_seconds()
        self._counted: dict[tuple[TenantId, Limit, str], tuple[int, int, int]] = {}
        """The number of the window, and how many requests there were in the one before and in this."""
        self._streams: dict[tuple[TenantId, str], dict[StreamId, float]] = {}

    async def take(self, tenant_id: TenantId, charges: Sequence[Charge]) -> Taken:
        """See `RateLimits`."""
        window, passed = divmod(time.time() / self._length, 1)
        counts = [self._count(tenant_id, charge, int(window), passed) for charge in charges]
        if not all(count.has_room(charge.most) for charge, count in zip(charges, counts, strict=True)):
            return Taken(False, counts)
        counts = [replace(count, current=count.current + 1) for count in counts]
        for charge, count in zip(charges, counts, strict=True):
            self._counted[tenant_id, charge.limit, charge.subject] = (int(window), count.previous, count.current)
        return Taken(True, counts)

    async def open_stream(
        self, tenant_id: TenantId, stream_id: StreamId, *, most: int, lease: timedelta, person: str = ""
    ) -> bool:
        """See `RateLimits`."""
        now = time.monotonic()
        held = {one: ends for one, ends in self._streams.get((tenant_id, person), {}).items() if ends > now}
        self._streams[tenant_id, person] = held
        if len(held) >= most:
            return False
        held[stream_id] = now + lease.total_seconds()
        return True

    async def renew_streams(
        self, tenant_id: TenantId, stream_ids: Collection[StreamId], *, lease: timedelta, person: str = ""
    ) -> None:
        """See `RateLimits`."""
        held = self._streams.setdefault((tenant_id, person), {})
        held.update(dict.fromkeys(stream_ids, time.monotonic() + lease.total_seconds()))

    async def close_streams(self, tenant_id: TenantId, stream_ids: Collection[StreamId], *, person: str = "") -> None:
        """See `RateLimits`."""
        for stream_id in stream_ids:
            self._streams.get((tenant_id, person), {}).pop(stream_id, None)

    def _count(self, tenant_id: TenantId, charge: Charge, window: int, passed: float) -> Count:
        counted_in, previous, current = self._counted.get((tenant_id, charge.limit, charge.subject), (window, 0, 0))
        if counted_in == window:
            return Count(previous, current, passed)
        return Count(current if counted_in == window - 1 else 0, 0, passed)
