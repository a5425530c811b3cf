"""A stand-in for what PostgreSQL tells the operator of knowledge bases, for tests of what a reconcile decides."""

from dataclasses import dataclass, field, replace
from uuid import UUID

from syntera_operator.errors import StoreUnavailable
from syntera_operator.stores.knowledge_summary import KnowledgeSummary, PendingSync


@dataclass
class FakeKnowledge:
    """Knowledge bases of all tenants by their names; PostgreSQL may be away."""

    summaries: dict[str, KnowledgeSummary] = field(default_factory=dict)
    requests: list[PendingSync] = field(default_factory=list)
    is_away: bool = False
    has_room: bool = True
    begun_requests: list[UUID] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    promotions: int = 0

    async def summary(self, tenant_id: UUID, name: str) -> KnowledgeSummary | None:
        self._use()
        return self.summaries.get(name)

    async def is_full(self, tenant_id: UUID) -> bool:
        self._use()
        return not self.has_room

    async def pending(self) -> list[PendingSync]:
        self._use()
        return list(self.requests)

    async def begun(self, tenant_id: UUID, name: str, request_id: UUID) -> None:
        self._use()
        self.begun_requests.append(request_id)
        self.summaries[name] = replace(self.summaries[name], request_id=None)

    async def forget(self, tenant_id: UUID, name: str) -> None:
        self._use()
        self.summaries.pop(name, None)
        self.forgotten.append(name)

    async def promote_large_indexes(self) -> None:
        self._use()
        self.promotions += 1

    def _use(self) -> None:
        if self.is_away:
            raise StoreUnavailable("PostgreSQL does not answer in time", store="PostgreSQL")
