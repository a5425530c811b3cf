"""Events of a turn as the log keeps them, and what a reader makes of a batch.

Pods of two releases read the same log: fields that are not known are left out, and so are events.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import orjson
import structlog
from pydantic import TypeAdapter

from ..models.knowledge import Citation, Retrieval
from ..models.live_events import EventBatch
from ..models.turns import EndedTurn, Said
from .events import (
    ReplyCited,
    ReplyDelta,
    ReplyEnded,
    ReplyPiece,
    ReplyRetrieved,
    ReplySnapshot,
    ReplyStarted,
    ReplyUsed,
    TurnEvent,
    ending_event,
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Ended:
    number: int
    ended: EndedTurn


_NAMES: Mapping[type[TurnEvent], str] = {
    ReplyStarted: "started",
    ReplyRetrieved: "retrieved",
    ReplyDelta: "delta",
    ReplyCited: "cited",
    ReplySnapshot: "snapshot",
    ReplyUsed: "used",
}
_KINDS: Mapping[str, TypeAdapter[TurnEvent]] = {name: TypeAdapter(kind) for kind, name in _NAMES.items()}
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
        is_next = is_next or not isinstance(event, ReplyPiece)
        if event.number > position and is_next:
            yield event


def collect_said(position: int, batches: Sequence[EventBatch]) -> Said:
    """What a turn that began after `position` has said, as far as its batches tell."""
    text: list[str] = []
    cited: list[Citation] = []
    retrieval: Retrieval | None = None
    for batch in batches:
        for event in follow_on(position, batch, decode_events(batch)):
            position = event.number
            match event:
                case ReplySnapshot():
                    text, cited, retrieval = [event.text], [*event.citations], event.retrieval
                case ReplyRetrieved():
                    retrieval = event.retrieval
                case ReplyDelta():
                    text.append(event.text)
                case ReplyCited(citation=citation):
                    cited.append(citation)
                case _:
                    pass
    return Said("".join(text), tuple(cited), retrieval)


def _name(event: TurnEvent) -> tuple[str, object]:
    if isinstance(event, ReplyEnded):
        return "ended", {"number": event.number, "ended": event.ended}
    return _NAMES[type(event)], event


def _read(kind: str, fields: object) -> TurnEvent | None:
    if kind == "ended":
        read = _ENDED.validate_python(fields)
        return ending_event(read.number, read.ended)
    return _KINDS[kind].validate_python(fields) if kind in _KINDS else None
