"""From a change to the endpoint that is told of it, over real HTTP, on every store."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import orjson
import pytest
import structlog
from standardwebhooks.webhooks import WebhookVerificationError

from syntera_runtime.adapters.guarded_http import GuardedHttp
from syntera_runtime.adapters.http_webhooks import HttpWebhooks
from syntera_runtime.egress.targets import EgressPolicy
from syntera_runtime.errors import SigningKeyMissing, StoreUnavailable
from syntera_runtime.identity.derived_keys import DerivedKeys
from syntera_runtime.ids import new_id
from syntera_runtime.metrics import Metrics
from syntera_runtime.models.conversations import ConversationChange, Feedback, Rating
from syntera_runtime.models.ids import WebhookId
from syntera_runtime.models.webhooks import (
    Delivery,
    DeliveryFailure,
    DeliveryState,
    DisabledReason,
    NewWebhook,
    Webhook,
    WebhookChange,
)
from syntera_runtime.views.conversations import ConversationView, FeedbackView, MessageView
from syntera_runtime.webhooks import deliverer, verdicts
from syntera_runtime.webhooks.deliverer import AT_ONCE, Deliverer
from syntera_runtime.webhooks.dispatcher import Dispatcher
from syntera_runtime.webhooks.payloads import Payloads
from syntera_runtime.webhooks.signatures import format_secret
from tests.runtime.adapters.test_stores import BROKEN, begin, end, start_conversation
from tests.runtime.conftest import Stores, make_memory_stores
from tests.runtime.fakes import FakeSigningKey
from tests.runtime.webhooks.receiver import Receiver, receiving

pytestmark = pytest.mark.long

LOOPBACK = EgressPolicy(networks=[ip_network("127.0.0.0/8")], never=())


@dataclass(frozen=True, slots=True)
class Pod:
    """What a process tells others with."""

    stores: Stores
    keys: DerivedKeys
    dispatcher: Dispatcher
    deliverer: Deliverer
    metrics: Metrics

    async def add(self, receiver: Receiver, **changes: Any) -> Webhook:
        """Have an endpoint told."""
        fields: dict[str, Any] = {
            "id": WebhookId(new_id()),
            "url": receiver.url,
            "events": frozenset(),
            "description": "",
            "is_thin": False,
            "created_by": "key:1",
        }
        return await self.stores.webhooks.add_webhook(
            self.stores.tenant_id, NewWebhook(**{**fields, **changes}), most=9
        )

    def secret(self, webhook: Webhook, version: int = 1) -> str:
        """What the endpoint checks with."""
        return format_secret(self.keys.of_webhook(webhook.id, version))

    async def deliveries(self, webhook: Webhook) -> list[Delivery]:
        """Oldest first."""
        found = await self.stores.deliveries.list_deliveries(self.stores.tenant_id, webhook.id, before=None, limit=99)
        return list(reversed(found))

    async def wait_for_states(self, webhook: Webhook, *states: DeliveryState) -> list[Delivery]:
        """The deliveries, as soon as they have these states."""
        async with asyncio.timeout(60):
            while True:
                found = await self.deliveries(webhook)
                if [one.state for one in found] == list(states):
                    return found
                await asyncio.sleep(0.02)

    async def wait_for_count(self, sample: bytes) -> None:
        """Return when the metrics say so: a delivery is counted after its state was stored."""
        async with asyncio.timeout(20):
            while sample not in self.metrics.render():  # noqa: ASYNC110  # nobody announces it
                await asyncio.sleep(0.02)


@asynccontextmanager
async def pod(
    stores: Stores, *, policy: EgressPolicy = LOOPBACK, send_seconds: float = 10, runs: bool = True
) -> AsyncIterator[Pod]:
    """A process of the tenant that looks after its webhooks, if it `runs`."""
    metrics, keys, http = Metrics(), DerivedKeys(FakeSigningKey(), stores.tenant_id), GuardedHttp(lambda: policy)
    sending = Deliverer(
        stores.deliveries,
        Payloads(stores.subjects),
        keys,
        HttpWebhooks(http),
        metrics=metrics,
        send_seconds=send_seconds,
    )
    dispatcher = Dispatcher(
        outbox=stores.outbox,
        webhooks=stores.webhooks,
        deliveries=stores.deliveries,
        deliverer=sending,
        quiet_seconds=lambda: 0.0,
        metrics=metrics,
    )
    running = asyncio.create_task(dispatcher.run(stores.tenant_id)) if runs else None
    try:
        yield Pod(stores, keys, dispatcher, sending, metrics)
    finally:
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await sending.aclose()
        await http.aclose()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
def memory() -> Stores:
    return make_memory_stores()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No wait between tries."""
    monkeypatch.setattr(verdicts, "DELAYS", (timedelta(),) * len(verdicts.DELAYS))


