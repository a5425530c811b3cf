"""What is asked for through the API reaches the KnowledgeBase that it is for, and nobody is pestered."""

from dataclasses import dataclass, field
from uuid import UUID

import pytest

from syntera_operator.causes import Wakeup, knowledge_base_key
from syntera_operator.errors import LeadershipLost
from syntera_operator.knowledge_requests import KnowledgeRequests
from syntera_operator.stores.knowledge_summary import PendingSync, StuckIndex
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_knowledge import FakeKnowledge
from tests.support.make import make_knowledge_base_manifest, make_tenant_manifest

HANDBOOK = Wakeup(knowledge_base_key("acme", "handbook"))


def make_request(number: int = 1, *, tenant: str = "acme", knowledge_base: str = "handbook") -> PendingSync:
    return PendingSync(
        tenant_id=UUID(int=9), tenant_name=tenant, knowledge_base=knowledge_base, request_id=UUID(int=number)
    )


@dataclass
class Site:
    """A Tenant with a KnowledgeBase, and what it asks for."""

    knowledge: FakeKnowledge = field(default_factory=FakeKnowledge)
    woken: list[Wakeup] = field(default_factory=list)
    seconds: float = 0.0
    cluster: FakeCluster = field(
        default_factory=lambda: FakeCluster(make_tenant_manifest(), make_knowledge_base_manifest())
    )

    def build(self) -> KnowledgeRequests:
        return KnowledgeRequests(self.cluster, self.knowledge, self.woken.append, clock=lambda: self.seconds)


async def test_request_wakes_its_knowledge_base_once_and_again_after_a_minute() -> None:
    site = Site(FakeKnowledge(requests=[make_request()]))
    requests = site.build()

    for seconds, count in ((0.0, 1), (5.0, 1), (59.0, 1), (60.0, 2)):
        site.seconds = seconds
        await requests.look()
        assert site.woken == [HANDBOOK] * count


async def test_next_request_wakes_at_once() -> None:
    site = Site(FakeKnowledge(requests=[make_request(1)]))
    requests = site.build()
    await requests.look()
    site.knowledge.requests = [make_request(2)]

    await requests.look()

    assert site.woken == [HANDBOOK] * 2


@pytest.mark.parametrize("lost", [make_request(tenant="gone"), make_request(knowledge_base="gone")])
async def test_request_for_what_is_gone_wakes_nobody(lost: PendingSync) -> None:
    site = Site(FakeKnowledge(requests=[lost]))

    await site.build().look()

    assert site.woken == []


async def test_store_that_is_away_is_asked_again() -> None:
    site = Site(FakeKnowledge(requests=[make_request()], is_away=True))
    requests = site.build()
    await requests.look()
    assert site.woken == []

    site.knowledge.is_away = False
    await requests.look()
    assert site.woken == [HANDBOOK]


async def test_large_index_that_could_not_be_moved_is_told_of_its_knowledge_base() -> None:
    stuck = [
        StuckIndex(tenant_name=tenant, knowledge_base="handbook", message="no space left")
        for tenant in ("gone", "acme")
    ]
    site = Site(FakeKnowledge(stuck=stuck))

    await site.build().look_after_indexes()

    assert site.woken == [HANDBOOK]
    (told,) = site.cluster.events
    assert (told.about, told.type, told.reason) == ("handbook", "Warning", "LargeIndexFailed")
    assert "no space left" in told.message


async def test_indexes_are_looked_after_again_when_the_store_was_away() -> None:
    site = Site(FakeKnowledge(is_away=True))

    await site.build().look_after_indexes()

    assert (site.woken, site.cluster.events) == ([], [])


async def test_process_that_leads_no_more_ends() -> None:
    class Lost(FakeKnowledge):
        async def pending(self) -> list[PendingSync]:
            raise LeadershipLost

        async def promote_large_indexes(self) -> list[StuckIndex]:
            raise LeadershipLost

    requests = Site(Lost()).build()
    for look in (requests.look, requests.look_after_indexes):
        with pytest.raises(LeadershipLost):
            await look()
