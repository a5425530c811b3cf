"""A tenant's API as the command line meets it: the real app on a store in memory, its agents answered by the stand-in."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.adapters.openai_models import OpenAIChatModels
from syntera_runtime.api.app import build_public_app
from tests.runtime.adapters.test_openai_models import FixedSecrets
from tests.runtime.builders import make_agent, make_candidate, make_services, put_key
from tests.runtime.fakes import FakeCatalogue
from tests.support.serving import serving
from tests.support.stand_in import StandIn, running_stand_in

INSTRUCTIONS = "You are the travel assistant of Acme Travel. Every passenger may take one cabin bag of 8 kg."


@dataclass(frozen=True)
class RunningTenant:
    """Where the API is, a key for it, and the hand on the model behind it."""

    url: str
    key: str
    stand_in: StandIn


@pytest.fixture(scope="session")
def running_tenant() -> Iterator[RunningTenant]:
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
        agents = FakeCatalogue(travel, quiet)
        services = make_services(store, models=OpenAIChatModels(FixedSecrets()), agents=agents)
        with serving(build_public_app(services)) as url:
            yield RunningTenant(url, put_key(store), stand_in)


@pytest.fixture
def tenant(running_tenant: RunningTenant) -> Iterator[RunningTenant]:
    """What a test tells the stand-in is forgotten after it."""
    yield running_tenant
    running_tenant.stand_in.reset()
