"""Conversations, what is said in them, and what people think of it."""

from datetime import datetime
from typing import Self
from uuid import UUID

from ..models.conversations import (
    Channel,
    Conversation,
    ConversationState,
    Failure,
    Feedback,
    Message,
    MessageState,
    Rating,
    Role,
)
from ..models.knowledge import Refusal
from ..models.usage import Budget
from .base import View
from .citations import KnowledgeRetrievalView
from .files import PartView, view_parts


class FailureView(View):
    """Why a turn failed."""

    code: str
    """Stable; decide by this."""
    detail: str

    @classmethod
    def of(cls, failure: Failure) -> Self:
        """The view of `failure`."""
        return cls(code=failure.code, detail=failure.detail)


class MessageView(View):
    """One thing said."""

    id: UUID
    """Messages are ordered by it."""
    conversation_id: UUID
    turn_id: UUID | None
    """None: no turn made it, as with a greeting."""
    role: Role
    state: MessageState
    """`failed`: the turn failed; `stopped`: somebody stopped it. Then `content` is what had been said until then, perhaps
    nothing."""
    content: str
    """The text alone, of all its parts."""
    parts: list[PartView]
    """What it consists of, in order."""
    created_at: datetime
    error: FailureView | None
    """Why it failed."""
    limited_by: Budget | None
    """The limit on tokens or turns for which the agent said this in place of an answer."""
    refused: Refusal | None
    """Why the agent said this in place of an answer that it has no knowledge for."""
    retrieval: KnowledgeRetrievalView | None
    """What was looked up before this was said. None: nothing."""

    @classmethod
    def of(cls, message: Message) -> Self:
        """The view of `message`."""
        return cls(
            id=message.id,
            conversation_id=message.conversation_id,
            turn_id=message.turn_id,
            role=message.role,
            state=message.state,
            content=message.content,
            parts=view_parts(message.all_parts),
            created_at=message.created_at,
            error=None if message.failure is None else FailureView.of(message.failure),
            limited_by=message.limited_by,
            refused=message.refused,
            retrieval=None if message.retrieval is None else KnowledgeRetrievalView.of(message.retrieval),
        )


class ConversationView(View):
    """A thread with one agent."""

    id: UUID
    agent: str
    contact_id: UUID | None
    """The customer whose conversation it is; None: nobody's, it was begun with a secret key or by one of the tenant's people."""
    channel: Channel
    state: ConversationState
    title: str | None
    metadata: dict[str, str]
    revision: int
    """Grows with every change of title, metadata or state that somebody makes; stands in `ETag`, too."""
    created_at: datetime
    updated_at: datetime
    """When something was said last."""

    @classmethod
    def of(cls, conversation: Conversation) -> Self:
        """The view of `conversation`."""
        return cls(
            id=conversation.id,
            agent=conversation.agent,
            contact_id=conversation.contact_id,
            channel=conversation.channel,
            state=conversation.state,
            title=conversation.title,
            metadata=dict(conversation.metadata),
            revision=conversation.revision,
            created_at=conversation.created_at,
            updated_at=conversation.updated_at,
        )


class FeedbackView(View):
    """What somebody thinks of a reply."""

    message_id: UUID
    author: str
    """Who says so: `key:` and the id of an API key."""
    rating: Rating
    comment: str | None
    created_at: datetime

    @classmethod
    def of(cls, feedback: Feedback) -> Self:
        """The view of `feedback`."""
        return cls(
            message_id=feedback.message_id,
            author=feedback.author,
            rating=feedback.rating,
            comment=feedback.comment,
            created_at=feedback.created_at,
        )
