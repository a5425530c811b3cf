"""What is known for a while, and not worth a place in a store."""

from collections import OrderedDict
from collections.abc import Callable, Hashable

MAX_REMEMBERED = 4096
"""Entries at most: a flood from many addresses must not grow the process."""


class Remembered:
    """Keys with the time when each is forgotten; the oldest make room for new ones."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._until: OrderedDict[Hashable, float] = OrderedDict()

    def put(self, key: Hashable, *, seconds: float) -> None:
        """Know `key` for that long from now on."""
        self._until[key] = self._monotonic() + seconds
        self._until.move_to_end(key)
        while len(self._until) > MAX_REMEMBERED:
            self._until.popitem(last=False)

    def seconds_left(self, key: Hashable) -> float:
        """How long `key` is known still; 0: it is not."""
        return max(0, self._until.get(key, 0) - self._monotonic())
