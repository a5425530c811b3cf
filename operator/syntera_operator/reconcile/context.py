"""What a reconcile works with. Built once, by the operator's main module."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ..cluster import Cluster
from ..config import Settings
from ..runtimes import Runtimes
from .stores import KnowledgeStores, RecentIdentities, Stores


def utc_now() -> datetime:
    """The time, in whole seconds as conditions spell it."""
    return datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class Context:
    """What a reconcile works with."""

    cluster: Cluster
    stores: Stores
    knowledge: KnowledgeStores
    runtimes: Runtimes
    settings: Settings
    now: Callable[[], datetime] = utc_now
    recent: RecentIdentities = field(default_factory=RecentIdentities)
