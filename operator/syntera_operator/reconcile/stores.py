"""What a reconcile asks of the stores, and what it remembers of their answers for a moment."""

import hashlib
import time
from collections.abc import Callable
from typing import Protocol
from uuid import UUID

from syntera_crds.contract.api_key import ApiKey

from ..stores.erasure import Receipt
from ..stores.knowledge_summary import KnowledgeSummary

_RECENT_SECONDS = 30.0
"""A rollout wakes a Tenant several times within seconds; PostgreSQL need not prove each time that it still lets it in."""


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


class KnowledgeStores(Protocol):
    """The part of the stores that the reconcile of a KnowledgeBase needs; all raise what `Stores` raises."""

    async def summary(self, tenant_id: UUID, name: str) -> KnowledgeSummary | None:
        """How a knowledge base is; None: the stores know of none."""

    async def is_full(self, tenant_id: UUID) -> bool:
        """Whether there is no room for a knowledge base that the stores do not know."""

    async def begun(self, tenant_id: UUID, name: str, request_id: UUID) -> None:
        """A Job was started for what somebody has asked for."""

    async def forget(self, tenant_id: UUID, name: str) -> None:
        """Delete its rows, for where no Job can do it any more."""


class RecentIdentities:
    """Tenants whose login and key were found in order a moment ago. Of these only a digest is kept."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, bytes, UUID]] = {}

    def find(self, tenant_uid: str, url: str, admin_key: ApiKey) -> UUID | None:
        """The tenant's identity, if the very same login and key were in order a moment ago."""
        since, digest, tenant_id = self._known.get(tenant_uid, (float("-inf"), b"", None))
        is_recent = self._clock() - since < _RECENT_SECONDS
        return tenant_id if is_recent and digest == _digest(url, admin_key) else None

    def remember(self, tenant_uid: str, url: str, admin_key: ApiKey, tenant_id: UUID) -> None:
        """They are in order now. What is no longer recent is forgotten."""
        now = self._clock()
        self._known.pop(tenant_uid, None)
        for uid, (since, _, _) in list(self._known.items()):
            if now - since < _RECENT_SECONDS:
                break
            del self._known[uid]
        self._known[tenant_uid] = (now, _digest(url, admin_key), tenant_id)


def _digest(url: str, admin_key: ApiKey) -> bytes:
    return hashlib.sha256(f"{url} {admin_key.text}".encode()).digest()