async def test_endpoint_is_told_what_happens_signed_and_whole(stores: Stores, receiver: Receiver) -> None:
    async with pod(stores) as running:
        webhook = await running.add(receiver, events=frozenset({"message.completed", "conversation.created"}))
        conversation_id = await start_conversation(stores)
        reply = await end(stores, await begin(stores, conversation_id))
        received = sorted(await receiver.wait_for(2), key=lambda one: len(one.body))
        created, completed = (one.verify(running.secret(webhook)) for one in received)
        assert (created["type"], completed["type"]) in {
            ("conversation.created", "message.completed"),
            ("message.completed", "conversation.created"),
        }
        if created["type"] != "conversation.created":
            created, completed = completed, created
        assert created["data"]["conversationId"] == str(conversation_id)
        assert created["data"]["conversation"]["agent"] == "travel"
        shown = MessageView.of(reply).model_dump(mode="json", by_alias=True)
        assert completed["data"].pop("message") == shown
        assert completed["data"] == {
            "conversationId": str(conversation_id),
            "turnId": str(reply.turn_id),
            "messageId": str(reply.id),
            "role": "assistant",
            "state": "complete",
        }
        assert datetime.fromisoformat(completed["timestamp"]).tzinfo is not None
        first, second = await running.wait_for_states(webhook, *[DeliveryState.DELIVERED] * 2)
        assert {one.headers["webhook-id"] for one in received} == {str(first.event_id), str(second.event_id)}
        assert {one.headers["content-type"] for one in received} == {"application/json"}
        for one in received:
            assert one.headers["user-agent"].startswith("Syntera/")
        await running.wait_for_count(b'syntera_webhook_deliveries_total{outcome="delivered"} 2.0')


async def test_endpoint_of_another_secret_refuses_it(memory: Stores, receiver: Receiver) -> None:
    async with pod(memory) as running:
        webhook = await running.add(receiver)
        await start_conversation(memory)
        [received] = await receiver.wait_for(1)
        with pytest.raises(WebhookVerificationError):
            received.verify(running.secret(webhook, version=2))


async def test_both_secrets_sign_for_a_day_after_a_rotation(memory: Stores, receiver: Receiver) -> None:
    async with pod(memory) as running:
        webhook = await running.add(receiver)
        await memory.webhooks.rotate_secret(memory.tenant_id, webhook.id)
        await start_conversation(memory)
        [received] = await receiver.wait_for(1)
        assert received.verify(running.secret(webhook, 1)) == received.verify(running.secret(webhook, 2))


async def test_thin_event_holds_ids_and_states_alone(memory: Stores, receiver: Receiver) -> None:
    async with pod(memory) as running:
        webhook = await running.add(receiver, is_thin=True, events=frozenset({"message.created"}))
        begun = await begin(memory, await start_conversation(memory), content="xyzzy")
        [received] = await receiver.wait_for(1)
        assert b"xyzzy" not in received.body
        assert received.verify(running.secret(webhook))["data"] == {
            "conversationId": str(begun.user_message.conversation_id),
            "turnId": str(begun.turn.id),
            "messageId": str(begun.user_message.id),
            "role": "user",
            "state": "complete",
        }


async def test_what_was_deleted_meanwhile_is_told_without_it(memory: Stores, receiver: Receiver) -> None:
    async with pod(memory, runs=False) as waiting:
        webhook = await waiting.add(receiver)
        conversation_id = await start_conversation(memory)
        await memory.editor.delete_conversation(memory.tenant_id, conversation_id)
        await waiting.dispatcher.look(memory.tenant_id)
        said = {one["type"]: one for one in (r.verify(waiting.secret(webhook)) for r in await receiver.wait_for(2))}
    assert said.keys() == {"conversation.created", "conversation.deleted"}
    for one in said.values():
        assert one["data"]["conversation"] is None
        assert one["data"]["conversationId"] == str(conversation_id)


