"""What every implementation of the stores of webhooks promises."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from syntera_runtime.errors import SecretJustRotated, TooManyWebhooks, WebhookDisabled
from syntera_runtime.ids import new_id
from syntera_runtime.models.conversations import Feedback, Rating
from syntera_runtime.models.ids import (
    ContactId,
    ConversationId,
    DeliveryId,
    EventId,
    MessageId,
    RequestKey,
    TurnId,
    WebhookId,
)
from syntera_runtime.models.outbox import Subjects
from syntera_runtime.models.webhooks import (
    Backlog,
    Delivery,
    DeliveryFailure,
    DeliveryState,
    DisabledReason,
    NewDelivery,
    NewWebhook,
    SendResult,
    Verdict,
    Webhook,
    WebhookChange,
)
from tests.runtime.adapters.test_stores import begin, end, start_conversation
from tests.runtime.conftest import Stores

LEASE = timedelta(seconds=30)
SOON = timedelta()
LONG = timedelta(days=5)
TAKEN = Verdict(DeliveryState.DELIVERED, SendResult(status=204))
REFUSED = SendResult(status=500, failure=DeliveryFailure.STATUS)
AGAIN = Verdict(DeliveryState.PENDING, REFUSED, SOON)


async def add(stores: Stores, **changes: Any) -> Webhook:
    fields: dict[str, Any] = {
        "id": WebhookId(new_id()),
        "url": "https://hooks.example/in",
        "events": frozenset({"message.completed", "conversation.created"}),
        "description": "for the shop",
        "is_thin": False,
        "created_by": "key:1",
    }
    return await stores.webhooks.add_webhook(stores.tenant_id, NewWebhook(**{**fields, **changes}), most=3)


def make_delivery(webhook: Webhook, **changes: Any) -> NewDelivery:
    fields: dict[str, Any] = {
        "id": DeliveryId(new_id()),
        "webhook_id": webhook.id,
        "event_id": EventId(uuid4()),
        "type": "message.completed",
        "subjects": Subjects(ConversationId(uuid4()), TurnId(uuid4()), MessageId(uuid4()), ContactId(uuid4())),
        "payload": {"state": "complete", "changed": ["a"]},
        "occurred_at": datetime(2026, 11, 1, tzinfo=UTC),
    }
    return NewDelivery(**{**fields, **changes})


async def deliver(stores: Stores, webhook: Webhook, number: int = 1) -> list[NewDelivery]:
    new = [make_delivery(webhook) for _ in range(number)]
    await stores.deliveries.add_deliveries(stores.tenant_id, new)
    return new


async def claim(stores: Stores, webhook: Webhook, room: int = 9, lease: timedelta = LEASE) -> list[Delivery]:
    return list(await stores.deliveries.claim_due(stores.tenant_id, {webhook.id: room}, lease=lease))


async def settle(stores: Stores, delivery: Delivery, verdict: Verdict, give_up: timedelta = LONG) -> Webhook | None:
    return await stores.deliveries.settle(stores.tenant_id, delivery, verdict, give_up=give_up)


async def listed(stores: Stores, webhook: Webhook) -> list[Delivery]:
    return list(await stores.deliveries.list_deliveries(stores.tenant_id, webhook.id, before=None, limit=99))


async def found(stores: Stores, webhook: Webhook) -> Webhook:
    again = await stores.webhooks.find_webhook(stores.tenant_id, webhook.id)
    assert again is not None
    return again


# ---- endpoints ----


async def test_webhook_is_found_as_it_was_stored(stores: Stores) -> None:
    made = await add(stores)
    assert made.is_enabled
    assert (made.url, made.description, made.created_by) == ("https://hooks.example/in", "for the shop", "key:1")
    assert made.events == {"message.completed", "conversation.created"}
    assert (made.secret_version, made.secret_rotated_at, made.failing_since) == (1, None, None)
    other = await add(stores, events=frozenset(), is_thin=True)
    assert await found(stores, made) == made
    assert await stores.webhooks.list_webhooks(stores.tenant_id) == [made, other]
    assert await stores.webhooks.find_webhook(stores.tenant_id, WebhookId(new_id())) is None


async def test_webhooks_are_bounded_and_a_deleted_one_makes_room(stores: Stores) -> None:
    made = [await add(stores) for _ in range(3)]
    with pytest.raises(TooManyWebhooks):
        await add(stores)
    assert await stores.webhooks.delete_webhook(stores.tenant_id, made[0].id)
    assert not await stores.webhooks.delete_webhook(stores.tenant_id, made[0].id)
    assert await stores.webhooks.find_webhook(stores.tenant_id, made[0].id) is None
    await add(stores)
    assert len(await stores.webhooks.list_webhooks(stores.tenant_id)) == 3


async def test_change_leaves_what_it_does_not_name(stores: Stores) -> None:
    made, change = await add(stores), stores.webhooks.change_webhook
    changed = await change(stores.tenant_id, made.id, WebhookChange(url="https://other.example/", is_thin=True))
    assert changed is not None
    assert (changed.url, changed.is_thin, changed.events) == ("https://other.example/", True, made.events)
    changed = await change(stores.tenant_id, made.id, WebhookChange(events=frozenset(), description=""))
    assert changed is not None
    assert (changed.url, changed.events, changed.description) == ("https://other.example/", frozenset(), "")
    assert await change(stores.tenant_id, WebhookId(new_id()), WebhookChange(description="x")) is None


async def test_secret_is_rotated_by_its_version(stores: Stores) -> None:
    made = await add(stores)
    rotated = await stores.webhooks.rotate_secret(stores.tenant_id, made.id)
    assert rotated is not None
    assert rotated.secret_version == 2
    assert rotated.secret_rotated_at is not None
    now = datetime.now(UTC)
    assert rotated.secret_versions(now) == (2, 1)
    assert rotated.secret_versions(now + timedelta(hours=25)) == (2,)
    assert made.secret_versions(now) == (1,)


async def test_secret_is_not_rotated_again_while_the_one_before_signs(stores: Stores) -> None:
    made, rotate = await add(stores), stores.webhooks.rotate_secret
    ended = await asyncio.gather(*(rotate(stores.tenant_id, made.id) for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in ended if isinstance(one, BaseException)] == [SecretJustRotated] * 2
    assert (await found(stores, made)).secret_version == 2
    assert await rotate(stores.tenant_id, WebhookId(new_id())) is None


async def test_webhook_that_is_disabled_or_deleted_loses_what_is_pending(stores: Stores) -> None:
    made, other = await add(stores), await add(stores)
    for webhook in (made, other):
        await deliver(stores, webhook)
    disabled = await stores.webhooks.change_webhook(stores.tenant_id, made.id, WebhookChange(is_enabled=False))
    assert disabled is not None
    assert disabled.disabled_reason is DisabledReason.ASKED
    await stores.webhooks.delete_webhook(stores.tenant_id, other.id)
    for webhook in (made, other):
        [one] = await listed(stores, webhook)
        assert (one.state, one.failure) == (DeliveryState.DEAD, DeliveryFailure.WEBHOOK_DISABLED)
    enabled = await stores.webhooks.change_webhook(stores.tenant_id, made.id, WebhookChange(is_enabled=True))
    assert enabled is not None
    assert enabled.is_enabled


# ---- deliveries ----


async def test_delivery_is_claimed_as_it_was_stored_and_by_one_alone(stores: Stores) -> None:
    webhook = await add(stores)
    [new] = await deliver(stores, webhook)
    [claimed] = await claim(stores, webhook)
    for name in ("id", "webhook_id", "event_id", "type", "subjects", "payload", "occurred_at"):
        assert getattr(claimed, name) == getattr(new, name)
    assert (claimed.state, claimed.attempts, claimed.claims) == (DeliveryState.PENDING, 0, 1)
    assert await claim(stores, webhook) == []


async def test_event_is_told_to_an_endpoint_once_however_often_it_is_added(stores: Stores) -> None:
    webhook, other = await add(stores), await add(stores)
    [new] = await deliver(stores, webhook)
    again = make_delivery(webhook, event_id=new.event_id)
    await stores.deliveries.add_deliveries(stores.tenant_id, [again, make_delivery(other, event_id=new.event_id)])
    assert [one.id for one in await listed(stores, webhook)] == [new.id]
    assert len(await listed(stores, other)) == 1
    one = await stores.deliveries.find_event_delivery(stores.tenant_id, webhook.id, new.event_id)
    assert one is not None
    assert one.id == new.id
    assert await stores.deliveries.find_event_delivery(stores.tenant_id, webhook.id, EventId(uuid4())) is None


async def test_no_more_is_claimed_than_there_is_room_for_at_each_endpoint(stores: Stores) -> None:
    webhook, other = await add(stores), await add(stores)
    await deliver(stores, webhook, 5)
    await deliver(stores, other, 1)
    claimed = await stores.deliveries.claim_due(stores.tenant_id, {webhook.id: 2, other.id: 3}, lease=LEASE)
    assert sorted(one.webhook_id for one in claimed) == sorted([webhook.id, webhook.id, other.id])


async def test_pods_share_what_is_due(stores: Stores) -> None:
    webhook = await add(stores)
    new = await deliver(stores, webhook, 12)
    claimed = await asyncio.gather(*(claim(stores, webhook, room=3) for _ in range(4)))
    assert sorted(one.id for batch in claimed for one in batch) == sorted(one.id for one in new)


async def test_delivery_whose_process_died_comes_again_and_the_late_one_writes_nothing(stores: Stores) -> None:
    webhook = await add(stores)
    await deliver(stores, webhook)
    [late] = await claim(stores, webhook, lease=SOON)
    [again] = await claim(stores, webhook)
    assert (again.id, again.attempts, again.claims) == (late.id, 0, 2)
    await settle(stores, late, TAKEN)
    assert [one.state for one in await listed(stores, webhook)] == [DeliveryState.PENDING]
    await settle(stores, again, TAKEN)
    [ended] = await listed(stores, webhook)
    assert (ended.state, ended.response_status, ended.failure) == (DeliveryState.DELIVERED, 204, None)
    assert ended.attempts == 1
    assert ended.ended_at is not None
    await settle(stores, again, AGAIN)
    assert (await listed(stores, webhook))[0].state is DeliveryState.DELIVERED


async def test_delivery_waits_for_its_next_try(stores: Stores) -> None:
    webhook = await add(stores)
    await deliver(stores, webhook)
    [claimed] = await claim(stores, webhook)
    await settle(stores, claimed, Verdict(DeliveryState.PENDING, REFUSED, timedelta(minutes=5)))
    assert await claim(stores, webhook) == []
    [waiting] = await listed(stores, webhook)
    assert (waiting.response_status, waiting.failure) == (500, DeliveryFailure.STATUS)
    assert timedelta(minutes=4) < waiting.next_attempt_at - datetime.now(UTC) <= timedelta(minutes=5)
    assert waiting.ended_at is None


async def test_failure_is_remembered_until_a_success(stores: Stores) -> None:
    webhook = await add(stores)
    await deliver(stores, webhook)
    [claimed] = await claim(stores, webhook)
    assert await settle(stores, claimed, AGAIN) is None
    since = (await found(stores, webhook)).failing_since
    assert since is not None
    [claimed] = await claim(stores, webhook)
    await settle(stores, claimed, AGAIN)
    assert (await found(stores, webhook)).failing_since == since
    [claimed] = await claim(stores, webhook)
    await settle(stores, claimed, TAKEN)
    assert (await found(stores, webhook)).failing_since is None


async def test_endpoint_that_has_failed_for_too_long_is_disabled(stores: Stores) -> None:
    webhook = await add(stores)
    await deliver(stores, webhook, 2)
    first, second = await claim(stores, webhook)
    assert await settle(stores, first, AGAIN) is None
    disabled = await settle(stores, second, AGAIN, give_up=SOON)
    assert disabled is not None
    assert disabled.disabled_reason is DisabledReason.FAILING
    assert {one.state for one in await listed(stores, webhook)} == {DeliveryState.DEAD}
    enabled = await stores.webhooks.change_webhook(stores.tenant_id, webhook.id, WebhookChange(is_enabled=True))
    assert enabled is not None
    assert (enabled.disabled_reason, enabled.failing_since) == (None, None)


async def test_endpoint_that_is_gone_is_disabled_at_once(stores: Stores) -> None:
    webhook = await add(stores)
    await deliver(stores, webhook, 2)
    first, second = await claim(stores, webhook)
    gone = SendResult(status=410, failure=DeliveryFailure.STATUS)
    disabled = await settle(stores, first, Verdict(DeliveryState.DEAD, gone, disables=DisabledReason.GONE))
    assert disabled is not None
    assert disabled.disabled_reason is DisabledReason.GONE
    assert (await found(stores, webhook)).disabled_reason is DisabledReason.GONE
    assert await settle(stores, second, AGAIN) is None
    assert [(one.state, one.failure) for one in reversed(await listed(stores, webhook))] == [
        (DeliveryState.DEAD, DeliveryFailure.STATUS),
        (DeliveryState.DEAD, DeliveryFailure.WEBHOOK_DISABLED),
    ]


async def test_late_try_writes_nothing_over_what_was_asked_for_again(stores: Stores) -> None:
    webhook = await add(stores)
    [new] = await deliver(stores, webhook)
    [late] = await claim(stores, webhook, lease=SOON)
    [claimed] = await claim(stores, webhook)
    await settle(stores, claimed, Verdict(DeliveryState.DEAD, REFUSED))
    await stores.deliveries.redeliver(stores.tenant_id, webhook.id, new.id, request_key=None)
    await claim(stores, webhook)
    await settle(stores, late, TAKEN)
    [one] = await listed(stores, webhook)
    assert (one.state, one.attempts) == (DeliveryState.PENDING, 0)


async def test_fault_of_ours_counts_as_a_try_and_says_nothing_of_the_endpoint(stores: Stores) -> None:
    webhook, ours = await add(stores), SendResult(failure=DeliveryFailure.INTERNAL)
    await deliver(stores, webhook)
    [claimed] = await claim(stores, webhook)
    assert await settle(stores, claimed, Verdict(DeliveryState.PENDING, ours, SOON), give_up=SOON) is None
    assert await found(stores, webhook) == webhook
    [again] = await claim(stores, webhook)
    assert (again.attempts, again.failure) == (1, DeliveryFailure.INTERNAL)
    await settle(stores, again, AGAIN)
    since = (await found(stores, webhook)).failing_since
    assert since is not None
    [again] = await claim(stores, webhook)
    await settle(stores, again, Verdict(DeliveryState.PENDING, ours, SOON), give_up=SOON)
    assert (await found(stores, webhook)).failing_since == since


async def test_tries_that_end_at_once_disable_their_endpoint_once(stores: Stores) -> None:
    """None of them waits for what another one holds, whatever the order in which they come."""
    gone = Verdict(
        DeliveryState.DEAD, SendResult(status=410, failure=DeliveryFailure.STATUS), disables=DisabledReason.GONE
    )
    for _ in range(10):
        webhook = await add(stores)
        await deliver(stores, webhook, 8)
        claimed = await claim(stores, webhook, room=4)
        disabled = await asyncio.gather(*(settle(stores, one, gone) for one in claimed))
        assert len([one for one in disabled if one is not None]) == 1
        assert {one.state for one in await listed(stores, webhook)} == {DeliveryState.DEAD}
        await stores.webhooks.delete_webhook(stores.tenant_id, webhook.id)


async def test_endpoint_is_disabled_and_deleted_while_tries_of_it_end(stores: Stores) -> None:
    change, delete = stores.webhooks.change_webhook, stores.webhooks.delete_webhook
    for _ in range(10):
        webhook = await add(stores)
        await deliver(stores, webhook, 8)
        claimed = await claim(stores, webhook, room=4)
        verdicts = [AGAIN, TAKEN, AGAIN, TAKEN]
        await asyncio.gather(
            *(settle(stores, one, verdict) for one, verdict in zip(claimed, verdicts, strict=True)),
            change(stores.tenant_id, webhook.id, WebhookChange(is_enabled=False)),
            delete(stores.tenant_id, webhook.id),
        )
        assert DeliveryState.PENDING not in {one.state for one in await listed(stores, webhook)}


async def test_deliveries_are_listed_newest_first_in_pages(stores: Stores) -> None:
    webhook = await add(stores)
    new = await deliver(stores, webhook, 3)
    listing = stores.deliveries.list_deliveries
    first = await listing(stores.tenant_id, webhook.id, before=None, limit=2)
    assert [one.id for one in first] == [new[2].id, new[1].id]
    second = await listing(stores.tenant_id, webhook.id, before=first[-1].id, limit=2)
    assert [one.id for one in second] == [new[0].id]


async def test_redelivery_begins_anew_and_the_same_request_does_it_once(stores: Stores) -> None:
    webhook = await add(stores)
    [new] = await deliver(stores, webhook)
    redeliver, tenant_id, key = stores.deliveries.redeliver, stores.tenant_id, RequestKey(b"k" * 32)
    for _ in range(2):
        [claimed] = await claim(stores, webhook)
        await settle(stores, claimed, Verdict(DeliveryState.DEAD, REFUSED))
        again = await redeliver(tenant_id, webhook.id, new.id, request_key=None)
        assert again is not None
        assert (again.state, again.attempts, again.failure, again.ended_at) == (DeliveryState.PENDING, 0, None, None)
    [claimed] = await claim(stores, webhook)
    pending = await redeliver(tenant_id, webhook.id, new.id, request_key=None)
    assert pending is not None
    assert pending.claims == claimed.claims  # it is under way
    await settle(stores, claimed, TAKEN)
    assert await redeliver(tenant_id, webhook.id, new.id, request_key=key) is not None
    [claimed] = await claim(stores, webhook)
    await settle(stores, claimed, TAKEN)
    same = await redeliver(tenant_id, webhook.id, new.id, request_key=key)
    assert same is not None
    assert same.state is DeliveryState.DELIVERED
    assert await redeliver(tenant_id, webhook.id, DeliveryId(new_id()), request_key=None) is None
    assert await redeliver(tenant_id, (await add(stores)).id, new.id, request_key=None) is None


async def test_backlog_is_what_is_pending(stores: Stores) -> None:
    webhook, measure = await add(stores), stores.deliveries.measure_backlog
    assert await measure(stores.tenant_id) == Backlog()
    await deliver(stores, webhook)
    backlog = await measure(stores.tenant_id)
    assert 0 < backlog.oldest_seconds < 60
    assert backlog.next_seconds == 0
    [claimed] = await claim(stores, webhook)
    await settle(stores, claimed, Verdict(DeliveryState.PENDING, REFUSED, timedelta(minutes=5)))
    backlog = await measure(stores.tenant_id)
    assert backlog.next_seconds is not None
    assert 240 < backlog.next_seconds <= 300
    await stores.webhooks.delete_webhook(stores.tenant_id, webhook.id)
    assert await measure(stores.tenant_id) == Backlog()


async def test_deliveries_that_ended_long_ago_are_pruned(stores: Stores) -> None:
    webhook, prune = await add(stores), stores.deliveries.prune_deliveries
    _, kept = await deliver(stores, webhook, 2)
    claimed = {one.id: one for one in await claim(stores, webhook)}
    [ended] = [one for id_, one in claimed.items() if id_ != kept.id]
    await settle(stores, ended, TAKEN)
    assert await prune(stores.tenant_id, keep=LONG, most=9) == 0
    assert await prune(stores.tenant_id, keep=SOON, most=9) == 1
    assert [one.id for one in await listed(stores, webhook)] == [kept.id]


async def test_endpoint_that_is_told_nothing_gets_no_delivery(stores: Stores) -> None:
    """Whoever has read the endpoint before it was disabled or deleted comes too late."""
    sound, disabled, deleted = await add(stores), await add(stores), await add(stores)
    await stores.webhooks.change_webhook(stores.tenant_id, disabled.id, WebhookChange(is_enabled=False))
    await stores.webhooks.delete_webhook(stores.tenant_id, deleted.id)
    new = [make_delivery(webhook) for webhook in (deleted, disabled, sound)]
    await stores.deliveries.add_deliveries(stores.tenant_id, new)
    assert [len(await listed(stores, webhook)) for webhook in (sound, disabled, deleted)] == [1, 0, 0]


async def test_deliveries_that_are_added_while_their_endpoint_is_disabled_do_not_stay_pending(stores: Stores) -> None:
    change, redeliver = stores.webhooks.change_webhook, stores.deliveries.redeliver
    webhook = await add(stores)
    [dead] = await deliver(stores, webhook)
    for _ in range(20):
        await change(stores.tenant_id, webhook.id, WebhookChange(is_enabled=False))
        await change(stores.tenant_id, webhook.id, WebhookChange(is_enabled=True))
        ended = await asyncio.gather(
            deliver(stores, webhook, 20),
            redeliver(stores.tenant_id, webhook.id, dead.id, request_key=None),
            change(stores.tenant_id, webhook.id, WebhookChange(is_enabled=False)),
            return_exceptions=True,
        )
        assert {type(one) for one in ended if isinstance(one, BaseException)} <= {WebhookDisabled}
        told = await stores.deliveries.list_deliveries(stores.tenant_id, webhook.id, before=None, limit=999)
        assert {one.state for one in told} == {DeliveryState.DEAD}


async def test_delivery_of_an_endpoint_that_is_told_nothing_is_not_made_again(stores: Stores) -> None:
    webhook = await add(stores)
    [new] = await deliver(stores, webhook)
    await stores.webhooks.change_webhook(stores.tenant_id, webhook.id, WebhookChange(is_enabled=False))
    with pytest.raises(WebhookDisabled):
        await stores.deliveries.redeliver(stores.tenant_id, webhook.id, new.id, request_key=None)
    assert [one.state for one in await listed(stores, webhook)] == [DeliveryState.DEAD]
    assert await stores.deliveries.measure_backlog(stores.tenant_id) == Backlog()


async def test_pending_deliveries_hold_back_none_that_are_pruned(stores: Stores) -> None:
    webhook = await add(stores)
    await deliver(stores, webhook, 3)
    await claim(stores, webhook)
    await deliver(stores, webhook, 2)
    for one in await claim(stores, webhook):
        await settle(stores, one, TAKEN)
    prune = stores.deliveries.prune_deliveries
    assert [await prune(stores.tenant_id, keep=SOON, most=1) for _ in range(3)] == [1, 1, 0]
    assert [one.state for one in await listed(stores, webhook)] == [DeliveryState.PENDING] * 3


# ---- what events are about ----


async def test_subjects_are_found_as_they_are_now(stores: Stores) -> None:
    tenant_id, subjects = stores.tenant_id, stores.subjects
    contact = await stores.contacts.identify_contact(tenant_id, "ada", name="Ada")
    conversation_id = await start_conversation(stores, owner=contact.id)
    reply = await end(stores, await begin(stores, conversation_id))
    given = Feedback(reply.id, "key:1", Rating.UP, "good", datetime.now(UTC))
    await stores.editor.put_feedback(tenant_id, conversation_id, given)
    conversation = await subjects.find_conversation(tenant_id, conversation_id, owner=None)
    assert conversation == await stores.conversations.find_conversation(tenant_id, conversation_id, owner=None)
    assert await subjects.find_message(tenant_id, reply.id) == reply
    found_contact = await subjects.find_contact(tenant_id, contact.id)
    assert found_contact is not None
    assert found_contact.name == "Ada"
    assert await subjects.find_feedback(tenant_id, reply.id, "key:1") == given
    await stores.editor.delete_feedback(tenant_id, conversation_id, reply.id, author="key:1")
    assert await subjects.find_feedback(tenant_id, reply.id, "key:1") is None
    await stores.editor.delete_conversation(tenant_id, conversation_id)
    assert await subjects.find_message(tenant_id, reply.id) is None
    assert await subjects.find_conversation(tenant_id, conversation_id, owner=None) is None
    assert await subjects.find_contact(tenant_id, ContactId(uuid4())) is None
