"""Use cases of webhooks: make, change and delete endpoints, see what they were told, and have it told again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

import structlog

from ..egress.targets import EgressPolicy, TargetRefused
from ..errors import DeliveryNotFound, FieldFault, InvalidRequest, WebhookDisabled, WebhookNotFound
from ..ids import new_id
from ..models.identity import Principal
from ..models.ids import DeliveryId, EventId, RequestKey, TenantId, WebhookId
from ..models.outbox import Subjects
from ..models.webhooks import (
    SECRET_OVERLAP,
    TEST_EVENT,
    Delivery,
    NewDelivery,
    NewWebhook,
    Webhook,
    WebhookChange,
)
from ..ports.webhooks import DeliveryStore, WebhookSecrets, WebhookStore
from .signatures import format_secret

log = structlog.get_logger(__name__)

MOST_WEBHOOKS = 20


@dataclass(frozen=True, slots=True)
class WantedWebhook:
    """What a new endpoint shall be."""

    url: str
    events: frozenset[str] = frozenset()
    description: str = ""
    is_thin: bool = False


@dataclass(frozen=True, slots=True)
class WebhookSecret:
    """What an endpoint checks signatures with."""

    text: str
    previous_until: datetime | None
    """Until when the secret before signs, too; None: it does not, or there was none."""


class WebhookManagement:
    """What administrators do with the endpoints of one tenant."""

    def __init__(
        self,
        webhooks: WebhookStore,
        deliveries: DeliveryStore,
        secrets: WebhookSecrets,
        *,
        policy: Callable[[], EgressPolicy],
    ) -> None:
        self._webhooks = webhooks
        self._deliveries = deliveries
        self._secrets = secrets
        self._policy = policy

    async def create(self, principal: Principal, wanted: WantedWebhook) -> tuple[Webhook, WebhookSecret]:
        """Make an endpoint, which is told what happens from now on.

        Raises:
            InvalidRequest: The URL leads where the tenant must not connect to.
            SigningKeyMissing: There is nothing to derive its secret from.
            TooManyWebhooks: There are `MOST_WEBHOOKS`.
            StoreUnavailable: Nothing was stored.
        """
        self._check(wanted.url)
        new = NewWebhook(
            id=WebhookId(new_id()),
            url=wanted.url,
            events=wanted.events,
            description=wanted.description,
            is_thin=wanted.is_thin,
            created_by=principal.subject,
        )
        self._secrets.of_webhook(new.id, 1)  # before anything is stored
        made = await self._webhooks.add_webhook(principal.tenant_id, new, most=MOST_WEBHOOKS)
        log.info("webhook created", webhook_id=str(made.id))
        return made, self._secret_of(made)

    async def list(self, tenant_id: TenantId) -> Sequence[Webhook]:
        """All endpoints, oldest first.

        Raises:
            StoreUnavailable: They cannot be read.
        """
        return await self._webhooks.list_webhooks(tenant_id)

    async def find(self, tenant_id: TenantId, webhook_id: WebhookId) -> Webhook:
        """One endpoint.

        Raises:
            WebhookNotFound: There is none with that id.
            StoreUnavailable: It cannot be read.
        """
        return _there(await self._webhooks.find_webhook(tenant_id, webhook_id))

    async def change(self, tenant_id: TenantId, webhook_id: WebhookId, change: WebhookChange) -> Webhook:
        """Change an endpoint.

        Raises:
            InvalidRequest: The URL leads where the tenant must not connect to.
            WebhookNotFound: There is none with that id.
            StoreUnavailable: It may not be changed.
        """
        if change.url is not None:
            self._check(change.url)
        changed = _there(await self._webhooks.change_webhook(tenant_id, webhook_id, change))
        log.info("webhook changed", webhook_id=str(webhook_id), is_enabled=changed.is_enabled)
        return changed

    async def delete(self, tenant_id: TenantId, webhook_id: WebhookId) -> None:
        """Forget an endpoint, and what it would still have been told.

        Raises:
            WebhookNotFound: There is none with that id.
            StoreUnavailable: It may not be forgotten.
        """
        if not await self._webhooks.delete_webhook(tenant_id, webhook_id):
            raise WebhookNotFound
        log.info("webhook deleted", webhook_id=str(webhook_id))

    async def secret(self, tenant_id: TenantId, webhook_id: WebhookId) -> WebhookSecret:
        """What the endpoint checks signatures with.

        Raises:
            WebhookNotFound: There is none with that id.
            SigningKeyMissing: There is nothing to derive it from.
            StoreUnavailable: The endpoint cannot be read.
        """
        return self._secret_of(await self.find(tenant_id, webhook_id))

    async def rotate(self, tenant_id: TenantId, webhook_id: WebhookId) -> WebhookSecret:
        """Give the endpoint another secret; for a day both sign.

        Raises:
            WebhookNotFound: There is none with that id.
            SecretJustRotated: The secret before still signs.
            SigningKeyMissing: There is nothing to derive it from.
            StoreUnavailable: It may not have been changed.
        """
        self._secrets.of_webhook(webhook_id, 1)  # before anything is changed
        rotated = _there(await self._webhooks.rotate_secret(tenant_id, webhook_id))
        log.info("secret of webhook rotated", webhook_id=str(webhook_id))
        return self._secret_of(rotated)

    async def deliveries(
        self, tenant_id: TenantId, webhook_id: WebhookId, *, before: DeliveryId | None, limit: int
    ) -> Sequence[Delivery]:
        """At most `limit` deliveries that were made before `before`, newest first.

        Raises:
            WebhookNotFound: There is none with that id.
            StoreUnavailable: They cannot be read.
        """
        await self.find(tenant_id, webhook_id)
        return await self._deliveries.list_deliveries(tenant_id, webhook_id, before=before, limit=limit)

    async def redeliver(
        self,
        tenant_id: TenantId,
        webhook_id: WebhookId,
        delivery_id: DeliveryId,
        *,
        request_key: RequestKey | None = None,
    ) -> Delivery:
        """Have an event told again. One that is pending stays so.

        Raises:
            WebhookNotFound: There is no such endpoint.
            WebhookDisabled: It is told nothing.
            DeliveryNotFound: It has no such delivery.
            StoreUnavailable: It may not be told.
        """
        await self._find_enabled(tenant_id, webhook_id)
        found = await self._deliveries.redeliver(tenant_id, webhook_id, delivery_id, request_key=request_key)
        if found is None:
            raise DeliveryNotFound
        log.info("delivery asked for again", webhook_id=str(webhook_id), delivery_id=str(delivery_id))
        return found

    async def test(
        self, tenant_id: TenantId, webhook_id: WebhookId, *, request_key: RequestKey | None = None
    ) -> Delivery:
        """Tell an endpoint an event that means nothing.

        Raises:
            WebhookNotFound: There is no such endpoint.
            WebhookDisabled: It is told nothing.
            StoreUnavailable: It may not be told.
        """
        await self._find_enabled(tenant_id, webhook_id)
        # The same request is the same event, of which an endpoint has one delivery.
        event_id = EventId(uuid4() if request_key is None else UUID(bytes=request_key[:16], version=4))
        new = NewDelivery(
            id=DeliveryId(new_id()),
            webhook_id=webhook_id,
            event_id=event_id,
            type=TEST_EVENT,
            subjects=Subjects(),
            payload={"webhookId": str(webhook_id)},
            occurred_at=datetime.now(UTC),
        )
        await self._deliveries.add_deliveries(tenant_id, [new])
        made = await self._deliveries.find_event_delivery(tenant_id, webhook_id, event_id)
        if made is None:  # disabled or deleted in this moment
            raise WebhookDisabled
        return made

    async def _find_enabled(self, tenant_id: TenantId, webhook_id: WebhookId) -> Webhook:
        webhook = await self.find(tenant_id, webhook_id)
        if not webhook.is_enabled:
            raise WebhookDisabled
        return webhook

    def _check(self, url: str) -> None:
        try:
            self._policy().check_url(url)
        except TargetRefused as error:
            fault = FieldFault(path="body.url", message=str(error), code="url_refused")
            raise InvalidRequest(f"The request is not valid: body.url: {error}", faults=[fault]) from None

    def _secret_of(self, webhook: Webhook) -> WebhookSecret:
        text = format_secret(self._secrets.of_webhook(webhook.id, webhook.secret_version))
        is_alone = len(webhook.secret_versions(datetime.now(UTC))) == 1
        rotated_at = webhook.secret_rotated_at
        return WebhookSecret(text, None if is_alone or rotated_at is None else rotated_at + SECRET_OVERLAP)


def _there(webhook: Webhook | None) -> Webhook:
    if webhook is None:
        raise WebhookNotFound
    return webhook
