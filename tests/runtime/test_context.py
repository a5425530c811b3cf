"""Everything together: a published agent on a real API server, a real PostgreSQL, a model behind HTTP.

Nothing smaller shows that the context wires each adapter to its place.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from syntera_crds.contract import names
from syntera_crds.contract.agent_config import AgentConfig, SecretKey
from syntera_crds.contract.api_key import ApiKey, KeyKind
from syntera_crds.contract.tenant_config import Limits, TenantConfig
from syntera_runtime.api.app import build_public_app
from syntera_runtime.api.internal_app import build_internal_app
from syntera_runtime.config import load_settings
from syntera_runtime.context import open_services
from syntera_runtime.models.ids import TenantId
from syntera_runtime.services import Services
from tests.runtime.builders import make_agent, make_candidate, make_stored_key
from tests.runtime.conftest import insert_api_key
from tests.runtime.events import SentEvents
from tests.runtime.redis import ensure_user
from tests.runtime.serving import served
from tests.runtime.test_config import NEEDED
from tests.support.apiserver import RunningApiServer
from tests.support.postgresql import Database, TenantLogin
from tests.support.redis_server import RedisServer
from tests.support.stand_in import StandIn, running_stand_in

pytestmark = pytest.mark.api


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    """A model server of the test's own."""
    with running_stand_in() as stand_in:
        yield stand_in


@pytest.fixture
def namespace(api_server: RunningApiServer) -> str:
    """A namespace of the test's own."""
    return api_server.create_namespace()


@pytest.fixture
def tenant(database: Database) -> TenantLogin:
    """A tenant in PostgreSQL."""
    return asyncio.run(database.make_tenant())


@pytest.fixture
def publish(api_server: RunningApiServer, namespace: str) -> Callable[[AgentConfig], None]:
    """Publishes an agent as the operator does."""

    def publish(agent: AgentConfig) -> None:
        name = names.published_agent_name(agent.name)
        api_server.apply(
            f"/api/v1/namespaces/{namespace}/configmaps/{name}",
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": name, "labels": {names.PUBLISHED_LABEL: "agent"}},
                "data": {names.AGENT_CONFIG_KEY: agent.to_json(), names.DIGEST_KEY: agent.digest()},
            },
        )

    return publish


@pytest.fixture
async def services(
    *,
    api_server: RunningApiServer,
    namespace: str,
    tenant: TenantLogin,
    redis_server: RedisServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Services]:
    """What the process opens."""
    (tmp_path / names.POSTGRESQL_URL_KEY).write_text(tenant.dsn)
    await ensure_user(redis_server, TenantId(tenant.tenant_id), tmp_path / names.REDIS_URL_KEY)
    environment = {
        **NEEDED,
        "SYNTERA_TENANT_ID": str(tenant.tenant_id),
        "SYNTERA_NAMESPACE": namespace,
        "SYNTERA_STORES_DIR": str(tmp_path),
        "KUBECONFIG": str(api_server.kubeconfig),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    async with open_services(load_settings()) as services:
        yield services


async def test_published_agent_answers_through_the_whole_path(
    *,
    api_server: RunningApiServer,
    namespace: str,
    tenant: TenantLogin,
    database: Database,
    stand_in: StandIn,
    publish: Callable[[AgentConfig], None],
    services: Services,
) -> None:
    api_server.apply(
        f"/api/v1/namespaces/{namespace}/secrets/models",
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "models"},
            "data": {"key": base64.b64encode(b"sk-models").decode()},
        },
    )
    secret = SecretKey(name="models", key="key")
    agent = make_agent(models=[make_candidate(base_url=stand_in.base_url, api_key=secret)])
    publish(agent)
    key = ApiKey.generate(KeyKind.SECRET)
    await insert_api_key(database, tenant.tenant_id, make_stored_key(key))

    internal = httpx.ASGITransport(app=build_internal_app(services))
    async with httpx.AsyncClient(transport=internal, base_url="http://runtime") as client, asyncio.timeout(60):
        await services.loaded_agents.wait_loaded("travel", digest=agent.digest(), seconds=30)
        while (await client.get("/readyz")).status_code != 200:  # noqa: ASYNC110  # it tells nobody when
            await asyncio.sleep(0.02)
        refused = await client.get("/internal/v1/config/agents/travel", headers={"Authorization": f"Bearer {key.text}"})
        assert refused.status_code == 401

    headers = {"Authorization": f"Bearer {key.text}"}
    async with (
        served(build_public_app(services)) as url,
        httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client,
    ):
        stand_in.say("It is in your mailbox.")
        conversation = (await client.post("/v1/agents/travel/conversations")).json()
        messages = f"/v1/conversations/{conversation['id']}/messages"
        answer = await client.post(messages, json={"content": "Where is my booking?"})
        assert answer.status_code == 200, answer.text
        assert answer.json()["message"]["content"] == "It is in your mailbox."
        assert len((await client.get(messages)).json()["items"]) == 2
        await services.writers.drain(seconds=30)
        events = messages.replace("/messages", "/events")
        async with client.stream("GET", events, params={"after": 1}) as following:
            *_, completed = await SentEvents(following).until("message.completed")
        assert completed.data["message"] == answer.json()["message"]
        asked = {"model": "travel", "messages": [{"role": "user", "content": "Hi"}]}
        assert (await client.post("/v1/chat/completions", json=asked)).status_code == 200
        services.followers.close()
    assert {received.headers["authorization"] for received in stand_in.journal()} == {"Bearer sk-models"}


async def test_limits_of_the_published_tenant_hold(
    *,
    api_server: RunningApiServer,
    namespace: str,
    tenant: TenantLogin,
    database: Database,
    services: Services,
) -> None:
    key = ApiKey.generate(KeyKind.SECRET)
    await insert_api_key(database, tenant.tenant_id, make_stored_key(key))
    config = TenantConfig(name="acme", display_name="Acme", limits=Limits(requests_per_minute=1))
    api_server.apply(
        f"/api/v1/namespaces/{namespace}/configmaps/{names.TENANT_CONFIG}",
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": names.TENANT_CONFIG, "labels": {names.PUBLISHED_LABEL: "tenant"}},
            "data": {names.TENANT_CONFIG_KEY: config.to_json()},
        },
    )
    transport = httpx.ASGITransport(app=build_public_app(services))
    headers = {"Authorization": f"Bearer {key.text}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://runtime", headers=headers) as client:
        async with asyncio.timeout(60):
            while "ratelimit-limit" not in (answer := await client.get("/v1/agents")).headers:  # noqa: ASYNC110  # nobody announces it
                await asyncio.sleep(0.02)
        assert (answer.status_code, answer.headers["ratelimit-remaining"]) == (200, "0")
        assert (await client.get("/v1/agents")).status_code == 429


async def test_process_opens_and_closes_though_its_stores_are_away(tmp_path: Path, services: Services) -> None:
    (tmp_path / names.POSTGRESQL_URL_KEY).write_text("postgresql://t:t@127.0.0.1:1/syntera")
    transport = httpx.ASGITransport(app=build_public_app(services))
    headers = {"Authorization": f"Bearer {ApiKey.generate(KeyKind.SECRET).text}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://runtime", headers=headers) as client:
        answer = await client.get("/v1/agents")
    assert (answer.status_code, answer.json()["store"]) == (503, "PostgreSQL")
