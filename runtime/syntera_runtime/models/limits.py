"""How much is asked for, and how much of that has room."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Limit(StrEnum):
    """Limits that a request may meet."""

    TENANT = "tenant"
    KEY = "key"
    USER = "user"
    ADDRESS = "address"
    STREAMS = "streams"
    USER_STREAMS = "user-streams"


@dataclass(frozen=True, slots=True)
class Charge:
    """One request, to be counted for one limit."""

    limit: Limit
    subject: str
    """Whose requests are counted: a key's id, a person, an address. Empty: everybody's."""
    most: int
    """Requests per window."""


@dataclass(frozen=True, slots=True)
class Count:
    """What was counted for one limit. Requests of the window before count less and less as this one passes."""

    previous: int
    """Requests in the window before."""
    current: int
    """Requests in this window."""
    passed: float
    """How much of this window has passed, from 0 to 1."""

    @property
    def used(self) -> float:
        """How many requests there were in the last window's length, as if they had come evenly."""
        return self.previous * (1 - self.passed) + self.current

    def has_room(self, most: int) -> bool:
        """Whether one more request fits."""
        return self.used + 1 <= most


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of charges, which are counted all or none."""

    is_taken: bool
    counts: Sequence[Count]
    """In the order of the charges, as they are now."""
