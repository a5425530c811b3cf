"""Where changes are told, for whoever wants to act on them."""

from datetime import timedelta
from typing import Protocol
from uuid import UUID

from syntera_runtime.models.ids import TenantId
from syntera_runtime.models.outbox import OutboxBatch


class Outbox(Protocol):
    """The tenant's changes, in an order that all changes of one conversation keep. Every method may raise StoreUnavailable.

    Each reader has a name and a place of its own. A batch that was read and not passed comes again: at least once.
    """

    async def read(
        self, tenant_id: TenantId, reader: str, *, holder: UUID, lease: timedelta, limit: int
    ) -> OutboxBatch | None:
        """At most `limit` events behind the reader's place, which are the holder's to work on for `lease`.

        None: there is nothing new, or another process works on it. A change is there when every transaction that began to
        write before it has ended, so none is ever skipped.
        """
        ...

    async def advance(self, tenant_id: TenantId, reader: str, batch: OutboxBatch, *, holder: UUID) -> bool:
        """Pass a batch. False: the lease has ended and another process holds the reader; it gets the batch again."""
        ...

    async def prune(self, tenant_id: TenantId, *, passed: timedelta, unread: timedelta, most: int) -> int:
        """Forget some of the `most` oldest events; how many.

        Args:
            passed: After how long those that all readers have passed.
            unread: After how long all others: a reader that comes no more keeps nothing for ever.
        """
        ...
