"""The published knowledge bases, as changes arrive."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from syntera_crds.contract import names
from syntera_crds.contract.agent_config import SecretKey
from syntera_crds.contract.knowledge_config import KnowledgeBaseConfig
from syntera_runtime.adapters import kubernetes_config
from syntera_runtime.adapters.kubernetes_config import KubernetesConfig
from syntera_runtime.ports.knowledge import KnowledgeBases
from tests.runtime.adapters.fake_kube import NAMESPACE, FakeKube
from tests.runtime.adapters.published import eventually, make_agent
from tests.runtime.knowledge_fakes import make_config, make_embedding

CONFIG_MAP = names.published_knowledge_base_name("handbook")


def publish(kube: FakeKube, config: KnowledgeBaseConfig) -> None:
    """As the operator does."""
    publish_data(kube, {names.KNOWLEDGE_BASE_CONFIG_KEY: config.to_json(), names.DIGEST_KEY: config.digest()})


def publish_data(kube: FakeKube, data: dict[str, str], name: str = CONFIG_MAP) -> None:
    """Publish something in its place."""
    kube.put("ConfigMap", name, labels={names.PUBLISHED_LABEL: "knowledgebase"}, data=data)


@pytest.fixture
def kube() -> FakeKube:
    """An API server."""
    return FakeKube()


@pytest.fixture
async def config(kube: FakeKube, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KubernetesConfig]:
    """Loaded, with nothing published yet."""
    monkeypatch.setattr(kubernetes_config, "GRACE_SECONDS", 1)
    running = KubernetesConfig(kube, namespace=NAMESPACE)
    task = asyncio.create_task(running.run())
    await eventually(lambda: running.is_loaded)
    yield running
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_knowledge_base_is_served_as_it_was_published(kube: FakeKube, config: KubernetesConfig) -> None:
    knowledge: KnowledgeBases = config.knowledge
    published = make_config(retrieval={"top_k": 7})
    publish(kube, published)
    await eventually(lambda: knowledge.knowledge_base("handbook"))
    assert knowledge.knowledge_base("handbook") == published
    assert knowledge.all_knowledge_bases() == [published]
    assert knowledge.knowledge_base("other") is None
    assert config.all() == []


async def test_edit_takes_over_at_once(kube: FakeKube, config: KubernetesConfig) -> None:
    publish(kube, make_config())
    await eventually(lambda: config.knowledge.knowledge_base("handbook"))
    edited = make_config(revision=2, embedding=make_embedding(api_key={"name": "openai", "key": "key"}))
    publish(kube, edited)
    await eventually(lambda: config.knowledge.knowledge_base("handbook") == edited)


async def test_secrets_of_searches_are_watched(kube: FakeKube, config: KubernetesConfig) -> None:
    kube.put_secret("openai", key="sk-1")
    publish(kube, make_config(embedding=make_embedding(api_key={"name": "openai", "key": "key"})))
    await eventually(lambda: not config.secrets.missing([SecretKey(name="openai", key="key")]))
    kube.remove("ConfigMap", CONFIG_MAP)
    await eventually(lambda: "metadata.name=openai" not in kube.watching)


@pytest.mark.parametrize(
    "data",
    [{}, {names.KNOWLEDGE_BASE_CONFIG_KEY: "{"}, {names.KNOWLEDGE_BASE_CONFIG_KEY: make_config("other").to_json()}],
)
async def test_last_good_one_is_kept_when_a_config_map_is_malformed(
    kube: FakeKube, config: KubernetesConfig, data: dict[str, str]
) -> None:
    publish(kube, make_config())
    await eventually(lambda: config.knowledge.knowledge_base("handbook"))
    publish_data(kube, data)
    publish_data(kube, data, names.published_knowledge_base_name("broken"))
    kube.publish(make_agent())
    await eventually(lambda: config.get("travel"))
    assert [one.name for one in config.knowledge.all_knowledge_bases()] == ["handbook"]


async def test_deleted_knowledge_base_is_gone_after_the_grace(kube: FakeKube, config: KubernetesConfig) -> None:
    publish(kube, make_config())
    await eventually(lambda: config.knowledge.knowledge_base("handbook"))
    kube.remove("ConfigMap", CONFIG_MAP)
    kube.publish(make_agent())
    await eventually(lambda: config.get("travel"))
    assert config.knowledge.knowledge_base("handbook") is not None
    await eventually(lambda: config.knowledge.knowledge_base("handbook") is None)


async def test_fields_of_newer_operators_are_ignored(kube: FakeKube, config: KubernetesConfig) -> None:
    text = make_config().to_json().replace('{"name"', '{"fromTheFuture":{"a":1},"name"', 1)
    publish_data(kube, {names.KNOWLEDGE_BASE_CONFIG_KEY: text})
    await eventually(lambda: config.knowledge.knowledge_base("handbook"))
