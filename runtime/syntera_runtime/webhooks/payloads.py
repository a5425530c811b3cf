"""What an endpoint is told: the bodies of deliveries, in JSON.

A body has the event's ids and states, and, unless the endpoint wants it thin, the thing itself as the API shows it, read
when the event is delivered: what was deleted or changed meanwhile is told as it is then.
"""

from datetime import datetime
from typing import Self
from uuid import UUID

import orjson
from pydantic import JsonValue

from ..models.identity import Contact
from ..models.ids import TenantId
from ..models.webhooks import Delivery
from ..ports.webhooks import EventSubjects
from ..views.base import View
from ..views.conversations import ConversationView, FeedbackView, MessageView


class ContactView(View):
    """A customer."""

    id: UUID
    external_id: str | None
    name: str | None
    email: str | None
    created_at: datetime
    last_seen_at: datetime

    @classmethod
    def of(cls, contact: Contact) -> Self:
        """The view of `contact`."""
        return cls(
            id=contact.id,
            external_id=contact.external_id,
            name=contact.name,
            email=contact.email,
            created_at=contact.created_at,
            last_seen_at=contact.last_seen_at,
        )


class Payloads:
    """Makes the bodies."""

    def __init__(self, subjects: EventSubjects) -> None:
        self._subjects = subjects

    async def build(self, tenant_id: TenantId, delivery: Delivery, *, is_thin: bool) -> bytes:
        """The body of a delivery.

        Raises:
            StoreUnavailable: What it is about cannot be read.
        """
        subjects = delivery.subjects
        ids = {
            "conversationId": subjects.conversation_id,
            "turnId": subjects.turn_id,
            "messageId": subjects.message_id,
            "contactId": subjects.contact_id,
        }
        data: dict[str, JsonValue] = {name: str(value) for name, value in ids.items() if value is not None}
        data.update(delivery.payload)
        kind = delivery.type.partition(".")[0]
        if not is_thin and kind in _TOLD_WHOLE:
            told = await self._find(tenant_id, delivery, kind)
            data[kind] = None if told is None else told.model_dump(mode="json", by_alias=True)
        return orjson.dumps({"type": delivery.type, "timestamp": delivery.occurred_at, "data": data})

    async def _find(self, tenant_id: TenantId, delivery: Delivery, kind: str) -> View | None:
        subjects = delivery.subjects
        if kind == "conversation" and subjects.conversation_id is not None:
            conversation = await self._subjects.find_conversation(tenant_id, subjects.conversation_id, owner=None)
            return None if conversation is None else ConversationView.of(conversation)
        if kind == "contact" and subjects.contact_id is not None:
            contact = await self._subjects.find_contact(tenant_id, subjects.contact_id)
            return None if contact is None else ContactView.of(contact)
        if subjects.message_id is None:
            return None
        if kind == "feedback":
            author = delivery.payload.get("author")
            feedback = await self._subjects.find_feedback(tenant_id, subjects.message_id, str(author))
            return None if feedback is None else FeedbackView.of(feedback)
        message = await self._subjects.find_message(tenant_id, subjects.message_id)
        return None if message is None else MessageView.of(message)


_TOLD_WHOLE = frozenset({"conversation", "message", "contact", "feedback"})
"""What is told with the thing itself; turns are told by their states."""
