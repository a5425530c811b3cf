"""Endpoints of others, what they are told, and how it reaches them."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from syntera_runtime.models.conversations import Conversation, Feedback, Message
from syntera_runtime.models.identity import Contact
from syntera_runtime.models.ids import (
    ContactId,
    ConversationId,
    DeliveryId,
    EventId,
    MessageId,
    RequestKey,
    TenantId,
    WebhookId,
)
from syntera_runtime.models.webhooks import (
    Backlog,
    Delivery,
    NewDelivery,
    NewWebhook,
    SendResult,
    Verdict,
    Webhook,
    WebhookChange,
)


class WebhookStore(Protocol):
    """The tenant's endpoints. Every method may raise StoreUnavailable. What was deleted is not there."""

    async def add_webhook(self, tenant_id: TenantId, new: NewWebhook, *, most: int) -> Webhook:
        """Store an endpoint.

        Raises:
            TooManyWebhooks: There are `most` already.
        """
        ...

    async def find_webhook(self, tenant_id: TenantId, webhook_id: WebhookId) -> Webhook | None:
        """The endpoint, or None."""
        ...

    async def list_webhooks(self, tenant_id: TenantId) -> Sequence[Webhook]:
        """All endpoints, oldest first."""
        ...

    async def change_webhook(self, tenant_id: TenantId, webhook_id: WebhookId, change: WebhookChange) -> Webhook | None:
        """Change an endpoint; None: there is none. One that is disabled loses what is pending, one that is enabled begins
        anew without failures."""
        ...

    async def delete_webhook(self, tenant_id: TenantId, webhook_id: WebhookId) -> bool:
        """Forget an endpoint; False: there is none."""
        ...

    async def rotate_secret(self, tenant_id: TenantId, webhook_id: WebhookId) -> Webhook | None:
        """Give it the next secret; None: there is no such endpoint.

        Raises:
            SecretJustRotated: The secret before still signs, and would stop too early.
        """
        ...


class DeliveryStore(Protocol):
    """What endpoints are told. Every method may raise StoreUnavailable."""

    async def add_deliveries(self, tenant_id: TenantId, new: Sequence[NewDelivery]) -> None:
        """Store deliveries. An event that an endpoint has already stays as it is, and an endpoint that is disabled or deleted
        gets none."""
        ...

    async def claim_due(
        self, tenant_id: TenantId, room: Mapping[WebhookId, int], *, lease: timedelta
    ) -> Sequence[Delivery]:
        """Deliveries that are due, of each endpoint as many as there is room for. Nobody else gets them before `lease` has
        passed."""
        ...

    async def settle(
        self, tenant_id: TenantId, delivery: Delivery, verdict: Verdict, *, give_up: timedelta
    ) -> Webhook | None:
        """Store how a claimed delivery went, unless somebody else has claimed it since, and what that says of its endpoint.
        It counts as tried once more.

        Returns:
            The endpoint, if this has disabled it: because the verdict says so, or because it has failed for `give_up`.
        """
        ...

    async def list_deliveries(
        self, tenant_id: TenantId, webhook_id: WebhookId, *, before: DeliveryId | None, limit: int
    ) -> Sequence[Delivery]:
        """At most `limit` deliveries that were made before `before`, newest first."""
        ...

    async def find_event_delivery(
        self, tenant_id: TenantId, webhook_id: WebhookId, event_id: EventId
    ) -> Delivery | None:
        """The delivery of an event to an endpoint, or None."""
        ...

    async def redeliver(
        self, tenant_id: TenantId, webhook_id: WebhookId, delivery_id: DeliveryId, *, request_key: RequestKey | None
    ) -> Delivery | None:
        """Make a delivery that has ended pending again, as if it were new; None: there is none. A pending one, and one whose
        last request had the same key, stays as it is.

        Raises:
            WebhookDisabled: The endpoint is disabled or deleted.
        """
        ...

    async def measure_backlog(self, tenant_id: TenantId) -> Backlog:
        """What is still to be delivered."""
        ...

    async def prune_deliveries(self, tenant_id: TenantId, *, keep: timedelta, most: int) -> int:
        """Forget at most `most` of the deliveries that ended longer ago than `keep`; how many."""
        ...


class EventSubjects(Protocol):
    """What events are about, as it is now; None: it is there no more. Every method may raise StoreUnavailable."""

    async def find_conversation(
        self, tenant_id: TenantId, conversation_id: ConversationId, *, owner: ContactId | None
    ) -> Conversation | None:
        """A conversation; `owner` as everywhere."""
        ...

    async def find_message(self, tenant_id: TenantId, message_id: MessageId) -> Message | None:
        """A message."""
        ...

    async def find_contact(self, tenant_id: TenantId, contact_id: ContactId) -> Contact | None:
        """A contact."""
        ...

    async def find_feedback(self, tenant_id: TenantId, message_id: MessageId, author: str) -> Feedback | None:
        """What somebody thinks of a reply."""
        ...


class WebhookSecrets(Protocol):
    """What the bodies for an endpoint are signed with."""

    def of_webhook(self, webhook_id: WebhookId, version: int) -> bytes:
        """A secret, the same in every process of the tenant.

        Raises:
            SigningKeyMissing: There is nothing to derive it from.
        """
        ...


class WebhookSender(Protocol):
    """The way to endpoints."""

    async def send(self, url: str, body: bytes, headers: Mapping[str, str], *, seconds: float) -> SendResult:
        """Post a body; redirects are not followed, and nothing of the answer's body is kept."""
        ...
