"""Stand-ins around a search, each saying in its name that it is one, and a searcher on stores in memory."""

import asyncio
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from syntera_crds.contract.agent_config import EndpointAccess
from syntera_crds.contract.knowledge_config import EmbeddingModel, KnowledgeBaseConfig, RerankModel
from syntera_crds.contract.tenant_config import TenantConfig
from syntera_runtime.adapters.openai_embeddings import EmbeddedTexts
from syntera_runtime.knowledge.search import Searcher
from syntera_runtime.metrics import Metrics
from syntera_runtime.models.ids import TenantId
from syntera_runtime.models.knowledge import IndexModel, Vector
from syntera_runtime.ports.configuration import TenantCatalogue
from syntera_runtime.ports.knowledge import Embedder, KnowledgeBases, KnowledgeReader, VectorIndex
from syntera_runtime.tracing import NO_TRACER, Tracer
from tests.runtime.knowledge_stores import KnowledgeStores, make_memory_knowledge

DIMENSIONS = 64
_WORD = re.compile(r"\w+")


class FakeKnowledgeBases:
    """Published knowledge bases that tests fill by hand."""

    def __init__(self, *configs: KnowledgeBaseConfig) -> None:
        self.configs = {config.name: config for config in configs}

    def knowledge_base(self, name: str) -> KnowledgeBaseConfig | None:
        """See `KnowledgeBases`."""
        return self.configs.get(name)

    def all_knowledge_bases(self) -> Sequence[KnowledgeBaseConfig]:
        """See `KnowledgeBases`."""
        return [self.configs[name] for name in sorted(self.configs)]


class FakeTenant:
    """A published Tenant that has these model endpoints."""

    def __init__(self, *endpoints: EndpointAccess) -> None:
        self.endpoints = list(endpoints)

    def tenant(self) -> TenantConfig:
        """See `TenantCatalogue`."""
        return TenantConfig(name="acme", display_name="Acme", endpoints=self.endpoints)


@dataclass
class FakeEmbedder:
    """Texts with the same words have the same vector. It fails, or waits, for as long as a test says."""

    failure: Exception | None = None
    released: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared: it does not answer for now."""
    asked: list[tuple[str, Sequence[str]]] = field(default_factory=list)
    """Models with their texts."""
    models: list[EmbeddingModel] = field(default_factory=list)
    """The same models, and where they are."""

    def __post_init__(self) -> None:
        self.released.set()

    async def embed(
        self, model: EmbeddingModel, texts: Sequence[str], *, seconds: float | None = None
    ) -> EmbeddedTexts:
        """See `Embedder`."""
        self.asked.append((model.model, texts))
        self.models.append(model)
        await self.released.wait()
        if self.failure is not None:
            raise self.failure
        return EmbeddedTexts([embed_words(text) for text in texts], tokens=len(texts), is_estimated=False)


@dataclass
class FakeReranker:
    """Finds best what has most of the question's words."""

    failure: Exception | None = None
    asked: list[tuple[str, Sequence[str]]] = field(default_factory=list)

    async def rerank(
        self, model: RerankModel, question: str, passages: Sequence[str], *, seconds: float
    ) -> Sequence[float]:
        """See `Reranker`."""
        self.asked.append((question, passages))
        if self.failure is not None:
            raise self.failure
        words = set(_words(question))
        return [len(words & set(_words(passage))) / len(words) for passage in passages]


@dataclass
class KnowledgeSite:
    """Knowledge bases of one tenant in memory, and a searcher over them."""

    stores: KnowledgeStores
    configs: FakeKnowledgeBases
    tenants: FakeTenant
    embedder: FakeEmbedder
    reranker: FakeReranker
    searcher: Searcher

    async def fill(self, config: KnowledgeBaseConfig, documents: dict[str, Sequence[str]], **facts: Any) -> None:
        """Publish a knowledge base and index documents in it: by their paths, with the texts of their chunks."""
        self.configs.configs[config.name] = config
        base = await self.stores.begin(config.name)
        index = await self.stores.open_index(
            base,
            config.fingerprint(),
            dimensions=config.embedding.dimensions,
            embedding=IndexModel.of(config.embedding),
        )
        for path, texts in documents.items():
            await self.add(index, path, *texts, **facts)
        await self.stores.publish(index)

    async def add(self, index: Any, path: str, *texts: str, **facts: Any) -> None:
        """Index one more document."""
        vectors = [embed_words(text) for text in texts]
        await self.stores.put(index, path, *texts, vectors=vectors, **{"title": path, **facts})


def make_site(
    tenant_id: TenantId | None = None,
    *,
    metrics: Metrics | None = None,
    tracer: Tracer = NO_TRACER,
    reader: Any = None,
    vectors: Any = None,
) -> KnowledgeSite:
    """An empty one. `reader` and `vectors` make other stores of those in memory."""
    stores = make_memory_knowledge(tenant_id)
    configs, embedder, reranker = FakeKnowledgeBases(), FakeEmbedder(), FakeReranker()
    tenants = FakeTenant(make_endpoint())
    own_reader: KnowledgeReader = stores.reader if reader is None else reader(stores.reader)
    own_vectors: VectorIndex = stores.vectors if vectors is None else vectors(stores.vectors)
    searcher = Searcher(
        configs,
        own_reader,
        tenants=tenants,
        vectors_of=lambda config, index: own_vectors,
        embedder=embedder,
        reranker=reranker,
        metrics=metrics or Metrics(),
        tracer=tracer,
    )
    return KnowledgeSite(stores, configs, tenants, embedder, reranker, searcher)


def make_searcher(
    stores: KnowledgeStores,
    configs: KnowledgeBases,
    *,
    embedder: Embedder,
    tenants: TenantCatalogue | None = None,
) -> Searcher:
    """One over these stores. The Tenant has the endpoint of `make_endpoint`, unless it is said which."""
    return Searcher(
        configs,
        stores.reader,
        tenants=FakeTenant(make_endpoint()) if tenants is None else tenants,
        vectors_of=lambda _config, _index: stores.vectors,
        embedder=embedder,
        reranker=FakeReranker(),
        metrics=Metrics(),
    )


def make_config(name: str = "handbook", **fields: Any) -> KnowledgeBaseConfig:
    """A published knowledge base."""
    return KnowledgeBaseConfig.model_validate(
        {
            "name": name,
            "uid": f"uid-{name}",
            "revision": 1,
            "sources": [],
            "embedding": make_embedding(),
            **fields,
        }
    )


def make_endpoint(**fields: Any) -> EndpointAccess:
    """One of the Tenant's model endpoints."""
    given = {"endpoint": "stand-in", "base_url": "http://models.example/v1", "timeout_seconds": 10}
    return EndpointAccess.model_validate({**given, **fields})


def make_embedding(**fields: Any) -> EmbeddingModel:
    """A model that makes vectors, at the endpoint of `make_endpoint` unless it is said where."""
    given = {**dict(make_endpoint()), "model": "stand-in-embed", "dimensions": DIMENSIONS}
    return EmbeddingModel.model_validate({**given, **fields})


def embed_words(text: str) -> Vector:
    """A vector that says which words a text has."""
    counts = [0.0] * DIMENSIONS
    for word in _words(text):
        counts[crc32(word.encode()) % DIMENSIONS] += 1
    length = math.sqrt(sum(count * count for count in counts)) or 1.0
    return [count / length for count in counts]


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(text)]
