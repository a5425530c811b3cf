"""Events of a turn as the log keeps them, and what a reader makes of a batch.

Pods of two releases read the same log: fields that are not known are left out, and so are events.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import orjson
import structlog
from pydantic import TypeAdapter

from ..models.live_events import EventBatch
from ..models.turns import EndedTurn
from .events import (
    ReplyCompleted,
    ReplyDelta,
    ReplyFailed,
    ReplySnapshot,
    ReplyStarted,
    ReplyStopped,
    ReplyUsed,
    TurnEvent,
    ending_event,
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Ended:
    number: int
    ended: EndedTurn


_STARTED = TypeAdapter(ReplyStarted)
_DELTA = TypeAdapter(ReplyDelta)
_SNAPSHOT = TypeAdapter(ReplySnapshot)
_USED = TypeAdapter(ReplyUsed)
_ENDED = TypeAdapter(_Ended)


def encode_events(events: Sequence[TurnEvent]) -> bytes:
    """The events of a batch. A failure that is not stored has no place in the log."""
    # `default`, because stores give ids of their own classes.
    return orjson.dumps([_name(event) for event in events], default=str)


def decode_events(batch: EventBatch) -> Sequence[TurnEvent]:
    """The events of a batch that this release knows; none of one that it cannot read: its readers then miss something."""
    try:
        named = [_read(kind, fields) for kind, fields in orjson.loads(batch.events)]
    except (TypeError, ValueError) as error:  # pydantic's are ValueErrors
        log.error("event batch not readable", number=batch.number, reason=type(error).__name__)
        return []
    return [event for event in named if event is not None]


def follow_on(position: int, batch: EventBatch, events: Sequence[TurnEvent]) -> Iterator[TurnEvent]:
    """The events of a batch that a reader who knows all up to `position` can use.

    If the reader misses what was before the batch, pieces of a reply are of no use until an event comes that stands by
    itself.
    """
    is_next = batch.previous <= position
    for event in events:
        is_next = is_next or not isinstance(event, ReplyDelta)
        if event.number > position and is_next:
            yield event


def collect_text(position: int, batches: Sequence[EventBatch]) -> str:
    """What a turn that began after `position` has said, as far as its batches tell."""
    said: list[str] = []
    for batch in batches:
        for event in follow_on(position, batch, decode_events(batch)):
            position = event.number
            match event:
                case ReplySnapshot(text=text):
                    said = [text]
                case ReplyDelta(text=text):
                    said.append(text)
                case _:
                    pass
    return "".join(said)


def _name(event: TurnEvent) -> tuple[str, object]:
    match event:
        case ReplyStarted():
            return "started", event
        case ReplyDelta():
            return "delta", event
        case ReplySnapshot():
            return "snapshot", event
        case ReplyUsed():
            return "used", event
        case ReplyCompleted(number, ended) | ReplyStopped(number, ended) | ReplyFailed(number, ended):
            return "ended", {"number": number, "ended": ended}


def _read(kind: str, fields: object) -> TurnEvent | None:
    match kind:
        case "started":
            return _STARTED.validate_python(fields)
        case "delta":
            return _DELTA.validate_python(fields)
        case "snapshot":
            return _SNAPSHOT.validate_python(fields)
        case "used":
            return _USED.validate_python(fields)
        case "ended":
            read = _ENDED.validate_python(fields)
            return ending_event(read.number, read.ended)
        case _:
            return None
