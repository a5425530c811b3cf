"""Where the events of running conversations are kept for a while."""

from collections.abc import Sequence
from typing import Protocol

from syntera_runtime.models.ids import ConversationId, TenantId, TurnId
from syntera_runtime.models.live_events import EventBatch, EventNews


class EventTail(Protocol):
    """Reads what comes, of many conversations over one connection."""

    async def follow(self, conversation_id: ConversationId, *, after: int) -> None:
        """Read a conversation's batches after that number too, those that are there already first.

        Who follows it already from a later number gets batches again.
        """
        ...

    def leave(self, conversation_id: ConversationId) -> None:
        """Read a conversation no more."""
        ...

    async def next(self) -> EventNews:
        """Wait for news, for some seconds: there may be none.

        Raises:
            StoreUnavailable: The log is away. The next call tries again.
        """
        ...

    async def aclose(self) -> None:
        """Stop reading."""
        ...


class EventLog(Protocol):
    """Events of turns, kept for a while for readers in any process. Losing it loses no message.

    Every method may raise StoreUnavailable.
    """

    async def append(
        self, tenant_id: TenantId, conversation_id: ConversationId, batch: EventBatch, *, begins: bool
    ) -> bool:
        """Add a batch. One that does not follow all others changes nothing: a later turn has begun, or it is there already.

        Args:
            begins: Nothing of its turn needs to be there before it.

        Returns:
            False: the conversation has no events any more, so nothing was added.
        """
        ...

    async def read(
        self, tenant_id: TenantId, conversation_id: ConversationId, *, after: int, limit: int | None = None
    ) -> Sequence[EventBatch]:
        """Batches whose number is greater than `after`, oldest first; all of them, or the first `limit`."""
        ...

    async def forget(self, tenant_id: TenantId, conversation_id: ConversationId) -> None:
        """Remove all events of a conversation. There may be none."""
        ...

    async def ask_stop(self, tenant_id: TenantId, turn_id: TurnId) -> None:
        """Tell all processes that a turn shall be stopped; the one that runs it does it."""
        ...

    def tail(self, tenant_id: TenantId) -> EventTail:
        """A reader of many conversations at once."""
        ...
