"""Turns in PostgreSQL: those that the release before has begun, without numbers, and those of long conversations."""

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from syntera_runtime.adapters.postgresql.turns import _SINCE
from syntera_runtime.errors import ConversationBusy
from syntera_runtime.ids import new_id
from syntera_runtime.models.conversations import ConversationStart, MessageState
from syntera_runtime.models.live_events import EventPosition
from syntera_runtime.models.turns import Said, TurnStart
from tests.runtime.conftest import PostgresqlStores, connected

_WAITS_FOR = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid)))"


async def test_turn_of_the_release_before_is_ended_when_its_process_has_died(
    postgresql_stores: PostgresqlStores,
) -> None:
    stores = postgresql_stores.stores
    tenant_id = stores.tenant_id
    made = await stores.conversations.add_conversation(tenant_id, ConversationStart(agent="travel"), owner=None)
    conversation_id, turn_id = made.conversation.id, new_id()
    async with postgresql_stores.pool.transaction("test") as connection:
        await connection.execute(
            "INSERT INTO syntera.turns (tenant_id, id, conversation_id, agent, agent_revision, state, lease_expires_at)"
            " VALUES ($1, $2, $3, 'travel', 1, 'running', now() - interval '1 second')",
            tenant_id,
            turn_id,
            conversation_id,
        )
        await connection.execute("UPDATE syntera.conversations SET last_event = 100 WHERE tenant_id = $1", tenant_id)
        await connection.execute(
            "INSERT INTO syntera.messages (tenant_id, id, conversation_id, turn_id, role, state, content)"
            " VALUES ($1, $2, $3, $4, 'user', 'complete', 'Hi')",
            tenant_id,
            new_id(),
            conversation_id,
            turn_id,
        )
    assert await stores.conversations.find_position(tenant_id, conversation_id, owner=None) == EventPosition(
        100, is_running=True
    )
    start = TurnStart("travel", 1, timedelta(seconds=15))
    with pytest.raises(ConversationBusy) as caught:
        await stores.turns.begin_turn(tenant_id, conversation_id, owner=None, start=start, content="And?", history=1)
    assert caught.value.is_expired
    [expired] = await stores.turns.find_expired(tenant_id)
    assert expired.last_event is None
    assert await stores.turns.abandon_turn(tenant_id, expired, said=Said()) is not None
    question, reply = await stores.conversations.list_messages(
        tenant_id, conversation_id, owner=None, after=None, limit=10
    )
    assert (question.content, reply.content, reply.state) == ("Hi", "", MessageState.FAILED)
    assert await stores.turns.turns_since(tenant_id, {conversation_id: 0}, limit=10) == []
    begun = await stores.turns.begin_turn(
        tenant_id, conversation_id, owner=None, start=start, content="And?", history=2
    )
    assert begun.first_event == 101


async def test_dead_turn_is_ended_only_with_its_conversation_locked(postgresql_stores: PostgresqlStores) -> None:
    """Else the next turn could take its place in the outbox before this one's end."""
    stores, pool = postgresql_stores.stores, postgresql_stores.pool
    made = await stores.conversations.add_conversation(stores.tenant_id, ConversationStart(agent="travel"), owner=None)
    dead = TurnStart("travel", 1, timedelta(seconds=-1))
    await stores.turns.begin_turn(
        stores.tenant_id, made.conversation.id, owner=None, start=dead, content="Hi", history=1
    )
    [expired] = await stores.turns.find_expired(stores.tenant_id)
    async with pool.transaction("test") as holder:
        await holder.execute(
            "SELECT FROM syntera.conversations WHERE tenant_id = $1 AND id = $2 FOR NO KEY UPDATE",
            stores.tenant_id,
            made.conversation.id,
        )
        holder_pid = await holder.fetchval("SELECT pg_backend_pid()")
        abandoning = asyncio.create_task(stores.turns.abandon_turn(stores.tenant_id, expired, said=Said()))
        async with connected(postgresql_stores.database.superuser_dsn) as watcher:
            waits = False
            while not waits and not abandoning.done():
                await asyncio.sleep(0.01)
                waits = await watcher.fetchval(_WAITS_FOR, holder_pid)
        assert waits
    assert await abandoning is not None


async def test_missed_turns_are_found_by_their_index_in_a_long_conversation(
    postgresql_stores: PostgresqlStores,
) -> None:
    stores = postgresql_stores.stores
    made = await stores.conversations.add_conversation(stores.tenant_id, ConversationStart(agent="travel"), owner=None)
    async with postgresql_stores.pool.connection("test") as connection:
        for first in range(0, 20_000, 2_000):  # each statement has the pool's time limit, and each turn is told
            await connection.execute(
                "INSERT INTO syntera.turns (tenant_id, id, conversation_id, agent, agent_revision, state, ended_at,"
                " first_event, last_event)"
                " SELECT $1, gen_random_uuid(), $2, 'travel', 1, 'complete', now(), 10 * n + 1, 10 * n + 10"
                " FROM generate_series($3::integer, $3 + 1999) AS n",
                stores.tenant_id,
                made.conversation.id,
                first,
            )
        query = f"EXPLAIN (ANALYZE, FORMAT JSON) {_SINCE}"
        plan = await connection.fetchval(query, stores.tenant_id, [made.conversation.id], [199_950], 100)
    scans = [node for node in _nodes(json.loads(plan)[0]["Plan"]) if node.get("Relation Name") == "turns"]
    assert "turns_events" in [node.get("Index Name") for node in scans]
    assert max(node.get("Rows Removed by Filter", 0) for node in scans) < 100


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)
