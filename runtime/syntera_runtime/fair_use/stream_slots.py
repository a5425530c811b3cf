"""How many streams of a tenant, and of each person, are open at once, in all of its pods together.

Each stream is counted for `LEASE`, which the pod that sends it renews: those of a pod that was killed are forgotten by then.
While Redis is away streams are opened uncounted, and counted at the next renewal.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from syntera_crds.contract.tenant_config import Limits

from ..errors import RateLimited, StoreUnavailable
from ..ids import new_id
from ..metrics import Metrics
from ..models.ids import StreamId, TenantId
from ..models.limits import Limit
from ..ports.configuration import TenantCatalogue
from ..ports.limits import RateLimits
from .outages import Outages

LEASE = timedelta(seconds=45)
RENEW_SECONDS = 15.0
RETRY_SECONDS = 5.0
"""When a stream may find room that was refused: nobody knows when others end."""


class StreamSlots:
    """The open streams of this process, as part of the tenant's. `run` must run meanwhile."""

    def __init__(
        self,
        limits: RateLimits,
        tenants: TenantCatalogue,
        tenant_id: TenantId,
        *,
        metrics: Metrics,
        renew_seconds: float = RENEW_SECONDS,
    ) -> None:
        self._limits = limits
        self._tenants = tenants
        self._tenant_id = tenant_id
        self._metrics = metrics
        self._renew_seconds = renew_seconds
        self._outages = Outages(metrics)
        self._open: dict[StreamId, str | None] = {}
        """With whose they are; None: no person's."""
        self._closed: dict[StreamId, str | None] = {}
        self._has_closed = asyncio.Event()

    @asynccontextmanager
    async def hold(self, person: str | None = None) -> AsyncIterator[None]:
        """Count a stream while the block lasts.

        Args:
            person: Whose it is; see `Principal.person`.

        Raises:
            RateLimited: There are as many as the person, or the tenant, may have.
        """
        stream_id = StreamId(new_id())
        await self._take(stream_id, person)
        self._open[stream_id] = person
        try:
            yield
        finally:
            del self._open[stream_id]
            self._end(stream_id, person)

    async def run(self) -> None:
        """Renew the leases of open streams and report those that have ended, for ever."""
        renew_at = time.monotonic() + self._renew_seconds
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0, renew_at - time.monotonic())):
                    await self._has_closed.wait()
            self._has_closed.clear()
            await self._report_closed()
            if time.monotonic() >= renew_at:
                renew_at = time.monotonic() + self._renew_seconds
                await self._renew()

    async def aclose(self) -> None:
        """Report what has ended since."""
        await self._report_closed()

    @property
    def _bounds(self) -> Limits:
        config = self._tenants.tenant()
        return Limits() if config is None else config.limits

    async def _take(self, stream_id: StreamId, person: str | None) -> None:
        """Count a stream for its person first: who has too many must not take what others need, not even for a moment."""
        bounds, is_counted = self._bounds, False
        try:
            if person is not None and (most := bounds.concurrent_streams_per_user) is not None:
                await self._count(stream_id, most, person=person)
                is_counted = True
            if (most := bounds.concurrent_streams) is not None:
                await self._count(stream_id, most)
        except StoreUnavailable as error:
            self._outages.passed_unchecked(error)
        except BaseException:
            if is_counted:
                self._end(stream_id, person)
            raise

    async def _count(self, stream_id: StreamId, most: int, *, person: str = "") -> None:
        if await self._limits.open_stream(self._tenant_id, stream_id, most=most, lease=LEASE, person=person):
            return
        self._metrics.rate_limited.labels((Limit.USER_STREAMS if person else Limit.STREAMS).value).inc()
        whose = "You have" if person else "This tenant has"
        raise RateLimited(f"{whose} {most} streams open already. Try again later.", retry_after_seconds=RETRY_SECONDS)

    def _end(self, stream_id: StreamId, person: str | None) -> None:
        """Have `run` tell Redis: whoever ends a stream may be about to be cancelled."""
        self._closed[stream_id] = person
        self._has_closed.set()

    async def _renew(self) -> None:
        with suppress(StoreUnavailable):  # the next time is soon enough
            for person, streams in self._by_limit(self._open).items():
                await self._limits.renew_streams(self._tenant_id, streams, lease=LEASE, person=person)

    async def _report_closed(self) -> None:
        closed, self._closed = self._closed, {}
        with suppress(StoreUnavailable):  # they are forgotten when their leases end
            for person, streams in self._by_limit(closed).items():
                await self._limits.close_streams(self._tenant_id, streams, person=person)

    def _by_limit(self, streams: Mapping[StreamId, str | None]) -> Mapping[str, Sequence[StreamId]]:
        """The streams by where they are counted now: among everybody's (empty), and among their persons'."""
        bounds, found = self._bounds, defaultdict[str, list[StreamId]](list)
        if bounds.concurrent_streams is not None and streams:
            found[""] = [*streams]
        if bounds.concurrent_streams_per_user is not None:
            for stream_id, person in streams.items():
                if person is not None:
                    found[person].append(stream_id)
        return found
