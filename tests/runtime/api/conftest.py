"""The public API in process, on stores in memory."""

from collections.abc import AsyncIterator

import httpx
import pytest

from syntera_crds.contract.api_key import Scope
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.api.app import build_public_app
from syntera_runtime.services import Services
from tests.runtime.builders import make_agent, make_services, put_key
from tests.runtime.fakes import FakeCatalogue, FakeChatModels


@pytest.fixture
def store() -> MemoryStore:
    """All stores."""
    return MemoryStore()


@pytest.fixture
def models() -> FakeChatModels:
    """The models, scripted."""
    return FakeChatModels()


@pytest.fixture
def agents() -> FakeCatalogue:
    """The agents: `travel`."""
    return FakeCatalogue(make_agent())


@pytest.fixture
async def services(store: MemoryStore, models: FakeChatModels, agents: FakeCatalogue) -> AsyncIterator[Services]:
    """What is behind the API."""
    services = make_services(store, models=models, agents=agents)
    yield services
    await services.runner.aclose()


@pytest.fixture
async def anonymous(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """A client without credentials."""
    transport = httpx.ASGITransport(app=build_public_app(services), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://runtime") as client:
        yield client


@pytest.fixture
def client(anonymous: httpx.AsyncClient, store: MemoryStore) -> httpx.AsyncClient:
    """A client with a key that may talk, and work with conversations."""
    scopes = frozenset({Scope.AGENTS_READ, Scope.CHAT, Scope.CONVERSATIONS_READ, Scope.CONVERSATIONS_WRITE})
    anonymous.headers["Authorization"] = f"Bearer {put_key(store, scopes=scopes)}"
    return anonymous
