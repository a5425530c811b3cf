"""What every implementation of the stores promises; memory and PostgreSQL pass the same tests."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from syntera_crds.contract.api_key import ApiKey, KeyKind
from syntera_runtime.errors import ConversationBusy, ConversationNotFound, RequestRepeated, TurnLost
from syntera_runtime.ids import new_id
from syntera_runtime.models.conversations import ConversationStart, Failure, Message, MessageState, Role
from syntera_runtime.models.files import TextPart
from syntera_runtime.models.identity import KeyMaker, KeyRecord, NewApiKey
from syntera_runtime.models.ids import ApiKeyId, ContactId, ConversationId, RequestKey, TurnId
from syntera_runtime.models.knowledge import Refusal
from syntera_runtime.models.live_events import EventPosition
from syntera_runtime.models.turns import (
    EVENTS_OF_A_TURN,
    AbandonedTurn,
    BegunTurn,
    Ending,
    Said,
    TurnOutcome,
    TurnStart,
    TurnState,
    Usage,
)
from tests.runtime.builders import make_citation, make_publishable_key, make_retrieval, make_stored_key
from tests.runtime.conftest import Stores

LEASE = timedelta(seconds=30)
DONE = TurnOutcome(endpoint="stand-in", model="echo", usage=Usage(7, 2))
BROKEN = TurnOutcome(endpoint="stand-in", model="echo", failure=Failure("model-unavailable", "It is away."))
STOPPED = TurnOutcome(endpoint="stand-in", model="echo", is_stopped=True)


def make_start(lease: timedelta = LEASE) -> TurnStart:
    return TurnStart(agent="travel", agent_revision=3, lease=lease)


async def start_conversation(
    stores: Stores, greeting: str | None = None, owner: ContactId | None = None
) -> ConversationId:
    made = await stores.conversations.add_conversation(
        stores.tenant_id, ConversationStart(agent="travel", greeting=greeting), owner=owner
    )
    return made.conversation.id


async def begin(stores: Stores, conversation_id: ConversationId, **changes: Any) -> BegunTurn:
    options = {"owner": None, "start": make_start(), "content": "Hi", "history": 10, **changes}
    return await stores.turns.begin_turn(stores.tenant_id, conversation_id, **options)


async def end(stores: Stores, begun: BegunTurn, outcome: TurnOutcome = DONE, text: str = "Hello") -> Message:
    ending = Ending(text=text, last_event=begun.last_event + 3)
    ended = await stores.turns.end_turn(stores.tenant_id, begun, outcome=outcome, ending=ending)
    return ended.reply


async def say(stores: Stores, conversation_id: ConversationId, content: str) -> None:
    await end(stores, await begin(stores, conversation_id, content=content), text=f"Re: {content}")


async def read(stores: Stores, conversation_id: ConversationId, owner: ContactId | None = None) -> list[Message]:
    return list(
        await stores.conversations.list_messages(stores.tenant_id, conversation_id, owner=owner, after=None, limit=100)
    )


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


async def test_publishable_key_is_found_as_it_was_stored(stores: Stores) -> None:
    key = make_publishable_key(
        ApiKey.generate(KeyKind.PUBLISHABLE),
        agents=frozenset({"travel", "billing"}),
        allowed_origins=frozenset({"https://shop.example"}),
    )
    await stores.put_api_key(key)
    assert await stores.api_keys.find_api_key(stores.tenant_id, key.lookup) == key


async def add_key(stores: Stores, kind: KeyKind = KeyKind.SECRET, **changes: Any) -> KeyRecord:
    """A key as the tenant makes it itself."""
    make = make_stored_key if kind is KeyKind.SECRET else make_publishable_key
    key = make(ApiKey.generate(kind), **{"id": ApiKeyId(new_id()), **changes})
    new = NewApiKey(key=key, name="for the shop", created_by="user:https://id.example|7")
    return await stores.key_register.add_api_key(stores.tenant_id, new)


@pytest.mark.parametrize("kind", KeyKind)
async def test_key_that_the_tenant_makes_is_the_tenants(stores: Stores, kind: KeyKind) -> None:
    made = await add_key(stores, kind)
    assert (made.name, made.made_by, made.created_by) == ("for the shop", KeyMaker.TENANT, "user:https://id.example|7")
    assert made.last_used_at is None
    assert await stores.key_register.find_key_record(stores.tenant_id, made.key.id) == made
    assert await stores.api_keys.find_api_key(stores.tenant_id, made.key.lookup) == made.key


async def test_keys_are_listed_oldest_first_in_pages(stores: Stores) -> None:
    made = [await add_key(stores) for _ in range(3)]
    list_keys = stores.key_register.list_api_keys
    first = await list_keys(stores.tenant_id, after=None, limit=2)
    late = await add_key(stores)
    second = await list_keys(stores.tenant_id, after=first[-1].key.id, limit=10)
    assert [*first, *second] == [*made, late]


async def test_revoked_key_stays_revoked_since_the_first_time(stores: Stores) -> None:
    made = await add_key(stores)
    await stores.key_register.revoke_api_key(stores.tenant_id, made.key.id)
    revoked = await stores.key_register.find_key_record(stores.tenant_id, made.key.id)
    assert revoked is not None
    assert revoked.key.revoked_at is not None
    await stores.key_register.revoke_api_key(stores.tenant_id, made.key.id)
    assert await stores.key_register.find_key_record(stores.tenant_id, made.key.id) == revoked


async def test_key_of_the_operator_is_not_revoked(stores: Stores) -> None:
    key = make_stored_key(ApiKey.generate(KeyKind.SECRET))
    await stores.put_api_key(key)
    await stores.key_register.revoke_api_key(stores.tenant_id, key.id)
    assert await stores.api_keys.find_api_key(stores.tenant_id, key.lookup) == key


async def test_use_of_keys_is_kept_for_those_that_were_used(stores: Stores) -> None:
    used, unused = await add_key(stores), await add_key(stores)
    await stores.key_register.note_used(stores.tenant_id, [used.key.id])
    kept = await stores.key_register.list_api_keys(stores.tenant_id, after=None, limit=10)
    assert [(record.key.id, record.last_used_at is not None) for record in kept] == [
        (used.key.id, True),
        (unused.key.id, False),
    ]


async def test_origins_are_those_of_live_publishable_keys(stores: Stores) -> None:
    past = datetime(2020, 1, 1, tzinfo=UTC)
    await add_key(stores, KeyKind.PUBLISHABLE, allowed_origins=frozenset({"https://a.example", "https://b.example"}))
    await add_key(stores, KeyKind.PUBLISHABLE, allowed_origins=frozenset({"https://b.example"}))
    await add_key(stores, KeyKind.PUBLISHABLE, allowed_origins=frozenset({"https://old.example"}), expires_at=past)
    gone = await add_key(stores, KeyKind.PUBLISHABLE, allowed_origins=frozenset({"https://gone.example"}))
    await stores.key_register.revoke_api_key(stores.tenant_id, gone.key.id)
    origins = await stores.key_register.list_origins(stores.tenant_id)
    assert origins == {"https://a.example", "https://b.example"}


# ---- contacts ----


async def test_contact_is_the_same_whenever_it_is_identified(stores: Stores) -> None:
    identify = stores.contacts.identify_contact
    first = await identify(stores.tenant_id, "customer-7", name="Ada", email="ada@example.com")
    again = await identify(stores.tenant_id, "customer-7")
    assert (again.id, again.name, again.email) == (first.id, "Ada", "ada@example.com")
    assert again.last_seen_at >= first.last_seen_at
    renamed = await identify(stores.tenant_id, "customer-7", name="Ada L.")
    assert (renamed.id, renamed.name, renamed.email) == (first.id, "Ada L.", "ada@example.com")
    assert (await identify(stores.tenant_id, "customer-8")).id != first.id


async def test_contact_is_made_once_when_many_requests_identify_it(stores: Stores) -> None:
    identify = stores.contacts.identify_contact
    found = await asyncio.gather(*(identify(stores.tenant_id, "customer-7") for _ in range(8)))
    assert len({contact.id for contact in found}) == 1


# ---- conversations ----


async def test_conversation_is_there_for_its_owner_and_for_no_other_customer(stores: Stores) -> None:
    owner, other = ContactId(new_id()), ContactId(new_id())
    conversation_id = await start_conversation(stores, "Welcome", owner)
    await start_conversation(stores, owner=other)
    find = stores.conversations.find_conversation
    for asker, is_there in ((owner, True), (None, True), (other, False)):
        found = await find(stores.tenant_id, conversation_id, owner=asker)
        assert (found is not None) == is_there
        assert bool(await read(stores, conversation_id, asker)) == is_there
        if found is not None:
            assert found.contact_id == owner


async def test_conversation_without_an_owner_is_there_for_no_customer(stores: Stores) -> None:
    conversation_id = await start_conversation(stores, "Welcome")
    someone = ContactId(new_id())
    assert await stores.conversations.find_conversation(stores.tenant_id, conversation_id, owner=someone) is None
    assert await read(stores, conversation_id, someone) == []


async def test_conversation_of_a_request_is_given_to_its_owner_alone(stores: Stores) -> None:
    owner, person = ContactId(new_id()), ContactId(new_id())
    start = ConversationStart(agent="travel", request_key=RequestKey(b"k" * 32))
    add = stores.conversations.add_conversation
    made = await add(stores.tenant_id, start, owner=owner)
    assert (await add(stores.tenant_id, start, owner=owner)).conversation == made.conversation
    with pytest.raises(RequestRepeated):
        await add(stores.tenant_id, start, owner=person)


async def test_turn_is_refused_in_the_conversation_of_another_customer(stores: Stores) -> None:
    owner, other = ContactId(new_id()), ContactId(new_id())
    conversation_id = await start_conversation(stores, owner=owner)
    with pytest.raises(ConversationNotFound):
        await begin(stores, conversation_id, owner=other)
    assert await read(stores, conversation_id) == []
    await end(stores, await begin(stores, conversation_id, owner=owner))  # the refused turn left nothing that runs


async def test_conversations_move_with_everything_in_them(stores: Stores) -> None:
    visitor, other = ContactId(new_id()), ContactId(new_id())
    conversation_id = await start_conversation(stores, "Welcome", visitor)
    kept = await start_conversation(stores, owner=other)
    person = (await stores.contacts.identify_contact(stores.tenant_id, "customer-7")).id
    assert await stores.contacts.move_conversations(stores.tenant_id, source=visitor, target=person) == 1
    assert [message.content for message in await read(stores, conversation_id, person)] == ["Welcome"]
    assert await read(stores, conversation_id, visitor) == []
    found = await stores.conversations.find_conversation(stores.tenant_id, kept, owner=other)
    assert found is not None
    assert await stores.contacts.move_conversations(stores.tenant_id, source=visitor, target=person) == 0


async def test_conversation_is_found_after_it_was_made(stores: Stores) -> None:
    made = await stores.conversations.add_conversation(stores.tenant_id, ConversationStart(agent="travel"), owner=None)
    assert made.greeting is None
    found = await stores.conversations.find_conversation(stores.tenant_id, made.conversation.id, owner=None)
    assert found == made.conversation
    assert await read(stores, made.conversation.id) == []


async def test_greeting_is_the_first_message(stores: Stores) -> None:
    made = await stores.conversations.add_conversation(
        stores.tenant_id, ConversationStart(agent="travel", greeting="Welcome"), owner=None
    )
    assert made.greeting is not None
    assert (made.greeting.role, made.greeting.turn_id) == (Role.ASSISTANT, None)
    assert await read(stores, made.conversation.id) == [made.greeting]


async def test_conversation_is_absent_when_nobody_made_it(stores: Stores) -> None:
    unknown = ConversationId(uuid4())
    assert await stores.conversations.find_conversation(stores.tenant_id, unknown, owner=None) is None
    assert await read(stores, unknown) == []


async def test_pages_neither_skip_nor_repeat_when_messages_come_between(stores: Stores) -> None:
    conversation_id = await start_conversation(stores, "Welcome")
    await say(stores, conversation_id, "one")
    tenant_id, conversations = stores.tenant_id, stores.conversations
    first = await conversations.list_messages(tenant_id, conversation_id, owner=None, after=None, limit=2)
    await say(stores, conversation_id, "two")
    second = await conversations.list_messages(tenant_id, conversation_id, owner=None, after=first[-1].id, limit=10)
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


@pytest.mark.parametrize("outcome", [DONE, BROKEN, STOPPED], ids=["done", "broken", "stopped"])
async def test_reply_keeps_what_it_cites(stores: Stores, outcome: TurnOutcome) -> None:
    conversation_id = await start_conversation(stores)
    begun = await begin(stores, conversation_id)
    cited = (make_citation(1), make_citation(2, url=None, headings=(), page=None, last_page=None, quote="„Ja“ \u2028"))
    ending = Ending(text="At ten [1] [2].", last_event=5, citations=cited)
    ended = await stores.turns.end_turn(stores.tenant_id, begun, outcome=outcome, ending=ending)
    reply = (await read(stores, conversation_id))[-1]
    assert reply == ended.reply
    assert (reply.citations, reply.content, reply.refused) == (cited, "At ten [1] [2].", None)
    [record] = await stores.turns.turns_since(stores.tenant_id, {conversation_id: 0}, limit=10)
    assert record.reply == reply


async def test_reply_keeps_why_it_is_a_refusal(stores: Stores) -> None:
    conversation_id = await start_conversation(stores)
    begun = await begin(stores, conversation_id)
    ending = Ending(text="I do not know.", last_event=5, refusal=Refusal.NOT_CITED)
    ended = await stores.turns.end_turn(stores.tenant_id, begun, outcome=DONE, ending=ending)
    reply = (await read(stores, conversation_id))[-1]
    assert reply == ended.reply
    assert (reply.refused, reply.content, reply.citations) == (Refusal.NOT_CITED, "I do not know.", ())


@pytest.mark.parametrize("outcome", [DONE, BROKEN, STOPPED], ids=["done", "broken", "stopped"])
async def test_reply_keeps_what_was_looked_up(stores: Stores, outcome: TurnOutcome) -> None:
    conversation_id = await start_conversation(stores)
    begun = await begin(stores, conversation_id)
    looked_up = make_retrieval(passages=0, failure="search-timed-out")
    ending = Ending(text="At ten.", last_event=5, retrieval=looked_up)
    ended = await stores.turns.end_turn(stores.tenant_id, begun, outcome=outcome, ending=ending)
    reply = (await read(stores, conversation_id))[-1]
    assert reply == ended.reply
    assert (reply.retrieval, list(reply.all_parts)) == (looked_up, [TextPart("At ten.")])


async def test_abandoned_reply_keeps_what_it_stands_on(stores: Stores) -> None:
    conversation_id = await start_conversation(stores)
    await begin(stores, conversation_id, start=make_start(timedelta(seconds=-1)))
    [expired] = await stores.turns.find_expired(stores.tenant_id)
    abandoned = await stores.turns.abandon_turn(
        stores.tenant_id, expired, said=Said("At ten [1]", (make_citation(),), make_retrieval())
    )
    assert abandoned is not None
    assert abandoned.ended is not None
    reply = (await read(stores, conversation_id))[-1]
    assert reply == abandoned.ended.reply
    assert (reply.citations, reply.retrieval) == ((make_citation(),), make_retrieval())


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
    await abandon(stores)
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

    async with asyncio.timeout(60):
        await asyncio.gather(*(speak() for _ in range(4)))
    messages = await read(stores, conversation_id)
    assert [message.role for message in messages] == [Role.USER, Role.ASSISTANT] * 20
    assert [message.id for message in messages] == sorted(message.id for message in messages)


async def test_turn_is_refused_when_there_is_no_conversation(stores: Stores) -> None:
    with pytest.raises(ConversationNotFound):
        await begin(stores, ConversationId(uuid4()))


async def abandon(stores: Stores, text: str = "") -> list[AbandonedTurn | None]:
    """End all expired turns of the tenant."""
    expired = await stores.turns.find_expired(stores.tenant_id)
    return [await stores.turns.abandon_turn(stores.tenant_id, turn, said=Said(text)) for turn in expired]


async def test_busy_conversation_names_the_turn_that_runs(stores: Stores) -> None:
    conversation_id = await start_conversation(stores)
    begun = await begin(stores, conversation_id)
    with pytest.raises(ConversationBusy) as caught:
        await begin(stores, conversation_id)
    assert (caught.value.turn_id, caught.value.is_expired) == (begun.turn.id, False)


async def test_busy_conversation_says_when_the_lease_of_its_turn_has_ended(stores: Stores) -> None:
    conversation_id = await start_conversation(stores)
    expired = await begin(stores, conversation_id, start=make_start(timedelta(seconds=-1)))
    with pytest.raises(ConversationBusy) as caught:
        await begin(stores, conversation_id)
    assert (caught.value.turn_id, caught.value.is_expired) == (expired.turn.id, True)


async def test_expired_turn_is_ended_with_what_it_had_said(stores: Stores) -> None:
    conversation_id = await start_conversation(stores)
    begun = await begin(stores, conversation_id, start=make_start(timedelta(seconds=-1)))
    [expired] = await stores.turns.find_expired(stores.tenant_id)
    assert (expired.id, expired.conversation_id) == (begun.turn.id, conversation_id)
    assert (expired.first_event, expired.last_event) == (1, EVENTS_OF_A_TURN)
    [abandoned] = await abandon(stores, "Hel")
    assert abandoned is not None
    assert abandoned.ended is not None
    assert abandoned.turn.state is TurnState.FAILED
    question, reply = await read(stores, conversation_id)
    assert (abandoned.ended.user_message, abandoned.ended.reply) == (question, reply)
    assert (reply.id, reply.content, reply.state) == (begun.reply_id, "Hel", MessageState.FAILED)
    assert reply.failure is not None
    assert reply.failure.code == "turn-abandoned"
    await begin(stores, conversation_id, content="Still there?")


async def test_process_that_comes_back_after_its_turn_was_ended_writes_nothing(stores: Stores) -> None:
    conversation_id = await start_conversation(stores)
    expired = await begin(stores, conversation_id, start=make_start(timedelta(seconds=-1)))
    await abandon(stores, "Hel")
    for outcome in (DONE, BROKEN, STOPPED):
        with pytest.raises(TurnLost):
            await end(stores, expired, outcome)
    again = await begin(stores, conversation_id)
    with pytest.raises(TurnLost):
        await end(stores, expired)
    assert again.first_event > EVENTS_OF_A_TURN
    assert [message.content for message in await read(stores, conversation_id)] == ["Hi", "Hel", "Hi"]


async def test_turn_is_not_ended_under_another_number(stores: Stores) -> None:
    begun = await begin(stores, await start_conversation(stores))
    with pytest.raises(TurnLost):
        await end(stores, replace(begun, last_event=7))
    await end(stores, begun)


async def test_expired_turn_is_ended_once_when_many_try(stores: Stores) -> None:
    conversation_id = await start_conversation(stores)
    await begin(stores, conversation_id, start=make_start(timedelta(seconds=-1)))
    [expired] = await stores.turns.find_expired(stores.tenant_id)
    tries = [stores.turns.abandon_turn(stores.tenant_id, expired, said=Said()) for _ in range(3)]
    assert (await asyncio.gather(*tries)).count(None) == 2
    assert [message.state for message in await read(stores, conversation_id)] == [
        MessageState.COMPLETE,
        MessageState.FAILED,
    ]


async def test_running_turn_is_not_ended_by_others(stores: Stores) -> None:
    begun = await begin(stores, await start_conversation(stores), start=make_start(timedelta(seconds=-1)))
    [expired] = await stores.turns.find_expired(stores.tenant_id)
    await stores.turns.renew_leases(stores.tenant_id, [begun.turn.id], lease=LEASE)
    assert await stores.turns.find_expired(stores.tenant_id) == []
    assert await stores.turns.abandon_turn(stores.tenant_id, expired, said=Said()) is None
    await end(stores, begun)


async def test_expired_completion_is_ended_without_a_reply(stores: Stores) -> None:
    turn = (await stores.turns.begin_completion(stores.tenant_id, start=make_start(timedelta(seconds=-1)))).turn
    [abandoned] = await abandon(stores)
    assert abandoned is not None
    assert (abandoned.turn.id, abandoned.turn.state, abandoned.ended) == (turn.id, TurnState.FAILED, None)


# ---- stopping ----


async def test_stopped_turn_keeps_what_was_said(stores: Stores) -> None:
    conversation_id = await start_conversation(stores)
    begun = await begin(stores, conversation_id)
    reply = await end(stores, begun, STOPPED, text="Hel")
    assert (reply.state, reply.content, reply.failure) == (MessageState.STOPPED, "Hel", None)
    assert await read(stores, conversation_id) == [begun.user_message, reply]


async def test_wish_to_stop_is_seen_when_the_lease_is_renewed(stores: Stores) -> None:
    conversation_id = await start_conversation(stores)
    begun = await begin(stores, conversation_id)
    tenant_id, turn_id = stores.tenant_id, begun.turn.id
    assert await stores.turns.renew_leases(tenant_id, [turn_id], lease=LEASE) == {turn_id: False}
    for wanted in (None, turn_id):
        assert await stores.turns.request_stop(tenant_id, conversation_id, wanted) == turn_id
    assert await stores.turns.renew_leases(tenant_id, [turn_id], lease=LEASE) == {turn_id: True}


async def test_nothing_is_stopped_when_another_turn_or_none_runs(stores: Stores) -> None:
    conversation_id = await start_conversation(stores)
    assert await stores.turns.request_stop(stores.tenant_id, conversation_id, None) is None
    begun = await begin(stores, conversation_id)
    assert await stores.turns.request_stop(stores.tenant_id, conversation_id, TurnId(new_id())) is None
    assert await stores.turns.renew_leases(stores.tenant_id, [begun.turn.id], lease=LEASE) == {begun.turn.id: False}
    await end(stores, begun)
    assert await stores.turns.request_stop(stores.tenant_id, conversation_id, begun.turn.id) is None


# ---- how far events are ----


async def test_position_is_that_before_the_running_turn(stores: Stores) -> None:
    conversation_id = await start_conversation(stores)
    find = stores.conversations.find_position
    assert await find(stores.tenant_id, conversation_id, owner=None) == EventPosition(0, is_running=False)
    begun = await begin(stores, conversation_id)
    assert await find(stores.tenant_id, conversation_id, owner=None) == EventPosition(0, is_running=True)
    await end(stores, begun)
    assert await find(stores.tenant_id, conversation_id, owner=None) == EventPosition(3, is_running=False)
    await begin(stores, conversation_id)
    assert await find(stores.tenant_id, conversation_id, owner=None) == EventPosition(3, is_running=True)
    assert await find(stores.tenant_id, ConversationId(uuid4()), owner=None) is None


async def test_turns_since_a_position_come_in_their_order(stores: Stores) -> None:
    conversation_id, other_id = await start_conversation(stores), await start_conversation(stores)
    for content in ("one", "two", "three"):
        await say(stores, conversation_id, content)
    begun = await begin(stores, conversation_id, content="four")
    await say(stores, other_id, "elsewhere")

    async def since(limit: int = 10, **positions: int) -> list[tuple[str, int, int | None]]:
        asked = {{"here": conversation_id, "there": other_id}[name]: after for name, after in positions.items()}
        found = await stores.turns.turns_since(stores.tenant_id, asked, limit=limit)
        return [(turn.user_message.content, turn.first_event, turn.last_event) for turn in found]

    assert await since(here=3) == [("two", 4, 6), ("three", 7, 9), ("four", 10, None)]
    assert await since(here=5) == [("two", 4, 6), ("three", 7, 9), ("four", 10, None)]
    assert await since(here=9) == [("four", 10, None)]
    assert await since(here=0, limit=2) == [("two", 4, 6), ("three", 7, 9), ("four", 10, None)]
    assert await since(here=9, there=0) == [("elsewhere", 1, 3), ("four", 10, None)]
    [running] = await stores.turns.turns_since(stores.tenant_id, {conversation_id: 9}, limit=10)
    assert (running.turn, running.user_message, running.reply) == (begun.turn, begun.user_message, None)
    assert running.reply_id == begun.reply_id


async def test_record_of_an_ended_turn_holds_its_reply(stores: Stores) -> None:
    conversation_id = await start_conversation(stores)
    reply = await end(stores, await begin(stores, conversation_id), BROKEN, text="Hel")
    [record] = await stores.turns.turns_since(stores.tenant_id, {conversation_id: 0}, limit=10)
    assert (record.reply, record.reply_id) == (reply, reply.id)
    assert record.turn.state is TurnState.FAILED


async def test_renewed_turn_is_not_ended(stores: Stores) -> None:
    conversation_id = await start_conversation(stores)
    begun = await begin(stores, conversation_id, start=make_start(timedelta(seconds=-1)))
    await stores.turns.renew_leases(stores.tenant_id, [begun.turn.id], lease=LEASE)
    with pytest.raises(ConversationBusy):
        await begin(stores, conversation_id)
    await end(stores, begun)


async def test_lease_of_an_ended_turn_cannot_be_renewed(stores: Stores) -> None:
    begun = await begin(stores, await start_conversation(stores))
    other = await begin(stores, await start_conversation(stores))
    await end(stores, begun)
    asked = [begun.turn.id, TurnId(new_id()), other.turn.id]
    assert await stores.turns.renew_leases(stores.tenant_id, asked, lease=LEASE) == {other.turn.id: False}


async def test_text_of_every_script_is_stored_as_it_is(stores: Stores) -> None:
    conversation_id = await start_conversation(stores)
    text = "Grüß dich 👩\u200d🚀 \u202eאב 🂡 \ufffd \x01\r\n\t'; DROP TABLE messages; --"
    begun = await begin(stores, conversation_id, content=text)
    await end(stores, begun, text=text)
    assert [message.content for message in await read(stores, conversation_id)] == [text, text]


# ---- turns of completions ----


async def test_completion_leaves_a_turn_with_its_usage(stores: Stores) -> None:
    turn = (await stores.turns.begin_completion(stores.tenant_id, start=make_start())).turn
    assert (turn.conversation_id, turn.state) == (None, TurnState.RUNNING)
    ended = await stores.turns.end_completion(stores.tenant_id, turn.id, outcome=DONE)
    assert (ended.state, ended.usage) == (TurnState.COMPLETE, Usage(7, 2))
    assert await stores.turns.end_completion(stores.tenant_id, turn.id, outcome=DONE) == ended


async def test_failed_completion_leaves_a_failed_turn(stores: Stores) -> None:
    turn = (await stores.turns.begin_completion(stores.tenant_id, start=make_start())).turn
    ended = await stores.turns.end_completion(stores.tenant_id, turn.id, outcome=BROKEN)
    assert (ended.state, ended.failure) == (TurnState.FAILED, BROKEN.failure)


async def test_completion_cannot_be_ended_when_it_was_abandoned(stores: Stores) -> None:
    turn = (await stores.turns.begin_completion(stores.tenant_id, start=make_start(timedelta(seconds=-1)))).turn
    await abandon(stores)
    with pytest.raises(TurnLost):
        await stores.turns.end_completion(stores.tenant_id, turn.id, outcome=DONE)


async def test_completion_that_never_began_cannot_be_ended(stores: Stores) -> None:
    with pytest.raises(TurnLost):
        await stores.turns.end_completion(stores.tenant_id, TurnId(new_id()), outcome=DONE)


async def test_completions_run_side_by_side(stores: Stores) -> None:
    turns = [(await stores.turns.begin_completion(stores.tenant_id, start=make_start())).turn for _ in range(3)]
    assert len({turn.id for turn in turns}) == 3
