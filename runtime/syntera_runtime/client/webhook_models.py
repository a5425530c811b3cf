"""What the API answers of webhooks; see `models`."""

from datetime import datetime
from typing import Annotated, TypeAlias
from uuid import UUID

from pydantic import Field

from ..models.webhooks import DeliveryFailure, DeliveryState, DisabledReason
from .models import Answer

_OR_TEXT = Field(union_mode="left_to_right")

DisabledReasonOrText: TypeAlias = Annotated[DisabledReason | str, _OR_TEXT]
DeliveryStateOrText: TypeAlias = Annotated[DeliveryState | str, _OR_TEXT]
DeliveryFailureOrText: TypeAlias = Annotated[DeliveryFailure | str, _OR_TEXT]


class Webhook(Answer):
    """An endpoint that is told what happens, without its secret."""

    id: UUID
    url: str
    events: list[str] = []
    """Types that it is told of. Empty: all."""
    description: str = ""
    thin: bool = False
    """It gets ids and states, and nothing that people wrote."""
    enabled: bool
    disabled_reason: DisabledReasonOrText | None = None
    failing_since: datetime | None = None
    """The first failure after the last success; None: none since."""
    created_by: str = ""
    created_at: datetime


class WebhookList(Answer):
    """All endpoints, oldest first."""

    items: list[Webhook]


class CreatedWebhook(Webhook):
    """An endpoint that was just made."""

    secret: str
    """What it checks signatures with."""


class WebhookSecret(Answer):
    """What an endpoint checks signatures with."""

    secret: str
    previous_until: datetime | None = None
    """Until when the secret before signs as well; None: it does not."""


class Delivery(Answer):
    """An event that an endpoint is told."""

    id: UUID
    webhook_id: UUID
    event_id: UUID
    """What the endpoint gets as `webhook-id`."""
    type: str
    conversation_id: UUID | None = None
    turn_id: UUID | None = None
    message_id: UUID | None = None
    contact_id: UUID | None = None
    state: DeliveryStateOrText
    attempts: int = 0
    """Tries since it was made, or asked for again."""
    next_attempt_at: datetime | None = None
    """None: there is none."""
    response_status: int | None = None
    """What the endpoint answered last; None: nothing yet."""
    failure: DeliveryFailureOrText | None = None
    """Why the last try did not succeed."""
    occurred_at: datetime
    created_at: datetime
    ended_at: datetime | None = None
