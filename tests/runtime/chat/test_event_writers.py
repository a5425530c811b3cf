"""Writing events to a log that may be away, lose everything, or belong to somebody else by now."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from syntera_runtime.adapters.memory_events import MemoryEventLog
from syntera_runtime.chat.event_batches import decode_events
from syntera_runtime.chat.event_writers import EventWriter, EventWriters
from syntera_runtime.chat.events import (
    ReplyCited,
    ReplyCompleted,
    ReplyDelta,
    ReplyRetrieved,
    ReplySnapshot,
    ReplyStarted,
    TurnEvent,
)
from syntera_runtime.ids import new_id
from syntera_runtime.models.conversations import Role
from syntera_runtime.models.ids import MessageId, TurnId
from syntera_runtime.models.knowledge import Citation, Retrieval
from syntera_runtime.models.live_events import EventBatch
from syntera_runtime.models.turns import BegunTurn, EndedTurn, Said, Turn, TurnState
from tests.runtime.builders import CONVERSATION, NOON, TENANT, make_citation, make_message, make_retrieval
from tests.runtime.fakes import FakeAbsentEventLog

TURN = Turn(TurnId(new_id()), CONVERSATION, "travel", 3, TurnState.RUNNING, NOON)
BEGUN = BegunTurn(TURN, make_message("Hi"), MessageId(new_id()), (), last_event=0)
ENDED = EndedTurn(TURN, BEGUN.user_message, make_message("Hello", role=Role.ASSISTANT))


@pytest.fixture
def events() -> FakeAbsentEventLog:
    """The log."""
    return FakeAbsentEventLog()


@pytest.fixture
async def writers(events: MemoryEventLog, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EventWriters]:
    """Writers that do not wait long."""
    monkeypatch.setattr("syntera_runtime.chat.event_writers.RETRY_SECONDS", 0.01)
    writers = EventWriters(events)
    yield writers
    await writers.aclose()


class Speaker:
    """A turn that speaks."""

    def __init__(self, writers: EventWriters, *, is_held: Callable[[], bool] = lambda: True) -> None:
        self.said = Said()
        self.number = 0
        self.writer: EventWriter = writers.open(TENANT, BEGUN, said=lambda: self.said, is_held=is_held)
        self._publish(ReplyStarted(1, TURN, BEGUN.user_message, BEGUN.reply_id))

    def say(self, text: str) -> None:
        self.said = replace(self.said, text=self.said.text + text)
        self._publish(ReplyDelta(self.number + 1, BEGUN.reply_id, text))

    def cite(self, citation: Citation) -> None:
        self.said = replace(self.said, citations=(*self.said.citations, citation))
        self._publish(ReplyCited(self.number + 1, BEGUN.reply_id, citation))

    def look_up(self, retrieval: Retrieval) -> None:
        self.said = replace(self.said, retrieval=retrieval)
        self._publish(ReplyRetrieved(self.number + 1, BEGUN.reply_id, retrieval))

    def end(self, *, is_stored: bool = True) -> None:
        if is_stored:
            self._publish(ReplyCompleted(self.number + 1, ENDED))
        self.writer.close(is_stored=is_stored)

    def _publish(self, event: TurnEvent) -> None:
        self.number = event.number
        self.writer.publish(event)


async def written(events: MemoryEventLog) -> list[EventBatch]:
    return list(await events.read(TENANT, CONVERSATION, after=0))


async def wait_for(events: MemoryEventLog, number: int) -> None:
    async with asyncio.timeout(10):
        while not any(batch.number >= number for batch in await written(events)):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def kinds(batch: EventBatch) -> list[Any]:
    return [type(event) for event in decode_events(batch)]


async def test_what_comes_together_is_written_together(events: FakeAbsentEventLog, writers: EventWriters) -> None:
    speaker = Speaker(writers)
    for text in ("Hel", "lo"):
        speaker.say(text)
    await wait_for(events, 3)
    speaker.say("!")
    speaker.end()
    await writers.drain(seconds=10)
    first, second = await written(events)
    assert (first.previous, first.number, kinds(first)) == (0, 3, [ReplyStarted, ReplyDelta, ReplyDelta])
    assert (second.previous, second.number, kinds(second)) == (3, 5, [ReplyDelta, ReplyCompleted])


async def test_snapshot_takes_the_place_of_what_could_not_be_written(
    events: FakeAbsentEventLog, writers: EventWriters
) -> None:
    speaker = Speaker(writers)
    speaker.say("Hel")
    await wait_for(events, 2)
    events.fail(2)
    speaker.say("lo")
    await wait_for(events, 3)
    speaker.say("!")
    await wait_for(events, 4)
    _, snapshot, delta = await written(events)
    assert (snapshot.previous, kinds(snapshot)) == (0, [ReplySnapshot])
    [event] = decode_events(snapshot)
    assert isinstance(event, ReplySnapshot)
    assert (event.number, event.text) == (3, "Hello")
    assert (delta.previous, kinds(delta)) == (3, [ReplyDelta])


async def test_snapshot_tells_what_was_cited(events: FakeAbsentEventLog, writers: EventWriters) -> None:
    speaker = Speaker(writers)
    speaker.say("At ten [1]")
    events.fail(2)
    speaker.cite(make_citation())
    await wait_for(events, 3)
    [snapshot] = await written(events)
    [event] = decode_events(snapshot)
    assert isinstance(event, ReplySnapshot)
    assert (event.number, event.text, event.citations) == (3, "At ten [1]", (make_citation(),))


async def test_snapshot_tells_what_was_looked_up(events: FakeAbsentEventLog, writers: EventWriters) -> None:
    speaker = Speaker(writers)
    events.fail(2)
    speaker.look_up(make_retrieval())
    await wait_for(events, 2)
    [snapshot] = await written(events)
    [event] = decode_events(snapshot)
    assert isinstance(event, ReplySnapshot)
    assert (event.number, event.retrieval) == (2, make_retrieval())


async def test_snapshot_follows_when_the_log_has_lost_everything(
    events: FakeAbsentEventLog, writers: EventWriters
) -> None:
    speaker = Speaker(writers)
    await wait_for(events, 1)
    events.lose()
    speaker.say("Hello")
    await wait_for(events, 2)
    [snapshot] = await written(events)
    assert (snapshot.previous, kinds(snapshot)) == (0, [ReplySnapshot])


async def test_end_needs_no_snapshot(events: FakeAbsentEventLog, writers: EventWriters) -> None:
    speaker = Speaker(writers)
    speaker.say("Hello")
    await wait_for(events, 2)
    events.lose()
    speaker.end()
    await writers.drain(seconds=10)
    [end] = await written(events)
    assert (end.previous, end.number, kinds(end)) == (0, 3, [ReplyCompleted])


async def test_end_is_tried_for_a_while_and_then_given_up(
    events: FakeAbsentEventLog, writers: EventWriters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syntera_runtime.chat.event_writers.END_SECONDS", 0.05)
    events.fail(1000)
    Speaker(writers).end()
    async with asyncio.timeout(10):
        await writers.drain(seconds=60)
    assert await written(events) == []


async def test_turn_that_may_be_anothers_writes_nothing_until_it_is_sure_again(
    events: FakeAbsentEventLog, writers: EventWriters
) -> None:
    is_held = True
    speaker = Speaker(writers, is_held=lambda: is_held)
    await wait_for(events, 1)
    is_held = False
    speaker.say("Hel")
    speaker.say("lo")
    await asyncio.sleep(0.1)
    assert [batch.number for batch in await written(events)] == [1]
    is_held = True
    await wait_for(events, 3)
    [snapshot] = decode_events((await written(events))[-1])
    assert isinstance(snapshot, ReplySnapshot)
    assert snapshot.text == "Hello"


async def test_turn_that_is_anothers_writes_nothing_at_its_end(
    events: FakeAbsentEventLog, writers: EventWriters
) -> None:
    speaker = Speaker(writers, is_held=lambda: False)
    speaker.say("Hel")
    speaker.end(is_stored=False)
    await writers.drain(seconds=10)
    assert await written(events) == []


async def test_fault_of_ours_ends_the_writer_alone(events: FakeAbsentEventLog, writers: EventWriters) -> None:
    events.errors.append(ValueError("secret"))
    Speaker(writers).end()
    await writers.drain(seconds=10)
    speaker = Speaker(writers)
    speaker.end()
    await writers.drain(seconds=10)
    assert [batch.number for batch in await written(events)] == [2]


async def test_log_that_is_away_is_not_asked_all_the_time(
    events: FakeAbsentEventLog, writers: EventWriters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syntera_runtime.chat.event_writers.RETRY_SECONDS", 60)
    events.fail(1000)
    speaker = Speaker(writers)
    for _ in range(20):
        speaker.say("x")
        await asyncio.sleep(0.005)
    assert 1000 - len(events.errors) <= 1
