"""The stores in memory: for tests and for trying the API without a database. Nothing outlives the process.

It behaves as PostgreSQL does, because both pass the same contract tests.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from ..errors import ConversationBusy, ConversationNotFound, TurnAbandoned, TurnLost
from ..ids import new_id
from ..models import (
    EVENTS_OF_A_TURN,
    BegunTurn,
    Conversation,
    ConversationId,
    EndedTurn,
    Ending,
    Failure,
    Message,
    MessageId,
    MessageState,
    NewConversation,
    Role,
    StoredApiKey,
    TenantId,
    Turn,
    TurnId,
    TurnOutcome,
    TurnStart,
    TurnState,
)


@dataclass(slots=True)
class _Thread:
    conversation: Conversation
    messages: list[Message] = field(default_factory=list)
    last_event: int = 0


@dataclass(slots=True)
class _Lease:
    turn: Turn
    ends_at: datetime


@dataclass(slots=True)
class _Rows:
    api_keys: dict[str, StoredApiKey] = field(default_factory=dict)
    threads: dict[ConversationId, _Thread] = field(default_factory=dict)
    turns: dict[TurnId, _Lease] = field(default_factory=dict)


class MemoryStore:
    """`ApiKeyStore`, `ConversationStore` and `TurnStore` in one."""

    def __init__(self) -> None:
        self._tenants: dict[TenantId, _Rows] = {}

    def put_api_key(self, tenant_id: TenantId, key: StoredApiKey) -> None:
        """Store a key, in place of one with the same lookup part."""
        self._rows(tenant_id).api_keys[key.lookup] = key

    def find_turn(self, tenant_id: TenantId, turn_id: TurnId) -> Turn:
        """A turn as it is stored.

        Raises:
            KeyError: There is none with that id.
        """
        return self._rows(tenant_id).turns[turn_id].turn

    def turn_ids(self, tenant_id: TenantId) -> Sequence[TurnId]:
        """The tenant's turns, oldest first."""
        return list(self._rows(tenant_id).turns)

    def expire_turns(self, tenant_id: TenantId) -> None:
        """Let the leases of the tenant's turns end now, as if their processes had died."""
        for lease in self._rows(tenant_id).turns.values():
            lease.ends_at = datetime.min.replace(tzinfo=UTC)

    async def find_api_key(self, tenant_id: TenantId, lookup: str) -> StoredApiKey | None:
        """See `ApiKeyStore`."""
        return self._rows(tenant_id).api_keys.get(lookup)

    async def add_conversation(self, tenant_id: TenantId, *, agent: str, greeting: str | None) -> NewConversation:
        """See `ConversationStore`."""
        now = datetime.now(UTC)
        conversation = Conversation(id=ConversationId(new_id()), agent=agent, created_at=now, updated_at=now)
        thread = self._rows(tenant_id).threads[conversation.id] = _Thread(conversation)
        if greeting is None:
            return NewConversation(conversation=conversation, greeting=None)
        message = Message(
            id=MessageId(new_id()),
            conversation_id=conversation.id,
            role=Role.ASSISTANT,
            content=greeting,
            created_at=now,
        )
        thread.messages.append(message)
        return NewConversation(conversation=conversation, greeting=message)

    async def find_conversation(self, tenant_id: TenantId, conversation_id: ConversationId) -> Conversation | None:
        """See `ConversationStore`."""
        thread = self._rows(tenant_id).threads.get(conversation_id)
        return None if thread is None else thread.conversation

    async def list_messages(
        self, tenant_id: TenantId, conversation_id: ConversationId, *, after: MessageId | None, limit: int
    ) -> Sequence[Message]:
        """See `ConversationStore`."""
        thread = self._rows(tenant_id).threads.get(conversation_id)
        messages = [] if thread is None else thread.messages
        return [message for message in messages if after is None or message.id > after][:limit]

    async def begin_turn(
        self, tenant_id: TenantId, conversation_id: ConversationId, *, start: TurnStart, content: str, history: int
    ) -> BegunTurn:
        """See `TurnStore`."""
        rows = self._rows(tenant_id)
        _end_expired(rows)
        thread = rows.threads.get(conversation_id)
        if thread is None:
            raise ConversationNotFound
        if any(
            lease.turn.conversation_id == conversation_id and lease.turn.state is TurnState.RUNNING
            for lease in rows.turns.values()
        ):
            raise ConversationBusy
        turn = _insert_turn(rows, start, conversation_id=conversation_id)
        newest = thread.messages[-1].id if thread.messages else None
        message = Message(
            id=MessageId(new_id(after=newest)),
            conversation_id=conversation_id,
            role=Role.USER,
            content=content,
            created_at=turn.created_at,
            turn_id=turn.id,
        )
        begun = BegunTurn(
            turn=turn,
            user_message=message,
            reply_id=MessageId(new_id(after=message.id)),
            history=tuple(thread.messages[-history:] if history else []),
            last_event=thread.last_event,
        )
        thread.messages.append(message)
        thread.last_event += EVENTS_OF_A_TURN
        thread.conversation = replace(thread.conversation, updated_at=turn.created_at)
        return begun

    async def end_turn(
        self, tenant_id: TenantId, begun: BegunTurn, *, outcome: TurnOutcome, ending: Ending
    ) -> EndedTurn:
        """See `TurnStore`."""
        rows = self._rows(tenant_id)
        thread = rows.threads[begun.user_message.conversation_id]
        stored = next((message for message in thread.messages if message.id == begun.reply_id), None)
        if stored is not None:
            return EndedTurn(rows.turns[begun.turn.id].turn, begun.user_message, stored)
        turn = _end(rows, begun.turn.id, outcome)
        assert turn.ended_at is not None
        reply = Message(
            id=begun.reply_id,
            conversation_id=begun.user_message.conversation_id,
            role=Role.ASSISTANT,
            content=ending.text,
            created_at=turn.ended_at,
            state=MessageState(outcome.state.value),
            turn_id=turn.id,
            failure=outcome.failure,
        )
        thread.messages.append(reply)
        thread.last_event = ending.last_event
        thread.conversation = replace(thread.conversation, updated_at=turn.ended_at)
        return EndedTurn(turn=turn, user_message=begun.user_message, reply=reply)

    async def begin_completion(self, tenant_id: TenantId, *, start: TurnStart) -> Turn:
        """See `TurnStore`."""
        rows = self._rows(tenant_id)
        _end_expired(rows)
        return _insert_turn(rows, start, conversation_id=None)

    async def end_completion(self, tenant_id: TenantId, turn_id: TurnId, *, outcome: TurnOutcome) -> Turn:
        """See `TurnStore`."""
        rows = self._rows(tenant_id)
        lease = rows.turns.get(turn_id)
        if lease is not None and (lease.turn.state, lease.turn.failure) == (outcome.state, outcome.failure):
            return lease.turn
        return _end(rows, turn_id, outcome)

    async def renew_lease(self, tenant_id: TenantId, turn_id: TurnId, *, lease: timedelta) -> None:
        """See `TurnStore`."""
        held = self._rows(tenant_id).turns.get(turn_id)
        if held is None or held.turn.state is not TurnState.RUNNING:
            raise TurnLost
        held.ends_at = datetime.now(UTC) + lease

    async def end_expired(self, tenant_id: TenantId) -> bool:
        """See `TurnStore`."""
        return _end_expired(self._rows(tenant_id))

    def _rows(self, tenant_id: TenantId) -> _Rows:
        return self._tenants.setdefault(tenant_id, _Rows())