async def test_told_things_are_as_the_api_shows_them(memory: Stores) -> None:
    """Each field that is told has the value that it has in the API; there may be more in the API."""
    tenant_id, payloads = memory.tenant_id, Payloads(memory.subjects)
    contact = await memory.contacts.identify_contact(tenant_id, "ada", name="Ada", email="ada@example.com")
    conversation_id = await start_conversation(memory, owner=contact.id)
    reply = await end(memory, await begin(memory, conversation_id), BROKEN)
    feedback = Feedback(reply.id, "key:1", Rating.DOWN, "wrong", datetime.now(UTC))
    await memory.editor.put_feedback(tenant_id, conversation_id, feedback)
    conversation = await memory.conversations.find_conversation(tenant_id, conversation_id, owner=None)
    assert conversation is not None
    batch = await memory.outbox.read(tenant_id, "t", holder=new_id(), lease=timedelta(seconds=9), limit=99)
    assert batch is not None
    shown: dict[str, dict[str, Any]] = {
        "conversation": ConversationView.of(conversation).model_dump(mode="json", by_alias=True),
        "message": MessageView.of(reply).model_dump(mode="json", by_alias=True),
        "feedback": FeedbackView.of(feedback).model_dump(mode="json", by_alias=True),
        "contact": {},
    }
    told = set()
    for event in batch.events:
        kind = event.type.partition(".")[0]
        if kind == "turn" or event.type == "message.created":
            continue
        delivery = Delivery(
            id=new_id(),  # type: ignore[arg-type]
            webhook_id=new_id(),  # type: ignore[arg-type]
            event_id=event.id,
            type=event.type,
            subjects=event.subjects,
            payload=event.payload,
            occurred_at=event.created_at,
            state=DeliveryState.PENDING,
            attempts=1,
            next_attempt_at=event.created_at,
            created_at=event.created_at,
        )
        value = orjson.loads(await payloads.build(tenant_id, delivery, is_thin=False))["data"][kind]
        told.add(kind)
        if kind == "contact":
            assert (value["name"], value["email"], value["externalId"]) == ("Ada", "ada@example.com", "ada")
        else:
            assert value.items() <= shown[kind].items()
    assert told == shown.keys()


async def test_only_what_the_endpoint_wants_and_what_happens_from_now_on_is_told(
    stores: Stores, receiver: Receiver
) -> None:
    before = await start_conversation(stores)
    async with pod(stores) as running:
        webhook = await running.add(receiver, events=frozenset({"conversation.updated"}))
        other = await running.add(receiver, events=frozenset({"contact.created"}))
        await stores.webhooks.change_webhook(stores.tenant_id, other.id, WebhookChange(is_enabled=False))
        await start_conversation(stores)
        await stores.contacts.identify_contact(stores.tenant_id, "ada")
        await stores.editor.change_conversation(
            stores.tenant_id, before, ConversationChange(title="Paris"), revision=None
        )
        await receiver.wait_for(1)
        [one] = await running.wait_for_states(webhook, DeliveryState.DELIVERED)
        assert one.type == "conversation.updated"
        assert await running.deliveries(other) == []


@pytest.mark.usefixtures("impatient")
async def test_failed_delivery_is_tried_again_with_the_same_id(stores: Stores, receiver: Receiver) -> None:
    receiver.statuses = [500, 302, 429, 204]
    async with pod(stores) as running:
        webhook = await running.add(receiver)
        await start_conversation(stores)
        received = await receiver.wait_for(4)
        [delivery] = await running.wait_for_states(webhook, DeliveryState.DELIVERED)
        assert (delivery.attempts, delivery.response_status, delivery.failure) == (4, 204, None)
        assert {one.headers["webhook-id"] for one in received} == {str(delivery.event_id)}
        assert len({one.body for one in received}) == 1


