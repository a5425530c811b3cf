"""The stores in memory: for tests and for trying the API without a database. Nothing outlives the process.

It behaves as PostgreSQL does, because both pass the same contract tests.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pydantic import JsonValue

from ..errors import (
    ConversationBusy,
    ConversationNotFound,
    MessageNotFound,
    RequestRepeated,
    RevisionMismatch,
    TurnAbandoned,
    TurnLost,
)
from ..ids import new_id, next_id
from ..models.conversations import (
    MOST_UNREAD,
    Conversation,
    ConversationChange,
    ConversationFilter,
    ConversationOrder,
    ConversationStart,
    ConversationState,
    ConversationSummary,
    Failure,
    Feedback,
    ListPosition,
    Marks,
    Message,
    MessageState,
    NewConversation,
    Role,
    Side,
)
from ..models.files import build_parts, build_reply_parts
from ..models.identity import Contact, KeyMaker, KeyRecord, NewApiKey, StoredApiKey
from ..models.ids import ApiKeyId, ContactId, ConversationId, FileId, MessageId, RequestKey, TenantId, TurnId
from ..models.live_events import EventPosition, TurnRecord
from ..models.outbox import EventType, Subjects
from ..models.tokens import estimate_read, estimate_tokens
from ..models.turns import (
    EVENTS_OF_A_TURN,
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
    TurnState,
    Usage,
)
from ..models.usage import UsageCount, UsageGroup, UsageLine
from .memory_files import MemoryFiles
from .memory_knowledge import MemoryKnowledge
from .memory_outbox import MemoryOutbox
from .memory_usage import MemoryUsage
from .memory_webhooks import MemoryWebhooks


@dataclass(slots=True)
class _Thread:
    conversation: Conversation
    messages: list[Message] = field(default_factory=list)
    last_event: int = 0
    marks: dict[Side, Marks] = field(default_factory=dict)
    feedback: dict[tuple[MessageId, str], Feedback] = field(default_factory=dict)


@dataclass(slots=True)
class _Lease:
    turn: Turn
    ends_at: datetime
    first_event: int | None = None
    last_event: int | None = None
    is_unwanted: bool = False
    person: str | None = None
    prompt_tokens: int = 0

    @property
    def has_expired(self) -> bool:
        return self.turn.state is TurnState.RUNNING and self.ends_at < datetime.now(UTC)


@dataclass(slots=True)
class _Rows:
    api_keys: dict[str, KeyRecord] = field(default_factory=dict)
    contacts: dict[ContactId, Contact] = field(default_factory=dict)
    threads: dict[ConversationId, _Thread] = field(default_factory=dict)
    turns: dict[TurnId, _Lease] = field(default_factory=dict)
    turn_requests: dict[RequestKey, TurnId] = field(default_factory=dict)
    conversation_requests: dict[RequestKey, ConversationId] = field(default_factory=dict)
    usage: MemoryUsage = field(default_factory=MemoryUsage)

    def find_thread(self, conversation_id: ConversationId, owner: ContactId | None) -> _Thread | None:
        """The conversation, if it is there for `owner`."""
        thread = self.threads.get(conversation_id)
        is_there = thread is not None and owner in (None, thread.conversation.contact_id)
        return thread if is_there else None


class MemoryStore:
    """All stores of PostgreSQL in one."""

    def __init__(self) -> None:
        self._tenants: dict[TenantId, _Rows] = {}
        self.files = MemoryFiles(self._find_any)
        self.knowledge = MemoryKnowledge(self.files)
        """What agents know."""
        self.outbox = MemoryOutbox()
        """Where every change is told."""
        self.webhooks = MemoryWebhooks()
        """Endpoints of others."""

    def put_api_key(
        self, tenant_id: TenantId, key: StoredApiKey, *, name: str = "test", made_by: KeyMaker = KeyMaker.OPERATOR
    ) -> None:
        """Store a key, in place of one with the same lookup part."""
        self._rows(tenant_id).api_keys[key.lookup] = KeyRecord(
            key=key, name=name, made_by=made_by, created_at=datetime.now(UTC)
        )

    def contacts(self, tenant_id: TenantId) -> Sequence[Contact]:
        """The tenant's contacts, oldest first."""
        return list(self._rows(tenant_id).contacts.values())

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
        record = self._rows(tenant_id).api_keys.get(lookup)
        return None if record is None else record.key

    async def add_api_key(self, tenant_id: TenantId, new: NewApiKey) -> KeyRecord:
        """See `KeyRegister`."""
        record = KeyRecord(
            key=new.key,
            name=new.name,
            made_by=KeyMaker.TENANT,
            created_at=datetime.now(UTC),
            created_by=new.created_by,
        )
        self._rows(tenant_id).api_keys[new.key.lookup] = record
        return record

    async def list_api_keys(self, tenant_id: TenantId, *, after: ApiKeyId | None, limit: int) -> Sequence[KeyRecord]:
        """See `KeyRegister`."""
        records = sorted(self._rows(tenant_id).api_keys.values(), key=lambda record: record.key.id)
        return [record for record in records if after is None or record.key.id > after][:limit]

    async def find_key_record(self, tenant_id: TenantId, key_id: ApiKeyId) -> KeyRecord | None:
        """See `KeyRegister`."""
        records = self._rows(tenant_id).api_keys.values()
        return next((record for record in records if record.key.id == key_id), None)

    async def revoke_api_key(self, tenant_id: TenantId, key_id: ApiKeyId) -> None:
        """See `KeyRegister`."""
        record = await self.find_key_record(tenant_id, key_id)
        if record is not None and record.made_by is KeyMaker.TENANT and record.key.revoked_at is None:
            revoked = replace(record.key, revoked_at=datetime.now(UTC))
            self._rows(tenant_id).api_keys[revoked.lookup] = replace(record, key=revoked)

    async def note_used(self, tenant_id: TenantId, key_ids: Sequence[ApiKeyId]) -> None:
        """See `KeyRegister`."""
        keys = self._rows(tenant_id).api_keys
        for lookup, record in keys.items():
            if record.key.id in key_ids:
                keys[lookup] = replace(record, last_used_at=datetime.now(UTC))

    async def list_origins(self, tenant_id: TenantId) -> frozenset[str]:
        """See `KeyRegister`."""
        now = datetime.now(UTC)
        keys = [record.key for record in self._rows(tenant_id).api_keys.values()]
        live = [key for key in keys if key.revoked_at is None and (key.expires_at is None or key.expires_at > now)]
        return frozenset().union(*(key.allowed_origins for key in live))

    async def identify_contact(
        self, tenant_id: TenantId, external_id: str, *, name: str | None = None, email: str | None = None
    ) -> Contact:
        """See `ContactStore`."""
        contacts, now = self._rows(tenant_id).contacts, datetime.now(UTC)
        found = next((contact for contact in contacts.values() if contact.external_id == external_id), None)
        if found is None:
            found = Contact(ContactId(new_id()), external_id, name, email, created_at=now, last_seen_at=now)
        seen = replace(found, name=name or found.name, email=email or found.email, last_seen_at=now)
        if found.id not in contacts:
            self.outbox.append(tenant_id, EventType.CONTACT_CREATED, Subjects(contact_id=seen.id))
        elif (seen.name, seen.email) != (found.name, found.email):
            self.outbox.append(tenant_id, EventType.CONTACT_UPDATED, Subjects(contact_id=seen.id))
        contacts[seen.id] = seen
        return seen

    async def move_conversations(self, tenant_id: TenantId, *, source: ContactId, target: ContactId) -> int:
        """See `ContactStore`."""
        known = self._rows(tenant_id).contacts.get(source)
        if known is not None and known.external_id is not None:
            return 0
        threads = self._rows(tenant_id).threads.values()
        moved = [thread for thread in threads if thread.conversation.contact_id == source]
        for thread in moved:
            self._change(tenant_id, thread, contact_id=target)
        self.files.move(tenant_id, source=source, target=target)
        return len(moved)

    async def add_conversation(
        self, tenant_id: TenantId, start: ConversationStart, *, owner: ContactId | None
    ) -> NewConversation:
        """See `ConversationStore`."""
        now, greeting = datetime.now(UTC), start.greeting
        rows = self._rows(tenant_id)
        if owner is not None:
            if owner not in rows.contacts:
                self.outbox.append(tenant_id, EventType.CONTACT_CREATED, Subjects(contact_id=owner))
            contact = rows.contacts.get(owner) or Contact(owner, None, None, None, created_at=now, last_seen_at=now)
            rows.contacts[owner] = replace(contact, last_seen_at=now)
        if start.request_key is not None and start.request_key in rows.conversation_requests:
            made = rows.find_thread(rows.conversation_requests[start.request_key], owner)
            if made is None:
                raise RequestRepeated
            first = next((message for message in made.messages if message.turn_id is None), None)
            return NewConversation(conversation=made.conversation, greeting=first)
        conversation = Conversation(
            id=ConversationId(new_id()),
            agent=start.agent,
            created_at=now,
            updated_at=now,
            channel=start.channel,
            title=start.title,
            metadata=dict(start.metadata),
            contact_id=owner,
        )
        thread = rows.threads[conversation.id] = _Thread(conversation)
        self.outbox.append(
            tenant_id,
            EventType.CONVERSATION_CREATED,
            Subjects(conversation_id=conversation.id, contact_id=owner),
            {"agent": conversation.agent, "state": conversation.state.value},
        )
        if start.request_key is not None:
            rows.conversation_requests[start.request_key] = conversation.id
        if greeting is None:
            return NewConversation(conversation=conversation, greeting=None)
        message = Message(
            id=MessageId(new_id()),
            conversation_id=conversation.id,
            role=Role.ASSISTANT,
            content=greeting,
            created_at=now,
        )
        self._say(tenant_id, thread, message)
        return NewConversation(conversation=conversation, greeting=message)

    async def find_conversation(
        self, tenant_id: TenantId, conversation_id: ConversationId, *, owner: ContactId | None
    ) -> Conversation | None:
        """See `ConversationStore`."""
        thread = self._rows(tenant_id).find_thread(conversation_id, owner)
        return None if thread is None else thread.conversation

    async def find_message(self, tenant_id: TenantId, message_id: MessageId) -> Message | None:
        """See `EventSubjects`."""
        threads = self._rows(tenant_id).threads.values()
        return next((one for thread in threads for one in thread.messages if one.id == message_id), None)

    async def find_contact(self, tenant_id: TenantId, contact_id: ContactId) -> Contact | None:
        """See `EventSubjects`."""
        return self._rows(tenant_id).contacts.get(contact_id)

    async def find_feedback(self, tenant_id: TenantId, message_id: MessageId, author: str) -> Feedback | None:
        """See `EventSubjects`."""
        threads = self._rows(tenant_id).threads.values()
        given = (thread.feedback.get((message_id, author)) for thread in threads)
        return next((feedback for feedback in given if feedback is not None), None)

    async def find_position(
        self, tenant_id: TenantId, conversation_id: ConversationId, *, owner: ContactId | None
    ) -> EventPosition | None:
        """See `ConversationStore`."""
        rows = self._rows(tenant_id)
        thread = rows.find_thread(conversation_id, owner)
        if thread is None:
            return None
        running = _find_running(rows, conversation_id)
        if running is None or running.first_event is None:
            return EventPosition(thread.last_event, is_running=False)
        return EventPosition(running.first_event - 1, is_running=True)

    async def list_messages(
        self,
        tenant_id: TenantId,
        conversation_id: ConversationId,
        *,
        owner: ContactId | None,
        after: MessageId | None,
        limit: int,
    ) -> Sequence[Message]:
        """See `ConversationStore`."""
        thread = self._rows(tenant_id).find_thread(conversation_id, owner)
        messages = [] if thread is None else thread.messages
        return [message for message in messages if after is None or message.id > after][:limit]

    async def list_conversations(
        self,
        tenant_id: TenantId,
        wanted: ConversationFilter,
        *,
        owner: ContactId | None,
        order: ConversationOrder,
        side: Side,
        after: ListPosition | None,
        limit: int,
    ) -> Sequence[ConversationSummary]:
        """See `ConversationDirectory`."""

        def place(at: datetime, id_: ConversationId) -> tuple[datetime, ConversationId]:
            return (at if order is ConversationOrder.ACTIVITY else datetime.min.replace(tzinfo=UTC), id_)

        threads = [thread for thread in self._rows(tenant_id).threads.values() if _is_wanted(thread, wanted, owner)]
        ordered = sorted(threads, key=lambda one: place(one.conversation.updated_at, one.conversation.id), reverse=True)
        following = [
            thread
            for thread in ordered
            if after is None
            or place(thread.conversation.updated_at, thread.conversation.id) < place(after.at, after.id)
        ]
        return [_summarise(thread, side) for thread in following[:limit]]

    async def change_conversation(
        self, tenant_id: TenantId, conversation_id: ConversationId, change: ConversationChange, *, revision: int | None
    ) -> Conversation:
        """See `ConversationEditor`."""
        thread = self._thread(tenant_id, conversation_id)
        before = thread.conversation
        if revision not in (None, before.revision):
            raise RevisionMismatch
        self._change(
            tenant_id,
            thread,
            title=before.title if change.title is None else change.title,
            metadata=before.metadata if change.metadata is None else dict(change.metadata),
            state=change.state or before.state,
            revision=before.revision + 1,
        )
        return thread.conversation

    async def delete_conversation(self, tenant_id: TenantId, conversation_id: ConversationId) -> None:
        """See `ConversationEditor`."""
        self._thread(tenant_id, conversation_id)
        rows = self._rows(tenant_id)
        leases = [lease for lease in rows.turns.values() if lease.turn.conversation_id == conversation_id]
        if any(lease.turn.state is TurnState.RUNNING for lease in leases):
            raise ConversationBusy
        for lease in leases:
            lease.turn = replace(lease.turn, conversation_id=None)
        self.files.doom_of_conversation(tenant_id, conversation_id)
        gone = rows.threads.pop(conversation_id).conversation
        self.outbox.append(
            tenant_id,
            EventType.CONVERSATION_DELETED,
            Subjects(conversation_id=conversation_id, contact_id=gone.contact_id),
            {"agent": gone.agent},
        )
        made = rows.conversation_requests.items()
        rows.conversation_requests = {key: id_ for key, id_ in made if id_ != conversation_id}

    async def mark_conversation(
        self, tenant_id: TenantId, conversation_id: ConversationId, *, side: Side, marks: Marks
    ) -> Marks:
        """See `ConversationEditor`."""
        thread = self._thread(tenant_id, conversation_id)
        before = thread.marks.get(side, Marks())
        read = _later(before.read, marks.read)
        thread.marks[side] = Marks(read=read, delivered=_later(before.delivered, _later(read, marks.delivered)))
        return thread.marks[side]

    async def put_feedback(self, tenant_id: TenantId, conversation_id: ConversationId, feedback: Feedback) -> None:
        """See `ConversationEditor`."""
        thread = self._thread_of_reply(tenant_id, conversation_id, feedback.message_id)
        before = thread.feedback.get((feedback.message_id, feedback.author))
        thread.feedback[feedback.message_id, feedback.author] = feedback
        if before is None or (before.rating, before.comment) != (feedback.rating, feedback.comment):
            type_ = EventType.FEEDBACK_CREATED if before is None else EventType.FEEDBACK_UPDATED
            payload: dict[str, JsonValue] = {"author": feedback.author, "rating": feedback.rating.value}
            self.outbox.append(tenant_id, type_, Subjects(conversation_id, message_id=feedback.message_id), payload)

    async def delete_feedback(
        self, tenant_id: TenantId, conversation_id: ConversationId, message_id: MessageId, *, author: str
    ) -> None:
        """See `ConversationEditor`."""
        thread = self._thread_of_reply(tenant_id, conversation_id, message_id)
        if thread.feedback.pop((message_id, author), None) is not None:
            subjects = Subjects(conversation_id, message_id=message_id)
            self.outbox.append(tenant_id, EventType.FEEDBACK_DELETED, subjects, {"author": author})

    async def list_feedback(self, tenant_id: TenantId, conversation_id: ConversationId) -> Sequence[Feedback]:
        """See `ConversationEditor`."""
        thread = self._rows(tenant_id).threads.get(conversation_id)
        return [] if thread is None else [feedback for _, feedback in sorted(thread.feedback.items())]

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
        """See `TurnStore`."""
        rows = self._rows(tenant_id)
        thread = rows.find_thread(conversation_id, owner)
        if thread is None:
            raise ConversationNotFound
        if start.request_key is not None and start.request_key in rows.turn_requests:
            raise RequestRepeated
        running = _find_running(rows, conversation_id)
        if running is not None:
            raise ConversationBusy(turn_id=running.turn.id, is_expired=running.has_expired)
        newest = thread.messages[-1].id if thread.messages else None
        message_id = MessageId(new_id(after=newest))
        attached = self.files.attach(
            tenant_id, file_ids, conversation_id=conversation_id, message_id=message_id, owner=owner
        )
        turn = _insert_turn(rows, start, conversation_id=conversation_id, first_event=thread.last_event + 1)
        message = Message(
            id=message_id,
            conversation_id=conversation_id,
            role=Role.USER,
            content=content,
            created_at=turn.created_at,
            turn_id=turn.id,
            parts=build_parts(content, attached),
        )
        begun = BegunTurn(
            turn=turn,
            user_message=message,
            reply_id=MessageId(next_id(message.id)),
            history=tuple(thread.messages[-history:] if history else []),
            last_event=thread.last_event,
            spent=rows.usage.spent(person=start.person, conversation_id=conversation_id),
        )
        rows.turns[turn.id].prompt_tokens += estimate_read(begun, with_images=start.takes_images)
        title = thread.conversation.title or start.title
        self._change(tenant_id, thread, updated_at=turn.created_at, title=title)
        self._tell_of_turn(tenant_id, turn)
        self._say(tenant_id, thread, message)
        thread.last_event += EVENTS_OF_A_TURN
        if start.request_key is not None:
            rows.turn_requests[start.request_key] = turn.id
        return begun

    async def find_repeated(self, tenant_id: TenantId, request_key: RequestKey) -> TurnRecord | None:
        """See `TurnStore`."""
        rows = self._rows(tenant_id)
        turn_id = rows.turn_requests.get(request_key)
        lease = None if turn_id is None else rows.turns[turn_id]
        return None if lease is None or lease.turn.conversation_id is None else _record(rows, lease)

    async def end_turn(
        self, tenant_id: TenantId, begun: BegunTurn, *, outcome: TurnOutcome, ending: Ending
    ) -> EndedTurn:
        """See `TurnStore`."""
        rows = self._rows(tenant_id)
        thread = rows.threads[begun.user_message.conversation_id]
        lease = rows.turns.get(begun.turn.id)
        if lease is not None and _is_ended_as(lease.turn, outcome):
            stored = next(message for message in thread.messages if message.id == begun.reply_id)
            return EndedTurn(lease.turn, begun.user_message, stored)
        if lease is None or lease.first_event != begun.first_event:
            raise TurnLost
        turn = _end(rows, begun.turn.id, outcome)
        lease.last_event = ending.last_event
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
            limited_by=outcome.limited_by,
            parts=build_reply_parts(ending.text, ending.citations, refusal=ending.refusal, retrieval=ending.retrieval),
        )
        self._tell_of_turn(tenant_id, turn)
        self._say(tenant_id, thread, reply)
        thread.last_event = ending.last_event
        thread.conversation = replace(thread.conversation, updated_at=turn.ended_at)
        return EndedTurn(turn=turn, user_message=begun.user_message, reply=reply)

    async def begin_completion(self, tenant_id: TenantId, *, start: TurnStart) -> BegunCompletion:
        """See `TurnStore`."""
        rows = self._rows(tenant_id)
        turn = _insert_turn(rows, start, conversation_id=None, first_event=None)
        self._tell_of_turn(tenant_id, turn)
        return BegunCompletion(turn, rows.usage.spent(person=start.person, conversation_id=None))

    async def end_completion(self, tenant_id: TenantId, turn_id: TurnId, *, outcome: TurnOutcome) -> Turn:
        """See `TurnStore`."""
        rows = self._rows(tenant_id)
        lease = rows.turns.get(turn_id)
        if lease is not None and _is_ended_as(lease.turn, outcome):
            return lease.turn
        turn = _end(rows, turn_id, outcome)
        self._tell_of_turn(tenant_id, turn)
        return turn

    async def renew_leases(
        self, tenant_id: TenantId, turn_ids: Sequence[TurnId], *, lease: timedelta
    ) -> Mapping[TurnId, bool]:
        """See `TurnStore`."""
        renewed = {}
        for turn_id in turn_ids:
            held = self._rows(tenant_id).turns.get(turn_id)
            if held is not None and held.turn.state is TurnState.RUNNING:
                held.ends_at = datetime.now(UTC) + lease
                renewed[turn_id] = held.is_unwanted
        return renewed

    async def request_stop(
        self, tenant_id: TenantId, conversation_id: ConversationId, turn_id: TurnId | None
    ) -> TurnId | None:
        """See `TurnStore`."""
        running = _find_running(self._rows(tenant_id), conversation_id)
        if running is None or turn_id not in (None, running.turn.id):
            return None
        running.is_unwanted = True
        return running.turn.id

    async def find_expired(self, tenant_id: TenantId) -> Sequence[ExpiredTurn]:
        """See `TurnStore`."""
        rows = self._rows(tenant_id)
        return [_describe_expired(rows, lease) for lease in rows.turns.values() if lease.has_expired]

    async def abandon_turn(self, tenant_id: TenantId, expired: ExpiredTurn, *, said: Said) -> AbandonedTurn | None:
        """See `TurnStore`."""
        rows = self._rows(tenant_id)
        lease = rows.turns[expired.id]
        if not lease.has_expired:
            return None
        abandoned = TurnAbandoned()
        failure = Failure(abandoned.code, abandoned.message)
        usage = Usage(lease.prompt_tokens, estimate_tokens(said.text), is_estimated=True)
        turn = _end(rows, expired.id, TurnOutcome(failure=failure, usage=usage))
        self._tell_of_turn(tenant_id, turn)
        lease.last_event = expired.last_event
        if expired.conversation_id is None or expired.reply_id is None:
            return AbandonedTurn(turn, None)
        assert turn.ended_at is not None
        reply = Message(
            id=expired.reply_id,
            conversation_id=expired.conversation_id,
            role=Role.ASSISTANT,
            content=said.text,
            created_at=turn.ended_at,
            state=MessageState.FAILED,
            turn_id=turn.id,
            failure=failure,
            parts=build_reply_parts(said.text, said.citations, retrieval=said.retrieval),
        )
        self._say(tenant_id, rows.threads[expired.conversation_id], reply)
        return AbandonedTurn(turn, EndedTurn(turn, _find_question(rows, turn), reply))

    async def turns_since(
        self, tenant_id: TenantId, positions: Mapping[ConversationId, int], *, limit: int
    ) -> Sequence[TurnRecord]:
        """See `TurnStore`."""
        rows = self._rows(tenant_id)
        found: list[TurnRecord] = []
        for conversation_id, position in positions.items():
            leases = [lease for lease in rows.turns.values() if lease.turn.conversation_id == conversation_id]
            running = [lease for lease in leases if lease.last_event is None]
            ended = [lease for lease in leases if lease.last_event is not None and lease.last_event > position]
            found += [_record(rows, lease) for lease in (*ended[-limit:], *running)]
        return sorted(found, key=lambda record: record.first_event)

    async def list_usage(
        self, tenant_id: TenantId, *, since: date, until: date, group: UsageGroup
    ) -> Sequence[UsageLine]:
        """See `UsageStore`."""
        return self._rows(tenant_id).usage.list(since=since, until=until, group=group)

    async def month_tokens(self, tenant_id: TenantId) -> int:
        """See `UsageStore`."""
        return self._rows(tenant_id).usage.spent(person=None, conversation_id=None).month_tokens

    async def conversation_usage(self, tenant_id: TenantId, conversation_id: ConversationId) -> UsageCount | None:
        """See `UsageStore`."""
        return self._rows(tenant_id).usage.conversation(conversation_id)

    def _change(self, tenant_id: TenantId, thread: _Thread, **changes: Any) -> None:
        """Change a conversation and tell what people see of it."""
        before, after = thread.conversation, replace(thread.conversation, **changes)
        thread.conversation = after
        names = {"title": "title", "metadata": "metadata", "state": "state", "contact_id": "contactId"}
        changed: list[JsonValue] = [
            told for name, told in names.items() if getattr(before, name) != getattr(after, name)
        ]
        if not changed:
            return
        has_ended = after.state not in (before.state, ConversationState.ACTIVE)
        type_ = EventType(f"conversation.{after.state}") if has_ended else EventType.CONVERSATION_UPDATED
        payload: dict[str, JsonValue] = {"agent": after.agent, "state": after.state.value, "changed": changed}
        self.outbox.append(tenant_id, type_, Subjects(after.id, contact_id=after.contact_id), payload)

    def _say(self, tenant_id: TenantId, thread: _Thread, message: Message) -> None:
        """Add a message and tell of it."""
        thread.messages.append(message)
        is_reply = message.role is Role.ASSISTANT and message.turn_id is not None
        type_ = f"message.{_ENDS[message.state.value]}" if is_reply else EventType.MESSAGE_CREATED
        self.outbox.append(
            tenant_id,
            EventType(type_),
            Subjects(message.conversation_id, message.turn_id, message.id),
            {"role": message.role.value, "state": message.state.value},
        )

    def _tell_of_turn(self, tenant_id: TenantId, turn: Turn) -> None:
        self.outbox.append(
            tenant_id,
            EventType(f"turn.{_ENDS[turn.state.value]}"),
            Subjects(turn.conversation_id, turn.id),
            {
                "agent": turn.agent,
                "state": turn.state.value,
                "errorCode": None if turn.failure is None else turn.failure.code,
            },
        )

    def _thread(self, tenant_id: TenantId, conversation_id: ConversationId) -> _Thread:
        thread = self._rows(tenant_id).threads.get(conversation_id)
        if thread is None:
            raise ConversationNotFound
        return thread

    def _thread_of_reply(self, tenant_id: TenantId, conversation_id: ConversationId, message_id: MessageId) -> _Thread:
        thread = self._rows(tenant_id).threads.get(conversation_id)
        if thread is None or not any(
            message.id == message_id and message.role is Role.ASSISTANT for message in thread.messages
        ):
            raise MessageNotFound
        return thread

    def _find_any(self, tenant_id: TenantId, conversation_id: ConversationId) -> Conversation | None:
        thread = self._rows(tenant_id).threads.get(conversation_id)
        return None if thread is None else thread.conversation

    def _rows(self, tenant_id: TenantId) -> _Rows:
        return self._tenants.setdefault(tenant_id, _Rows())


