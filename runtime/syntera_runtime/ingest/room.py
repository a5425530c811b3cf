"""How much of documents may be in memory at once."""

import asyncio

MOST_BYTES = 64 * 1024 * 1024
"""Larger documents pass alone."""


class Room:
    """Bytes that documents under way take, all together."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._used = 0
        self._changed = asyncio.Condition()

    async def enter(self, size: int) -> None:
        """Wait until there is room for so many bytes, or nobody else is in."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._used or self._used + size <= self._most)
            self._used += size

    async def leave(self, size: int) -> None:
        """Give them back."""
        async with self._changed:
            self._used -= size
            self._changed.notify_all()
