"""A server with sockets, on stores in memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from syntera_crds.contract.agent_config import Access
from syntera_crds.contract.api_key import Scope
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.services import Services
from tests.runtime.builders import make_agent, make_services, put_key, put_publishable_key
from tests.runtime.fakes import FakeCatalogue, FakeChatModels, FakeFailingStore, FakeKeySets
from tests.runtime.identity.issuer import JWKS_URL, key_set, make_tenant
from tests.runtime.sockets import serving_sockets

SITE = "https://www.acme.example"


@pytest.fixture
def store() -> FakeFailingStore:
    """All stores."""
    return FakeFailingStore()


@pytest.fixture
def agents() -> FakeCatalogue:
    """A tenant with one agent for everybody, one website and one issuer."""
    return FakeCatalogue(make_agent(access=Access.PUBLIC), tenant=make_tenant(allowed_origins=[SITE]))


@pytest.fixture
async def services(store: FakeFailingStore, models: FakeChatModels, agents: FakeCatalogue) -> AsyncIterator[Services]:
    """What is behind the API."""
    key_sets = FakeKeySets()
    key_sets.published[JWKS_URL] = key_set()
    services = make_services(store, models=models, agents=agents, key_sets=key_sets)
    holding = asyncio.create_task(services.stream_slots.run())
    yield services
    holding.cancel()
    await services.runner.aclose()


@pytest.fixture
async def url(services: Services) -> AsyncIterator[str]:
    """The server's URL."""
    async with serving_sockets(services) as url:
        yield url


@pytest.fixture
def key(store: MemoryStore) -> str:
    """A key that may talk, and work with conversations."""
    scopes = frozenset({Scope.AGENTS_READ, Scope.CHAT, Scope.CONVERSATIONS_READ, Scope.CONVERSATIONS_WRITE})
    return put_key(store, scopes=scopes)


@pytest.fixture
def visitor(url: str, store: MemoryStore) -> Callable[[], Awaitable[str]]:
    """Makes a new visitor and gives their token."""
    publishable = put_publishable_key(store)

    async def buy() -> str:
        async with httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {publishable}"}, timeout=30
        ) as client:
            token: str = (await client.post("/v1/visitor-tokens")).json()["visitorToken"]
        return token

    return buy


@pytest.fixture
def start(url: str) -> Callable[[str], Awaitable[str]]:
    """Begins a conversation and gives its id."""

    async def begin(token: str) -> str:
        async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
            made: str = (await client.post("/v1/agents/travel/conversations")).json()["id"]
        return made

    return begin
