"""A stand-in for the stores of all tenants that keeps in memory who may log in, for tests of what a reconcile decides."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from syntera_crds.contract.api_key import ApiKey, KeyKind
from syntera_crds.contract.names import tenant_login
from syntera_operator.errors import StoreRefused, StoreUnavailable
from syntera_operator.stores.erasure import Receipt

ERASED_AT = datetime(2026, 1, 2, tzinfo=UTC)


@dataclass
class FakeStores:
    """PostgreSQL and Redis, each of which may be away."""

    away: set[str] = field(default_factory=set)
    """Names of the stores that do not answer."""
    refusing: set[str] = field(default_factory=set)
    """Names of the stores that answer and refuse."""
    ids: dict[str, UUID] = field(default_factory=dict)
    released: set[UUID] = field(default_factory=set)
    erased: set[UUID] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)

    async def find(self, name: str) -> UUID | None:
        self._use("PostgreSQL", "find")
        return self.ids.get(name)

    async def identify(self, name: str) -> UUID:
        self._use("PostgreSQL", "identify")
        return self.ids.setdefault(name, UUID(int=len(self.ids) + 1))

    async def ensure_database(self, tenant_id: UUID, *, current_url: str | None) -> str:
        self._use("PostgreSQL", "ensure_database")
        self.released.discard(tenant_id)
        return current_url or f"postgresql://{tenant_login(tenant_id)}:password@postgresql/syntera"

    async def ensure_cache(self, tenant_id: UUID, *, current_url: str | None) -> str:
        self._use("Redis", "ensure_cache")
        return current_url or f"redis://{tenant_login(tenant_id)}:password@redis"

    async def ensure_admin_key(self, tenant_id: UUID, *, current: ApiKey | None) -> ApiKey:
        self._use("PostgreSQL", "ensure_admin_key")
        return current or ApiKey.generate(KeyKind.SECRET)

    async def release(self, tenant_id: UUID) -> None:
        self._use("PostgreSQL", "release")
        self.released.add(tenant_id)
        self._use("Redis", "release")

    async def erase(self, tenant_id: UUID) -> Receipt:
        await self.release(tenant_id)
        self.erased.add(tenant_id)
        name = next(name for name, known in self.ids.items() if known == tenant_id)
        del self.ids[name]
        rows = {"messages": 12, "turns": 0, "redis keys": 3}
        return Receipt(UUID(int=99), tenant_id, name, rows, ERASED_AT, ERASED_AT)

    def _use(self, store: str, call: str) -> None:
        self.calls.append(call)
        if store in self.away:
            raise StoreUnavailable(f"{store} does not answer in time", store=store)
        if store in self.refusing:
            raise StoreRefused(f"{store} refused: permission denied", store=store)
