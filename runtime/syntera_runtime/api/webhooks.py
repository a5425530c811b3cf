"""Webhooks, for the tenant's administrators."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, status

from ..models.ids import DeliveryId, WebhookId
from .audit import Recorded
from .auth import Asker
from .context import ServicesOfRequest
from .idempotency import WantedOnce
from .pages import WantedPage, make_cursor
from .problems import problem_responses
from .routing import ApiRoute
from .schemas import Page
from .webhook_schemas import (
    CreatedWebhook,
    DeliveryView,
    NewWebhookInput,
    WebhookList,
    WebhookPatch,
    WebhookSecretView,
    WebhookView,
)

router = APIRouter(route_class=ApiRoute, tags=["webhooks"])

WebhookInPath = Annotated[UUID, Path(alias="webhookId")]
DeliveryInPath = Annotated[UUID, Path(alias="deliveryId")]


@router.post(
    "/v1/webhooks",
    operation_id="createWebhook",
    status_code=status.HTTP_201_CREATED,
    responses=problem_responses(400, 408, 409, 413, 415, 503),
)
async def create_webhook(
    wanted: NewWebhookInput, services: ServicesOfRequest, asker: Asker, outcome: Recorded
) -> CreatedWebhook:
    """Have an endpoint of yours told what happens from now on."""
    made, secret = await services.webhooks.create(asker, wanted.to_model())
    outcome.targets["webhookId"] = str(made.id)
    return CreatedWebhook(**WebhookView.of(made).model_dump(), secret=secret.text)


@router.get("/v1/webhooks", operation_id="listWebhooks", responses=problem_responses(503))
async def list_webhooks(services: ServicesOfRequest, asker: Asker) -> WebhookList:
    """All endpoints, oldest first."""
    found = await services.webhooks.list(asker.tenant_id)
    return WebhookList(items=[WebhookView.of(webhook) for webhook in found])


@router.get("/v1/webhooks/{webhookId}", operation_id="getWebhook", responses=problem_responses(400, 404, 503))
async def get_webhook(webhook_id: WebhookInPath, services: ServicesOfRequest, asker: Asker) -> WebhookView:
    """One endpoint."""
    return WebhookView.of(await services.webhooks.find(asker.tenant_id, WebhookId(webhook_id)))


@router.patch(
    "/v1/webhooks/{webhookId}",
    operation_id="changeWebhook",
    responses=problem_responses(400, 404, 408, 413, 415, 503),
)
async def change_webhook(
    webhook_id: WebhookInPath, change: WebhookPatch, services: ServicesOfRequest, asker: Asker
) -> WebhookView:
    """Change an endpoint, or enable it again."""
    changed = await services.webhooks.change(asker.tenant_id, WebhookId(webhook_id), change.to_model())
    return WebhookView.of(changed)


@router.delete(
    "/v1/webhooks/{webhookId}",
    operation_id="deleteWebhook",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problem_responses(400, 404, 408, 413, 415, 503),
)
async def delete_webhook(webhook_id: WebhookInPath, services: ServicesOfRequest, asker: Asker) -> None:
    """Tell an endpoint nothing more, and forget it."""
    await services.webhooks.delete(asker.tenant_id, WebhookId(webhook_id))


@router.get(
    "/v1/webhooks/{webhookId}/secret", operation_id="getWebhookSecret", responses=problem_responses(400, 404, 503)
)
async def get_webhook_secret(webhook_id: WebhookInPath, services: ServicesOfRequest, asker: Asker) -> WebhookSecretView:
    """What the endpoint checks signatures with."""
    return WebhookSecretView.of(await services.webhooks.secret(asker.tenant_id, WebhookId(webhook_id)))


@router.post(
    "/v1/webhooks/{webhookId}/rotate-secret",
    operation_id="rotateWebhookSecret",
    responses=problem_responses(400, 404, 408, 409, 413, 415, 503),
)
async def rotate_webhook_secret(
    webhook_id: WebhookInPath, services: ServicesOfRequest, asker: Asker
) -> WebhookSecretView:
    """Give the endpoint another secret. For 24 hours the one before signs as well, and it is not changed again."""
    return WebhookSecretView.of(await services.webhooks.rotate(asker.tenant_id, WebhookId(webhook_id)))


@router.post(
    "/v1/webhooks/{webhookId}/test",
    operation_id="testWebhook",
    status_code=status.HTTP_202_ACCEPTED,
    responses=problem_responses(400, 404, 408, 409, 413, 415, 503),
)
async def test_webhook(
    webhook_id: WebhookInPath, services: ServicesOfRequest, asker: Asker, request_key: WantedOnce
) -> DeliveryView:
    """Tell the endpoint an event of type `webhook.test`, whatever types it is told else."""
    made = await services.webhooks.test(asker.tenant_id, WebhookId(webhook_id), request_key=request_key)
    return DeliveryView.of(made)


@router.get(
    "/v1/webhooks/{webhookId}/deliveries",
    operation_id="listDeliveries",
    responses=problem_responses(400, 404, 503),
)
async def list_deliveries(
    webhook_id: WebhookInPath, page: WantedPage, services: ServicesOfRequest, asker: Asker
) -> Page[DeliveryView]:
    """What the endpoint was told and is going to be told, newest first. Ended ones are kept for 30 days."""
    before = page.after
    found = await services.webhooks.deliveries(
        asker.tenant_id,
        WebhookId(webhook_id),
        before=None if before is None else DeliveryId(before),
        limit=page.limit + 1,
    )
    items = found[: page.limit]
    return Page(
        items=[DeliveryView.of(delivery) for delivery in items],
        next_cursor=make_cursor(items[-1].id) if len(found) > page.limit else None,
    )


@router.post(
    "/v1/webhooks/{webhookId}/deliveries/{deliveryId}/redeliver",
    operation_id="redeliver",
    status_code=status.HTTP_202_ACCEPTED,
    responses=problem_responses(400, 404, 408, 409, 413, 415, 503),
)
async def redeliver(
    webhook_id: WebhookInPath,
    delivery_id: DeliveryInPath,
    services: ServicesOfRequest,
    asker: Asker,
    request_key: WantedOnce,
) -> DeliveryView:
    """Have the event told again, with the same `webhook-id`. One that is pending stays as it is."""
    asked = await services.webhooks.redeliver(
        asker.tenant_id, WebhookId(webhook_id), DeliveryId(delivery_id), request_key=request_key
    )
    return DeliveryView.of(asked)
