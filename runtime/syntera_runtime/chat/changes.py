"""Tells whoever shows lists of conversations that one is different. It says what to look at, never what was said.

Nobody waits for the listeners, and nothing is kept for those who come later: a list that was missed is read again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from ..models.conversations import Conversation, Marks, Side
from ..models.ids import ContactId, ConversationId


class ChangeKind(StrEnum):
    """What is different."""

    CREATED = "created"
    UPDATED = "updated"
    """Somebody has edited it."""
    DELETED = "deleted"
    MESSAGE = "message"
    """Something was said."""


@dataclass(frozen=True, slots=True)
class ConversationChanged:
    """A conversation is different in lists."""

    conversation_id: ConversationId
    contact_id: ContactId | None
    """The customer whose conversation it is."""
    kind: ChangeKind

    @classmethod
    def of(cls, conversation: Conversation, kind: ChangeKind) -> "ConversationChanged":
        """What has happened to `conversation`."""
        return cls(conversation.id, conversation.contact_id, kind)


@dataclass(frozen=True, slots=True)
class MarksChanged:
    """One side has read further in a conversation."""

    conversation_id: ConversationId
    side: Side
    marks: Marks


@dataclass(frozen=True, slots=True)
class ConversationsMoved:
    """The conversations of a contact have become somebody else's."""

    contact_id: ContactId
    """Whose they were."""


Change = ConversationChanged | MarksChanged | ConversationsMoved


class Changes:
    """What happens in this process."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Change], None]] = []

    def listen(self, listener: Callable[[Change], None]) -> None:
        """Have `listener` called with each change from now on. It must neither wait nor raise."""
        self._listeners.append(listener)

    def tell(self, change: Change) -> None:
        """Something has happened, and is stored."""
        for listener in self._listeners:
            listener(change)
