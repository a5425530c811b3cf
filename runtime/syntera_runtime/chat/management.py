"""Use cases around conversations: find them, change what people may edit, judge replies, hand everything out, delete."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from ..errors import ConversationBusy, ConversationNotFound, StoreUnavailable
from ..models.conversations import (
    Conversation,
    ConversationChange,
    ConversationFilter,
    ConversationOrder,
    ConversationSummary,
    Feedback,
    ListPosition,
    Marks,
    Message,
    Rating,
)
from ..models.identity import Principal
from ..models.ids import ConversationId, MessageId
from ..ports.conversations import ConversationDirectory, ConversationEditor, ConversationStore
from ..ports.live_events import EventLog
from .changes import ChangeKind, Changes, ConversationChanged, MarksChanged
from .sweeper import Sweeper

_MESSAGES_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Transcript:
    """Everything that is kept of a conversation."""

    conversation: Conversation
    messages: Sequence[Message]
    feedback: Sequence[Feedback]


class ConversationManagement:
    """What can be done with conversations besides talking."""

    def __init__(
        self,
        *,
        conversations: ConversationStore,
        directory: ConversationDirectory,
        editor: ConversationEditor,
        sweeper: Sweeper,
        events: EventLog,
        changes: Changes,
    ) -> None:
        self._changes = changes
        self._conversations = conversations
        self._directory = directory
        self._editor = editor
        self._sweeper = sweeper
        self._events = events

    async def list(
        self,
        principal: Principal,
        wanted: ConversationFilter,
        *,
        order: ConversationOrder,
        after: ListPosition | None,
        limit: int,
    ) -> Sequence[ConversationSummary]:
        """At most `limit` conversations that follow `after`, or the first ones.

        Raises:
            StoreUnavailable: They cannot be read.
        """
        return await self._directory.list_conversations(
            principal.tenant_id,
            wanted,
            owner=principal.contact_id,
            order=order,
            side=principal.side,
            after=after,
            limit=limit,
        )

    async def change(
        self, principal: Principal, conversation_id: ConversationId, change: ConversationChange, *, revision: int | None
    ) -> Conversation:
        """Change a conversation of anybody; with `revision` only if it is still that one.

        Raises:
            ConversationNotFound: There is none with that id.
            RevisionMismatch: Somebody else has changed it.
            StoreUnavailable: Nothing was changed.
        """
        changed = await self._editor.change_conversation(
            principal.tenant_id, conversation_id, change, revision=revision
        )
        self._changes.tell(ConversationChanged.of(changed, ChangeKind.UPDATED))
        return changed

    async def delete(self, principal: Principal, conversation_id: ConversationId) -> None:
        """Delete a conversation of anybody and what was said in it.

        Raises:
            ConversationNotFound: There is none with that id.
            ConversationBusy: The agent replies just now.
            StoreUnavailable: It is not known whether it was deleted.
        """
        tenant_id = principal.tenant_id
        conversation = await self._get(principal, conversation_id)
        try:
            await self._editor.delete_conversation(tenant_id, conversation_id)
        except ConversationBusy:  # perhaps with a turn whose process is dead
            if not await self._sweeper.sweep(tenant_id):
                raise
            await self._editor.delete_conversation(tenant_id, conversation_id)
        self._changes.tell(ConversationChanged.of(conversation, ChangeKind.DELETED))
        # Where the log is away, it forgets by itself, some minutes later.
        with suppress(StoreUnavailable):
            await self._events.forget(tenant_id, conversation_id)

    async def mark(self, principal: Principal, conversation_id: ConversationId, marks: Marks) -> Marks:
        """Note how far the principal's side has read; gives where its marks are then, which never go back.

        Raises:
            ConversationNotFound: There is none with that id.
            StoreUnavailable: Nothing was noted.
        """
        await self._get(principal, conversation_id)
        marked = await self._editor.mark_conversation(
            principal.tenant_id, conversation_id, side=principal.side, marks=marks
        )
        self._changes.tell(MarksChanged(conversation_id, principal.side, marked))
        return marked

    async def judge(
        self,
        principal: Principal,
        conversation_id: ConversationId,
        message_id: MessageId,
        *,
        rating: Rating,
        comment: str | None,
    ) -> Feedback:
        """Store what somebody thinks of a reply, in place of what they thought before.

        Raises:
            ConversationNotFound: There is no conversation with that id.
            MessageNotFound: There is no such reply in it.
            StoreUnavailable: Nothing was stored.
        """
        await self._get(principal, conversation_id)
        feedback = Feedback(message_id, principal.subject, rating, comment, datetime.now(UTC))
        await self._editor.put_feedback(principal.tenant_id, conversation_id, feedback)
        return feedback

    async def withdraw(self, principal: Principal, conversation_id: ConversationId, message_id: MessageId) -> None:
        """Forget what somebody thought of a reply, if they said anything.

        Raises:
            ConversationNotFound: There is no conversation with that id.
            MessageNotFound: There is no such reply in it.
            StoreUnavailable: Nothing was forgotten.
        """
        await self._get(principal, conversation_id)
        await self._editor.delete_feedback(principal.tenant_id, conversation_id, message_id, author=principal.subject)

    async def transcript(self, principal: Principal, conversation_id: ConversationId) -> Transcript:
        """Everything that is kept of a conversation; for customers, of feedback their own.

        Raises:
            ConversationNotFound: There is none with that id.
            StoreUnavailable: It cannot be read.
        """
        tenant_id, owner = principal.tenant_id, principal.contact_id
        conversation = await self._get(principal, conversation_id)
        messages: list[Message] = []
        while True:
            page = await self._conversations.list_messages(
                tenant_id,
                conversation_id,
                owner=owner,
                after=messages[-1].id if messages else None,
                limit=_MESSAGES_AT_ONCE,
            )
            messages += page
            if len(page) < _MESSAGES_AT_ONCE:
                break
        feedback = await self._editor.list_feedback(tenant_id, conversation_id)
        own = [one for one in feedback if owner is None or one.author == principal.subject]
        return Transcript(conversation, messages, own)

    async def _get(self, principal: Principal, conversation_id: ConversationId) -> Conversation:
        """The conversation, if it is there for the principal."""
        conversation = await self._conversations.find_conversation(
            principal.tenant_id, conversation_id, owner=principal.contact_id
        )
        if conversation is None:
            raise ConversationNotFound
        return conversation
