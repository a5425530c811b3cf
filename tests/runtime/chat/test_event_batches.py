"""Events as the log keeps them, and what a reader makes of them. Pure."""

from dataclasses import replace

import orjson
import pytest
from structlog.testing import capture_logs

from syntera_runtime.chat.event_batches import collect_said, decode_events, encode_events, follow_on
from syntera_runtime.chat.events import (
    ReplyCited,
    ReplyCompleted,
    ReplyDelta,
    ReplyFailed,
    ReplyRetrieved,
    ReplySnapshot,
    ReplyStarted,
    ReplyStopped,
    ReplyUsed,
    TurnEvent,
    ending_event,
)
from syntera_runtime.errors import ModelUnavailable
from syntera_runtime.ids import new_id
from syntera_runtime.models.conversations import Failure, MessageState, Role
from syntera_runtime.models.ids import MessageId, TurnId
from syntera_runtime.models.live_events import EventBatch
from syntera_runtime.models.turns import EndedTurn, Said, Turn, TurnState, Usage
from syntera_runtime.models.usage import Budget, Cost, LimitLevel, LimitMet
from tests.runtime.builders import CONVERSATION, NOON, make_citation, make_message, make_retrieval

REPLY = MessageId(new_id())
TURN = Turn(
    id=TurnId(new_id()),
    conversation_id=CONVERSATION,
    agent="travel",
    agent_revision=3,
    state=TurnState.COMPLETE,
    created_at=NOON,
    ended_at=NOON,
    endpoint="stand-in",
    model="echo",
    usage=Usage(7, 2),
)
LIMIT = LimitMet(Budget.TOKENS_PER_MONTH, LimitLevel.SOFT)
FAILURE = Failure("model-unavailable", "It is away.")
ENDED = EndedTurn(TURN, make_message("Hi"), make_message("Hello", role=Role.ASSISTANT))
RUNNING = replace(TURN, state=TurnState.RUNNING, ended_at=None)
STARTED = ReplyStarted(1, RUNNING, make_message("Grüß 👩\u200d🚀 \x01"), REPLY)
SNAPSHOT = ReplySnapshot(4, RUNNING, make_message("Hi"), REPLY, "Hello")
RETRIEVED = ReplyRetrieved(3, REPLY, make_retrieval())
CITED = ReplyCited(3, REPLY, make_citation())


def delta(number: int, text: str = "x") -> ReplyDelta:
    return ReplyDelta(number, REPLY, text)


def batch(previous: int, *events: TurnEvent) -> EventBatch:
    return EventBatch(events[-1].number, previous, encode_events(events))


def seen(position: int, one: EventBatch) -> list[int]:
    return [event.number for event in follow_on(position, one, decode_events(one))]


@pytest.mark.parametrize(
    "event",
    [
        STARTED,
        delta(2, "\u2028'\"\n"),
        SNAPSHOT,
        replace(SNAPSHOT, citations=(make_citation(1), make_citation(2, url=None, page=None))),
        RETRIEVED,
        CITED,
        ReplyUsed(4, TURN.id, REPLY, Usage(7, 2, is_estimated=True)),
        ReplyCompleted(5, replace(ENDED, turn=replace(TURN, cost=Cost(7, "EUR"), limit=LIMIT))),
        ReplyCompleted(5, ENDED),
        ReplyStopped(5, replace(ENDED, turn=replace(TURN, state=TurnState.STOPPED, usage=None))),
    ],
    ids=lambda event: type(event).__name__,
)
def test_event_is_read_as_it_was_written(event: TurnEvent) -> None:
    assert decode_events(batch(0, event)) == [event]


def test_failure_is_read_with_the_error_that_it_was() -> None:
    reply = make_message("Hel", role=Role.ASSISTANT, state=MessageState.FAILED, failure=FAILURE)
    ended = replace(ENDED, turn=replace(TURN, state=TurnState.FAILED, failure=FAILURE), reply=reply)
    [read] = decode_events(batch(0, ending_event(5, ended)))
    assert isinstance(read, ReplyFailed)
    assert (read.number, read.ended) == (5, ended)
    assert (type(read.error), read.error.message) == (ModelUnavailable, "It is away.")


