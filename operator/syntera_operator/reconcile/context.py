"""What a reconcile works with. Built once, by the operator's main module."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from syntera_crds.contract.api_key import ApiKey

from ..cluster import Cluster
from ..config import Settings
from ..runtimes import Runtimes
from ..stores.erasure import Receipt


class Stores(Protocol):
    """The part of the stores that a reconcile needs; every method is idempotent.

    All raise `StoreUnavailable` where a store does not answer and `StoreRefused` where it refuses.
    """

    async def find(self, name: str) -> UUID | None:
        """The identity of a tenant, released or not; None if it has none."""

    async def identify(self, name: str) -> UUID:
        """The identity of a tenant, a new one if it has none."""

    async def ensure_database(self, tenant_id: UUID, *, current_url: str | None) -> str:
        """The URL of the tenant's login in PostgreSQL, which works; with the password of `current_url` if there is one."""

    async def ensure_cache(self, tenant_id: UUID, *, current_url: str | None) -> str:
        """The same for Redis."""

    async def ensure_admin_key(self, tenant_id: UUID, *, current: ApiKey | None) -> ApiKey:
        """The first administrator's key: `current` if it is alive, else a new one."""

    async def release(self, tenant_id: UUID) -> None:
        """Let nobody in any more; keep the data."""

    async def erase(self, tenant_id: UUID) -> Receipt:
        """Erase everything."""


def utc_now() -> datetime:
    """The time, in whole seconds as conditions spell it."""
    return datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class Context:
    """What a reconcile works with."""

    cluster: Cluster
    stores: Stores
    runtimes: Runtimes
    settings: Settings
    now: Callable[[], datetime] = utc_now
