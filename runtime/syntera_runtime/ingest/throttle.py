"""How many requests a model endpoint gets at once: more while it answers, fewer when it says that it has enough."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

MOST_AT_ONCE = 8
FIRST_AT_ONCE = 4
PAUSE_SECONDS = 0.5
"""Mean of the first pause after a failure; each further one is twice as long."""
LONGEST_PAUSE_SECONDS = 30.0
LONGEST_ASKED_SECONDS = 120.0
"""An endpoint that asks for a longer pause is asked again after this."""


class Throttle:
    """One for all requests to one endpoint."""

    def __init__(
        self,
        *,
        pause_seconds: float = PAUSE_SECONDS,
        longest_seconds: float = LONGEST_PAUSE_SECONDS,
        most: int = MOST_AT_ONCE,
    ) -> None:
        self._pause_seconds = pause_seconds
        self._longest_seconds = longest_seconds
        self._most = most
        self._limit = float(min(FIRST_AT_ONCE, most))
        self._running = 0
        self._failures = 0
        """One after the other."""
        self._resume_at = 0.0
        self._changed = asyncio.Condition()

    @property
    def limit(self) -> int:
        """How many may run at once now."""
        return int(self._limit)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """For one request; waits until it may be sent."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._running < self.limit)
            self._running += 1
        try:
            await self._sit_out(asyncio.get_running_loop().time)
            yield
        finally:
            async with self._changed:
                self._running -= 1
                self._changed.notify_all()

    async def _sit_out(self, clock: Callable[[], float]) -> None:
        while (seconds := self._resume_at - clock()) > 0:  # noqa: ASYNC110  # time passes, and others may put it off
            await asyncio.sleep(seconds)

    def succeeded(self) -> None:
        """A request was answered: some such make room for one more."""
        self._failures = 0
        self._limit = min(self._most, self._limit + 1 / self._limit)

    def failed(self, retry_after_seconds: float | None) -> None:
        """A request was not answered: half as many from now on, after a pause."""
        self._limit = max(1.0, self._limit / 2)
        self._failures += 1
        own = min(self._longest_seconds, self._pause_seconds * 2 ** min(self._failures - 1, 10))
        # Jitter on top of what was asked for, so that several syncs do not come back in the same moment.
        asked_for = None if retry_after_seconds is None else min(retry_after_seconds, LONGEST_ASKED_SECONDS)
        seconds = own * random.uniform(0.5, 1.5) if asked_for is None else asked_for * random.uniform(1, 1.1)  # noqa: S311
        self._resume_at = max(self._resume_at, asyncio.get_running_loop().time() + seconds)
