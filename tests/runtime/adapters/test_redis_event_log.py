"""How much the event log keeps in Redis, and for how long."""

from uuid import uuid4

import pytest

from syntera_crds.contract.names import redis_key_prefix
from syntera_runtime.ids import new_id
from syntera_runtime.models.ids import ConversationId, TurnId
from syntera_runtime.models.live_events import EventBatch
from tests.runtime.redis import TenantRedis


async def times_to_live(made: TenantRedis) -> dict[str, int]:
    """Of all keys of the tenant, in seconds, by what follows the tenant's prefix."""
    prefix = redis_key_prefix(made.tenant_id)
    async with made.administrator() as administrator:
        keys = [key async for key in administrator.scan_iter(match=f"{prefix}*")]
        return {key.removeprefix(prefix).partition(":")[0]: await administrator.ttl(key) for key in keys}


async def test_events_outlive_their_turn_by_a_quarter_of_an_hour(made: TenantRedis) -> None:
    batch = EventBatch(1, 0, b"[]")
    assert await made.events.append(made.tenant_id, ConversationId(uuid4()), batch, begins=True)
    assert 840 <= (await times_to_live(made))["events"] <= 900


async def test_stops_are_kept_for_a_minute(made: TenantRedis) -> None:
    await made.events.ask_stop(made.tenant_id, TurnId(new_id()))
    assert 30 <= (await times_to_live(made))["stops"] <= 60


async def test_oldest_batches_go_when_a_conversation_has_too_many(
    made: TenantRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syntera_runtime.adapters.redis.event_log.MOST_BATCHES", 200)
    conversation_id = ConversationId(uuid4())
    for number in range(1, 801):
        batch = EventBatch(number, number - 1, b"[]")
        await made.events.append(made.tenant_id, conversation_id, batch, begins=True)
    kept = await made.events.read(made.tenant_id, conversation_id, after=0)
    assert 200 <= len(kept) < 400
    assert kept[-1].number == 800


async def test_script_is_loaded_again_when_the_server_has_forgotten_it(made: TenantRedis) -> None:
    conversation_id = ConversationId(uuid4())
    for number in (1, 2):
        async with made.administrator() as administrator:
            await administrator.script_flush()
        batch = EventBatch(number, number - 1, b"[]")
        assert await made.events.append(made.tenant_id, conversation_id, batch, begins=True)
    assert len(await made.events.read(made.tenant_id, conversation_id, after=0)) == 2
