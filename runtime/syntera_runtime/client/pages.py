"""Lists that come in pages, one item after the other."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from .calls import Caller, Request
from .models import Item, Page


async def read_pages(
    caller: Caller, kind: type[Page[Item]], path: str, query: Mapping[str, Any]
) -> AsyncGenerator[Item, None]:
    """All items; a page is asked for when the one before has been read.

    Raises:
        ApiError: The API refused it or failed.
        ConnectionFailed: There was no answer in time.
    """
    cursor = None
    while True:
        page = await caller.get(kind, Request("GET", path, query={**query, "cursor": cursor}))
        for item in page.items:
            yield item
        cursor = page.next_cursor
        if cursor is None:
            return
