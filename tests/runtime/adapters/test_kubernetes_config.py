"""The published tenant, agents and their Secrets, as changes arrive."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from syntera_crds.contract import names
from syntera_crds.contract.agent_config import HeaderFromSecret, ModelCandidate, SecretKey
from syntera_crds.contract.internal_api import LoadedAgent
from syntera_crds.contract.tenant_config import FilesConfig, S3Config
from syntera_runtime.adapters import kubernetes_config, kubernetes_secrets
from syntera_runtime.adapters.kubernetes_config import KubernetesConfig
from syntera_runtime.errors import SecretMissing
from syntera_runtime.ports.configuration import AgentCatalogue, LoadedAgents, Secrets, TenantCatalogue
from tests.runtime.adapters.fake_kube import NAMESPACE, FakeKube
from tests.runtime.adapters.fixed_secrets import KEY
from tests.runtime.adapters.published import eventually, make_agent, make_tenant


async def settle() -> None:
    """Let everything happen that is going to happen without anything new."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_config, "GRACE_SECONDS", 1)
    monkeypatch.setattr(kubernetes_secrets, "GRACE_SECONDS", 1)
    monkeypatch.setattr(kubernetes_config, "START_SECONDS", 2)


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube()


@pytest.fixture
async def start(kube: FakeKube) -> AsyncIterator[Callable[[], KubernetesConfig]]:
    tasks = []

    def run() -> KubernetesConfig:
        config = KubernetesConfig(kube, namespace=NAMESPACE)
        tasks.append(asyncio.create_task(config.run()))
        return config

    yield run
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(outcome, asyncio.CancelledError)


@pytest.fixture
async def config(start: Callable[[], KubernetesConfig]) -> KubernetesConfig:
    """Loaded, with nothing published yet."""
    running = start()
    await eventually(lambda: running.is_loaded)
    return running


def instructions(config: KubernetesConfig, agent: str = "travel") -> str | None:
    found = config.get(agent)
    return found.instructions if found else None


def test_adapter_fits_its_ports(kube: FakeKube) -> None:
    adapter = KubernetesConfig(kube, namespace=NAMESPACE)
    catalogue: AgentCatalogue = adapter
    tenants: TenantCatalogue = adapter
    loaded: LoadedAgents = adapter
    secrets: Secrets = adapter.secrets
    assert (catalogue.is_loaded, tenants.tenant(), loaded.loaded("travel")) == (False, None, None)
    assert secrets is adapter.secrets


# ---- agents ----


async def test_catalogue_is_loaded_once_everything_was_read(
    kube: FakeKube, start: Callable[[], KubernetesConfig]
) -> None:
    kube.publish(make_agent("travel"))
    kube.publish(make_agent("food", revision=7), digest="d7")
    kube.put("ConfigMap", "other", data={})
    config = start()
    assert not config.is_loaded
    await eventually(lambda: config.is_loaded)
    assert [agent.name for agent in config.all()] == ["food", "travel"]
    assert config.loaded("food") == LoadedAgent(name="food", revision=7, digest="d7")
    assert config.loaded("travel") == LoadedAgent(name="travel", revision=1, digest=make_agent("travel").digest())


async def test_edit_is_served_when_it_is_published(kube: FakeKube, config: KubernetesConfig) -> None:
    kube.publish(make_agent())
    await eventually(lambda: config.get("travel"))
    kube.publish(make_agent(instructions="Be long.", revision=2))
    await eventually(lambda: instructions(config) == "Be long.")
    assert config.get("other") is None


@pytest.mark.parametrize(
    "data",
    [
        {},
        {names.AGENT_CONFIG_KEY: "{", names.DIGEST_KEY: "d"},
        {names.AGENT_CONFIG_KEY: "{}", names.DIGEST_KEY: "d"},
        {names.AGENT_CONFIG_KEY: make_agent().to_json()},
        {names.AGENT_CONFIG_KEY: make_agent("other").to_json(), names.DIGEST_KEY: "d"},
        {names.AGENT_CONFIG_KEY: make_agent(models=[]).to_json(), names.DIGEST_KEY: "d"},
    ],
)
async def test_last_good_one_is_kept_when_a_config_map_is_malformed(
    kube: FakeKube, config: KubernetesConfig, data: dict[str, str]
) -> None:
    kube.publish(make_agent())
    await eventually(lambda: config.get("travel"))
    before = config.loaded("travel")
    kube.publish_data("travel", data)
    kube.publish_data("broken", data)
    await settle()
    assert config.loaded("travel") == before
    assert [agent.name for agent in config.all()] == ["travel"]


