"""When a request is sent again, and after how long.

Only what cannot do harm is repeated: a request that was never sent, one that was refused because there are too many, and,
where doing it twice is the same as doing it once, one that nobody answered.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

import httpx2
import tenacity

from .errors import ApiError, RateLimited

pause = asyncio.sleep
"""How waiting is done."""
_UNSENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_PASSING = frozenset({408, 502, 503, 504})
"""Statuses that say nothing against the request itself."""
_JITTER = 0.25
"""Part of what `Retry-After` says that is added at random, so that clients which were refused together do not come back together."""


@dataclass(frozen=True, slots=True)
class Retries:
    """How patient a client is."""

    attempts: int = 5
    """How often a request is sent at most. 1: never again."""
    first_seconds: float = 0.25
    """Longest wait after the first attempt; it doubles with each."""
    most_seconds: float = 8
    """Longest wait of our own choice."""
    longest_retry_after_seconds: float = 60
    """A `Retry-After` beyond this is not waited for: the caller gets the error, which names it."""

    def controller(
        self, *, is_repeatable: bool, is_spent: Callable[[], bool] = lambda: False
    ) -> tenacity.AsyncRetrying:
        """What sends a request again, unless it is spent: then there is nothing to send."""

        def is_worthwhile(error: BaseException) -> bool:
            return not is_spent() and self._is_worthwhile(error, is_repeatable=is_repeatable)

        return tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(self.attempts),
            wait=self._wait_after,
            retry=tenacity.retry_if_exception(is_worthwhile),
            sleep=pause,
            reraise=True,
        )

    def wait_seconds(self, attempt: int) -> float:
        """How long to wait after the attempt of that number, counted from 1."""
        longest = min(self.most_seconds, self.first_seconds * 2 ** min(attempt - 1, 30))
        return random.uniform(0, longest)  # noqa: S311  # spreads load, hides nothing

    def _wait_after(self, state: tenacity.RetryCallState) -> float:
        error = None if state.outcome is None else state.outcome.exception()
        stated = error.retry_after_seconds if isinstance(error, ApiError) else None
        if stated is None:
            return self.wait_seconds(state.attempt_number)
        return stated * (1 + random.uniform(0, _JITTER))  # noqa: S311

    def _is_worthwhile(self, error: BaseException, *, is_repeatable: bool) -> bool:
        match error:
            case RateLimited():
                return self._is_near(error)
            case ApiError():
                return is_repeatable and error.status in _PASSING and error.retryable and self._is_near(error)
            case httpx2.TransportError():
                return is_repeatable or isinstance(error, _UNSENT)
            case _:
                return False

    def _is_near(self, error: ApiError) -> bool:
        return (error.retry_after_seconds or 0) <= self.longest_retry_after_seconds
