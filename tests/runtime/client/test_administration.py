"""Usage, webhooks and the record of acts through the client, against the real API on real stores."""

import pytest

from syntera_crds.contract.api_key import Scope
from syntera_runtime.client import Client, Conflict, ConversationNotFound, Forbidden, InvalidRequest, NotFound
from syntera_runtime.ids import new_id
from syntera_runtime.models.outbox import EventType
from syntera_runtime.models.usage import UsageGroup
from syntera_runtime.models.webhooks import DeliveryState, DisabledReason

URL = "https://hooks.acme.example/syntera"


async def test_usage_is_told_by_group_and_by_conversation(client: Client, administrator: Client) -> None:
    conversation = (await client.start("travel")).id
    await client.ask(conversation, "Hi")
    report = await administrator.usage.report(group_by=UsageGroup.AGENT)
    assert report.group_by is UsageGroup.AGENT
    assert [(item.agent, item.turns, item.total_tokens) for item in report.items] == [("travel", 1, 9)]
    assert report.total.total_tokens == 9
    (day,) = (await administrator.usage.report(since=report.until, until=report.until)).items
    assert day.day == report.until
    used = await administrator.usage.conversation(conversation)
    assert (used.conversation_id, used.turns, used.total_tokens) == (conversation, 1, 9)
    with pytest.raises(ConversationNotFound):
        await administrator.usage.conversation(new_id())
    with pytest.raises(Forbidden):
        await client.usage.report()


async def test_record_of_acts_is_read_page_by_page(administrator: Client) -> None:
    made = [await administrator.api_keys.create_secret(f"key {number}", [Scope.CHAT]) for number in range(3)]
    acts = [act async for act in administrator.audit_log.list(operation="createApiKey", page_size=2)]
    assert [act.targets["apiKeyId"] for act in acts] == [str(key.id) for key in reversed(made)]
    assert {act.status for act in acts} == {201}
    assert [act async for act in administrator.audit_log.list(at_before=acts[-1].at)] == []


async def test_webhook_from_its_beginning_to_its_end(administrator: Client) -> None:
    webhooks = administrator.webhooks
    made = await webhooks.create(URL, events=[EventType.MESSAGE_COMPLETED], description="Shop", thin=True)
    assert (made.url, made.events, made.thin, made.enabled) == (URL, ["message.completed"], True, True)
    assert [one.id for one in await webhooks.list()] == [made.id]
    assert (await webhooks.secret(made.id)).secret == made.secret
    rotated = await webhooks.rotate_secret(made.id)
    assert rotated.secret != made.secret
    assert rotated.previous_until is not None

    tested = [await webhooks.test(made.id, idempotency_key="once") for _ in range(2)]
    assert tested[0].id == tested[1].id
    assert (tested[0].type, tested[0].state) == ("webhook.test", DeliveryState.PENDING)
    assert [one.id async for one in webhooks.deliveries(made.id, page_size=1)] == [tested[0].id]
    assert (await webhooks.redeliver(made.id, tested[0].id)).id == tested[0].id
    with pytest.raises(NotFound):
        await webhooks.redeliver(made.id, new_id())

    changed = await webhooks.change(made.id, enabled=False, events=[])
    assert (changed.enabled, changed.disabled_reason, changed.events) == (False, DisabledReason.ASKED, [])
    with pytest.raises(Conflict) as caught:
        await webhooks.test(made.id)
    assert caught.value.code == "webhook-disabled"
    assert await webhooks.get(made.id) == changed
    await webhooks.delete(made.id)
    with pytest.raises(NotFound):
        await webhooks.get(made.id)


async def test_refused_webhook_names_its_place(administrator: Client) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await administrator.webhooks.create("http://127.0.0.1/")
    assert [fault.path for fault in caught.value.faults] == ["body.url"]