async def test_unknown_fields_are_ignored(kube: FakeKube, config: KubernetesConfig) -> None:
    text = make_agent().to_json().replace('{"name"', '{"fromTheFuture":{"a":1},"name"', 1)
    kube.publish_data("travel", {names.AGENT_CONFIG_KEY: text, names.DIGEST_KEY: "d"})
    await eventually(lambda: config.get("travel"))


async def test_deleted_agent_is_gone_after_the_grace(kube: FakeKube, config: KubernetesConfig) -> None:
    kube.publish(make_agent())
    await eventually(lambda: config.get("travel"))
    kube.remove("ConfigMap", "agent-travel")
    await settle()
    assert config.get("travel")
    await eventually(lambda: config.get("travel") is None)
    assert config.loaded("travel") is None


async def test_config_map_that_comes_back_in_time_leaves_no_gap(kube: FakeKube, config: KubernetesConfig) -> None:
    kube.publish(make_agent())
    await eventually(lambda: config.get("travel"))
    kube.remove("ConfigMap", "agent-travel")
    await settle()
    kube.publish(make_agent(revision=2))
    deadline = time.monotonic() + 1.3
    while time.monotonic() < deadline:
        assert config.get("travel")
        await asyncio.sleep(0.01)


# ---- the tenant ----


async def test_tenant_is_known_once_everything_was_read(kube: FakeKube, start: Callable[[], KubernetesConfig]) -> None:
    kube.publish_tenant(make_tenant())
    kube.publish(make_agent())
    config = start()
    await eventually(lambda: config.is_loaded)
    assert config.tenant() == make_tenant()
    assert [agent.name for agent in config.all()] == ["travel"]


async def test_tenant_is_none_when_nothing_is_published_for_it(config: KubernetesConfig) -> None:
    assert config.tenant() is None


async def test_edit_of_the_tenant_takes_over_when_it_is_published(kube: FakeKube, config: KubernetesConfig) -> None:
    kube.publish_tenant(make_tenant())
    await eventually(lambda: config.tenant() == make_tenant())
    kube.publish_tenant(make_tenant(issuers=[]))
    await eventually(lambda: config.tenant() == make_tenant(issuers=[]))


@pytest.mark.parametrize(
    "data",
    [
        {},
        {names.TENANT_CONFIG_KEY: "{"},
        {names.TENANT_CONFIG_KEY: "{}"},
        {
            names.TENANT_CONFIG_KEY: '{"name":"acme","displayName":"Acme","issuers":[{"issuer":"https://other.example"}]}'
        },
        {names.AGENT_CONFIG_KEY: make_agent(names.TENANT_CONFIG).to_json(), names.DIGEST_KEY: "d"},
    ],
)
async def test_last_good_tenant_is_kept_when_its_config_map_is_malformed(
    kube: FakeKube, config: KubernetesConfig, data: dict[str, str]
) -> None:
    kube.publish_tenant(make_tenant())
    await eventually(config.tenant)
    kube.publish_tenant_data(data)
    await settle()
    assert config.tenant() == make_tenant()
    assert config.all() == []


async def test_unknown_fields_of_the_tenant_are_ignored(kube: FakeKube, config: KubernetesConfig) -> None:
    text = make_tenant().to_json().replace('{"name"', '{"fromTheFuture":{"a":1},"name"', 1)
    kube.publish_tenant_data({names.TENANT_CONFIG_KEY: text})
    await eventually(config.tenant)


async def test_deleted_tenant_is_gone_after_the_grace(kube: FakeKube, config: KubernetesConfig) -> None:
    kube.publish_tenant(make_tenant())
    kube.publish(make_agent())
    await eventually(lambda: config.tenant() and config.get("travel"))
    kube.remove("ConfigMap", names.TENANT_CONFIG)
    await settle()
    assert config.tenant()
    await eventually(lambda: config.tenant() is None)
    assert config.get("travel")


async def test_tenant_whose_config_map_comes_back_in_time_leaves_no_gap(
    kube: FakeKube, config: KubernetesConfig
) -> None:
    kube.publish_tenant(make_tenant())
    await eventually(config.tenant)
    kube.remove("ConfigMap", names.TENANT_CONFIG)
    await settle()
    kube.publish_tenant(make_tenant(issuers=[]))
    deadline = time.monotonic() + 1.3
    while time.monotonic() < deadline:
        assert config.tenant()
        await asyncio.sleep(0.01)
    assert config.tenant() == make_tenant(issuers=[])


