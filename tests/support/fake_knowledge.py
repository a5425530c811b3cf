"""A stand-in for what PostgreSQL tells the operator of knowledge bases, for tests of what a reconcile decides."""

from dataclasses import dataclass, field, replace
from uuid import UUID

from syntera_operator.errors import StoreUnavailable
from syntera_operator.stores.knowledge_summary import KnowledgeSummary, PendingSync, StuckIndex, VectorPlace


@dataclass
class FakeKnowledge:
    """Knowledge bases of all tenants by their names; PostgreSQL may be away."""

    summaries: dict[str, KnowledgeSummary] = field(default_factory=dict)
    requests: list[PendingSync] = field(default_factory=list)
    vectors: dict[str, list[VectorPlace]] = field(default_factory=dict)
    """Where in Pinecone those of each knowledge base are."""
    is_away: bool = False
    begun_requests: list[UUID] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    stuck: list[StuckIndex] = field(default_factory=list)
    has_room_left: bool = True

    async def summary(self, tenant_id: UUID, name: str) -> KnowledgeSummary | None:
        self._use()
        return self.summaries.get(name)

    async def has_room(self, tenant_id: UUID) -> bool:
        self._use()
        return self.has_room_left

    async def pending(self) -> list[PendingSync]:
        self._use()
        return list(self.requests)

    async def begun(self, tenant_id: UUID, name: str, request_id: UUID) -> None:
        self._use()
        self.begun_requests.append(request_id)
        self.summaries[name] = replace(self.summaries[name], request_id=None)

    async def list_vectors(self, tenant_id: UUID, name: str | None = None) -> list[VectorPlace]:
        self._use()
        return [place for base, places in self.vectors.items() if name in (None, base) for place in places]

    async def abandon_vectors(self, tenant_id: UUID, name: str, host: str) -> None:
        self._use()
        kept = tuple(place for place in self.summaries[name].left if place.host != host)
        self.summaries[name] = replace(self.summaries[name], left=kept)

    async def forget(self, tenant_id: UUID, name: str) -> None:
        self._use()
        self.vectors.pop(name, None)
        self.summaries.pop(name, None)
        self.forgotten.append(name)

    async def promote_large_indexes(self) -> list[StuckIndex]:
        self._use()
        return list(self.stuck)

    def _use(self) -> None:
        if self.is_away:
            raise StoreUnavailable("PostgreSQL does not answer in time", store="PostgreSQL")
