"""The API on real stores, served by two pods, each behind a gate that a test can shut."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from syntera_crds.contract.agent_config import Access
from syntera_crds.contract.api_key import ApiKey, KeyKind, Scope
from syntera_runtime.api.app import build_public_app
from syntera_runtime.client import Client
from tests.runtime.builders import make_agent, make_knowledge_base, make_publishable_key, make_stored_key
from tests.runtime.conftest import insert_api_key
from tests.runtime.fakes import FakeCatalogue, FakeChatModels
from tests.runtime.pods import Pod, Site, make_site, open_pod
from tests.runtime.serving import served
from tests.support.gate import Gate
from tests.support.postgresql import Database
from tests.support.redis_server import RedisServer


@dataclass
class Service:
    """Where requests go: to the first gate, until a test or a refused connection sends them on. See `Location`."""

    urls: list[str]
    place: int = 0
    asked: int = 0

    def url(self) -> str:
        """Where requests go now."""
        self.asked += 1
        return self.urls[self.place]

    def renew(self) -> None:
        """As a Service does when a pod is gone."""
        self.place = (self.place + 1) % len(self.urls)


@dataclass
class Api:
    """A tenant's API."""

    site: Site
    pods: list[Pod]
    gates: list[Gate]
    models: FakeChatModels
    agents: FakeCatalogue
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The first pod's."""
        return self.urls[0]

    @property
    def urls(self) -> list[str]:
        """The pods', behind their gates."""
        return [f"http://127.0.0.1:{gate.port}" for gate in self.gates]

    async def open_streams(self, pod: int, *, count: int) -> None:
        """Wait until so many streams are open at a pod."""
        async with asyncio.timeout(30):
            while self.pods[pod].services.metrics.streams_open._value.get() < count:  # noqa: ASYNC110  # nobody announces it
                await asyncio.sleep(0.01)

    async def key(self, *scopes: Scope) -> str:
        """A new secret key."""
        key = ApiKey.generate(KeyKind.SECRET)
        await insert_api_key(self.site.database, self.site.tenant_id, make_stored_key(key, scopes=frozenset(scopes)))
        return key.text

    async def publishable_key(self) -> str:
        """A new publishable key."""
        key = ApiKey.generate(KeyKind.PUBLISHABLE)
        await insert_api_key(self.site.database, self.site.tenant_id, make_publishable_key(key))
        return key.text


@asynccontextmanager
async def served_pod(api: Api) -> AsyncIterator[Gate]:
    """A pod of the API, behind a gate."""
    async with open_pod(api.site.tenant_id, api.site.stores_dir, models=api.models, agents=api.agents) as pod:
        api.pods.append(pod)
        async with served(build_public_app(pod.services)) as url:
            with Gate(urlsplit(url).port or 0) as gate:
                api.gates.append(gate)
                yield gate


@pytest.fixture
def site(database: Database, redis_server: RedisServer, tmp_path: Path) -> Site:
    """A tenant."""
    return asyncio.run(make_site(database, redis_server, tmp_path))


@pytest.fixture
async def api(site: Site) -> AsyncIterator[Api]:
    """Its API."""
    agents = FakeCatalogue(
        make_agent(access=Access.PUBLIC, greeting="Hello, how can I help?", suggestions=["Where is my booking?"])
    )
    agents.knowledge_bases["handbook"] = make_knowledge_base()
    api = Api(site, [], [], FakeChatModels(), agents)
    async with served_pod(api), served_pod(api):
        yield api


@pytest.fixture
async def client(api: Api) -> AsyncIterator[Client]:
    """A client that may talk, and work with conversations."""
    key = await api.key(Scope.CHAT, Scope.CONVERSATIONS_READ, Scope.CONVERSATIONS_WRITE)
    async with Client(api.url, key) as client:
        yield client


@pytest.fixture
async def administrator(api: Api) -> AsyncIterator[Client]:
    """A client that may do everything."""
    async with Client(api.url, await api.key(Scope.ADMIN)) as client:
        yield client
