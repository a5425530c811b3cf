"""Cursors: where a page of a list ended, in a form that clients hand back and need not understand."""

import base64
import binascii
from typing import Annotated
from uuid import UUID

from fastapi import Query
from pydantic import Field

from ..errors import InvalidCursor
from .schemas import Input

MAX_LIMIT = 200
DEFAULT_LIMIT = 50
_MARK = b"\x01"
"""Version of the form; another list or order gets another one."""


class PageQuery(Input):
    """Which part of a list."""

    # Query parameters arrive as text, so the strictness of JSON does not apply.
    model_config = {"strict": False}

    cursor: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """The `nextCursor` of the page before. Left out: the beginning of the list."""
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    """Most items of the page."""

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
    return base64.urlsafe_b64encode(_MARK + last.bytes).rstrip(b"=").decode()


def read_cursor(cursor: str) -> UUID:
    """The id that `make_cursor` was given.

    Raises:
        InvalidCursor: It is none of ours.
    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidCursor from None
    if raw[:1] != _MARK or len(raw) != 17 or make_cursor(UUID(bytes=raw[1:])) != cursor:
        raise InvalidCursor
    return UUID(bytes=raw[1:])
