"""Readers who follow conversations, on logs and stores that may be away."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from syntera_runtime.chat.events import ReplyCompleted, ReplyDelta, ReplyFailed, ReplyStarted, ReplyUsed, TurnEvent
from syntera_runtime.chat.feed import Feed
from syntera_runtime.chat.followers import Follower, OneTurn
from syntera_runtime.errors import ShuttingDown, StoreUnavailable
from syntera_runtime.ids import new_id
from syntera_runtime.models.ids import ConversationId, MessageId
from syntera_runtime.models.live_events import EventBatch
from syntera_runtime.services import Services
from tests.runtime.builders import ASKER, TENANT, make_services
from tests.runtime.fakes import FakeAbsentEventLog, FakeChatModels, FakeFailingStore


@pytest.fixture
def events() -> FakeAbsentEventLog:
    """The log."""
    return FakeAbsentEventLog()


@pytest.fixture
async def services(
    store: FakeFailingStore, models: FakeChatModels, events: FakeAbsentEventLog, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Services]:
    """The use cases, with somebody who reads the log and looks often."""
    monkeypatch.setattr("syntera_runtime.chat.followers.WATCH_SECONDS", 0.05)
    monkeypatch.setattr("syntera_runtime.chat.event_writers.RETRY_SECONDS", 0.01)
    services = make_services(store, models=models, events=events)
    reading = asyncio.create_task(services.followers.run())
    yield services
    reading.cancel()
    await services.runner.aclose()
    await services.writers.aclose()


async def start(services: Services) -> ConversationId:
    return (await services.conversations.start(ASKER, agent="travel")).conversation.id


async def send(services: Services, conversation_id: ConversationId) -> Feed[TurnEvent]:
    return await services.conversations.send(ASKER, conversation_id, content="Hi")


async def follow(services: Services, conversation_id: ConversationId, after: int | None = None) -> Follower:
    return await services.followers.follow(ASKER, conversation_id, after=after)


async def take(follower: Follower, count: int) -> list[TurnEvent]:
    events: list[TurnEvent] = []
    async with asyncio.timeout(10):
        while len(events) < count:
            event = await follower.feed.next()
            assert event is not None
            events.append(event)
    return events


async def test_end_of_a_silent_turn_is_found_in_the_store(
    services: Services, models: FakeChatModels, events: FakeAbsentEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syntera_runtime.chat.followers.SILENCE_SECONDS", 0.1)
    monkeypatch.setattr("syntera_runtime.chat.event_writers.END_SECONDS", 0.0)
    go_on = asyncio.Event()
    models.scripts = [["Hel", go_on, "lo"]]
    conversation_id = await start(services)
    await send(services, conversation_id)
    follower = await follow(services, conversation_id)
    await take(follower, 2)
    events.fail(1000)  # until long after the turn
    go_on.set()
    [end] = await take(follower, 1)
    assert isinstance(end, ReplyCompleted)
    assert end.number == 5


async def test_reader_whose_missed_events_cannot_be_looked_up_is_told_later(
    services: Services, store: FakeFailingStore, events: FakeAbsentEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syntera_runtime.chat.followers.SILENCE_SECONDS", 0.1)
    go_on = asyncio.Event()
    models = services.conversations._models
    assert isinstance(models, FakeChatModels)
    models.scripts = [["Hel", go_on]]
    conversation_id = await start(services)
    await send(services, conversation_id)
    events.lose()
    store.fail("turns_since", *(StoreUnavailable(store="PostgreSQL") for _ in range(2)))
    with capture_logs() as logs:
        follower = await follow(services, conversation_id)
        [started] = await take(follower, 1)
    assert isinstance(started, ReplyStarted)
    assert "missed events not looked up" in [entry["event"] for entry in logs]


async def test_reader_who_is_too_slow_is_sent_away(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syntera_runtime.chat.followers.MOST_BEHIND", 3)
    conversation_id = await start(services)
    slow = await follow(services, conversation_id)
    await services.runner.drain(seconds=0)  # nothing runs; the next turn is another process's
    other = make_services(store_of(services), events=services.conversations._events)
    await other.conversations.send(ASKER, conversation_id, content="Hi")
    async with asyncio.timeout(10):
        while not slow.feed._has_ended:  # noqa: ASYNC110  # nobody announces it
            await asyncio.sleep(0.005)
    assert services.followers._followers == {}


def store_of(services: Services) -> FakeFailingStore:
    store = services.conversations._turns
    assert isinstance(store, FakeFailingStore)
    return store


async def test_pieces_wait_for_their_beginning_to_be_told(services: Services, models: FakeChatModels) -> None:
    """Somebody who follows right after a turn began may know of it from the store, before the log does."""
    go_on = asyncio.Event()
    models.scripts = [[go_on, "Hello"]]
    conversation_id = await start(services)
    await send(services, conversation_id)
    follower = await follow(services, conversation_id)
    go_on.set()
    assert [type(event) for event in await take(follower, 4)] == [ReplyStarted, ReplyDelta, ReplyUsed, ReplyCompleted]


async def test_conversation_is_read_no_more_when_its_last_reader_leaves(services: Services) -> None:
    conversation_id = await start(services)
    readers = [await follow(services, conversation_id) for _ in range(2)]
    services.followers.leave(readers[0])
    await (await send(services, conversation_id)).next()
    assert len(await take(readers[1], 4)) == 4
    services.followers.leave(readers[1])
    services.followers.leave(readers[1])
    assert services.followers._followers == {}


async def test_reader_who_comes_while_the_process_leaves_is_not_kept(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation_id = await start(services)
    tail = services.followers._tail

    async def close_meanwhile(conversation_id: ConversationId, *, after: int) -> None:
        services.followers.close()

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(tail, "follow", close_meanwhile)
        with pytest.raises(ShuttingDown):
            await follow(services, conversation_id)
    assert services.followers._followers == {}


async def test_fault_of_ours_does_not_end_the_reading(
    services: Services, store: FakeFailingStore, events: FakeAbsentEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syntera_runtime.chat.followers.RETRY_SECONDS", 0.01)
    conversation_id = await start(services)
    await follow(services, conversation_id, after=0)
    store.fail("turns_since", ValueError("secret"))
    lost = EventBatch(number=7, previous=5, events=b"[]")  # what was before it must be looked up
    with capture_logs() as logs:
        await events.append(TENANT, conversation_id, lost, begins=True)
        async with asyncio.timeout(10):
            while "reading of events broke" not in [entry["event"] for entry in logs]:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
    other = await start(services)
    again = await follow(services, other)
    await send(services, other)
    assert len(await take(again, 4)) == 4


async def test_nobody_is_taken_in_when_the_process_leaves(services: Services) -> None:
    conversation_id = await start(services)
    reader = await follow(services, conversation_id)
    services.followers.close()
    assert await reader.feed.next() is None
    with pytest.raises(ShuttingDown):
        await follow(services, conversation_id)


async def test_reader_who_has_all_that_the_log_has_is_told_the_end_that_it_lacks(
    services: Services, models: FakeChatModels, events: FakeAbsentEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syntera_runtime.chat.followers.SILENCE_SECONDS", 0.1)
    monkeypatch.setattr("syntera_runtime.chat.event_writers.END_SECONDS", 0.0)
    go_on = asyncio.Event()
    models.scripts = [["Hel", go_on, "lo"]]
    conversation_id = await start(services)
    feed = await send(services, conversation_id)
    first = await follow(services, conversation_id)
    known = (await take(first, 2))[-1].number
    events.fail(1000)  # until long after the turn
    go_on.set()
    async with asyncio.timeout(10):
        while await feed.next() is not None:
            pass
    again = await follow(services, conversation_id, after=known)
    [end] = await take(again, 1)
    assert isinstance(end, ReplyCompleted)


async def test_one_turn_is_heard_to_its_end_and_no_further() -> None:
    follower = Follower(ConversationId(new_id()), position=0, in_turn=True)
    reply_id = MessageId(new_id())
    pieces: list[TurnEvent] = [ReplyDelta(number, reply_id, "One") for number in (1, 2, 3)]
    end, next_turns = ReplyFailed(4, None, StoreUnavailable(store="PostgreSQL")), ReplyDelta(5, reply_id, "Two")
    for event in (*pieces, end, next_turns):
        follower.take(event)
    turn = OneTurn(follower)
    assert (await turn.next(), turn.take_ready(1), turn.take_ready(9)) == (pieces[0], [pieces[1]], [pieces[2], end])
    assert (turn.take_ready(9), await turn.next()) == ([], None)
