"""A tenant's API as the command line meets it: the real app on a store in memory, its agents answered by the stand-in."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import structlog
from fastapi import FastAPI

from syntera_crds.contract.agent_config import AgentKnowledge
from syntera_crds.contract.api_key import Scope
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.adapters.openai_models import OpenAIChatModels
from syntera_runtime.api.app import build_public_app
from tests.runtime.adapters.fixed_secrets import FixedSecrets
from tests.runtime.builders import (
    TENANT,
    make_agent,
    make_candidate,
    make_knowledge_base,
    make_services,
    put_key,
)
from tests.runtime.fakes import FakeCatalogue, FakeSearcher
from tests.runtime.knowledge_fakes import make_config, make_site
from tests.support.serving import serving
from tests.support.stand_in import StandIn, running_stand_in

DESK = "The desk opens at nine every morning."
INSTRUCTIONS = "You are the travel assistant of Acme Travel. Every passenger may take one cabin bag of 8 kg."


@dataclass(frozen=True)
class RunningTenant:
    """Where the API is, keys for it, and the hand on what is behind it."""

    url: str
    key: str
    admin_key: str
    stand_in: StandIn
    store: MemoryStore
    searcher: FakeSearcher


def silence() -> None:
    """The API runs in this very process: its log must not get into what commands print."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())


@pytest.fixture(scope="session")
def quiet_logs() -> Iterator[None]:
    """Until the end, because a turn may go on after its test."""
    silence()
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def running_tenant(quiet_logs: None) -> Iterator[RunningTenant]:
    store = MemoryStore()
    with running_stand_in() as stand_in:
        candidate = make_candidate(base_url=stand_in.base_url, timeout_seconds=20)
        travel = make_agent(
            instructions=INSTRUCTIONS,
            models=[candidate],
            greeting="Hello, how can I help?",
            suggestions=["Where is my booking?", "How much baggage may I take?"],
        )
        quiet = make_agent(name="quiet", display_name="Quiet one", description="", models=[candidate])
        learned = make_agent(
            name="learned", display_name="Learned one", models=[candidate], knowledge=[AgentKnowledge(name="handbook")]
        )
        agents = FakeCatalogue(travel, quiet, learned)
        agents.knowledge_bases["handbook"] = make_knowledge_base()
        searches = FakeSearcher()
        models = OpenAIChatModels(FixedSecrets())
        knowledge = make_site(TENANT)
        headings = ("desk.md", "Opening hours")
        asyncio.run(
            knowledge.fill(make_config(), {"desk.md": [DESK]}, url="https://docs.example/desk", headings=headings)
        )
        services = make_services(store, models=models, agents=agents, searcher=knowledge.searcher, searches=searches)
        app = build_public_app(services)

        @asynccontextmanager
        async def closing_at_the_end(_: FastAPI) -> AsyncIterator[None]:
            following = asyncio.create_task(services.followers.run())
            yield
            following.cancel()
            await services.runner.aclose()
            await models.aclose()

        app.router.lifespan_context = closing_at_the_end
        with serving(app, lifespan=True) as url:
            admin_key = put_key(store, scopes=frozenset({Scope.ADMIN}))
            yield RunningTenant(url, put_key(store), admin_key, stand_in, store, searches)


@pytest.fixture
def tenant(running_tenant: RunningTenant) -> Iterator[RunningTenant]:
    """What a test tells the stand-in is forgotten after it."""
    silence()  # again: tests of other folders set up logging, too
    yield running_tenant
    running_tenant.stand_in.reset()