# ---- secrets ----


async def test_secret_is_watched_by_name_as_long_as_it_is_referred_to(kube: FakeKube, config: KubernetesConfig) -> None:
    header = HeaderFromSecret(name="x", secret=SecretKey(name="gateway", key="token"))
    candidate = ModelCandidate(
        endpoint="main", base_url="http://x", model="m", timeout_seconds=60, api_key=KEY, headers_from=[header]
    )
    kube.put_secret("openai", **{"api-key": "sk-one"})
    kube.put_secret("gateway", token="t")
    kube.publish(make_agent(models=[candidate]))
    secrets = {"metadata.name=openai", "metadata.name=gateway"}
    await eventually(lambda: secrets <= kube.watching)
    await eventually(lambda: config.loaded("travel"))
    assert config.secrets.value(KEY) == "sk-one"
    kube.publish(make_agent())
    await eventually(lambda: not secrets & kube.watching)
    with pytest.raises(SecretMissing):
        config.secrets.value(KEY)


async def test_secret_stays_while_another_agent_needs_it(kube: FakeKube, config: KubernetesConfig) -> None:
    kube.put_secret("openai", **{"api-key": "sk-one"})
    kube.publish(make_agent("a", needs=(KEY,)))
    kube.publish(make_agent("b", needs=(KEY,)))
    await eventually(lambda: config.loaded("a") and config.loaded("b"))
    kube.publish(make_agent("a"))
    await settle()
    assert config.secrets.value(KEY) == "sk-one"


async def test_secret_of_the_bucket_is_watched_as_long_as_the_tenant_names_it(
    kube: FakeKube, config: KubernetesConfig
) -> None:
    access, secret = SecretKey(name="bucket", key="access-key-id"), SecretKey(name="bucket", key="secret-access-key")
    s3 = S3Config(
        endpoint="https://s3.example", region="a", bucket="files", access_key_id=access, secret_access_key=secret
    )
    kube.put_secret("bucket", **{"access-key-id": "id", "secret-access-key": "s"})
    kube.publish_tenant(make_tenant(files=FilesConfig(s3=s3)))
    await eventually(lambda: "metadata.name=bucket" in kube.watching)
    await eventually(lambda: not config.secrets.missing([access, secret]))
    assert config.secrets.value(secret) == "s"
    kube.publish_tenant(make_tenant())
    await eventually(lambda: "metadata.name=bucket" not in kube.watching)


async def test_rotated_value_is_there_at_once(kube: FakeKube, config: KubernetesConfig) -> None:
    kube.put_secret("openai", **{"api-key": "sk-one"})
    kube.publish(make_agent(needs=(KEY,)))
    await eventually(lambda: config.loaded("travel"))
    kube.put_secret("openai", **{"api-key": "sk-two"})
    await eventually(lambda: config.secrets.value(KEY) == "sk-two")


async def test_secret_that_may_not_be_read_yet_is_read_as_soon_as_it_may(
    kube: FakeKube, config: KubernetesConfig
) -> None:
    kube.put_secret("openai", **{"api-key": "sk-one"})
    kube.forbidden.add("openai")
    kube.publish(make_agent(needs=(KEY,)))
    await eventually(lambda: config.get("travel"))
    assert config.loaded("travel") is None
    with pytest.raises(SecretMissing, match="'openai' is not there, or may not be read yet"):
        config.secrets.value(KEY)
    kube.forbidden.clear()
    await eventually(lambda: config.loaded("travel"))


async def test_running_agent_goes_on_until_its_next_configuration_can_be_served(
    kube: FakeKube, config: KubernetesConfig
) -> None:
    kube.put_secret("openai", **{"api-key": "sk-one"})
    kube.publish(make_agent(needs=(KEY,)), digest="old")
    await eventually(lambda: config.loaded("travel"))
    kube.publish(make_agent(needs=(SecretKey(name="new", key="k"),), instructions="New.", revision=2), digest="new")
    await eventually(lambda: "metadata.name=new" in kube.watching)
    assert instructions(config) == "Be brief."
    assert config.secrets.value(KEY) == "sk-one"
    kube.put_secret("new", k="v")
    await eventually(lambda: instructions(config) == "New.")
    assert (loaded := config.loaded("travel"))
    assert loaded.digest == "new"


