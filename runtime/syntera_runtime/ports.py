"""What the use cases need of the outside world, as small protocols; `adapters` implement them.

A tenant's data is only reached through methods that take `tenant_id` first.
"""

from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from typing import Protocol

from syntera_crds.contract.agent_config import AgentConfig, ModelCandidate, SecretKey
from syntera_crds.contract.internal_api import LoadedAgent

from .models import (
    BegunTurn,
    Conversation,
    ConversationId,
    EndedTurn,
    Ending,
    Message,
    MessageId,
    ModelEvent,
    ModelRequest,
    NewConversation,
    StoredApiKey,
    TenantId,
    Turn,
    TurnId,
    TurnOutcome,
    TurnStart,
)


class ChatModels(Protocol):
    """Asks models."""

    def stream(self, candidates: Sequence[ModelCandidate], request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """The answer of the first candidate that gives one: `ModelStarted`, any number of `TextDelta`, `ModelFinished`.

        Falls back to the next candidate only before the first `TextDelta`. Closing the generator ends the request.

        Raises:
            ModelUnavailable: No candidate could be reached, or the answer broke off.
            ModelTimeout: The last candidate did not answer in time.
            ModelRefused: The last candidate refused the credentials or the request.
            SecretMissing: The last candidate needs a Secret that is not there.
        """
        ...


class AgentCatalogue(Protocol):
    """The agents that this process serves, as last published. No I/O: a snapshot that is swapped atomically."""

    @property
    def is_loaded(self) -> bool:
        """Whether the configuration has been read once, be it empty."""
        ...

    def get(self, name: str) -> AgentConfig | None:
        """The agent of that name, or None if there is none."""
        ...

    def all(self) -> Sequence[AgentConfig]:
        """All agents, by name."""
        ...


class LoadedAgents(Protocol):
    """Which revisions are served, for the operator that asks."""

    def loaded(self, agent: str) -> LoadedAgent | None:
        """What is served for an agent now."""
        ...

    def all_loaded(self) -> Sequence[LoadedAgent]:
        """What is served now, by name."""
        ...

    async def wait_loaded(self, agent: str, *, digest: str, seconds: float) -> LoadedAgent | None:
        """What is served for an agent as soon as it is `digest`, else what is served after that many seconds."""
        ...


class OperatorTokens(Protocol):
    """Tells the operator from everybody else on the internal port."""

    async def verify(self, token: str) -> None:
        """Return if `token` is a valid token of the operator for this tenant's internal API.

        Raises:
            TokenRefused: It is not.
        """
        ...


class Secrets(Protocol):
    """Values of the Secrets that agents refer to, as last seen."""

    def value(self, ref: SecretKey) -> str:
        """The value.

        Raises:
            SecretMissing: The Secret or its entry is not there.
        """
        ...


class ApiKeyStore(Protocol):
    """The tenant's API keys."""

    async def find_api_key(self, tenant_id: TenantId, lookup: str) -> StoredApiKey | None:
        """The key with that lookup part, or None.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        ...


class ConversationStore(Protocol):
    """Conversations and their messages. Every method may raise StoreUnavailable."""

    async def add_conversation(self, tenant_id: TenantId, *, agent: str, greeting: str | None) -> NewConversation:
        """Make a conversation, with the greeting as its first message where there is one."""
        ...

    async def find_conversation(self, tenant_id: TenantId, conversation_id: ConversationId) -> Conversation | None:
        """The conversation, or None."""
        ...

    async def list_messages(
        self, tenant_id: TenantId, conversation_id: ConversationId, *, after: MessageId | None, limit: int
    ) -> Sequence[Message]:
        """At most `limit` messages that follow `after`, or the first ones; oldest first."""
        ...


class TurnStore(Protocol):
    """Turns, with the messages that they bring. Every method may raise StoreUnavailable.

    Who begins a turn holds it until its lease ends, and renews the lease while it works. A turn whose lease has ended is
    ended as failed, with an empty reply that says so, by whoever begins another one of that tenant or asks for it: so an
    idle process needs no connection to look for them.
    """

    async def begin_turn(
        self, tenant_id: TenantId, conversation_id: ConversationId, *, start: TurnStart, content: str, history: int
    ) -> BegunTurn:
        """Store the user's message and a running turn, both or neither, and read what the turn needs.

        `EVENTS_OF_A_TURN` numbers are reserved for its events until it ends.

        Args:
            content: What the user says.
            history: How many messages before the new one to read at most.

        Raises:
            ConversationNotFound: There is no such conversation.
            ConversationBusy: Another turn of the conversation runs.
        """
        ...

    async def end_turn(
        self, tenant_id: TenantId, begun: BegunTurn, *, outcome: TurnOutcome, ending: Ending
    ) -> EndedTurn:
        """Store how a turn ended and its reply, both or neither. Doing it again changes nothing.

        Raises:
            TurnLost: Somebody else has ended the turn.
        """
        ...

    async def begin_completion(self, tenant_id: TenantId, *, start: TurnStart) -> Turn:
        """Store a running turn without a conversation."""
        ...

    async def end_completion(self, tenant_id: TenantId, turn_id: TurnId, *, outcome: TurnOutcome) -> Turn:
        """Store how a turn without a conversation ended. Doing it again changes nothing.

        Raises:
            TurnLost: Somebody else has ended the turn.
        """
        ...

    async def renew_lease(self, tenant_id: TenantId, turn_id: TurnId, *, lease: timedelta) -> None:
        """Hold the turn for `lease` from now on.

        Raises:
            TurnLost: It does not run any more.
        """
        ...

    async def end_expired(self, tenant_id: TenantId) -> bool:
        """End the turns of the tenant whose leases have ended. False: there was none, or somebody else just does it."""
        ...
