"""Where turns are kept, and who holds them."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from syntera_runtime.models.ids import ContactId, ConversationId, FileId, RequestKey, TenantId, TurnId
from syntera_runtime.models.live_events import DueTurns, TurnRecord
from syntera_runtime.models.turns import (
    AbandonedTurn,
    BegunCompletion,
    BegunTurn,
    EndedTurn,
    Ending,
    ExpiredTurn,
    Said,
    Turn,
    TurnOutcome,
    TurnStart,
)


class TurnStore(Protocol):
    """Turns, with the messages that they bring. Every method may raise StoreUnavailable.

    Who begins a turn holds it until its lease ends, and renews the lease while it works. A turn whose lease has ended is
    ended as failed by whoever finds it. Each turn of a conversation has a number that fences (`BegunTurn.first_event`): a
    process that comes back after its turn was ended writes nothing.

    With the end of a turn, however it comes, what it used is counted; see `UsageStore`. While a turn runs, the estimate of its
    prompt is kept, for the case that its process dies.
    """

    async def begin_turn(
        self,
        tenant_id: TenantId,
        conversation_id: ConversationId,
        *,
        owner: ContactId | None,
        start: TurnStart,
        content: str,
        history: int,
        file_ids: Sequence[FileId] = (),
    ) -> BegunTurn:
        """Store the user's message and a running turn, both or neither, and read what the turn needs.

        `EVENTS_OF_A_TURN` numbers are reserved for its events until it ends.

        Args:
            owner: The contact whose conversation it must be; None: anybody's.
            content: What the user says.
            history: How many messages before the new one to read at most.
            file_ids: Files that belong to the message from now on, in this order; `owner` must have sent them.

        Raises:
            ConversationNotFound: There is no such conversation.
            ConversationBusy: Another turn of the conversation runs, or its lease has ended and nobody has ended it yet.
            RequestRepeated: There is a turn with that request key.
            FileNotFound: A file is not there, or somebody else's.
            FileAttached: A file belongs to a message already.
        """
        ...

    async def find_repeated(self, tenant_id: TenantId, request_key: RequestKey) -> TurnRecord | None:
        """The turn of a conversation that a request with that key began, or None."""
        ...

    async def end_turn(
        self, tenant_id: TenantId, begun: BegunTurn, *, outcome: TurnOutcome, ending: Ending
    ) -> EndedTurn:
        """Store how a turn ended and its reply, both or neither. Doing it again changes nothing.

        Raises:
            TurnLost: Somebody else has ended the turn.
        """
        ...

    async def begin_completion(self, tenant_id: TenantId, *, start: TurnStart) -> BegunCompletion:
        """Store a running turn without a conversation."""
        ...

    async def end_completion(self, tenant_id: TenantId, turn_id: TurnId, *, outcome: TurnOutcome) -> Turn:
        """Store how a turn without a conversation ended. Doing it again changes nothing.

        Raises:
            TurnLost: Somebody else has ended the turn.
        """
        ...

    async def renew_leases(
        self, tenant_id: TenantId, turn_ids: Sequence[TurnId], *, lease: timedelta
    ) -> Mapping[TurnId, bool]:
        """Hold these turns for `lease` from now on.

        Returns:
            Those of them that run still; true: somebody wants it stopped.
        """
        ...

    async def request_stop(
        self, tenant_id: TenantId, conversation_id: ConversationId, turn_id: TurnId | None
    ) -> TurnId | None:
        """Note that the running turn of a conversation shall be stopped, for its process to see when it renews the lease.

        Returns:
            That turn; None: none runs, or not `turn_id`.
        """
        ...

    async def find_expired(self, tenant_id: TenantId) -> Sequence[ExpiredTurn]:
        """The running turns of the tenant whose leases have ended."""
        ...

    async def abandon_turn(self, tenant_id: TenantId, expired: ExpiredTurn, *, said: Said) -> AbandonedTurn | None:
        """End a turn as failed whose lease has ended, with what had been said; what it used is estimated.

        Returns:
            None: it was ended already, or its process has renewed the lease.
        """
        ...

    async def turns_since(
        self, tenant_id: TenantId, positions: Mapping[ConversationId, int], *, limit: int
    ) -> Sequence[TurnRecord]:
        """Turns of these conversations that run, or whose last event comes after the number given for the conversation.

        Of those that have ended the newest `limit` of each conversation at most; oldest first.
        """
        ...


class TurnRegister(Protocol):
    """Which turns run and until when, so that nobody has to search the store for dead ones: the store decides.

    Every method may raise StoreUnavailable.
    """

    async def hold(self, tenant_id: TenantId, turn_ids: Sequence[TurnId], *, lease: timedelta) -> None:
        """Note that these turns run, and are due when `lease` has passed."""
        ...

    async def release(self, tenant_id: TenantId, turn_ids: Sequence[TurnId]) -> None:
        """Forget these."""
        ...

    async def take_due(self, tenant_id: TenantId, *, claim: timedelta) -> DueTurns:
        """Turns whose time has come, a hundred at most. Others get them only when `claim` has passed."""
        ...
