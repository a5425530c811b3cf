"""The time that reading a source may take; what becomes of its documents meanwhile does not count."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Deadline:
    """Begins when it is made."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ends_at = clock() + seconds

    def left(self) -> float:
        """Seconds that are left; 0: it is over."""
        return max(0.0, self._ends_at - self._clock())

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return self.left() <= 0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Around what does not count: whoever is handed a document takes the next one when there is room for it."""
        began = self._clock()
        try:
            yield
        finally:
            self._ends_at += self._clock() - began
