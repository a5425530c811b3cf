"""What readers of a running conversation get, and how it is kept for those who come again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .conversations import Message
from .ids import ConversationId, MessageId, TurnId
from .turns import Turn


@dataclass(frozen=True, slots=True)
class EventPosition:
    """How far the events of a conversation are."""

    last_event: int
    """Number of the newest event; while a turn runs, of the last one before it."""
    is_running: bool


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """What the store knows of a turn's events."""

    turn: Turn
    user_message: Message
    reply_id: MessageId
    first_event: int
    last_event: int | None
    """None: the turn runs."""
    reply: Message | None
    """None: the turn runs."""


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Neighbouring events of one turn, as the log keeps them."""

    number: int
    """Of the last event in it."""
    previous: int
    """Of the event before the first one in it: who knows the events up to there misses nothing before this batch."""
    events: bytes


@dataclass(frozen=True, slots=True)
class EventNews:
    """What a tail has read at once."""

    batches: Mapping[ConversationId, Sequence[EventBatch]]
    stops: Sequence[TurnId]
    """Turns that somebody wants stopped."""


@dataclass(frozen=True, slots=True)
class DueTurns:
    """Turns whose leases should have ended."""

    turn_ids: Sequence[TurnId]
    is_whole: bool
    """False: the register was empty or lost; turns from before are not in it."""
