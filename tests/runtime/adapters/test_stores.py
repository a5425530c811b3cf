"""What every implementation of the stores promises; memory and PostgreSQL pass the same tests."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from syntera_crds.contract.api_key import ApiKey, KeyKind
from syntera_runtime.errors import ConversationBusy, ConversationNotFound, TurnLost
from syntera_runtime.ids import new_id
from syntera_runtime.models import (
    BegunTurn,
    ConversationId,
    Ending,
    Failure,
    Message,
    MessageState,
    Role,
    TurnId,
    TurnOutcome,
    TurnStart,
    TurnState,
    Usage,
)
from tests.runtime.builders import make_stored_key
from tests.runtime.conftest import Stores

LEASE = timedelta(seconds=30)
DONE = TurnOutcome(endpoint="stand-in", model="echo", usage=Usage(7, 2))
BROKEN = TurnOutcome(endpoint="stand-in", model="echo", failure=Failure("model-unavailable", "It is away."))


def make_start(lease: timedelta = LEASE) -> TurnStart:
    return TurnStart(agent="travel", agent_revision=3, lease=lease)


async def start_conversation(stores: Stores, greeting: str | None = None) -> ConversationId:
    made = await stores.conversations.add_conversation(stores.tenant_id, agent="travel", greeting=greeting)
    return made.conversation.id


async def begin(stores: Stores, conversation_id: ConversationId, **changes: Any) -> BegunTurn:
    options = {"start": make_start(), "content": "Hi", "history": 10, **changes}
    return await stores.turns.begin_turn(stores.tenant_id, conversation_id, **options)


async def end(stores: Stores, begun: BegunTurn, outcome: TurnOutcome = DONE, text: str = "Hello") -> Message:
    ending = Ending(text=text, last_event=begun.last_event + 3)
    ended = await stores.turns.end_turn(stores.tenant_id, begun, outcome=outcome, ending=ending)
    return ended.reply


async def say(stores: Stores, conversation_id: ConversationId, content: str) -> None:
    await end(stores, await begin(stores, conversation_id, content=content), text=f"Re: {content}")


async def read(stores: Stores, conversation_id: ConversationId) -> list[Message]:
    return list(await stores.conversations.list_messages(stores.tenant_id, conversation_id, after=None, limit=100))


# ---- API keys ----


async def test_key_is_found_as_it_was_stored(stores: Stores) -> None:
    key = make_stored_key(
        ApiKey.generate(KeyKind.SECRET),
        expires_at=datetime(2030, 1, 1, tzinfo=UTC),
        revoked_at=datetime(2029, 1, 1, tzinfo=UTC),
    )
    await stores.put_api_key(key)
    assert await stores.api_keys.find_api_key(stores.tenant_id, key.lookup) == key


async def test_key_is_absent_when_its_lookup_part_is_unknown(stores: Stores) -> None:
    assert await stores.api_keys.find_api_key(stores.tenant_id, "AAAAAAAA") is None


# ---- conversations ----


async def test_conversation_is_found_after_it_was_made(stores: Stores) -> None:
    made = await stores.conversations.add_conversation(stores.tenant_id, agent="travel", greeting=None)
    assert made.greeting is None
    found = await stores.conversations.find_conversation(stores.tenant_id, made.conversation.id)
    assert found == made.conversation
    assert await read(stores, made.conversation.id) == []


async def test_greeting_is_the_first_message(stores: Stores) -> None:
    made = await stores.conversations.add_conversation(stores.tenant_id, agent="travel", greeting="Welcome")
    assert made.greeting is not None
    assert (made.greeting.role, made.greeting.turn_id) == (Role.ASSISTANT, None)
    assert await read(stores, made.conversation.id) == [made.greeting]


async def test_conversation_is_absent_when_nobody_made_it(stores: Stores) -> None:
    unknown = ConversationId(uuid4())
    assert await stores.conversations.find_conversation(stores.tenant_id, unknown) is None
    assert await read(stores, unknown) == []


async def test_pages_neither_skip_nor_repeat_when_messages_come_between(stores: Stores) -> None:
    conversation_id = await start_conversation(stores, "Welcome")
    await say(stores, conversation_id, "one")
    tenant_id, conversations = stores.tenant_id, stores.conversations
    first = await conversations.list_messages(tenant_id, conversation_id, after=None, limit=2)
    await say(stores, conversation_id, "two")
    second = await conversations.list_messages(tenant_id, conversation_id, after=first[-1].id, limit=10)
    said = [message.content for message in (*first, *second)]
    assert said == ["Welcome", "one", "Re: one", "two", "Re: two"]


# ---- turns of conversations ----


async def test_begun_turn_stores_the_message_and_hands_over_what_came_before(stores: Stores) -> None:
    conversation_id = await start_conversation(stores, "Welcome")
    begun = await begin(stores, conversation_id, content="Where is my booking?")
    assert begun.turn.state is TurnState.RUNNING
    assert (begun.turn.agent, begun.turn.agent_revision) == ("travel", 3)
    assert [message.content for message in begun.history] == ["Welcome"]
    assert (await read(stores, conversation_id))[-1] == begun.user_message
    assert begun.user_message.content == "Where is my booking?"
    assert begun.reply_id > begun.user_message.id > begun.history[-1].id


@pytest.mark.parametrize(("history", "seen"), [(0, []), (1, ["Re: two"]), (3, ["Re: one", "two", "Re: two"])])
async def test_history_is_the_newest_messages_in_their_order(stores: Stores, history: int, seen: list[str]) -> None:
    conversation_id = await start_conversation(stores)
    await say(stores, conversation_id, "one")
    await say(stores, conversation_id, "two")
    begun = await begin(stores, conversation_id, history=history)
    assert [message.content for message in begun.history] == seen


async def test_complete_turn_stores_the_reply_with_its_usage(stores: Stores) -> None:
    conversation_id = await start_conversation(stores)
    begun = await begin(stores, conversation_id)
    ending = Ending(text="Hello", last_event=5)
    ended = await stores.turns.end_turn(stores.tenant_id, begun, outcome=DONE, ending=ending)
    assert ended.turn.state is TurnState.COMPLETE
    assert (ended.turn.endpoint, ended.turn.model, ended.turn.usage) == ("stand-in", "echo", Usage(7, 2))
    assert ended.turn.ended_at is not None
    assert (ended.reply.id, ended.reply.content, ended.reply.state) == (
        begun.reply_id,
        "Hello",
        MessageState.COMPLETE,
    )
    assert await read(stores, conversation_id) == [begun.user_message, ended.reply]


async def test_failed_turn_keeps_what_was_said_and_why_it_failed(stores: Stores) -> None:
    conversation_id = await start_conversation(stores)
    reply = await end(stores, await begin(stores, conversation_id), BROKEN, text="Hel")
    assert (reply.state, reply.content, reply.failure) == (MessageState.FAILED, "Hel", BROKEN.failure)
    assert (await read(stores, conversation_id))[-1] == reply


async def test_failure_is_not_told_of_the_users_message(stores: Stores) -> None:
    conversation_id = await start_conversation(stores)
    await end(stores, await begin(stores, conversation_id), BROKEN)
    assert (await read(stores, conversation_id))[0].failure is None


async def test_event_numbers_go_on_where_the_turn_before_ended(stores: Stores) -> None:
    conversation_id = await start_conversation(stores)
    first = await begin(stores, conversation_id)
    assert first.last_event == 0
    await end(stores, first)
    assert (await begin(stores, conversation_id)).last_event == 3


async def test_event_number_never_comes_twice_though_a_process_died(stores: Stores) -> None:
    conversation_id = await start_conversation(stores)
    dead = await begin(stores, conversation_id, start=make_start(timedelta(seconds=-1)))
    begun = await begin(stores, conversation_id)
    assert begun.last_event >= dead.last_event + 1_000_000  # more events than the dead process can have sent
    await end(stores, begun)
    assert (await begin(stores, conversation_id)).last_event == begun.last_event + 3


async def test_ending_a_turn_again_changes_nothing(stores: Stores) -> None:
    conversation_id = await start_conversation(stores)
    begun = await begin(stores, conversation_id)
    assert await end(stores, begun) == await end(stores, begun)
    assert len(await read(stores, conversation_id)) == 2


async def test_turn_is_refused_when_another_one_runs(stores: Stores) -> None:
    conversation_id = await start_conversation(stores)
    begun = await begin(stores, conversation_id)
    with pytest.raises(ConversationBusy):
        await begin(stores, conversation_id, content="me too")
    assert await read(stores, conversation_id) == [begun.user_message]


async def test_only_one_turn_begins_when_many_try_at_once(stores: Stores) -> None:
    conversation_id = await start_conversation(stores)
    tries = [begin(stores, conversation_id, content=str(number)) for number in range(8)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    begun = [result for result in results if isinstance(result, BegunTurn)]
    refused = [result for result in results if isinstance(result, ConversationBusy)]
    assert (len(begun), len(refused)) == (1, 7)
    assert await read(stores, conversation_id) == [begun[0].user_message]


async def test_turns_begin_in_different_conversations_at_once(stores: Stores) -> None:
    conversations = [await start_conversation(stores) for _ in range(4)]
    begun = await asyncio.gather(*(begin(stores, conversation_id) for conversation_id in conversations))
    assert [turn.turn.conversation_id for turn in begun] == conversations


async def test_turns_alternate_without_a_gap_when_many_want_to_speak(stores: Stores) -> None:
    """A turn that ends and the next one that begins must not lock each other out."""
    conversation_id = await start_conversation(stores)

    async def speak() -> None:
        for _ in range(5):
            while True:
                try:
                    begun = await begin(stores, conversation_id)
                    break
                except ConversationBusy:
                    await asyncio.sleep(0)
            await end(stores, begun)

    async with asyncio.timeout(20):
        await asyncio.gather(*(speak() for _ in range(4)))
    messages = await read(stores, conversation_id)
    assert [message.role for message in messages] == [Role.USER, Role.ASSISTANT] * 20
    assert [message.id for message in messages] == sorted(message.id for message in messages)


async def test_turn_is_refused_when_there_is_no_conversation(stores: Stores) -> None:
    with pytest.raises(ConversationNotFound):
        await begin(stores, ConversationId(uuid4()))


async def test_expired_turn_is_ended_as_failed_when_the_next_one_begins(stores: Stores) -> None:
    conversation_id = await start_conversation(stores)
    expired = await begin(stores, conversation_id, start=make_start(timedelta(seconds=-1)))
    await begin(stores, conversation_id, content="Still there?")
    with pytest.raises(TurnLost):
        await end(stores, expired)
    question, lost, again = await read(stores, conversation_id)
    assert (question.content, lost.content, again.content) == ("Hi", "", "Still there?")
    assert (lost.role, lost.state, lost.turn_id) == (Role.ASSISTANT, MessageState.FAILED, expired.turn.id)
    assert lost.failure is not None
    assert lost.failure.code == "turn-abandoned"


async def test_expired_turn_is_ended_once_on_request(stores: Stores) -> None:
    conversation_id = await start_conversation(stores)
    await begin(stores, conversation_id, start=make_start(timedelta(seconds=-1)))
    said = await asyncio.gather(*(stores.turns.end_expired(stores.tenant_id) for _ in range(3)))
    assert said.count(True) == 1
    assert [message.state for message in await read(stores, conversation_id)] == [
        MessageState.COMPLETE,
        MessageState.FAILED,
    ]


async def test_running_turn_is_not_ended_on_request(stores: Stores) -> None:
    begun = await begin(stores, await start_conversation(stores))
    assert not await stores.turns.end_expired(stores.tenant_id)
    await end(stores, begun)


async def test_expired_turn_of_another_conversation_is_ended_too(stores: Stores) -> None:
    expired = await begin(stores, await start_conversation(stores), start=make_start(timedelta(seconds=-1)))
    await stores.turns.begin_completion(stores.tenant_id, start=make_start())
    with pytest.raises(TurnLost):
        await stores.turns.renew_lease(stores.tenant_id, expired.turn.id, lease=LEASE)


async def test_renewed_turn_is_not_ended(stores: Stores) -> None:
    conversation_id = await start_conversation(stores)
    begun = await begin(stores, conversation_id, start=make_start(timedelta(seconds=-1)))
    await stores.turns.renew_lease(stores.tenant_id, begun.turn.id, lease=LEASE)
    with pytest.raises(ConversationBusy):
        await begin(stores, conversation_id)
    await end(stores, begun)


async def test_lease_of_an_ended_turn_cannot_be_renewed(stores: Stores) -> None:
    begun = await begin(stores, await start_conversation(stores))
    await end(stores, begun)
    with pytest.raises(TurnLost):
        await stores.turns.renew_lease(stores.tenant_id, begun.turn.id, lease=LEASE)


async def test_text_of_every_script_is_stored_as_it_is(stores: Stores) -> None:
    conversation_id = await start_conversation(stores)
    text = "Grüß dich 👩\u200d🚀 \u202eאב 🂡 \ufffd \x01\r\n\t'; DROP TABLE messages; --"
    begun = await begin(stores, conversation_id, content=text)
    await end(stores, begun, text=text)
    assert [message.content for message in await read(stores, conversation_id)] == [text, text]


# ---- turns of completions ----


async def test_completion_leaves_a_turn_with_its_usage(stores: Stores) -> None:
    turn = await stores.turns.begin_completion(stores.tenant_id, start=make_start())
    assert (turn.conversation_id, turn.state) == (None, TurnState.RUNNING)
    ended = await stores.turns.end_completion(stores.tenant_id, turn.id, outcome=DONE)
    assert (ended.state, ended.usage) == (TurnState.COMPLETE, Usage(7, 2))
    assert await stores.turns.end_completion(stores.tenant_id, turn.id, outcome=DONE) == ended


async def test_failed_completion_leaves_a_failed_turn(stores: Stores) -> None:
    turn = await stores.turns.begin_completion(stores.tenant_id, start=make_start())
    ended = await stores.turns.end_completion(stores.tenant_id, turn.id, outcome=BROKEN)
    assert (ended.state, ended.failure) == (TurnState.FAILED, BROKEN.failure)


async def test_completion_cannot_be_ended_when_it_was_abandoned(stores: Stores) -> None:
    turn = await stores.turns.begin_completion(stores.tenant_id, start=make_start(timedelta(seconds=-1)))
    await stores.turns.begin_completion(stores.tenant_id, start=make_start())
    with pytest.raises(TurnLost):
        await stores.turns.end_completion(stores.tenant_id, turn.id, outcome=DONE)


async def test_completion_that_never_began_cannot_be_ended(stores: Stores) -> None:
    with pytest.raises(TurnLost):
        await stores.turns.end_completion(stores.tenant_id, TurnId(new_id()), outcome=DONE)


async def test_completions_run_side_by_side(stores: Stores) -> None:
    turns = [await stores.turns.begin_completion(stores.tenant_id, start=make_start()) for _ in range(3)]
    assert len({turn.id for turn in turns}) == 3
