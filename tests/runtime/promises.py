"""Time as a promise counts it: a busy machine wakes everybody late, which is none of the product's doing."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_STEP_SECONDS = 0.02


class PromisedTime:
    """The time since it began, without that by which the machine woke us late."""

    def __init__(self) -> None:
        self._began_at = time.monotonic()
        self._late_seconds = 0.0

    @property
    def seconds(self) -> float:
        """How much has passed."""
        return time.monotonic() - self._began_at - self._late_seconds

    async def watch(self) -> None:
        """Note how late we are woken, until cancelled."""
        while True:
            asked_at = time.monotonic()
            await asyncio.sleep(_STEP_SECONDS)
            self._late_seconds += max(0.0, time.monotonic() - asked_at - _STEP_SECONDS)


@asynccontextmanager
async def promised_time() -> AsyncIterator[PromisedTime]:
    """Measure from here on."""
    time_taken = PromisedTime()
    watching = asyncio.create_task(time_taken.watch())
    try:
        yield time_taken
    finally:
        watching.cancel()
