"""Examples of what administrators ask for: usage, webhooks, the record of acts. `examples` puts them with the others."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from ..models.audit import Act
from ..models.ids import ActId, ApiKeyId, ConversationId, DeliveryId, EventId, MessageId, TurnId, WebhookId
from ..models.outbox import EventType, Subjects
from ..models.usage import Budget, BudgetState, Cost, UsageCount, UsageGroup, UsageLine
from ..models.webhooks import TEST_EVENT, Delivery, DeliveryState, Webhook
from ..usage.reports import ConversationUsage, UsageReport
from ..webhooks.management import WebhookSecret
from .audit_log import ActView
from .schemas import Page
from .usage_schemas import ConversationUsageView, UsageReportView
from .webhook_schemas import CreatedWebhook, DeliveryView, WebhookList, WebhookSecretView, WebhookView

_NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
_CONVERSATION_ID = ConversationId(UUID("019a3f4e-6c00-7000-8000-000000000001"))
_TURN_ID = TurnId(UUID("019a3f4e-6c00-7000-8000-000000000002"))
_REPLY_ID = MessageId(UUID("019a3f4e-6c00-7000-8000-000000000004"))
_KEY_ID = ApiKeyId(UUID("019a3f4e-6c00-7000-8000-000000000006"))
_WEBHOOK_ID = WebhookId(UUID("019a3f4e-6c00-7000-8000-00000000000b"))
_DELIVERY_ID = DeliveryId(UUID("019a3f4e-6c00-7000-8000-00000000000c"))
_EVENT_ID = EventId(UUID("019a3f4e-6c00-7000-8000-00000000000d"))
_ACT_ID = ActId(UUID("019a3f4e-6c00-7000-8000-00000000000e"))
_URL = "https://hooks.acme.example/syntera"
_SECRET = "whsec_..."

PARAMETERS: Mapping[str, Any] = {
    "from": "2026-11-01",
    "to": "2026-11-30",
    "groupBy": "agent",
    "operation": "createApiKey",
    "subject": f"key:{_KEY_ID}",
    "atFrom": "2026-11-01T00:00:00Z",
    "atBefore": "2026-12-01T00:00:00Z",
    "webhookId": str(_WEBHOOK_ID),
    "deliveryId": str(_DELIVERY_ID),
}

REQUESTS: Mapping[str, Mapping[str, Any]] = {
    "createWebhook": {
        "all events": {"url": _URL},
        "some, and no text": {
            "url": _URL,
            "events": ["message.completed", "feedback.created"],
            "description": "Order system",
            "thin": True,
        },
    },
    "changeWebhook": {"stop": {"enabled": False}, "other events": {"events": ["conversation.ended"]}},
}


def build_answers() -> Mapping[str, BaseModel]:
    """What operations answer when all goes well."""
    webhook, delivery, act = WebhookView.of(_build_webhook()), DeliveryView.of(_build_delivery()), _build_act()
    secret = WebhookSecretView.of(WebhookSecret(_SECRET, None))
    rotated = WebhookSecretView.of(WebhookSecret(_SECRET, _NOON.replace(day=2)))
    return {
        "getUsage": UsageReportView.of(_build_report()),
        "getConversationUsage": ConversationUsageView.of(_build_conversation_usage()),
        "listActs": Page(items=[ActView.of(act)], next_cursor=None),
        "createWebhook": CreatedWebhook(**webhook.model_dump(), secret=_SECRET),
        "listWebhooks": WebhookList(items=[webhook]),
        "getWebhook": webhook,
        "changeWebhook": webhook,
        "getWebhookSecret": secret,
        "rotateWebhookSecret": rotated,
        "testWebhook": DeliveryView.of(_build_test()),
        "listDeliveries": Page(items=[delivery], next_cursor=None),
        "redeliver": DeliveryView.of(_build_again()),
    }


def _build_count() -> UsageCount:
    return UsageCount(
        turns=120,
        limited_turns=2,
        prompt_tokens=81_000,
        completion_tokens=9_300,
        estimated_tokens=410,
        costs=(Cost(17_730_000, "EUR"),),
    )


def _build_report() -> UsageReport:
    month = BudgetState(
        Budget.TOKENS_PER_MONTH, 90_300, 5_000_000, soft_at=4_000_000, resets_at=datetime(2026, 12, 1, tzinfo=UTC)
    )
    count = _build_count()
    lines = [UsageLine(count, agent="travel")]
    return UsageReport(date(2026, 11, 1), date(2026, 11, 30), UsageGroup.AGENT, lines, count, [month])


def _build_conversation_usage() -> ConversationUsage:
    budget = BudgetState(Budget.TURNS_PER_CONVERSATION, 120, 140, soft_at=112, resets_at=None)
    return ConversationUsage(_CONVERSATION_ID, _build_count(), [budget])


def _build_act() -> Act:
    return Act(
        id=_ACT_ID,
        at=_NOON,
        operation="createApiKey",
        subject=f"key:{_KEY_ID}",
        targets={"apiKeyId": str(_KEY_ID)},
        request_id="019a3f4e-6c00-7000-8000-00000000000f",
        address="203.0.113.7",
        status=201,
    )


def _build_webhook() -> Webhook:
    return Webhook(
        id=_WEBHOOK_ID,
        url=_URL,
        events=frozenset({EventType.MESSAGE_COMPLETED.value}),
        description="Order system",
        is_thin=False,
        secret_version=1,
        secret_rotated_at=None,
        failing_since=None,
        disabled_reason=None,
        created_by=f"key:{_KEY_ID}",
        created_at=_NOON,
    )


def _build_delivery() -> Delivery:
    return Delivery(
        id=_DELIVERY_ID,
        webhook_id=_WEBHOOK_ID,
        event_id=_EVENT_ID,
        type=EventType.MESSAGE_COMPLETED.value,
        subjects=Subjects(_CONVERSATION_ID, _TURN_ID, _REPLY_ID),
        occurred_at=_NOON,
        state=DeliveryState.DELIVERED,
        attempts=1,
        next_attempt_at=_NOON,
        created_at=_NOON,
        response_status=204,
        ended_at=_NOON,
    )


def _build_again() -> Delivery:
    return replace(_build_delivery(), state=DeliveryState.PENDING, attempts=0, response_status=None, ended_at=None)


def _build_test() -> Delivery:
    return replace(_build_again(), type=TEST_EVENT, subjects=Subjects())
