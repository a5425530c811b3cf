"""What every implementation of lists and changes of conversations promises; memory and PostgreSQL pass the same tests."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from syntera_runtime.errors import (
    ConversationBusy,
    ConversationNotFound,
    MessageNotFound,
    RequestRepeated,
    RevisionMismatch,
)
from syntera_runtime.models.conversations import (
    MOST_UNREAD,
    Channel,
    Conversation,
    ConversationChange,
    ConversationFilter,
    ConversationOrder,
    ConversationStart,
    ConversationState,
    ConversationSummary,
    Feedback,
    ListPosition,
    Marks,
    Message,
    Rating,
    Side,
)
from syntera_runtime.models.ids import ContactId, ConversationId, MessageId, RequestKey
from syntera_runtime.models.turns import BegunTurn, Ending, TurnOutcome, TurnStart, Usage
from tests.runtime.conftest import PostgresqlStores, Stores

EVERYTHING = ConversationFilter(states=frozenset(ConversationState))


async def start(stores: Stores, **options: Any) -> Conversation:
    made = await stores.conversations.add_conversation(
        stores.tenant_id, ConversationStart(**{"agent": "travel", **options}), owner=None
    )
    return made.conversation


async def say(stores: Stores, conversation: Conversation, content: str = "Hi", reply: str = "Hello") -> Message:
    turn = TurnStart(agent="travel", agent_revision=1, lease=timedelta(seconds=30))
    begun = await stores.turns.begin_turn(
        stores.tenant_id, conversation.id, owner=None, start=turn, content=content, history=1
    )
    ending = Ending(text=reply, last_event=begun.last_event + 2)
    ended = await stores.turns.end_turn(stores.tenant_id, begun, outcome=TurnOutcome(usage=Usage(1, 2)), ending=ending)
    return ended.reply


async def found(stores: Stores, wanted: ConversationFilter = EVERYTHING, **options: Any) -> list[ConversationSummary]:
    defaults = {"owner": None, "order": ConversationOrder.CREATED, "side": Side.STAFF, "after": None, "limit": 100}
    return list(await stores.directory.list_conversations(stores.tenant_id, wanted, **{**defaults, **options}))


async def ids(stores: Stores, wanted: ConversationFilter = EVERYTHING, **options: Any) -> list[ConversationId]:
    return [summary.conversation.id for summary in await found(stores, wanted, **options)]


# ---- lists ----


async def test_nothing_is_listed_when_there_is_nothing(stores: Stores) -> None:
    assert await found(stores) == []


async def test_conversation_is_listed_as_it_was_begun(stores: Stores) -> None:
    made = await start(stores, channel=Channel.SMS, title="Luggage", metadata={"order": "4711"})
    assert await found(stores) == [ConversationSummary(made, None, 0)]
    assert await stores.conversations.find_conversation(stores.tenant_id, made.id, owner=None) == made


async def test_newest_conversation_comes_first(stores: Stores) -> None:
    made = [(await start(stores)).id for _ in range(3)]
    assert await ids(stores) == made[::-1]


async def test_conversation_with_the_latest_words_comes_first_by_activity(stores: Stores) -> None:
    first, second, third = [await start(stores) for _ in range(3)]
    await say(stores, first)
    assert await ids(stores, order=ConversationOrder.ACTIVITY) == [first.id, third.id, second.id]


@pytest.mark.parametrize("order", ConversationOrder)
async def test_pages_neither_skip_nor_repeat_when_conversations_come_between(
    stores: Stores, order: ConversationOrder
) -> None:
    made = [(await start(stores)).id for _ in range(4)]
    first = await found(stores, order=order, limit=2)
    await start(stores)
    last = first[-1].conversation
    rest = await ids(stores, order=order, after=ListPosition(last.id, last.updated_at))
    assert [summary.conversation.id for summary in first] + rest == made[::-1]


async def test_last_message_stands_beside_its_conversation(stores: Stores) -> None:
    quiet, talkative = await start(stores), await start(stores, greeting="Welcome")
    reply = await say(stores, talkative)
    assert [(one.conversation.id, one.last_message) for one in await found(stores)] == [
        (talkative.id, reply),
        (quiet.id, None),
    ]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"agent": "sales"}, ["b"]),
        ({"channel": Channel.EMAIL}, ["c"]),
        ({"states": frozenset({ConversationState.ARCHIVED})}, ["d"]),
        ({}, ["c", "b", "a"]),
        ({"agent": "travel", "channel": Channel.API}, ["a"]),
        ({"created_from": datetime(2020, 1, 1, tzinfo=UTC), "agent": "sales"}, ["b"]),
        ({"created_before": datetime(2020, 1, 1, tzinfo=UTC)}, []),
    ],
)
async def test_list_is_filtered(stores: Stores, wanted: dict[str, Any], expected: list[str]) -> None:
    await start(stores, title="a")
    await start(stores, title="b", agent="sales")
    await start(stores, title="c", channel=Channel.EMAIL)
    archived = await start(stores, title="d")
    await change(stores, archived, state=ConversationState.ARCHIVED)
    assert [one.conversation.title for one in await found(stores, ConversationFilter(**wanted))] == expected


# ---- search ----


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("luggage", ["said", "titled"]),
        ("LUGGAGE", ["said", "titled"]),
        ("lost luggage", ["said"]),
        ("reply-word", ["said"]),
        ("lugg", []),
        ("nothing", []),
        ("!!!", []),
        ("tenant", []),
    ],
)
async def test_words_are_found_in_messages_and_titles(stores: Stores, words: str, expected: list[str]) -> None:
    await start(stores, title="other")
    titled = await start(stores, title="Luggage")
    said = await start(stores)
    await say(stores, said, "I lost my luggage, please help", "A reply-word of ours")
    names = {titled.id: "titled", said.id: "said"}
    assert [names[one] for one in await ids(stores, ConversationFilter(words=words))] == expected


async def test_conversation_is_found_once_however_often_it_holds_the_words(stores: Stores) -> None:
    conversation = await start(stores, title="luggage")
    for _ in range(3):
        await say(stores, conversation, "luggage", "luggage")
    assert await ids(stores, ConversationFilter(words="luggage")) == [conversation.id]


async def test_search_goes_together_with_filters_and_pages(stores: Stores) -> None:
    made = [await start(stores, title="luggage") for _ in range(3)]
    await start(stores, title="luggage", agent="sales")
    wanted = ConversationFilter(words="luggage", agent="travel")
    first = await found(stores, wanted, limit=2)
    last = first[-1].conversation
    rest = await ids(stores, wanted, after=ListPosition(last.id, last.updated_at))
    assert [one.conversation.id for one in first] + rest == [one.id for one in made[::-1]]


@pytest.mark.parametrize(
    ("words", "expected"),
    [('"lost luggage"', ["a"]), ("luggage -lost", ["b"]), ("lost or hotel", ["c", "a"])],
)
async def test_search_has_the_syntax_of_search_engines(
    postgresql_stores: PostgresqlStores, words: str, expected: list[str]
) -> None:
    stores = postgresql_stores.stores
    for title in ("a", "b", "c"):
        content = {"a": "I lost luggage", "b": "luggage found", "c": "a hotel"}[title]
        await say(stores, await start(stores, title=title), content)
    wanted = ConversationFilter(words=words)
    assert [one.conversation.title for one in await found(stores, wanted)] == expected


@pytest.mark.parametrize(("words", "expected"), [("luggage", ["said", "titled"]), ("lost", ["said"]), ("!!!", [])])
async def test_customers_search_among_their_own(stores: Stores, words: str, expected: list[str]) -> None:
    owners = [ContactId(uuid4()), ContactId(uuid4())]
    for owner in owners:
        options = {"owner": owner}
        titled, said = [
            (
                await stores.conversations.add_conversation(
                    stores.tenant_id, ConversationStart(agent="travel", title=title), **options
                )
            ).conversation
            for title in ("Luggage", "other")
        ]
        await say(stores, said, "I lost my luggage")
        names = {titled.id: "titled", said.id: "said"}
    found_ids = await ids(stores, ConversationFilter(words=words), owner=owners[1])
    assert [names[one] for one in found_ids] == expected


async def test_search_uses_its_index_for_a_tenant_among_others(postgresql_stores: PostgresqlStores) -> None:
    """Row-level security keeps the planner from full-text indexes; the function is there to let it."""
    stores, database = postgresql_stores.stores, postgresql_stores.database
    await say(stores, await start(stores), "needle")
    connection = await asyncpg.connect(database.superuser_dsn)
    try:
        await connection.execute("SET ROLE syntera_owner")
        await connection.execute("SET enable_seqscan = off")
        plan = await connection.fetch(
            "EXPLAIN SELECT FROM syntera.messages AS m"
            " WHERE syntera.search_terms(m.tenant_id, m.content) @@ (SELECT websearch_to_tsquery('simple', 'needle'))"
        )
    finally:
        await connection.close()
    assert any("messages_search" in row[0] for row in plan), plan


# ---- unread ----


async def test_unread_messages_are_those_of_the_other_side_since_the_mark(stores: Stores) -> None:
    conversation = await start(stores, greeting="Welcome")
    first = await say(stores, conversation)
    await say(stores, conversation)
    assert [(await found(stores, side=side))[0].unread for side in (Side.CONTACT, Side.STAFF)] == [3, 2]
    await mark(stores, conversation, Side.CONTACT, read=first.id)
    assert [(await found(stores, side=side))[0].unread for side in (Side.CONTACT, Side.STAFF)] == [1, 2]


async def test_unread_messages_are_counted_up_to_a_bound(stores: Stores) -> None:
    conversation = await start(stores)
    for _ in range(MOST_UNREAD + 1):
        await say(stores, conversation)
    assert (await found(stores))[0].unread == MOST_UNREAD


# ---- marks ----


async def mark(stores: Stores, conversation: Conversation, side: Side, **marks: MessageId) -> Marks:
    return await stores.editor.mark_conversation(stores.tenant_id, conversation.id, side=side, marks=Marks(**marks))


async def test_marks_go_forward_and_each_side_has_its_own(stores: Stores) -> None:
    conversation = await start(stores)
    first, second = await say(stores, conversation), await say(stores, conversation)
    assert await mark(stores, conversation, Side.CONTACT, delivered=second.id) == Marks(None, second.id)
    assert await mark(stores, conversation, Side.CONTACT, read=first.id) == Marks(first.id, second.id)
    assert await mark(stores, conversation, Side.CONTACT, read=second.id) == Marks(second.id, second.id)
    assert await mark(stores, conversation, Side.CONTACT, read=first.id) == Marks(second.id, second.id)
    assert await mark(stores, conversation, Side.STAFF) == Marks()


async def test_marks_of_an_unknown_conversation_are_refused(stores: Stores) -> None:
    with pytest.raises(ConversationNotFound):
        await stores.editor.mark_conversation(stores.tenant_id, ConversationId(uuid4()), side=Side.STAFF, marks=Marks())


# ---- changes ----


async def change(
    stores: Stores, conversation: Conversation, revision: int | None = None, **changes: Any
) -> Conversation:
    return await stores.editor.change_conversation(
        stores.tenant_id, conversation.id, ConversationChange(**changes), revision=revision
    )


async def test_change_leaves_what_it_does_not_name(stores: Stores) -> None:
    conversation = await start(stores, title="Old", metadata={"a": "1"})
    changed = await change(stores, conversation, state=ConversationState.ENDED)
    assert (changed.title, changed.metadata, changed.state, changed.revision) == (
        "Old",
        {"a": "1"},
        ConversationState.ENDED,
        2,
    )
    changed = await change(stores, conversation, title="New", metadata={})
    assert (changed.title, changed.metadata, changed.state, changed.revision) == ("New", {}, ConversationState.ENDED, 3)
    assert await stores.conversations.find_conversation(stores.tenant_id, conversation.id, owner=None) == changed


async def test_change_of_an_old_revision_is_refused_and_changes_nothing(stores: Stores) -> None:
    conversation = await start(stores)
    await change(stores, conversation, 1, title="Theirs")
    with pytest.raises(RevisionMismatch):
        await change(stores, conversation, 1, title="Ours")
    assert (await found(stores))[0].conversation.title == "Theirs"


async def test_change_of_an_unknown_conversation_is_refused(stores: Stores) -> None:
    for revision in (None, 1):
        with pytest.raises(ConversationNotFound):
            await stores.editor.change_conversation(
                stores.tenant_id, ConversationId(uuid4()), ConversationChange(title="x"), revision=revision
            )


# ---- deletion ----


async def test_deleted_conversation_leaves_nothing_but_what_it_cost(stores: Stores) -> None:
    conversation, other = await start(stores, greeting="Welcome"), await start(stores)
    reply = await say(stores, conversation, "secret")
    await judge(stores, conversation, reply.id)
    kept = await say(stores, other, "secret")
    await stores.editor.delete_conversation(stores.tenant_id, conversation.id)
    assert await ids(stores) == [other.id]
    assert await ids(stores, ConversationFilter(words="secret")) == [other.id]
    assert await stores.conversations.find_conversation(stores.tenant_id, conversation.id, owner=None) is None
    assert not await stores.conversations.list_messages(
        stores.tenant_id, conversation.id, owner=None, after=None, limit=10
    )
    assert (await found(stores))[0].last_message == kept
    with pytest.raises(ConversationNotFound):
        await stores.editor.delete_conversation(stores.tenant_id, conversation.id)


async def test_usage_outlives_the_conversation(postgresql_stores: PostgresqlStores) -> None:
    stores, database = postgresql_stores.stores, postgresql_stores.database
    conversation = await start(stores)
    await say(stores, conversation)
    await stores.editor.delete_conversation(stores.tenant_id, conversation.id)
    connection = await asyncpg.connect(database.superuser_dsn)
    try:
        rows = await connection.fetch(
            "SELECT conversation_id, agent, completion_tokens FROM syntera.turns WHERE tenant_id = $1", stores.tenant_id
        )
    finally:
        await connection.close()
    assert [tuple(row) for row in rows] == [(None, "travel", 2)]


async def test_conversation_whose_turn_runs_is_not_deleted(stores: Stores) -> None:
    conversation = await start(stores)
    turn = TurnStart(agent="travel", agent_revision=1, lease=timedelta(seconds=30))
    await stores.turns.begin_turn(stores.tenant_id, conversation.id, owner=None, start=turn, content="Hi", history=1)
    with pytest.raises(ConversationBusy):
        await stores.editor.delete_conversation(stores.tenant_id, conversation.id)
    assert await ids(stores) == [conversation.id]


# ---- feedback ----


async def judge(
    stores: Stores, conversation: Conversation, message_id: MessageId, author: str = "key:1", rating: Rating = Rating.UP
) -> Feedback:
    feedback = Feedback(message_id, author, rating, "because", datetime(2026, 11, 1, tzinfo=UTC))
    await stores.editor.put_feedback(stores.tenant_id, conversation.id, feedback)
    return feedback


async def test_everybody_has_one_say_on_a_reply(stores: Stores) -> None:
    conversation = await start(stores)
    reply = await say(stores, conversation)
    await judge(stores, conversation, reply.id)
    changed = await judge(stores, conversation, reply.id, rating=Rating.DOWN)
    other = await judge(stores, conversation, reply.id, author="key:2")
    assert await stores.editor.list_feedback(stores.tenant_id, conversation.id) == [changed, other]


async def test_feedback_that_was_taken_back_is_gone_and_can_be_given_anew(stores: Stores) -> None:
    conversation = await start(stores)
    reply = await say(stores, conversation)
    await judge(stores, conversation, reply.id)
    for _ in range(2):
        await stores.editor.delete_feedback(stores.tenant_id, conversation.id, reply.id, author="key:1")
    assert await stores.editor.list_feedback(stores.tenant_id, conversation.id) == []
    again = await judge(stores, conversation, reply.id)
    assert await stores.editor.list_feedback(stores.tenant_id, conversation.id) == [again]


async def test_feedback_on_anything_but_a_reply_of_the_conversation_is_refused(stores: Stores) -> None:
    conversation, other = await start(stores), await start(stores)
    reply = await say(stores, conversation)
    said = await stores.conversations.list_messages(stores.tenant_id, conversation.id, owner=None, after=None, limit=10)
    for where, message_id in ((conversation, said[0].id), (conversation, MessageId(uuid4())), (other, reply.id)):
        with pytest.raises(MessageNotFound):
            await judge(stores, where, message_id)
        with pytest.raises(MessageNotFound):
            await stores.editor.delete_feedback(stores.tenant_id, where.id, message_id, author="key:1")


# ---- the same request again ----

KEY = RequestKey(b"k" * 32)
OTHER_KEY = RequestKey(b"o" * 32)


async def test_same_request_makes_one_conversation(stores: Stores) -> None:
    start_ = ConversationStart(agent="travel", greeting="Welcome", request_key=KEY)
    made = await asyncio.gather(
        *(stores.conversations.add_conversation(stores.tenant_id, start_, owner=None) for _ in range(5))
    )
    assert len({one.conversation.id for one in made}) == 1
    assert len({one.greeting for one in made}) == 1
    assert made[0].greeting is not None
    assert await ids(stores) == [made[0].conversation.id]
    other = await start(stores, request_key=OTHER_KEY)
    assert len({other.id, (await start(stores)).id, (await start(stores)).id}) == 3


async def test_same_request_begins_one_turn(stores: Stores) -> None:
    conversation = await start(stores)
    turn = TurnStart("travel", 1, timedelta(seconds=30), request_key=KEY)
    tries = [
        stores.turns.begin_turn(stores.tenant_id, conversation.id, owner=None, start=turn, content="Hi", history=1)
        for _ in range(5)
    ]
    results = await asyncio.gather(*tries, return_exceptions=True)
    [begun] = [result for result in results if isinstance(result, BegunTurn)]
    assert all(isinstance(result, BegunTurn | RequestRepeated | ConversationBusy) for result in results)
    found = await stores.turns.find_repeated(stores.tenant_id, KEY)
    assert found is not None
    assert (found.turn.id, found.user_message, found.reply) == (begun.turn.id, begun.user_message, None)
    assert found.first_event == begun.first_event


async def test_turn_of_a_repeated_request_is_found_with_its_end(stores: Stores) -> None:
    conversation = await start(stores)
    turn = TurnStart("travel", 1, timedelta(seconds=30), request_key=KEY)
    begun = await stores.turns.begin_turn(
        stores.tenant_id, conversation.id, owner=None, start=turn, content="Hi", history=1
    )
    ending = Ending(text="Hello", last_event=begun.last_event + 2)
    ended = await stores.turns.end_turn(stores.tenant_id, begun, outcome=TurnOutcome(), ending=ending)
    found = await stores.turns.find_repeated(stores.tenant_id, KEY)
    assert found is not None
    assert (found.reply, found.last_event) == (ended.reply, ending.last_event)
    with pytest.raises(RequestRepeated):
        await stores.turns.begin_turn(
            stores.tenant_id, conversation.id, owner=None, start=turn, content="Hi", history=1
        )
    assert await stores.turns.find_repeated(stores.tenant_id, OTHER_KEY) is None


async def test_turn_of_a_deleted_conversation_is_found_no_more_and_not_begun_again(stores: Stores) -> None:
    conversation, other = await start(stores), await start(stores)
    turn = TurnStart("travel", 1, timedelta(seconds=30), request_key=KEY)
    begun = await stores.turns.begin_turn(
        stores.tenant_id, conversation.id, owner=None, start=turn, content="Hi", history=1
    )
    ending = Ending(text="Hello", last_event=begun.last_event + 2)
    await stores.turns.end_turn(stores.tenant_id, begun, outcome=TurnOutcome(), ending=ending)
    await stores.editor.delete_conversation(stores.tenant_id, conversation.id)
    assert await stores.turns.find_repeated(stores.tenant_id, KEY) is None
    with pytest.raises(RequestRepeated):
        await stores.turns.begin_turn(stores.tenant_id, other.id, owner=None, start=turn, content="Hi", history=1)


# ---- titles ----


async def test_first_words_name_a_conversation_that_has_no_name(stores: Stores) -> None:
    nameless, named = await start(stores), await start(stores, title="Luggage")
    for title in ("First", "Second"):
        for conversation in (nameless, named):
            turn = TurnStart("travel", 1, timedelta(seconds=30), title=title)
            begun = await stores.turns.begin_turn(
                stores.tenant_id, conversation.id, owner=None, start=turn, content="Hi", history=1
            )
            ending = Ending(text="Hello", last_event=begun.last_event + 2)
            await stores.turns.end_turn(stores.tenant_id, begun, outcome=TurnOutcome(), ending=ending)
    assert [one.conversation.title for one in await found(stores)] == ["Luggage", "First"]