def test_what_another_release_adds_is_left_out() -> None:
    written = orjson.loads(encode_events([delta(2)]))
    written[0][1]["mood"] = "cheerful"
    written.append(["tool-called", {"number": 3}])
    assert decode_events(EventBatch(3, 1, orjson.dumps(written))) == [delta(2)]


@pytest.mark.parametrize(
    "events", [b"", b"secret", b"{}", b"[1]", b'[["delta", {"number": "secret"}]]', b'[["ended", null]]']
)
def test_batch_that_cannot_be_read_has_no_events(events: bytes) -> None:
    with capture_logs() as logs:
        assert list(decode_events(EventBatch(3, 1, events))) == []
    assert "secret" not in str(logs)


@pytest.mark.parametrize(
    ("position", "numbers"), [(0, [3, 4, 5]), (2, [3, 4, 5]), (3, [4, 5]), (4, [5]), (5, []), (9, [])]
)
def test_reader_takes_what_it_does_not_know_yet(position: int, numbers: list[int]) -> None:
    assert seen(position, batch(min(position, 2), delta(3), delta(4), delta(5))) == numbers


def test_pieces_are_of_no_use_when_those_before_are_missing() -> None:
    assert seen(1, batch(2, delta(3), delta(4))) == []
    assert seen(1, batch(2, RETRIEVED, delta(4))) == []
    assert seen(1, batch(2, CITED, delta(4))) == []


def test_event_of_a_snapshot_of_before_there_were_citations_is_read() -> None:
    written = orjson.loads(encode_events([SNAPSHOT]))
    del written[0][1]["citations"], written[0][1]["retrieval"]
    assert decode_events(EventBatch(4, 0, orjson.dumps(written))) == [SNAPSHOT]


def test_what_was_cited_is_collected_with_the_text() -> None:
    batches = [batch(0, STARTED, delta(2, "At ten [1]"), CITED)]
    assert collect_said(0, batches) == Said("At ten [1]", (make_citation(),))
    snapshot = replace(SNAPSHOT, number=4, citations=(make_citation(2),))
    assert collect_said(0, [*batches, batch(0, snapshot)]) == Said("Hello", (make_citation(2),))


def test_what_was_looked_up_is_collected_with_the_text() -> None:
    batches = [batch(0, STARTED, replace(RETRIEVED, number=2), delta(3, "Hel"))]
    assert collect_said(0, batches) == Said("Hel", retrieval=RETRIEVED.retrieval)
    snapshot = replace(SNAPSHOT, number=4, retrieval=make_retrieval(failure="search-timed-out"))
    assert collect_said(0, [*batches, batch(0, snapshot)]) == Said("Hello", retrieval=snapshot.retrieval)


@pytest.mark.parametrize("event", [replace(STARTED, number=4), SNAPSHOT, ReplyCompleted(4, ENDED)])
def test_reader_who_misses_something_goes_on_from_what_stands_by_itself(event: TurnEvent) -> None:
    assert seen(1, batch(2, delta(3), event, delta(5))) == [4, 5]


def test_text_is_collected_from_the_pieces() -> None:
    batches = [batch(0, STARTED, delta(2, "Hel")), batch(2, delta(3, "lo"))]
    assert collect_said(0, batches) == Said("Hello")


def test_text_is_collected_from_the_newest_snapshot_on() -> None:
    batches = [batch(0, STARTED, delta(2, "Hel")), batch(0, SNAPSHOT), batch(4, delta(5, "!"))]
    assert collect_said(0, batches) == Said("Hello!")


def test_text_with_a_hole_is_not_collected() -> None:
    assert collect_said(0, [batch(7, delta(8, "lo")), batch(8, delta(9, "!"))]) == Said()


def test_no_text_is_collected_from_nothing() -> None:
    assert collect_said(0, []) == Said()