@pytest.mark.usefixtures("impatient")
async def test_delivery_that_fails_to_the_end_is_a_dead_letter_that_can_be_sent_again(
    memory: Stores, receiver: Receiver
) -> None:
    receiver.statuses = [500]
    async with pod(memory) as running:
        webhook = await running.add(receiver)
        await start_conversation(memory)
        [dead] = await running.wait_for_states(webhook, DeliveryState.DEAD)
        assert (dead.attempts, dead.response_status) == (9, 500)
        await running.wait_for_count(b"syntera_webhook_dead_letters_total 1.0")
        receiver.statuses = [204]
        await memory.deliveries.redeliver(memory.tenant_id, webhook.id, dead.id, request_key=None)
        [again] = await running.wait_for_states(webhook, DeliveryState.DELIVERED)
        assert (again.id, again.attempts) == (dead.id, 1)
        assert len({one.headers["webhook-id"] for one in receiver.received}) == 1


async def test_endpoint_that_says_it_is_gone_is_told_nothing_more(memory: Stores, receiver: Receiver) -> None:
    receiver.statuses = [410]
    async with pod(memory) as running:
        webhook = await running.add(receiver)
        await start_conversation(memory)
        await running.wait_for_states(webhook, DeliveryState.DEAD)
        found = await memory.webhooks.find_webhook(memory.tenant_id, webhook.id)
        assert found is not None
        assert found.disabled_reason is DisabledReason.GONE
        await start_conversation(memory)
        await running.dispatcher.look(memory.tenant_id)
        assert len(await running.deliveries(webhook)) == 1


async def test_pause_is_read_in_seconds_and_as_a_time(memory: Stores, receiver: Receiver) -> None:
    http = GuardedHttp(lambda: LOOPBACK)
    sender = HttpWebhooks(http)
    receiver.statuses = [503]
    for text, least, most in (
        ("120", 120, 120),
        ((datetime.now(UTC) + timedelta(hours=1)).strftime("%a, %d %b %Y %H:%M:%S GMT"), 3500, 3600),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0, 0),
    ):
        receiver.headers = {"Retry-After": text}
        result = await sender.send(receiver.url, b"{}", {}, seconds=10)
        assert result.retry_after is not None
        assert least <= result.retry_after.total_seconds() <= most
    for text in ("soon", "-1", "1.5", ""):
        receiver.headers = {"Retry-After": text}
        assert (await sender.send(receiver.url, b"{}", {}, seconds=10)).retry_after is None
    await http.aclose()


async def test_slow_endpoint_holds_up_nobody_else(memory: Stores, receiver: Receiver) -> None:
    async with receiving() as slow, pod(memory, send_seconds=40) as running:
        slow.answering.clear()
        held = await running.add(slow)
        quick = await running.add(receiver)
        for _ in range(AT_ONCE * 2):
            await start_conversation(memory)
        await receiver.wait_for(AT_ONCE * 2)
        await running.wait_for_states(quick, *[DeliveryState.DELIVERED] * AT_ONCE * 2)
        await slow.wait_for(AT_ONCE)
        await running.dispatcher.look(memory.tenant_id)
        assert slow.under_way == len(slow.received) == AT_ONCE
        slow.answering.set()
        await running.wait_for_states(held, *[DeliveryState.DELIVERED] * AT_ONCE * 2)


async def test_endpoint_that_says_nothing_is_left_when_its_time_is_up(memory: Stores, receiver: Receiver) -> None:
    receiver.answering.clear()
    async with pod(memory, send_seconds=0.2) as running:
        webhook = await running.add(receiver)
        await start_conversation(memory)
        async with asyncio.timeout(10):
            while not [one for one in await running.deliveries(webhook) if one.failure is not None]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        [one] = await running.deliveries(webhook)
        assert (one.state, one.failure, one.response_status) == (DeliveryState.PENDING, DeliveryFailure.TIMEOUT, None)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("url", "policy", "failure"),
    [
        (None, EgressPolicy(), DeliveryFailure.ADDRESS_REFUSED),
        ("http://127.0.0.1:1/", LOOPBACK, DeliveryFailure.CONNECTION),
        ("https://hooks.invalid/", EgressPolicy(), DeliveryFailure.CONNECTION),
    ],
)
async def test_endpoint_that_cannot_be_reached_fails_by_a_stated_reason(
    memory: Stores, receiver: Receiver, url: str | None, policy: EgressPolicy, failure: DeliveryFailure
) -> None:
    async with pod(memory, policy=policy) as running:
        webhook = await running.add(receiver, **({} if url is None else {"url": url}))
        await start_conversation(memory)
        [dead] = await running.wait_for_states(webhook, DeliveryState.DEAD)
        assert dead.failure is failure
        assert receiver.received == []


