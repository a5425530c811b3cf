"""Ids: UUIDv7, so that rows are written in order and lists can page by id."""

from uuid import UUID

import uuid_utils.compat


def new_id(*, after: UUID | None = None) -> UUID:
    """A new id, greater than every id that this process made before and than `after`.

    `after` keeps the messages of one conversation in order although pods with different clocks write them: where the
    clock is behind, the id is the next one after `after`. Its last 62 bits are random, so that the step never carries
    into the variant bits in practice.
    """
    made = uuid_utils.compat.uuid7()
    return made if after is None or made > after else UUID(int=after.int + 1)
