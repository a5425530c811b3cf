"""Cursors: where a page of a list ended, in a form that clients hand back and need not understand."""

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Query
from pydantic import Field

from ..errors import InvalidCursor
from ..knowledge.management import ChunkPosition
from ..models.conversations import ConversationOrder, ListPosition
from ..models.ids import ConversationId
from .schemas import Input

MAX_LIMIT = 200
DEFAULT_LIMIT = 50
_MARK = b"\x01"
"""Version of the form; another list or order gets another one."""
_NEWEST_MARK = b"\x04"
_CHUNK_MARK = b"\x05"
_ORDER_MARKS = {ConversationOrder.CREATED: b"\x02", ConversationOrder.ACTIVITY: b"\x03"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class PartQuery(Input):
    """Which part of a list, whatever it is ordered by."""

    # Query parameters arrive as text, so the strictness of JSON does not apply.
    model_config = {"strict": False}

    cursor: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """The `nextCursor` of the page before. Left out: the beginning of the list."""
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    """Most items of the page."""


class PageQuery(PartQuery):
    """Which part of a list that is ordered by ids."""

    @property
    def after(self) -> UUID | None:
        """The id that the page begins behind.

        Raises:
            InvalidCursor: The cursor is none of ours.
        """
        return None if self.cursor is None else read_cursor(self.cursor)


WantedPage = Annotated[PageQuery, Query()]


def make_cursor(last: UUID) -> str:
    """The cursor behind the item with that id."""
    return _encode(_MARK + last.bytes)


def read_cursor(cursor: str) -> UUID:
    """The id that `make_cursor` was given.

    Raises:
        InvalidCursor: It is none of ours.
    """
    return UUID(bytes=_decode(cursor, mark=_MARK, length=16))


def make_newest_cursor(last: UUID) -> str:
    """The cursor behind the item with that id, in a list that begins with the newest."""
    return _encode(_NEWEST_MARK + last.bytes)


def read_newest_cursor(cursor: str) -> UUID:
    """The id that `make_newest_cursor` was given.

    Raises:
        InvalidCursor: It is none of ours, or of another list.
    """
    return UUID(bytes=_decode(cursor, mark=_NEWEST_MARK, length=16))


def make_position_cursor(last: ListPosition, order: ConversationOrder) -> str:
    """The cursor behind a conversation in a list of that order."""
    microseconds = (last.at - _EPOCH) // _MICROSECOND
    return _encode(_ORDER_MARKS[order] + microseconds.to_bytes(8, "big", signed=True) + last.id.bytes)


def read_position_cursor(cursor: str, order: ConversationOrder) -> ListPosition:
    """The position that `make_position_cursor` was given.

    Raises:
        InvalidCursor: It is none of ours, or of a list of another order.
    """
    raw = _decode(cursor, mark=_ORDER_MARKS[order], length=24)
    try:
        at = _EPOCH + int.from_bytes(raw[:8], "big", signed=True) * _MICROSECOND
    except OverflowError:
        raise InvalidCursor from None
    return ListPosition(ConversationId(UUID(bytes=raw[8:])), at)


def make_chunk_cursor(last: ChunkPosition) -> str:
    """The cursor behind a chunk of a document."""
    return _encode(_CHUNK_MARK + last.index_number.to_bytes(4, "big") + last.position.to_bytes(4, "big"))


def read_chunk_cursor(cursor: str) -> ChunkPosition:
    """The position that `make_chunk_cursor` was given.

    Raises:
        InvalidCursor: It is none of ours, or of another list.
    """
    raw = _decode(cursor, mark=_CHUNK_MARK, length=8)
    position = int.from_bytes(raw[4:], "big")
    if position >= 1 << 31:  # more than the store counts
        raise InvalidCursor
    return ChunkPosition(int.from_bytes(raw[:4], "big"), position)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(cursor: str, *, mark: bytes, length: int) -> bytes:
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidCursor from None
    if raw[:1] != mark or len(raw) != 1 + length or _encode(raw) != cursor:
        raise InvalidCursor
    return raw[1:]
