"""`python -m tests.runtime.knowledge_pod_process`: a runtime process whose agent answers from the handbook in the tenant's PostgreSQL.

Its model cites the first passage, and then speaks slowly.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from syntera_crds.contract.agent_config import AgentKnowledge, ModelCandidate
from syntera_runtime.adapters.postgresql.knowledge_reader import PostgresqlKnowledgeReader
from syntera_runtime.adapters.postgresql.knowledge_vectors import PostgresqlVectors
from syntera_runtime.adapters.postgresql.pool import Pool
from syntera_runtime.config import load_settings
from syntera_runtime.knowledge.search import Searcher
from syntera_runtime.logs import configure_logging
from syntera_runtime.main import serve, stop_on_signals
from syntera_runtime.metrics import Metrics
from syntera_runtime.models.exchange import ModelEvent, ModelRequest, ModelStarted, TextDelta
from tests.runtime.builders import make_agent
from tests.runtime.fake_process import FakeSlowModels
from tests.runtime.fakes import FakeCatalogue
from tests.runtime.knowledge_fakes import FakeEmbedder, FakeKnowledgeBases, FakeReranker, FakeTenant, make_config
from tests.runtime.pods import open_pod


class FakeCitingModels(FakeSlowModels):
    """Cites before it says as many words as it is asked for."""

    async def stream(
        self, candidates: Sequence[ModelCandidate], request: ModelRequest
    ) -> AsyncGenerator[ModelEvent, None]:
        """See `ChatModels`."""
        async for event in super().stream(candidates, request):
            yield event
            if isinstance(event, ModelStarted):
                yield TextDelta("At nine [1]. ")


def build_searcher(pool: Pool) -> Searcher:
    """Over what the tenant's PostgreSQL has."""
    vectors = PostgresqlVectors(pool)
    return Searcher(
        FakeKnowledgeBases(make_config()),
        PostgresqlKnowledgeReader(pool),
        tenants=FakeTenant(),
        vectors_of=lambda _config, _index: vectors,
        embedder=FakeEmbedder(),
        reranker=FakeReranker(),
        metrics=Metrics(),
    )


async def run() -> None:
    """Serve until a signal comes."""
    settings = load_settings()
    configure_logging(settings.log_level)
    async with open_pod(
        settings.owner,
        settings.stores_dir,
        models=FakeCitingModels(),
        agents=FakeCatalogue(make_agent(knowledge=[AgentKnowledge(name="handbook")])),
        lease_seconds=settings.lease_seconds,
        build_searcher=build_searcher,
    ) as pod:
        await serve(pod.services, settings, stop=stop_on_signals())


if __name__ == "__main__":
    asyncio.run(run())