_ENDS = {"running": "started", "complete": "completed", "failed": "failed", "stopped": "stopped"}
"""How events call the states of turns and of replies."""


def _is_wanted(thread: _Thread, wanted: ConversationFilter, owner: ContactId | None) -> bool:
    conversation = thread.conversation
    return (
        owner in (None, conversation.contact_id)
        and wanted.contact_id in (None, conversation.contact_id)
        and conversation.state in wanted.states
        and wanted.agent in (None, conversation.agent)
        and wanted.channel in (None, conversation.channel)
        and (wanted.created_from is None or conversation.created_at >= wanted.created_from)
        and (wanted.created_before is None or conversation.created_at < wanted.created_before)
        and (wanted.words is None or _holds_words(thread, wanted.words))
    )


def _holds_words(thread: _Thread, words: str) -> bool:
    """As full-text search does, but for its syntax: all words, in one text."""
    asked = _words(words)
    texts = [thread.conversation.title or "", *(message.content for message in thread.messages)]
    return bool(asked) and any(asked <= _words(text) for text in texts)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def _summarise(thread: _Thread, side: Side) -> ConversationSummary:
    read = thread.marks.get(side, Marks()).read
    news = Role.ASSISTANT if side is Side.CONTACT else Role.USER
    unread = [message for message in thread.messages if message.role is news and (read is None or message.id > read)]
    return ConversationSummary(
        conversation=thread.conversation,
        last_message=thread.messages[-1] if thread.messages else None,
        unread=min(len(unread), MOST_UNREAD),
    )


