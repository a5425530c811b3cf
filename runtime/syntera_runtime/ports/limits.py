"""Where requests and streams are counted."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Protocol

from syntera_runtime.models.ids import StreamId, TenantId
from syntera_runtime.models.limits import Charge, Taken


class RateLimits(Protocol):
    """Counts what is asked for, for all processes together. Losing the counts means to begin at none.

    Every method may raise StoreUnavailable, soon: a request waits for it.
    """

    async def take(self, tenant_id: TenantId, charges: Sequence[Charge]) -> Taken:
        """Count a request for all these limits, or for none if one of them has no room."""
        ...

    async def open_stream(
        self, tenant_id: TenantId, stream_id: StreamId, *, most: int, lease: timedelta, person: str = ""
    ) -> bool:
        """Count a stream until `lease` has passed. False: there are `most` already.

        Args:
            person: Whose streams it is counted among; empty: everybody's.
        """
        ...

    async def renew_streams(
        self, tenant_id: TenantId, stream_ids: Collection[StreamId], *, lease: timedelta, person: str = ""
    ) -> None:
        """Count these for `lease` from now on, be they known or not."""
        ...

    async def close_streams(self, tenant_id: TenantId, stream_ids: Collection[StreamId], *, person: str = "") -> None:
        """Count these no more."""
        ...
