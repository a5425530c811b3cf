"""Where conversations are kept, found and edited. `owner` is the contact whose conversations there are."""

from collections.abc import Sequence
from typing import Protocol

from syntera_runtime.models.conversations import (
    Conversation,
    ConversationChange,
    ConversationFilter,
    ConversationOrder,
    ConversationStart,
    ConversationSummary,
    Feedback,
    ListPosition,
    Marks,
    Message,
    NewConversation,
    Side,
)
from syntera_runtime.models.ids import ContactId, ConversationId, MessageId, TenantId
from syntera_runtime.models.live_events import EventPosition


class ConversationStore(Protocol):
    """Conversations and their messages. Every method may raise StoreUnavailable.

    `owner` is the contact whose conversations there are; those of others are not there. None: everybody's.
    """

    async def find_position(
        self, tenant_id: TenantId, conversation_id: ConversationId, *, owner: ContactId | None
    ) -> EventPosition | None:
        """How far the conversation's events are; None: there is no such conversation."""
        ...

    async def add_conversation(
        self, tenant_id: TenantId, start: ConversationStart, *, owner: ContactId | None
    ) -> NewConversation:
        """Make a conversation, with the greeting as its first message where there is one.

        It belongs to `owner`, who is seen now, and made if there is no such contact: an anonymous visitor is stored with
        the first conversation. One that was made with the same request key before is given instead, as it is now.

        Raises:
            RequestRepeated: It was made before, and is deleted just now, or another contact's by now.
        """
        ...

    async def find_conversation(
        self, tenant_id: TenantId, conversation_id: ConversationId, *, owner: ContactId | None
    ) -> Conversation | None:
        """The conversation, or None."""
        ...

    async def list_messages(
        self,
        tenant_id: TenantId,
        conversation_id: ConversationId,
        *,
        owner: ContactId | None,
        after: MessageId | None,
        limit: int,
    ) -> Sequence[Message]:
        """At most `limit` messages that follow `after`, or the first ones; oldest first."""
        ...


class ConversationDirectory(Protocol):
    """Finds conversations. May raise StoreUnavailable."""

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
        """At most `limit` conversations that follow `after`, or the first ones.

        Args:
            owner: The contact whose conversations there are. None: everybody's.
            side: For whom unread messages are counted.
        """
        ...


class ConversationEditor(Protocol):
    """Changes what people may edit of conversations. Every method may raise StoreUnavailable."""

    async def change_conversation(
        self, tenant_id: TenantId, conversation_id: ConversationId, change: ConversationChange, *, revision: int | None
    ) -> Conversation:
        """Change a conversation, where `revision` is given only if it is still that one.

        Raises:
            ConversationNotFound: There is none with that id.
            RevisionMismatch: Somebody else has changed it.
        """
        ...

    async def delete_conversation(self, tenant_id: TenantId, conversation_id: ConversationId) -> None:
        """Delete a conversation with its messages. What its turns cost stays counted.

        Raises:
            ConversationNotFound: There is none with that id.
            ConversationBusy: A turn of it runs.
        """
        ...

    async def mark_conversation(
        self, tenant_id: TenantId, conversation_id: ConversationId, *, side: Side, marks: Marks
    ) -> Marks:
        """Move a side's marks forward, never back; gives where they are then.

        Raises:
            ConversationNotFound: There is none with that id.
        """
        ...

    async def put_feedback(self, tenant_id: TenantId, conversation_id: ConversationId, feedback: Feedback) -> None:
        """Store what somebody thinks of a reply, in place of what they thought before.

        Raises:
            MessageNotFound: There is no such reply in that conversation.
        """
        ...

    async def delete_feedback(
        self, tenant_id: TenantId, conversation_id: ConversationId, message_id: MessageId, *, author: str
    ) -> None:
        """Forget what somebody thought of a reply. There may be nothing to forget.

        Raises:
            MessageNotFound: There is no such reply in that conversation.
        """
        ...

    async def list_feedback(self, tenant_id: TenantId, conversation_id: ConversationId) -> Sequence[Feedback]:
        """All feedback in a conversation, in the order of the messages."""
        ...