async def test_next_configuration_is_served_when_the_running_one_cannot(
    kube: FakeKube, config: KubernetesConfig
) -> None:
    kube.publish(make_agent(needs=(KEY,)))
    await eventually(lambda: config.get("travel"))
    kube.publish(make_agent(needs=(SecretKey(name="new", key="k"),), instructions="New.", revision=2))
    await eventually(lambda: instructions(config) == "New.")


@pytest.mark.parametrize(
    ("values", "message"),
    [({"other": "x"}, "no entry 'api-key'"), ({"api-key": b"\xff\xfe"}, "is no text")],
)
async def test_unusable_entry_says_why(
    kube: FakeKube, config: KubernetesConfig, values: dict[str, str | bytes], message: str
) -> None:
    kube.put_secret("openai", **values)
    kube.publish(make_agent(needs=(KEY,)))
    await eventually(lambda: "metadata.name=openai" in kube.watching)
    with pytest.raises(SecretMissing, match=message):
        config.secrets.value(KEY)


async def test_deleted_secret_is_gone_after_the_grace(kube: FakeKube, config: KubernetesConfig) -> None:
    kube.put_secret("openai", **{"api-key": "sk-one"})
    kube.publish(make_agent(needs=(KEY,)))
    await eventually(lambda: config.loaded("travel"))
    kube.remove("Secret", "openai")
    await settle()
    assert config.secrets.value(KEY) == "sk-one"
    await eventually(lambda: config.loaded("travel") is None)
    assert config.get("travel")
    with pytest.raises(SecretMissing):
        config.secrets.value(KEY)


async def test_secret_that_is_replaced_in_time_leaves_no_gap(kube: FakeKube, config: KubernetesConfig) -> None:
    kube.put_secret("openai", **{"api-key": "sk-one"})
    kube.publish(make_agent(needs=(KEY,)))
    await eventually(lambda: config.loaded("travel"))
    kube.remove("Secret", "openai")
    await settle()
    kube.put_secret("openai", **{"api-key": "sk-two"})
    await eventually(lambda: config.secrets.value(KEY) == "sk-two")
    await asyncio.sleep(1.3)
    assert config.secrets.value(KEY) == "sk-two"


async def test_start_waits_for_secrets_but_not_for_ever(kube: FakeKube, start: Callable[[], KubernetesConfig]) -> None:
    kube.publish(make_agent("broken", needs=(KEY,)))
    kube.publish(make_agent("sound"))
    config = start()
    await eventually(lambda: config.get("sound"))
    assert not config.is_loaded
    await eventually(lambda: config.is_loaded)
    assert config.loaded("sound")
    assert config.loaded("broken") is None


# ---- the operator's question ----


async def test_wait_ends_when_the_digest_is_loaded(kube: FakeKube, config: KubernetesConfig) -> None:
    waiting = asyncio.create_task(config.wait_loaded("travel", digest="d2", seconds=60))
    kube.publish(make_agent(), digest="d1")
    await eventually(lambda: config.loaded("travel"))
    assert not waiting.done()
    kube.publish(make_agent(revision=2), digest="d2")
    loaded = await waiting
    assert loaded
    assert (loaded.revision, loaded.digest) == (2, "d2")


async def test_wait_tells_what_is_loaded_when_time_is_up(kube: FakeKube, config: KubernetesConfig) -> None:
    kube.publish(make_agent(), digest="d1")
    await eventually(lambda: config.loaded("travel"))
    loaded = await config.wait_loaded("travel", digest="d2", seconds=0.05)
    assert loaded
    assert loaded.digest == "d1"
    assert await config.wait_loaded("other", digest="d2", seconds=0) is None


async def test_wait_ends_at_once_when_the_digest_is_loaded_already(kube: FakeKube, config: KubernetesConfig) -> None:
    kube.publish(make_agent(), digest="d1")
    await eventually(lambda: config.loaded("travel"))
    async with asyncio.timeout(10):
        assert await config.wait_loaded("travel", digest="d1", seconds=60)


async def test_agents_that_arrive_together_are_swapped_in_one_go(
    kube: FakeKube, start: Callable[[], KubernetesConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(500):
        kube.publish(make_agent(f"a{number}"))
    config = start()
    swaps = 0
    swap = config._swap

    def counted() -> None:
        nonlocal swaps
        swaps += 1
        swap()

    monkeypatch.setattr(config, "_swap", counted)
    await eventually(lambda: config.is_loaded)
    assert (len(config.all()), swaps) == (500, 1)
