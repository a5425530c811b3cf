"""Conversations: a turn from the user's message to its stored end."""

import asyncio
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from syntera_runtime.chat.events import ReplyCompleted, ReplyDelta, ReplyFailed, ReplyStarted, ReplyUsed, TurnEvent
from syntera_runtime.chat.feed import Feed
from syntera_runtime.errors import (
    AgentNotFound,
    ConversationBusy,
    ConversationNotFound,
    ModelUnavailable,
    StoreUnavailable,
)
from syntera_runtime.models.conversations import Message, MessageState, Role
from syntera_runtime.models.ids import ConversationId
from syntera_runtime.services import Services
from tests.runtime.builders import ASKER, TENANT, make_agent
from tests.runtime.fakes import FakeCatalogue, FakeChatModels, FakeFailingStore


async def start(services: Services) -> ConversationId:
    return (await services.conversations.start(ASKER, agent="travel")).conversation.id


async def send(services: Services, conversation_id: ConversationId, content: str = "Hi") -> list[TurnEvent]:
    return await drain(await services.conversations.send(ASKER, conversation_id, content=content))


async def drain(feed: Feed[TurnEvent]) -> list[TurnEvent]:
    events = []
    async with asyncio.timeout(10):
        while (event := await feed.next()) is not None:
            events.append(event)
    return events


async def read(services: Services, conversation_id: ConversationId) -> list[Message]:
    return list(await services.conversations.messages(ASKER, conversation_id, after=None, limit=100))


async def test_conversation_begins_with_the_greeting(services: Services) -> None:
    agents = services.agents
    assert isinstance(agents, FakeCatalogue)
    agents.put(make_agent(greeting="Welcome"))
    conversation_id = await start(services)
    assert [message.content for message in await read(services, conversation_id)] == ["Welcome"]


async def test_greeting_that_no_store_can_hold_is_made_fit(services: Services) -> None:
    """The API server takes a NUL in an Agent's greeting, PostgreSQL takes none."""
    agents = services.agents
    assert isinstance(agents, FakeCatalogue)
    agents.put(make_agent(greeting="Wel\0come"))
    conversation_id = await start(services)
    assert [message.content for message in await read(services, conversation_id)] == ["Wel\ufffdcome"]


async def test_conversation_is_not_begun_with_an_unknown_agent(services: Services) -> None:
    with pytest.raises(AgentNotFound, match="'nobody'"):
        await services.conversations.start(ASKER, agent="nobody")


async def test_reply_comes_piece_by_piece_and_is_stored_when_it_is_whole(services: Services) -> None:
    conversation_id = await start(services)
    events = await send(services, conversation_id)
    assert [type(event) for event in events] == [ReplyStarted, ReplyDelta, ReplyDelta, ReplyUsed, ReplyCompleted]
    completed = events[-1]
    assert isinstance(completed, ReplyCompleted)
    assert completed.ended.reply.content == "Hello world"
    assert await read(services, conversation_id) == [completed.ended.user_message, completed.ended.reply]


async def test_event_numbers_grow_by_one_over_the_whole_conversation(services: Services) -> None:
    conversation_id = await start(services)
    events = [*await send(services, conversation_id), *await send(services, conversation_id)]
    assert [event.number for event in events] == list(range(1, 11))


async def test_model_is_asked_with_instructions_history_and_message(services: Services, models: FakeChatModels) -> None:
    conversation_id = await start(services)
    await send(services, conversation_id, "one")
    await send(services, conversation_id, "two")
    prompt = [(message.role, message.content) for message in models.last_request.messages]
    assert prompt == [
        ("system", "You help travellers."),
        ("user", "one"),
        ("assistant", "Hello world"),
        ("user", "two"),
    ]


async def test_model_sees_only_the_newest_messages(services: Services, models: FakeChatModels) -> None:
    agents = services.agents
    assert isinstance(agents, FakeCatalogue)
    agents.put(make_agent(history_messages=1))
    conversation_id = await start(services)
    await send(services, conversation_id, "one")
    await send(services, conversation_id, "two")
    assert [message.content for message in models.last_request.messages] == ["You help travellers.", "two"]


async def test_turn_fails_and_is_stored_when_the_model_is_away(services: Services, models: FakeChatModels) -> None:
    models.scripts = [[ModelUnavailable(endpoint="stand-in")]]
    conversation_id = await start(services)
    events = await send(services, conversation_id)
    assert [type(event) for event in events] == [ReplyStarted, ReplyFailed]
    question, reply = await read(services, conversation_id)
    assert (question.role, question.state) == (Role.USER, MessageState.COMPLETE)
    assert (reply.state, reply.content) == (MessageState.FAILED, "")
    assert reply.failure is not None
    assert reply.failure.code == "model-unavailable"


async def test_partial_text_is_kept_when_the_model_breaks_off(services: Services, models: FakeChatModels) -> None:
    models.scripts = [["Hel", ModelUnavailable(endpoint="stand-in")]]
    conversation_id = await start(services)
    failed = (await send(services, conversation_id))[-1]
    assert isinstance(failed, ReplyFailed)
    assert failed.ended is not None
    assert failed.ended.reply == (await read(services, conversation_id))[-1]
    assert failed.ended.reply.content == "Hel"


