"""What the operator asks of the stores, tenant by tenant. Each call may be repeated at any time and from any point.

Who may write is not decided here: `before_use` is asked before each use of a store.
"""

from collections.abc import AsyncGenerator, Mapping
from datetime import datetime, timedelta
from typing import Self
from uuid import UUID

from syntera_crds.contract.api_key import ApiKey
from syntera_kube import BeforeWrite

from .erasure import REDIS_KEYS, Erasure, Receipt
from .faults import StoreObserver
from .knowledge import KnowledgeStore
from .logins import Logins
from .postgresql import Postgresql, PostgresqlSettings
from .redis_acl import RedisSettings, RedisUsers
from .register import Register
from .retention import Kept, Retention


class TenantStores:
    """PostgreSQL and Redis of all tenants.

    Every method but `aclose` raises `StoreUnavailable` where a store does not answer within its deadline, which trying
    again may mend, `StoreRefused` where it answered and refused, which an administrator has to mend, and whatever
    `before_use` raises to forbid it.
    """

    def __init__(
        self,
        postgresql: PostgresqlSettings,
        redis: RedisSettings,
        *,
        before_use: BeforeWrite = lambda: None,
        observer: StoreObserver | None = None,
    ) -> None:
        self._postgresql = Postgresql(postgresql, before_use=before_use, observer=observer)
        self._register = Register(self._postgresql)
        self._logins = Logins(self._postgresql)
        self._erasure = Erasure(self._postgresql)
        self._retention = Retention(self._postgresql)
        self.knowledge = KnowledgeStore(self._postgresql)
        """Of knowledge bases."""
        self._redis = RedisUsers(redis, before_use=before_use, observer=observer)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def find(self, name: str) -> UUID | None:
        """The identity stored for the name, released or not; None if there is none.

        Raises:
            StoreUnavailable, StoreRefused: see the class.
        """
        return await self._register.find(name)

    async def identify(self, name: str) -> UUID:
        """The identity stored for the name, else a new one; a released tenant is taken back with all its rows.

        For tenants that are wanted. One that is being deleted is looked up with `find`.

        Raises:
            StoreUnavailable, StoreRefused: see the class.
        """
        return await self._register.identify(name)

    async def ensure_database(self, tenant_id: UUID, *, current_url: str | None) -> str:
        """Make sure that the tenant can log in to PostgreSQL; the URL for it.

        The password is the one in `current_url`, which the tenant's Secret holds: where it no longer logs in, it is set
        again. Without `current_url` a new password is made.

        Raises:
            StoreUnavailable, StoreRefused: see the class.
        """
        return await self._logins.ensure(tenant_id, current_url=current_url)

    async def ensure_cache(self, tenant_id: UUID, *, current_url: str | None) -> str:
        """The same for Redis.

        Raises:
            StoreUnavailable, StoreRefused: see the class.
        """
        return await self._redis.ensure(tenant_id, current_url=current_url)

    async def ensure_admin_key(self, tenant_id: UUID, *, current: ApiKey | None) -> ApiKey:
        """`current` if it is stored and alive; else a new administrator's key, and the operator's older ones are revoked.

        Raises:
            StoreUnavailable, StoreRefused: see the class.
        """
        return await self._register.ensure_admin_key(tenant_id, current=current)

    async def release(self, tenant_id: UUID) -> None:
        """Take the tenant's ways in, keep its rows: login closed, sessions ended, Redis user gone, admin key revoked.

        Raises:
            StoreUnavailable, StoreRefused: see the class.
        """
        await self._register.release(tenant_id)
        await self._logins.close(tenant_id)
        await self._redis.delete(tenant_id)

    async def erase(self, tenant_id: UUID) -> Receipt:
        """Delete everything of the tenant's; what is left is the receipt. Goes on where an earlier call was cut off.

        Raises:
            StoreUnavailable, StoreRefused: see the class; refused also where no such tenant was ever known.
        """
        receipt = await self._erasure.open_receipt(tenant_id)
        if receipt.completed_at is not None:
            return receipt
        await self.release(tenant_id)
        await self._erasure.erase_rows(tenant_id)
        async for number in self._redis.erase_keys(tenant_id):
            await self._erasure.count(tenant_id, REDIS_KEYS, number)
        await self._logins.drop(tenant_id)
        return await self._erasure.complete(tenant_id)

    def expire(
        self, name: str, periods: Mapping[Kept, timedelta], *, now: datetime
    ) -> AsyncGenerator[Mapping[str, int], None]:
        """Delete what is older than its period; gives the rows of each table, batch by batch.

        Raises:
            StoreUnavailable, StoreRefused: see the class.
        """
        return self._retention.expire(name, periods, now=now)

    async def cache_run_id(self) -> str:
        """What changes when Redis restarted; its users may be gone then, and every tenant's has to be ensured again.

        Raises:
            StoreUnavailable, StoreRefused: see the class.
        """
        return await self._redis.run_id()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._postgresql.aclose()
        await self._redis.aclose()
