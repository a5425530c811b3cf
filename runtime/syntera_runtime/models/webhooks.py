"""Endpoints of others that are told what has changed, and what became of telling them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

from pydantic import JsonValue

from .ids import DeliveryId, EventId, WebhookId
from .outbox import Subjects

TEST_EVENT = "webhook.test"
"""The type of an event that only says that the endpoint can be reached."""
SECRET_OVERLAP = timedelta(hours=24)
"""How long the secret before still signs, beside the new one."""


class DisabledReason(StrEnum):
    """Why an endpoint is told nothing."""

    ASKED = "asked"
    """An administrator wants it so."""
    GONE = "gone"
    """It has answered 410."""
    FAILING = "failing"
    """It has failed for days without a success."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """An endpoint."""

    id: WebhookId
    url: str
    events: frozenset[str]
    """Types that it is told of; empty: all."""
    description: str
    is_thin: bool
    """It gets ids and states, and nothing that people wrote."""
    secret_version: int
    secret_rotated_at: datetime | None
    failing_since: datetime | None
    """The first failure after the last success; None: there was none since."""
    disabled_reason: DisabledReason | None
    """None: it is enabled."""
    created_by: str
    created_at: datetime

    @property
    def is_enabled(self) -> bool:
        """Whether it is told anything."""
        return self.disabled_reason is None

    def wants(self, type_: str) -> bool:
        """Whether it is told of events of that type."""
        return not self.events or type_ in self.events

    def secret_versions(self, now: datetime) -> tuple[int, ...]:
        """Of the secrets that sign now, the newest first."""
        is_fresh = self.secret_rotated_at is not None and now < self.secret_rotated_at + SECRET_OVERLAP
        return (self.secret_version, self.secret_version - 1) if is_fresh else (self.secret_version,)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWebhook:
    """An endpoint that is about to be stored."""

    id: WebhookId
    url: str
    events: frozenset[str]
    description: str
    is_thin: bool
    created_by: str


@dataclass(frozen=True, slots=True)
class WebhookChange:
    """What is to be different. None: as it is."""

    url: str | None = None
    events: frozenset[str] | None = None
    description: str | None = None
    is_thin: bool | None = None
    is_enabled: bool | None = None


class DeliveryState(StrEnum):
    """How far a delivery is."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"
    """It is not tried any more unless somebody asks for it."""


class DeliveryFailure(StrEnum):
    """Why the last try did not succeed."""

    STATUS = "status"
    """The endpoint answered with something else than 2xx."""
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    """Nobody answered, the name is not known, or the certificate is not valid."""
    ADDRESS_REFUSED = "address-refused"
    """The URL leads to an address that the tenant may not reach."""
    WEBHOOK_DISABLED = "webhook-disabled"
    """The endpoint was disabled or deleted before."""
    INTERNAL = "internal"
    """It could not be made or sent, by a fault of ours. It says nothing of the endpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDelivery:
    """An event that is about to be told to an endpoint."""

    id: DeliveryId
    webhook_id: WebhookId
    event_id: EventId
    type: str
    subjects: Subjects
    payload: Mapping[str, JsonValue]
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """An event that an endpoint is told."""

    id: DeliveryId
    webhook_id: WebhookId
    event_id: EventId
    """The same for every endpoint and try."""
    type: str
    subjects: Subjects
    occurred_at: datetime
    state: DeliveryState
    attempts: int
    """Tries of which it is known how they went."""
    next_attempt_at: datetime
    """Means nothing once it has ended."""
    created_at: datetime
    payload: Mapping[str, JsonValue] = field(default_factory=dict)
    claims: int = 0
    """How often a process has taken it up. Whoever writes how it went names the number."""
    response_status: int | None = None
    failure: DeliveryFailure | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SendResult:
    """How one try went."""

    status: int | None = None
    """What the endpoint answered; None: nothing."""
    failure: DeliveryFailure | None = None
    """None: it has taken the event."""
    retry_after: timedelta | None = None
    """What it asked for."""

    @property
    def is_failing(self) -> bool:
        """Whether the endpoint has failed."""
        return self.failure not in (None, DeliveryFailure.INTERNAL)

    @classmethod
    def answered(cls, status: int, *, retry_after: timedelta | None = None) -> Self:
        """A try that was answered. A redirect is a failure: it is not followed."""
        failure = None if 200 <= status < 300 else DeliveryFailure.STATUS
        return cls(status, failure, retry_after)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a delivery after a try."""

    state: DeliveryState
    result: SendResult
    next_attempt_in: timedelta = timedelta()
    """Of a pending one."""
    disables: DisabledReason | None = None
    """The endpoint is told nothing any more."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What endpoints have still to be told."""

    oldest_seconds: float = 0.0
    """For how long the delivery that waits longest has been pending; 0: none is."""
    next_seconds: float | None = None
    """In how many seconds the next try is due; None: none is."""
