"""The counts of limits: one script asks for all limits of a request, so that it costs one round trip and counts all or none.

What a limit counts is a hash with the numbers of two windows. Open streams are a sorted set by the ends of their leases:
one of everybody's, and one of each person's.
"""

from collections.abc import Collection, Sequence
from datetime import timedelta

from ...models.ids import StreamId, TenantId
from ...models.limits import Charge, Count, Taken
from .client import RedisClient
from .keys import limit_key, streams_key
from .scripts import OPEN_STREAM, RENEW_STREAMS, TAKE

SECONDS = 0.1
"""How long a request waits for Redis: usually it takes less than a millisecond."""
_MINUTE = timedelta(minutes=1)


class RedisRateLimits:
    """`RateLimits` on Redis."""

    def __init__(self, client: RedisClient, *, window: timedelta = _MINUTE, seconds: float = SECONDS) -> None:
        self._client = client
        self._seconds = seconds
        self._window = _ms(window)

    async def take(self, tenant_id: TenantId, charges: Sequence[Charge]) -> Taken:
        """See `RateLimits`."""
        async with self._client.operation("take_limits", seconds=self._seconds) as redis:
            is_taken, elapsed, counts = await redis.register_script(TAKE)(
                keys=[limit_key(tenant_id, charge) for charge in charges],
                args=[self._window, *(charge.most for charge in charges)],
            )
        passed = elapsed / self._window
        return Taken(bool(is_taken), [Count(previous, current, passed) for previous, current in counts])

    async def open_stream(
        self, tenant_id: TenantId, stream_id: StreamId, *, most: int, lease: timedelta, person: str = ""
    ) -> bool:
        """See `RateLimits`."""
        async with self._client.operation("open_stream", seconds=self._seconds) as redis:
            opened = await redis.register_script(OPEN_STREAM)(
                keys=[streams_key(tenant_id, person)], args=[_ms(lease), most, stream_id.hex]
            )
        return bool(opened)

    async def renew_streams(
        self, tenant_id: TenantId, stream_ids: Collection[StreamId], *, lease: timedelta, person: str = ""
    ) -> None:
        """See `RateLimits`."""
        if stream_ids:
            async with self._client.operation("renew_streams") as redis:
                await redis.register_script(RENEW_STREAMS)(
                    keys=[streams_key(tenant_id, person)], args=[_ms(lease), *(one.hex for one in stream_ids)]
                )

    async def close_streams(self, tenant_id: TenantId, stream_ids: Collection[StreamId], *, person: str = "") -> None:
        """See `RateLimits`."""
        if stream_ids:
            async with self._client.operation("close_streams") as redis:
                await redis.zrem(streams_key(tenant_id, person), *(one.hex for one in stream_ids))


def _ms(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)