async def test_delivery_of_a_process_that_dies_is_made_by_another(
    stores: Stores, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.answering.clear()
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(deliverer, "LEASE", timedelta(seconds=2))
        async with pod(stores) as dying:
            webhook = await dying.add(receiver)
            await start_conversation(stores)
            await receiver.wait_for(1)
    receiver.answering.set()
    async with pod(stores) as running:
        [delivery] = await running.wait_for_states(webhook, DeliveryState.DELIVERED)
    assert (delivery.attempts, delivery.claims) == (1, 2)
    assert len({one.headers["webhook-id"] for one in receiver.received}) == 1


async def test_try_that_was_never_made_is_not_counted(
    memory: Stores, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease, build = deliverer.LEASE, Payloads.build
    monkeypatch.setattr(deliverer, "LEASE", timedelta())
    faults: list[Exception] = [SigningKeyMissing(), StoreUnavailable(store="PostgreSQL")] * 9

    async def build_or_fail(self: Payloads, *args: Any, **options: Any) -> bytes:
        if faults:
            if len(faults) == 1:
                monkeypatch.setattr(deliverer, "LEASE", lease)  # else a try that is under way would be due again
            raise faults.pop()
        return await build(self, *args, **options)

    monkeypatch.setattr(Payloads, "build", build_or_fail)
    async with pod(memory) as running:
        webhook = await running.add(receiver)
        await start_conversation(memory)
        [delivery] = await running.wait_for_states(webhook, DeliveryState.DELIVERED)
    assert (delivery.attempts, delivery.claims) == (1, 19)


@pytest.mark.usefixtures("impatient")
async def test_delivery_that_breaks_ends_like_others_and_does_not_disable_its_endpoint(
    memory: Stores, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def break_always(*args: Any, **options: Any) -> bytes:
        raise RuntimeError("xyzzy")

    monkeypatch.setattr(Payloads, "build", break_always)
    monkeypatch.setattr(deliverer, "GIVE_UP", timedelta())
    async with pod(memory) as running:
        webhook = await running.add(receiver)
        await start_conversation(memory)
        [dead] = await running.wait_for_states(webhook, DeliveryState.DEAD)
        assert (dead.attempts, dead.failure) == (9, DeliveryFailure.INTERNAL)
        assert await memory.webhooks.find_webhook(memory.tenant_id, webhook.id) == webhook
        await running.wait_for_count(b'syntera_webhook_deliveries_total{outcome="internal"} 9.0')


async def test_two_processes_tell_everything_once_while_none_dies(stores: Stores, receiver: Receiver) -> None:
    async with pod(stores) as one, pod(stores):
        webhook = await one.add(receiver, events=frozenset({"conversation.created"}))
        for _ in range(20):
            await start_conversation(stores)
        await receiver.wait_for(20)
        await one.wait_for_states(webhook, *[DeliveryState.DELIVERED] * 20)
    assert len(receiver.received) == len({one.headers["webhook-id"] for one in receiver.received}) == 20


@pytest.mark.usefixtures("impatient")
async def test_nothing_that_people_wrote_is_logged_or_counted(memory: Stores, receiver: Receiver) -> None:
    receiver.statuses = [500]
    with structlog.testing.capture_logs() as logged:
        async with pod(memory) as running:
            webhook = await running.add(
                receiver, url=f"{receiver.url}?xyzzy", description="xyzzy", events=frozenset({"message.created"})
            )
            await begin(memory, await start_conversation(memory), content="xyzzy")
            await running.wait_for_states(webhook, DeliveryState.DEAD)
            counted = running.metrics.render()
    assert b"xyzzy" in receiver.received[0].body
    assert "delivery given up" in {entry["event"] for entry in logged}
    assert "xyzzy" not in str(logged)
    assert running.secret(webhook) not in str(logged)
    assert b"xyzzy" not in counted
