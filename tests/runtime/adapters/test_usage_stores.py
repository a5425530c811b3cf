"""What is counted when turns end: memory and PostgreSQL count the same, and nothing is counted twice or lost."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from syntera_runtime.adapters.postgresql.usage import SPENT_BY_ALL, spent_by_person, spent_in_conversation
from syntera_runtime.errors import TurnLost
from syntera_runtime.ids import new_id
from syntera_runtime.models.conversations import ConversationStart, Failure
from syntera_runtime.models.files import FileContent, NewFile, Storage
from syntera_runtime.models.ids import ConversationId, FileId
from syntera_runtime.models.turns import BegunTurn, Ending, Said, TurnOutcome, TurnStart, Usage
from syntera_runtime.models.usage import (
    Budget,
    Cost,
    LimitLevel,
    LimitMet,
    Spent,
    UsageCount,
    UsageGroup,
    UsageLine,
)
from tests.runtime.conftest import PostgresqlStores, Stores, make_postgresql_stores

LEASE, GONE = timedelta(seconds=30), timedelta(seconds=-1)
DONE = TurnOutcome(
    endpoint="main", model="small-dated", asked_model="small", usage=Usage(7, 2), cost=Cost(1_500_000, "EUR")
)
UNPRICED = TurnOutcome(endpoint="main", model="large-dated", asked_model="large", usage=Usage(10, 5))
STOPPED = TurnOutcome(endpoint="main", asked_model="small", usage=Usage(6, 1, is_estimated=True), is_stopped=True)
BROKEN = TurnOutcome(failure=Failure("model-unavailable", "It is away."))
LIMITED = TurnOutcome(limit=LimitMet(Budget.TOKENS_PER_MONTH, LimitLevel.HARD))
PERSON = "contact:01890a5d-ac96-774b-bcce-b302099a8057"


async def start(stores: Stores) -> ConversationId:
    made = await stores.conversations.add_conversation(stores.tenant_id, ConversationStart(agent="travel"), owner=None)
    return made.conversation.id


async def begin(stores: Stores, conversation_id: ConversationId, **changes: Any) -> BegunTurn:
    fields = {"agent": "travel", "agent_revision": 3, "lease": LEASE, "person": PERSON, **changes}
    return await stores.turns.begin_turn(
        stores.tenant_id, conversation_id, owner=None, start=TurnStart(**fields), content="Hi", history=10
    )


async def end(stores: Stores, begun: BegunTurn, outcome: TurnOutcome = DONE) -> None:
    ending = Ending(text="Hello", last_event=begun.last_event + 3)
    await stores.turns.end_turn(stores.tenant_id, begun, outcome=outcome, ending=ending)


async def complete(stores: Stores, outcome: TurnOutcome = DONE, **changes: Any) -> ConversationId:
    conversation_id = await start(stores)
    await end(stores, await begin(stores, conversation_id, **changes), outcome)
    return conversation_id


def today() -> date:
    return datetime.now(UTC).date()


async def list_usage(stores: Stores, group: UsageGroup = UsageGroup.DAY) -> list[UsageLine]:
    # A day more on both sides: a test may run over midnight.
    since, until = today() - timedelta(days=1), today() + timedelta(days=1)
    return list(await stores.usage.list_usage(stores.tenant_id, since=since, until=until, group=group))


async def total(stores: Stores) -> UsageCount:
    return sum((line.count for line in await list_usage(stores)), UsageCount())


@pytest.mark.parametrize(
    ("outcome", "count"),
    [
        (DONE, UsageCount(turns=1, prompt_tokens=7, completion_tokens=2, costs=(Cost(1_500_000, "EUR"),))),
        (UNPRICED, UsageCount(turns=1, prompt_tokens=10, completion_tokens=5, unpriced_tokens=15)),
        (
            STOPPED,
            UsageCount(turns=1, prompt_tokens=6, completion_tokens=1, estimated_tokens=7, unpriced_tokens=7),
        ),
        (BROKEN, UsageCount(turns=1)),
        (LIMITED, UsageCount(limited_turns=1)),
    ],
    ids=["complete", "without-a-price", "stopped", "failed", "limited"],
)
async def test_turn_is_counted_when_it_ends(stores: Stores, outcome: TurnOutcome, count: UsageCount) -> None:
    conversation_id = await start(stores)
    begun = await begin(stores, conversation_id)
    assert await list_usage(stores) == []
    await end(stores, begun, outcome)
    assert await total(stores) == count
    assert await stores.usage.conversation_usage(stores.tenant_id, conversation_id) == count
    assert await stores.usage.month_tokens(stores.tenant_id) == count.total_tokens


async def test_completion_is_counted_when_it_ends(stores: Stores) -> None:
    start = TurnStart(agent="travel", agent_revision=3, lease=LEASE)
    begun = await stores.turns.begin_completion(stores.tenant_id, start=start)
    await stores.turns.end_completion(stores.tenant_id, begun.turn.id, outcome=DONE)
    assert (await total(stores)).total_tokens == 9


async def test_turn_that_is_ended_again_is_counted_once(stores: Stores) -> None:
    begun = await begin(stores, await start(stores))
    await asyncio.gather(*(end(stores, begun) for _ in range(5)))
    assert (await total(stores)).turns == 1


async def test_dead_turn_is_counted_by_estimate_and_not_by_who_comes_back(stores: Stores) -> None:
    conversation_id = await complete(stores)
    begun = await begin(stores, conversation_id, lease=GONE, prompt_tokens=20)
    expired = await stores.turns.find_expired(stores.tenant_id)
    for one in expired:
        await stores.turns.abandon_turn(stores.tenant_id, one, said=Said("It is on"))
    with pytest.raises(TurnLost):
        await end(stores, begun)
    # 20 known when it began, the two messages before it ("Hi" and "Hello" make 1 + 2, and 4 each), and 3 of its text.
    assert await total(stores) == UsageCount(
        turns=2,
        prompt_tokens=7 + 31,
        completion_tokens=2 + 3,
        estimated_tokens=34,
        unpriced_tokens=34,
        costs=(Cost(1_500_000, "EUR"),),
    )


@pytest.mark.parametrize(("takes_images", "tokens"), [(True, 20 + 9 + 100 + 1500), (False, 20 + 9 + 100)])
async def test_dead_turn_is_counted_with_its_files(stores: Stores, takes_images: bool, tokens: int) -> None:
    """Those of the messages before, which are "Hi" and a stopped reply (9 tokens), and those of its own."""
    conversation_id = await start(stores)
    for content, lease, known in (
        (FileContent("text/plain", 300, b"\2" * 32), LEASE, 0),
        (FileContent("image/png", 68, b"\1" * 32, width=3, height=4), GONE, 20),
    ):
        new = NewFile(FileId(new_id()), "a", Storage.POSTGRESQL)
        await stores.files.add_file(stores.tenant_id, new, owner=None)
        await stores.files.complete_file(stores.tenant_id, new.id, content)
        begun = await stores.turns.begin_turn(
            stores.tenant_id,
            conversation_id,
            owner=None,
            start=TurnStart("travel", 3, lease, prompt_tokens=known, takes_images=takes_images),
            content="Hi",
            history=9,
            file_ids=[new.id],
        )
        if lease is LEASE:
            ending = Ending(text="", last_event=begun.last_event + 3)
            await stores.turns.end_turn(stores.tenant_id, begun, outcome=TurnOutcome(is_stopped=True), ending=ending)
    for one in await stores.turns.find_expired(stores.tenant_id):
        await stores.turns.abandon_turn(stores.tenant_id, one, said=Said())
    assert (await total(stores)).prompt_tokens == tokens


async def test_dead_completion_is_counted_by_estimate(stores: Stores) -> None:
    start = TurnStart(agent="travel", agent_revision=3, lease=GONE, prompt_tokens=20)
    await stores.turns.begin_completion(stores.tenant_id, start=start)
    for one in await stores.turns.find_expired(stores.tenant_id):
        await stores.turns.abandon_turn(stores.tenant_id, one, said=Said())
    assert (await total(stores)).estimated_tokens == 20


async def test_usage_is_told_by_agent_and_by_model(stores: Stores) -> None:
    await complete(stores, DONE)
    await complete(stores, DONE, agent="billing")
    await complete(stores, UNPRICED)
    await complete(stores, LIMITED)
    cost = Cost(1_500_000, "EUR")
    done = UsageCount(turns=1, prompt_tokens=7, completion_tokens=2, costs=(cost,))
    unpriced = UsageCount(turns=1, prompt_tokens=10, completion_tokens=5, unpriced_tokens=15)
    limited = UsageCount(limited_turns=1)
    assert await list_usage(stores, UsageGroup.AGENT) == [
        UsageLine(done, agent="billing"),
        UsageLine(done + unpriced + limited, agent="travel"),
    ]
    assert await list_usage(stores, UsageGroup.MODEL) == [
        UsageLine(limited),
        UsageLine(unpriced, endpoint="main", model="large"),
        UsageLine(done + done, endpoint="main", model="small"),
    ]


async def test_costs_in_two_currencies_are_not_added(stores: Stores) -> None:
    await complete(stores, DONE)
    dollars = TurnOutcome(endpoint="main", asked_model="small", usage=Usage(1, 1), cost=Cost(5, "USD"))
    await complete(stores, dollars)
    [line] = await list_usage(stores, UsageGroup.MODEL)
    assert line.count.costs == (Cost(1_500_000, "EUR"), Cost(5, "USD"))
    assert line.count.turns == 2


async def test_days_outside_are_not_told(stores: Stores) -> None:
    await complete(stores)
    long_ago = today() - timedelta(days=40)
    until = long_ago + timedelta(days=30)
    assert await stores.usage.list_usage(stores.tenant_id, since=long_ago, until=until, group=UsageGroup.DAY) == []


async def test_turn_that_begins_is_told_what_was_spent_before(stores: Stores) -> None:
    conversation_id = await complete(stores)
    await complete(stores, UNPRICED, person="user:https://id.example|7")
    await complete(stores, UNPRICED, person=None)
    begun = await begin(stores, conversation_id)
    assert begun.spent == Spent(month_tokens=39, person_tokens=9, conversation_tokens=9, conversation_turns=1)
    other = TurnStart(agent="travel", agent_revision=3, lease=LEASE)
    assert (await stores.turns.begin_completion(stores.tenant_id, start=other)).spent == Spent(month_tokens=39)


async def test_limited_turns_are_none_of_a_conversations_turns(stores: Stores) -> None:
    conversation_id = await complete(stores, LIMITED)
    begun = await begin(stores, conversation_id)
    assert (begun.spent.conversation_turns, begun.spent.conversation_tokens) == (0, 0)


async def test_counts_outlive_the_conversation(stores: Stores) -> None:
    conversation_id = await complete(stores)
    before = await total(stores)
    await stores.editor.delete_conversation(stores.tenant_id, conversation_id)
    assert await total(stores) == before
    assert await stores.usage.conversation_usage(stores.tenant_id, conversation_id) == before
    assert (await begin(stores, await start(stores))).spent.month_tokens == 9


async def test_nothing_is_lost_when_many_turns_end_at_once(stores: Stores) -> None:
    begun = [await begin(stores, await start(stores)) for _ in range(12)]
    await asyncio.gather(*(end(stores, one) for one in begun))
    assert await total(stores) == UsageCount(
        turns=12, prompt_tokens=84, completion_tokens=24, costs=(Cost(18_000_000, "EUR"),)
    )


async def test_ended_turn_says_what_it_cost_and_which_limit_it_met(stores: Stores) -> None:
    begun = await begin(stores, await start(stores))
    near = LimitMet(Budget.TOKENS_PER_CONVERSATION, LimitLevel.SOFT)
    outcome = TurnOutcome(usage=Usage(7, 2, is_estimated=True), cost=Cost(3, "EUR"), limit=near)
    ending = Ending(text="Hello", last_event=begun.last_event + 3)
    ended = await stores.turns.end_turn(stores.tenant_id, begun, outcome=outcome, ending=ending)
    assert (ended.turn.usage, ended.turn.cost, ended.turn.limit) == (outcome.usage, outcome.cost, near)
    assert ended.reply.limited_by is None


async def test_reply_of_a_limited_turn_says_so_wherever_it_is_read(stores: Stores) -> None:
    conversation_id = await complete(stores, LIMITED)
    messages = await stores.conversations.list_messages(
        stores.tenant_id, conversation_id, owner=None, after=None, limit=10
    )
    assert [message.limited_by for message in messages] == [None, Budget.TOKENS_PER_MONTH]
    begun = await begin(stores, conversation_id)
    assert [message.limited_by for message in begun.history] == [None, Budget.TOKENS_PER_MONTH]
    [record, _] = await stores.turns.turns_since(stores.tenant_id, {conversation_id: 0}, limit=10)
    assert record.reply is not None
    assert record.reply.limited_by is Budget.TOKENS_PER_MONTH


# ---- PostgreSQL alone ----


async def test_turn_of_the_release_before_is_counted(postgresql_stores: PostgresqlStores) -> None:
    """Its pods end turns with their own statement, which knows nothing of counts."""
    stores = postgresql_stores.stores
    begun = await begin(stores, await start(stores), person=None)
    async with postgresql_stores.pool.connection("test") as connection:
        await connection.execute(
            "UPDATE syntera.turns SET state = 'complete', endpoint = 'main', model = $3, prompt_tokens = 7,"
            " completion_tokens = 2, lease_expires_at = NULL, ended_at = now() WHERE tenant_id = $1 AND id = $2",
            stores.tenant_id,
            begun.turn.id,
            "m" * 300,
        )
    [line] = await list_usage(stores, UsageGroup.MODEL)
    assert (line.model, line.count.total_tokens) == ("m" * 256, 9)


async def test_tenant_cannot_change_what_was_counted(postgresql_stores: PostgresqlStores) -> None:
    await complete(postgresql_stores.stores)
    for table in ("usage_days", "usage_totals", "usage_conversations"):
        for statement in (f"UPDATE syntera.{table} SET tenant_id = tenant_id", f"DELETE FROM syntera.{table}"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with postgresql_stores.pool.connection("test") as connection:
                    await connection.execute(statement)


async def test_another_tenant_sees_nothing_of_what_was_counted(
    postgresql_stores: PostgresqlStores, tmp_path: Path
) -> None:
    own = postgresql_stores.stores
    conversation_id = await complete(own)
    stranger = await make_postgresql_stores(postgresql_stores.database, tmp_path)
    usage, since = stranger.stores.usage, today() - timedelta(days=1)
    until = since + timedelta(days=2)
    assert await usage.list_usage(own.tenant_id, since=since, until=until, group=UsageGroup.DAY) == []
    assert await usage.month_tokens(own.tenant_id) == 0
    assert await usage.conversation_usage(own.tenant_id, conversation_id) is None
    await stranger.pool.aclose()


async def test_trigger_counts_for_nobody_but_the_tenant_of_its_session(postgresql_stores: PostgresqlStores) -> None:
    """Not even where somebody may end the turn whom no wall holds."""
    begun = await begin(postgresql_stores.stores, await start(postgresql_stores.stores))
    connection = await asyncpg.connect(postgresql_stores.database.superuser_dsn)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(
            "UPDATE syntera.turns SET state = 'complete', ended_at = now() WHERE id = $1", begun.turn.id
        )
    await connection.close()


async def test_what_was_spent_is_read_by_primary_keys(postgresql_stores: PostgresqlStores) -> None:
    stores = postgresql_stores.stores
    conversation_id = await complete(stores)
    columns = f"{SPENT_BY_ALL}, {spent_by_person('$2')}, {spent_in_conversation('$3')}"
    async with postgresql_stores.pool.transaction("test") as connection:
        await connection.execute("SET LOCAL enable_seqscan = off")
        await connection.execute("SET LOCAL enable_bitmapscan = off")
        rows = await connection.fetch(
            f"EXPLAIN SELECT {columns} FROM (SELECT $2::text, $3::uuid) AS asked",  # constants
            stores.tenant_id,
            PERSON,
            conversation_id,
        )
    plan = "\n".join(row[0] for row in rows)
    assert plan.count("Index Scan using usage_totals_pkey") + plan.count("Index Only Scan using usage_totals_pkey") == 2
    assert plan.count("usage_conversations_pkey") == 2
    assert plan.count("(subject = ") == plan.count("(since = ") == 2
    assert "Seq Scan on usage" not in plan
