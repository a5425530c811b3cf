"""The JSON of webhooks."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, Field

from ..egress.targets import MAX_LENGTH
from ..models.outbox import EventType
from ..models.webhooks import Delivery, DeliveryFailure, DeliveryState, DisabledReason, Webhook, WebhookChange
from ..views.base import View
from ..webhooks.management import WantedWebhook, WebhookSecret
from .schemas import Input, check_characters

WebhookURL = Annotated[str, Field(min_length=1, max_length=MAX_LENGTH)]
Events = Annotated[list[Annotated[EventType, Field(strict=False)]], Field(max_length=len(EventType))]
Description = Annotated[str, Field(max_length=200), AfterValidator(check_characters)]


class NewWebhookInput(Input):
    """An endpoint of yours that is told what happens."""

    url: WebhookURL
    """Where events are posted to: `https://` and a public host; what else the Tenant's `spec.egress` allows."""
    events: Events = []
    """Types of events that are told. Left out or empty: all, those of later releases too."""
    description: Description = ""
    """For people."""
    thin: bool = False
    """True: events carry ids and states alone, and nothing that people wrote."""

    def to_model(self) -> WantedWebhook:
        """What is wanted."""
        events = frozenset(event.value for event in self.events)
        return WantedWebhook(url=self.url, events=events, description=self.description, is_thin=self.thin)


class WebhookPatch(Input):
    """What is to be different; what is left out stays as it is."""

    url: WebhookURL | None = None
    events: Events | None = None
    description: Description | None = None
    thin: bool | None = None
    enabled: bool | None = None
    """False: nothing is told, and what is pending is given up. True: from now on it is told what happens."""

    def to_model(self) -> WebhookChange:
        """What is wanted."""
        return WebhookChange(
            url=self.url,
            events=None if self.events is None else frozenset(event.value for event in self.events),
            description=self.description,
            is_thin=self.thin,
            is_enabled=self.enabled,
        )


class WebhookView(View):
    """An endpoint, without its secret."""

    id: UUID
    url: str
    events: list[str]
    """Empty: all."""
    description: str
    thin: bool
    enabled: bool
    disabled_reason: DisabledReason | None
    """`asked`: somebody wanted it; `gone`: it answered 410; `failing`: it failed for five days without a success."""
    failing_since: datetime | None
    """The first failure after the last success; null: none since."""
    created_by: str
    created_at: datetime

    @classmethod
    def of(cls, webhook: Webhook) -> Self:
        """The view of `webhook`."""
        return cls(
            id=webhook.id,
            url=webhook.url,
            events=sorted(webhook.events),
            description=webhook.description,
            thin=webhook.is_thin,
            enabled=webhook.is_enabled,
            disabled_reason=webhook.disabled_reason,
            failing_since=webhook.failing_since,
            created_by=webhook.created_by,
            created_at=webhook.created_at,
        )


class WebhookList(View):
    """All endpoints, oldest first."""

    items: list[WebhookView]


class CreatedWebhook(WebhookView):
    """An endpoint that was just made."""

    secret: str
    """`whsec_...`: what it checks signatures with."""


class WebhookSecretView(View):
    """What an endpoint checks signatures with."""

    secret: str
    """`whsec_...`"""
    previous_until: datetime | None
    """Until when the secret before signs as well; null: it does not."""

    @classmethod
    def of(cls, secret: WebhookSecret) -> Self:
        """The view of `secret`."""
        return cls(secret=secret.text, previous_until=secret.previous_until)


class DeliveryView(View):
    """An event that an endpoint is told."""

    id: UUID
    webhook_id: UUID
    event_id: UUID
    """What the endpoint gets as `webhook-id`."""
    type: str
    conversation_id: UUID | None
    turn_id: UUID | None
    message_id: UUID | None
    contact_id: UUID | None
    state: DeliveryState
    """`dead`: it is not tried any more, unless you ask for it."""
    attempts: int
    """Tries since it was made, or asked for again."""
    next_attempt_at: datetime | None
    """null: there is none."""
    response_status: int | None
    """What the endpoint answered last; null: nothing yet."""
    failure: DeliveryFailure | None
    """Why the last try did not succeed."""
    occurred_at: datetime
    created_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        """The view of `delivery`."""
        subjects = delivery.subjects
        return cls(
            id=delivery.id,
            webhook_id=delivery.webhook_id,
            event_id=delivery.event_id,
            type=delivery.type,
            conversation_id=subjects.conversation_id,
            turn_id=subjects.turn_id,
            message_id=subjects.message_id,
            contact_id=subjects.contact_id,
            state=delivery.state,
            attempts=delivery.attempts,
            next_attempt_at=delivery.next_attempt_at if delivery.state is DeliveryState.PENDING else None,
            response_status=delivery.response_status,
            failure=delivery.failure,
            occurred_at=delivery.occurred_at,
            created_at=delivery.created_at,
            ended_at=delivery.ended_at,
        )
