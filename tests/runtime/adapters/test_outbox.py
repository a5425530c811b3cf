"""What every implementation of the outbox promises, and how PostgreSQL keeps it while many write at once."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from syntera_runtime.adapters.postgresql.outbox import PostgresqlOutbox
from syntera_runtime.adapters.postgresql.pool import Pool
from syntera_runtime.models.conversations import ConversationChange, ConversationState, Failure, Feedback, Rating
from syntera_runtime.models.ids import ContactId
from syntera_runtime.models.outbox import EventType, OutboxBatch, OutboxEvent
from syntera_runtime.models.turns import TurnOutcome
from tests.runtime.adapters.test_stores import BROKEN, STOPPED, begin, end, make_start, start_conversation
from tests.runtime.conftest import PostgresqlStores, Stores
from tests.support.postgresql import Database

LEASE = timedelta(seconds=30)
HOLDER = uuid4()
LONG = timedelta(days=1)
NOW = timedelta()


async def read(stores: Stores, reader: str = "test", holder: UUID = HOLDER, limit: int = 100) -> OutboxBatch:
    """What has happened since the last batch; waits while another transaction of the server may hide it."""
    async with asyncio.timeout(10):
        while True:
            batch = await stores.outbox.read(stores.tenant_id, reader, holder=holder, lease=LEASE, limit=limit)
            if batch is not None:
                return batch
            await asyncio.sleep(0.02)


async def take(stores: Stores, number: int) -> list[OutboxEvent]:
    """The next events, so many of them, which are passed then."""
    events: list[OutboxEvent] = []
    while len(events) < number:
        batch = await read(stores)
        events += batch.events
        assert await stores.outbox.advance(stores.tenant_id, "test", batch, holder=HOLDER)
    assert len(events) == number, [event.type for event in events]
    return events


async def nothing_new(stores: Stores) -> bool:
    return await stores.outbox.read(stores.tenant_id, "test", holder=HOLDER, lease=LEASE, limit=9) is None


def told(events: list[OutboxEvent]) -> list[tuple[str, dict[str, Any]]]:
    return [(event.type, dict(event.payload)) for event in events]


# ---- what is told ----


async def test_conversation_is_told_from_its_beginning_to_its_end(stores: Stores) -> None:
    conversation_id = await start_conversation(stores, greeting="Hello")
    events = await take(stores, 2)
    assert told(events) == [
        ("conversation.created", {"agent": "travel", "state": "active"}),
        ("message.created", {"role": "assistant", "state": "complete"}),
    ]
    assert {event.subjects.conversation_id for event in events} == {conversation_id}
    for change, type_, names in (
        (ConversationChange(title="Paris"), "conversation.updated", ["title"]),
        (ConversationChange(metadata={"a": "b"}), "conversation.updated", ["metadata"]),
        (ConversationChange(state=ConversationState.ENDED), "conversation.ended", ["state"]),
        (ConversationChange(state=ConversationState.ACTIVE), "conversation.updated", ["state"]),
        (
            ConversationChange(state=ConversationState.ARCHIVED, title="Rome"),
            "conversation.archived",
            ["title", "state"],
        ),
    ):
        await stores.editor.change_conversation(stores.tenant_id, conversation_id, change, revision=None)
        [event] = await take(stores, 1)
        assert (event.type, event.payload["changed"]) == (type_, names)
    await stores.editor.change_conversation(
        stores.tenant_id, conversation_id, ConversationChange(title="Rome"), revision=None
    )
    assert await nothing_new(stores)
    await stores.editor.delete_conversation(stores.tenant_id, conversation_id)
    [event] = await take(stores, 1)
    assert (event.type, dict(event.payload)) == ("conversation.deleted", {"agent": "travel"})
    assert event.subjects.conversation_id == conversation_id
    assert abs(datetime.now(UTC) - event.created_at) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("outcome", "state", "end_of"),
    [(None, "complete", "completed"), (BROKEN, "failed", "failed"), (STOPPED, "stopped", "stopped")],
)
async def test_turn_is_told_with_its_messages(
    stores: Stores, outcome: TurnOutcome | None, state: str, end_of: str
) -> None:
    conversation_id = await start_conversation(stores)
    await take(stores, 1)
    begun = await begin(stores, conversation_id)
    await stores.turns.renew_leases(stores.tenant_id, [begun.turn.id], lease=LEASE)
    started, said = await take(stores, 2)
    assert told([started, said]) == [
        ("turn.started", {"agent": "travel", "state": "running"}),
        ("message.created", {"role": "user", "state": "complete"}),
    ]
    assert (said.subjects.message_id, said.subjects.turn_id) == (begun.user_message.id, begun.turn.id)
    reply = await (end(stores, begun) if outcome is None else end(stores, begun, outcome))
    ended, answered = await take(stores, 2)
    error = {"errorCode": "model-unavailable"} if state == "failed" else {}
    assert told([ended, answered]) == [
        (f"turn.{end_of}", {"agent": "travel", "state": state, **error}),
        (f"message.{end_of}", {"role": "assistant", "state": state}),
    ]
    assert (ended.subjects.turn_id, ended.subjects.conversation_id) == (begun.turn.id, conversation_id)
    assert answered.subjects.message_id == reply.id


async def test_completion_is_told_without_a_conversation(stores: Stores) -> None:
    turn = (await stores.turns.begin_completion(stores.tenant_id, start=make_start())).turn
    await stores.turns.end_completion(
        stores.tenant_id, turn.id, outcome=TurnOutcome(failure=Failure("model-timeout", "Too late."))
    )
    started, failed = await take(stores, 2)
    assert (started.type, failed.type) == ("turn.started", "turn.failed")
    assert failed.subjects.turn_id == turn.id
    assert failed.subjects.conversation_id is None


async def test_contact_and_feedback_are_told_when_they_change(stores: Stores) -> None:
    tenant_id = stores.tenant_id
    contact = await stores.contacts.identify_contact(tenant_id, "ada", name="Ada")
    await stores.contacts.identify_contact(tenant_id, "ada")
    await stores.contacts.identify_contact(tenant_id, "ada", name="Ada L.")
    assert [(event.type, event.subjects.contact_id) for event in await take(stores, 2)] == [
        ("contact.created", contact.id),
        ("contact.updated", contact.id),
    ]
    conversation_id = await start_conversation(stores, owner=contact.id)
    reply = await end(stores, await begin(stores, conversation_id))
    [created, *_] = await take(stores, 5)
    assert created.subjects.contact_id == contact.id
    for rating, comment in ((Rating.UP, None), (Rating.UP, None), (Rating.DOWN, None), (Rating.DOWN, "why")):
        given = Feedback(reply.id, "key:1", rating, comment, datetime.now(UTC))
        await stores.editor.put_feedback(tenant_id, conversation_id, given)
    for _ in range(2):
        await stores.editor.delete_feedback(tenant_id, conversation_id, reply.id, author="key:1")
    await stores.editor.put_feedback(tenant_id, conversation_id, given)
    events = await take(stores, 5)
    assert [(event.type, event.payload.get("rating")) for event in events] == [
        ("feedback.created", "up"),
        ("feedback.updated", "down"),
        ("feedback.updated", "down"),
        ("feedback.deleted", None),
        ("feedback.created", "down"),
    ]
    assert {(event.subjects.conversation_id, event.subjects.message_id) for event in events} == {
        (conversation_id, reply.id)
    }


async def test_visitor_is_told_with_the_first_conversation_alone(stores: Stores) -> None:
    visitor = ContactId(uuid4())
    first = await start_conversation(stores, owner=visitor)
    await start_conversation(stores, owner=visitor)
    assert [event.type for event in await take(stores, 3)] == [
        "contact.created",
        "conversation.created",
        "conversation.created",
    ]
    ada = await stores.contacts.identify_contact(stores.tenant_id, "ada")
    await stores.contacts.move_conversations(stores.tenant_id, source=visitor, target=ada.id)
    _, *moved = await take(stores, 3)
    assert [event.payload["changed"] for event in moved] == [["contactId"]] * 2
    assert first in {event.subjects.conversation_id for event in moved}


def test_every_type_of_the_catalogue_is_told_somewhere_above() -> None:
    """The names that the triggers build are those of the catalogue; what is missing there would be told to nobody."""
    text = Path(__file__).read_text()
    ends = {"turn.completed", "turn.failed", "turn.stopped", "message.completed", "message.failed", "message.stopped"}
    assert {type_.value for type_ in EventType if f'"{type_}"' not in text} <= ends


# ---- readers ----


async def test_batch_that_was_not_passed_comes_again(stores: Stores) -> None:
    for _ in range(3):
        await start_conversation(stores)
    first = await read(stores, limit=2)
    assert first is not None
    assert len(first.events) == 2
    assert await read(stores, limit=2) == first
    assert await stores.outbox.advance(stores.tenant_id, "test", first, holder=HOLDER)
    second = await read(stores)
    assert second is not None
    assert len(second.events) == 1
    assert second.events[0].place > first.last


async def test_each_reader_has_its_own_place(stores: Stores) -> None:
    await start_conversation(stores)
    assert [event.type for event in await take(stores, 1)] == ["conversation.created"]
    other = await read(stores, reader="other")
    assert other is not None
    assert [event.type for event in other.events] == ["conversation.created"]


async def test_one_process_at_a_time_reads_for_a_reader(stores: Stores) -> None:
    await start_conversation(stores)
    batch = await read(stores)
    other, outbox, tenant_id = uuid4(), stores.outbox, stores.tenant_id
    assert await outbox.read(tenant_id, "test", holder=other, lease=LEASE, limit=9) is None
    assert not await outbox.advance(tenant_id, "test", batch, holder=other)
    assert await outbox.advance(tenant_id, "test", batch, holder=HOLDER)
    await start_conversation(stores)
    assert await read(stores, holder=other) is not None


async def test_lease_that_has_ended_gives_the_batch_to_another(stores: Stores) -> None:
    await start_conversation(stores)
    outbox, tenant_id, other = stores.outbox, stores.tenant_id, uuid4()
    await read(stores)
    batch = await outbox.read(tenant_id, "test", holder=HOLDER, lease=timedelta(microseconds=1), limit=9)
    assert batch is not None
    assert await read(stores, holder=other) == batch
    assert not await outbox.advance(tenant_id, "test", batch, holder=HOLDER)
    assert await outbox.advance(tenant_id, "test", batch, holder=other)


async def test_old_events_are_pruned_when_all_readers_have_passed_them(stores: Stores) -> None:
    outbox, tenant_id = stores.outbox, stores.tenant_id
    await start_conversation(stores)
    await take(stores, 1)
    assert await read(stores, reader="slow") is not None
    await start_conversation(stores)
    assert await outbox.prune(tenant_id, passed=NOW, unread=LONG, most=9) == 0
    slow = await read(stores, reader="slow", limit=1)
    assert slow is not None
    await outbox.advance(tenant_id, "slow", slow, holder=HOLDER)
    assert await outbox.prune(tenant_id, passed=LONG, unread=LONG, most=9) == 0
    assert await outbox.prune(tenant_id, passed=NOW, unread=LONG, most=9) == 1
    assert [event.type for event in await take(stores, 1)] == ["conversation.created"]


async def test_events_that_nobody_reads_are_pruned_in_the_end(stores: Stores) -> None:
    await start_conversation(stores)
    assert await read(stores, reader="slow") is not None
    assert await stores.outbox.prune(stores.tenant_id, passed=LONG, unread=NOW, most=9) == 1
    assert await nothing_new(stores)


# ---- PostgreSQL ----


@asynccontextmanager
async def own_connection(made: PostgresqlStores) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(made.url_file.read_text())
    yield connection
    await connection.close()


ADD = "INSERT INTO syntera.conversations (tenant_id, id, agent) VALUES ($1, $2, 'travel')"


async def test_event_that_commits_late_is_not_skipped(postgresql_stores: PostgresqlStores) -> None:
    stores = postgresql_stores.stores
    late, early = uuid4(), uuid4()
    async with own_connection(postgresql_stores) as slow:
        held = slow.transaction()
        await held.start()
        await slow.execute(ADD, stores.tenant_id, late)
        async with own_connection(postgresql_stores) as quick:
            await quick.execute(ADD, stores.tenant_id, early)
        assert await nothing_new(stores)  # it waits for the one before
        await held.commit()
    events = await take(stores, 2)
    assert [event.subjects.conversation_id for event in events] == [late, early]


async def test_change_that_is_taken_back_is_not_told(postgresql_stores: PostgresqlStores) -> None:
    stores = postgresql_stores.stores
    async with own_connection(postgresql_stores) as connection:
        attempt = connection.transaction()
        await attempt.start()
        await connection.execute(ADD, stores.tenant_id, uuid4())
        await attempt.rollback()
        await connection.execute(ADD, stores.tenant_id, kept := uuid4())
    [event] = await take(stores, 1)
    assert event.subjects.conversation_id == kept


async def test_part_of_a_transaction_that_is_taken_back_leaves_the_rest_in_order(
    postgresql_stores: PostgresqlStores,
) -> None:
    stores = postgresql_stores.stores
    first, last = uuid4(), uuid4()
    async with own_connection(postgresql_stores) as connection, connection.transaction():
        await connection.execute(ADD, stores.tenant_id, first)
        attempt = connection.transaction()
        await attempt.start()
        for _ in range(3):
            await connection.execute(ADD, stores.tenant_id, uuid4())
        await attempt.rollback()
        await connection.execute(ADD, stores.tenant_id, last)
    events = await take(stores, 2)
    assert [event.subjects.conversation_id for event in events] == [first, last]
    assert [event.place.position for event in events] == [1, 2]


async def test_tenant_is_told_nothing_of_another(
    postgresql_stores: PostgresqlStores, database: Database, tmp_path: Path
) -> None:
    stores = postgresql_stores.stores
    other = await database.make_tenant()
    await start_conversation(stores)
    connection = await asyncpg.connect(other.dsn)
    assert await connection.fetchval("SELECT count(*) FROM syntera.outbox") == 0
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(
            "SELECT syntera.append_event($1, 'conversation.created', NULL, NULL, NULL, NULL, '{}')", stores.tenant_id
        )
    assert await connection.fetchval("SELECT syntera.prune_outbox('0', '0', 100)") == 0
    await connection.close()
    assert len(await take(stores, 1)) == 1


async def test_reader_from_another_server_begins_anew(postgresql_stores: PostgresqlStores) -> None:
    stores = postgresql_stores.stores
    await start_conversation(stores)
    await take(stores, 1)
    async with own_connection(postgresql_stores) as connection:
        await connection.execute("UPDATE syntera.outbox_readers SET transaction = 1 << 60::int, position = 1")
    assert [event.type for event in await take(stores, 1)] == ["conversation.created"]


async def test_many_write_two_read_one_dies_and_nothing_is_lost(
    postgresql_stores: PostgresqlStores, tmp_path: Path
) -> None:
    """Each reader sees of each conversation that it was made, and then every change, once those that came twice are left out."""
    stores, url_file = postgresql_stores.stores, postgresql_stores.url_file
    tenant_id, writers, conversations, changes = stores.tenant_id, 6, 3, 12
    ids = [[uuid4() for _ in range(conversations)] for _ in range(writers)]
    seen: dict[str, dict[UUID, list[str]]] = {"one": defaultdict(list), "two": defaultdict(list)}
    batches: dict[str, set[UUID]] = {"one": set(), "two": set()}

    async def write(own: list[UUID]) -> None:
        async with own_connection(postgresql_stores) as connection:
            for conversation_id in own:
                await connection.execute(ADD, tenant_id, conversation_id)
            for number in range(changes):
                async with connection.transaction():
                    for conversation_id in own:
                        await connection.execute(
                            "UPDATE syntera.conversations SET title = $3 WHERE tenant_id = $1 AND id = $2",
                            tenant_id, conversation_id, f"{number}",
                        )  # fmt: skip
                        await asyncio.sleep(0)

    async def follow(reader: str, *, dies_after: int | None = None) -> None:
        holder = uuid4()
        async with Pool(url_file, connections=1, seconds=5, application="test") as pool:
            outbox, worked = PostgresqlOutbox(pool), 0
            while len(batches[reader]) < writers * conversations * (changes + 1):
                batch = await outbox.read(tenant_id, reader, holder=holder, lease=timedelta(seconds=0.3), limit=7)
                if batch is None:
                    await asyncio.sleep(0.01)
                    continue
                for event in batch.events:
                    assert event.subjects.conversation_id is not None
                    if event.id not in batches[reader]:
                        batches[reader].add(event.id)
                        seen[reader][event.subjects.conversation_id].append(event.type)
                worked += 1
                if worked == dies_after:
                    return  # with a batch that was worked on and never passed
                await outbox.advance(tenant_id, reader, batch, holder=holder)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for own in ids:
            group.create_task(write(own))
        group.create_task(follow("one", dies_after=3))
        group.create_task(follow("one"))
        group.create_task(follow("two"))
        group.create_task(follow("two"))
    for reader in ("one", "two"):
        assert set(seen[reader]) == {one for own in ids for one in own}
        for types in seen[reader].values():
            assert types == ["conversation.created"] + ["conversation.updated"] * changes
