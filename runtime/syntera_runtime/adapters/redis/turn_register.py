"""The register of running turns: a sorted set by the ends of their leases."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from ...models.ids import TenantId, TurnId
from ...models.live_events import DueTurns
from .client import RedisClient
from .keys import turns_key
from .scripts import HOLD, TAKE_DUE

MOST_DUE = 100
SLACK = timedelta(milliseconds=500)
"""Turns are due a little after their leases, so that the store agrees."""


class RedisTurnRegister:
    """`TurnRegister` on Redis."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client

    async def hold(self, tenant_id: TenantId, turn_ids: Sequence[TurnId], *, lease: timedelta) -> None:
        """See `TurnRegister`."""
        if turn_ids:
            async with self._client.operation("hold_turns") as redis:
                arguments: list[str | int] = [_ms(lease + SLACK), *(turn_id.hex for turn_id in turn_ids)]
                await redis.register_script(HOLD)(keys=[turns_key(tenant_id)], args=arguments)

    async def release(self, tenant_id: TenantId, turn_ids: Sequence[TurnId]) -> None:
        """See `TurnRegister`."""
        if turn_ids:
            async with self._client.operation("release_turns") as redis:
                await redis.zrem(turns_key(tenant_id), *(turn_id.hex for turn_id in turn_ids))

    async def take_due(self, tenant_id: TenantId, *, claim: timedelta) -> DueTurns:
        """See `TurnRegister`."""
        async with self._client.operation("take_due_turns", is_traced=False) as redis:
            script = redis.register_script(TAKE_DUE)
            is_new, due = await script(keys=[turns_key(tenant_id)], args=[_ms(claim), MOST_DUE])
        return DueTurns([TurnId(UUID(turn.decode())) for turn in due], is_whole=not is_new)


def _ms(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)
