"""Ids: UUIDv7, so that rows are written in order and lists can page by id."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import uuid_utils.compat

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def new_id(*, after: UUID | None = None) -> UUID:
    """A new id, greater than every id that this process made before and than `after`.

    `after` keeps the messages of one conversation in order although pods with different clocks write them: where the
    clock is behind, the id is the next one after `after`. Its last 62 bits are random, so that the step never carries
    into the variant bits in practice.
    """
    made = uuid_utils.compat.uuid7()
    return made if after is None or made > after else next_id(after)


def next_id(after: UUID) -> UUID:
    """The id right after another one: that of the reply to a message, so that whoever knows the one knows the other."""
    return UUID(int=after.int + 1)


def time_of(made: UUID) -> datetime:
    """When an id was made, to the millisecond."""
    return _EPOCH + timedelta(milliseconds=made.int >> 80)


def first_id_at(time: datetime) -> UUID:
    """Not greater than any id that was made then or later, greater than all from before: its first 48 bits are milliseconds."""
    milliseconds = (time - _EPOCH) // timedelta(milliseconds=1)
    return UUID(int=min(max(milliseconds, 0), 2**48 - 1) << 80)
