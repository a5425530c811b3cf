"""The work queue: which objects to reconcile, when, and how many at once.

stub
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple


class Key(NamedTuple):
    """One object to reconcile."""

    kind: Literal["Tenant", "Agent"]
    namespace: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a reconcile that went well wants next."""

    requeue_after_seconds: float | None = None
    """Look again after this time; None: when something changes."""