async def test_conversation_goes_on_after_a_failed_turn(services: Services, models: FakeChatModels) -> None:
    models.scripts = [["Hel", ModelUnavailable()]]
    conversation_id = await start(services)
    await send(services, conversation_id, "one")
    events = await send(services, conversation_id, "two")
    assert isinstance(events[-1], ReplyCompleted)
    assert models.last_request.messages[-1].content == "one\n\ntwo"


async def test_turn_goes_on_when_its_reader_leaves(services: Services, models: FakeChatModels) -> None:
    go_on = asyncio.Event()
    models.scripts = [["Hel", go_on, "lo"]]
    conversation_id = await start(services)
    feed = await services.conversations.send(ASKER, conversation_id, content="Hi")
    await feed.next()
    feed.leave()
    go_on.set()
    await services.runner.drain(seconds=10)
    assert (await read(services, conversation_id))[-1].content == "Hello"


async def test_reader_finds_the_failure_when_the_process_that_replied_has_died(
    services: Services, models: FakeChatModels, store: FakeFailingStore
) -> None:
    conversation_id = await start(services)
    models.scripts = [["Hel", asyncio.Event()]]
    await services.conversations.send(ASKER, conversation_id, content="Hi")
    assert [message.role for message in await read(services, conversation_id)] == [Role.USER]
    store.expire_turns(TENANT)
    _, reply = await read(services, conversation_id)
    assert (reply.role, reply.state, reply.content) == (Role.ASSISTANT, MessageState.FAILED, "")
    assert reply.failure is not None
    assert reply.failure.code == "turn-abandoned"


async def test_second_message_is_refused_while_the_first_is_answered(
    services: Services, models: FakeChatModels
) -> None:
    go_on = asyncio.Event()
    models.scripts = [["Hel", go_on, "lo"]]
    conversation_id = await start(services)
    feed = await services.conversations.send(ASKER, conversation_id, content="one")
    with pytest.raises(ConversationBusy):
        await services.conversations.send(ASKER, conversation_id, content="two")
    go_on.set()
    assert isinstance((await drain(feed))[-1], ReplyCompleted)
    assert isinstance((await send(services, conversation_id, "two"))[-1], ReplyCompleted)


async def test_message_is_refused_when_the_agent_is_gone(services: Services) -> None:
    conversation_id = await start(services)
    agents = services.agents
    assert isinstance(agents, FakeCatalogue)
    agents.agents.clear()
    with pytest.raises(AgentNotFound):
        await services.conversations.send(ASKER, conversation_id, content="Hi")
    assert await read(services, conversation_id) == []


async def test_unknown_conversation_is_refused(services: Services) -> None:
    unknown = ConversationId(uuid4())
    with pytest.raises(ConversationNotFound):
        await services.conversations.send(ASKER, unknown, content="Hi")
    with pytest.raises(ConversationNotFound):
        await services.conversations.messages(ASKER, unknown, after=None, limit=10)


async def test_model_is_not_asked_when_the_message_could_not_be_stored(
    services: Services, models: FakeChatModels, store: FakeFailingStore
) -> None:
    conversation_id = await start(services)
    store.fail("begin_turn", StoreUnavailable(store="PostgreSQL"))
    with pytest.raises(StoreUnavailable):
        await services.conversations.send(ASKER, conversation_id, content="Hi")
    assert models.asked == []


async def test_reply_is_stored_when_the_store_is_away_only_for_a_while(
    services: Services, store: FakeFailingStore
) -> None:
    conversation_id = await start(services)
    store.fail("end_turn", *(StoreUnavailable(store="PostgreSQL") for _ in range(3)))
    events = await send(services, conversation_id)
    assert isinstance(events[-1], ReplyCompleted)
    assert (await read(services, conversation_id))[-1].content == "Hello world"


async def test_reader_is_told_when_the_reply_cannot_be_stored(
    services: Services, store: FakeFailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syntera_runtime.chat.runner.STORE_SECONDS", 0.0)
    conversation_id = await start(services)
    store.fail("end_turn", *(StoreUnavailable(store="PostgreSQL") for _ in range(3)))
    failed = (await send(services, conversation_id))[-1]
    assert isinstance(failed, ReplyFailed)
    assert (failed.ended, failed.error.code) == (None, "store-unavailable")
    labels = {"store": "PostgreSQL"}
    assert services.metrics.registry.get_sample_value("syntera_store_unavailable_total", labels) == 1


async def test_reader_is_told_when_something_breaks_that_nobody_foresaw(
    services: Services, store: FakeFailingStore
) -> None:
    conversation_id = await start(services)
    store.fail("end_turn", ValueError("secret words"))
    with capture_logs() as logs:
        failed = (await send(services, conversation_id))[-1]
    assert "turn broke" in [entry["event"] for entry in logs]
    assert isinstance(failed, ReplyFailed)
    assert failed.error.code == "internal-error"
    assert "secret" not in failed.error.message