def _insert_turn(rows: _Rows, start: TurnStart, *, conversation_id: ConversationId | None) -> Turn:
    now = datetime.now(UTC)
    turn = Turn(
        id=TurnId(new_id()),
        conversation_id=conversation_id,
        agent=start.agent,
        agent_revision=start.agent_revision,
        state=TurnState.RUNNING,
        created_at=now,
    )
    rows.turns[turn.id] = _Lease(turn, ends_at=now + start.lease)
    return turn


def _end(rows: _Rows, turn_id: TurnId, outcome: TurnOutcome) -> Turn:
    lease = rows.turns.get(turn_id)
    if lease is None or lease.turn.state is not TurnState.RUNNING:
        raise TurnLost
    lease.turn = replace(
        lease.turn,
        state=outcome.state,
        ended_at=datetime.now(UTC),
        endpoint=outcome.endpoint,
        model=outcome.model,
        usage=outcome.usage,
        failure=outcome.failure,
    )
    return lease.turn


def _end_expired(rows: _Rows) -> bool:
    abandoned = TurnAbandoned()
    failure = Failure(abandoned.code, abandoned.message)
    now = datetime.now(UTC)
    running = [lease for lease in rows.turns.values() if lease.turn.state is TurnState.RUNNING]
    expired = [lease.turn for lease in running if lease.ends_at < now]
    for turn in expired:
        _end(rows, turn.id, TurnOutcome(failure=failure))
        if turn.conversation_id is not None:
            messages = rows.threads[turn.conversation_id].messages
            messages.append(
                Message(
                    id=MessageId(new_id(after=messages[-1].id)),
                    conversation_id=turn.conversation_id,
                    role=Role.ASSISTANT,
                    content="",
                    created_at=now,
                    state=MessageState.FAILED,
                    turn_id=turn.id,
                    failure=failure,
                )
            )
    return bool(expired)