def _later(one: MessageId | None, other: MessageId | None) -> MessageId | None:
    return max((mark for mark in (one, other) if mark is not None), default=None)


def _insert_turn(
    rows: _Rows, start: TurnStart, *, conversation_id: ConversationId | None, first_event: int | None
) -> Turn:
    now = datetime.now(UTC)
    turn = Turn(
        id=TurnId(new_id()),
        conversation_id=conversation_id,
        agent=start.agent,
        agent_revision=start.agent_revision,
        state=TurnState.RUNNING,
        created_at=now,
    )
    rows.turns[turn.id] = _Lease(
        turn,
        ends_at=now + start.lease,
        first_event=first_event,
        person=start.person,
        prompt_tokens=start.prompt_tokens,
    )
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
        cost=outcome.cost,
        limit=outcome.limit,
    )
    rows.usage.count(lease.turn, asked_model=outcome.asked_model, person=lease.person)
    return lease.turn


def _is_ended_as(turn: Turn, outcome: TurnOutcome) -> bool:
    return (turn.state, turn.failure) == (outcome.state, outcome.failure)


def _find_running(rows: _Rows, conversation_id: ConversationId) -> _Lease | None:
    running = (lease for lease in rows.turns.values() if lease.turn.state is TurnState.RUNNING)
    return next((lease for lease in running if lease.turn.conversation_id == conversation_id), None)


def _find_question(rows: _Rows, turn: Turn) -> Message:
    assert turn.conversation_id is not None
    return next(message for message in rows.threads[turn.conversation_id].messages if message.turn_id == turn.id)


def _describe_expired(rows: _Rows, lease: _Lease) -> ExpiredTurn:
    turn = lease.turn
    reply_id = None if turn.conversation_id is None else MessageId(next_id(_find_question(rows, turn).id))
    return ExpiredTurn(turn.id, turn.conversation_id, lease.first_event, reply_id)


def _record(rows: _Rows, lease: _Lease) -> TurnRecord:
    turn = lease.turn
    assert turn.conversation_id is not None
    assert lease.first_event is not None
    question = _find_question(rows, turn)
    reply_id = MessageId(next_id(question.id))
    told = rows.threads[turn.conversation_id].messages
    reply = next((message for message in told if message.id == reply_id), None)
    return TurnRecord(turn, question, reply_id, lease.first_event, lease.last_event, reply)
