"""Published configuration of a KnowledgeBase: what needs a new index, which Secrets who reads, and that it reads back."""

import json
from typing import Any

import pytest

from syntera_crds.contract.agent_config import SecretKey
from syntera_crds.contract.knowledge_config import (
    Chunking,
    ConfigMapSource,
    EmbeddingModel,
    GitSource,
    InlineSource,
    KnowledgeBaseConfig,
    PineconeIndex,
    RerankModel,
    Retrieval,
    S3Source,
    SearchMode,
    Source,
    SyncBudget,
)

KEY = SecretKey(name="models", key="api-key")


def make_embedding(**fields: Any) -> EmbeddingModel:
    given = {"endpoint": "main", "base_url": "https://models.example/v1", "model": "embed", "timeout_seconds": 60}
    return EmbeddingModel(**{**given, "dimensions": 384, **fields})


def make_config(**fields: Any) -> KnowledgeBaseConfig:
    sources = [Source(name="faq", inline=InlineSource(title="FAQ", text="We open at nine."))]
    given = {"name": "handbook", "uid": "u", "revision": 1, "sources": sources, "embedding": make_embedding()}
    return KnowledgeBaseConfig(**{**given, **fields})


S3 = S3Source(
    endpoint="https://s3.example",
    region="eu-central-1",
    bucket="files",
    access_key_id=SecretKey(name="bucket", key="access-key-id"),
    secret_access_key=SecretKey(name="bucket", key="secret-access-key"),
)
GIT = GitSource(
    url="https://git.example/docs.git",
    username=SecretKey(name="git", key="username"),
    password=SecretKey(name="git", key="password"),
)
PINECONE = PineconeIndex(index_host="https://docs.pinecone.example", api_key=SecretKey(name="pinecone", key="key"))
RERANK = RerankModel(
    endpoint="rerank",
    base_url="https://rerank.example/v1",
    model="rerank",
    timeout_seconds=60,
    api_key=SecretKey(name="rerank", key="key"),
)
OTHER_VALUES: dict[str, Any] = {
    "name": "other",
    "uid": "other",
    "sources": [Source(name="other", config_map=ConfigMapSource(name="other"))],
    "chunking": Chunking(target_tokens=100),
    "embedding": make_embedding(model="other"),
    "retrieval": Retrieval(mode=SearchMode.VECTOR),
    "budget": SyncBudget(max_tokens_per_sync=7),
    "pinecone": PINECONE,
    "rollback_hours": 7,
}


def test_text_reads_back_as_the_same_configuration() -> None:
    sources = [*make_config().sources, Source(name="git", git=GIT), Source(name="s3", s3=S3, audience=["member"])]
    config = make_config(sources=sources, pinecone=PINECONE, retrieval=Retrieval(rerank=RERANK))
    assert KnowledgeBaseConfig.model_validate_json(config.to_json()) == config


def test_text_leaves_defaults_out() -> None:
    assert json.loads(make_config().to_json()) == {
        "name": "handbook",
        "uid": "u",
        "revision": 1,
        "sources": [{"name": "faq", "inline": {"title": "FAQ", "text": "We open at nine."}}],
        "embedding": {
            "endpoint": "main",
            "baseUrl": "https://models.example/v1",
            "model": "embed",
            "timeoutSeconds": 60.0,
            "dimensions": 384,
        },
    }


@pytest.mark.parametrize("field", sorted(KnowledgeBaseConfig.model_fields.keys() - {"revision"}))
def test_digest_changes_with_every_field(field: str) -> None:
    assert make_config(**{field: OTHER_VALUES[field]}).digest() != make_config().digest()


def test_digest_leaves_the_revision_out() -> None:
    assert make_config(revision=7).digest() == make_config().digest()


@pytest.mark.parametrize(
    "changed",
    [
        {"chunking": Chunking(target_tokens=100)},
        {"chunking": Chunking(overlap_tokens=7)},
        {"embedding": make_embedding(model="other")},
        {"embedding": make_embedding(dimensions=7)},
        {"embedding": make_embedding(document_prefix="passage: ")},
        {"pinecone": PINECONE},
    ],
    ids=["target", "overlap", "model", "dimensions", "document prefix", "pinecone"],
)
def test_fingerprint_changes_with_what_an_index_depends_on(changed: dict[str, Any]) -> None:
    assert make_config(**changed).fingerprint() != make_config().fingerprint()


@pytest.mark.parametrize(
    "changed",
    [
        {"embedding": make_embedding(base_url="https://other.example/v1", endpoint="other", api_key=KEY)},
        {"embedding": make_embedding(query_prefix="query: ")},
        {"retrieval": Retrieval(top_k=7)},
        {"sources": OTHER_VALUES["sources"]},
        {"pinecone": None, "rollback_hours": 7},
    ],
    ids=["endpoint", "query prefix", "retrieval", "sources", "rollback"],
)
def test_fingerprint_stays_where_an_index_can(changed: dict[str, Any]) -> None:
    assert make_config(**changed).fingerprint() == make_config().fingerprint()


def test_searches_and_syncs_read_the_secrets_that_they_need_and_no_others() -> None:
    sources = [Source(name="git", git=GIT), Source(name="s3", s3=S3)]
    config = make_config(
        sources=sources,
        embedding=make_embedding(api_key=KEY),
        retrieval=Retrieval(rerank=RERANK),
        pinecone=PINECONE,
    )
    assert {key.name for key in config.search_secret_keys()} == {"models", "rerank", "pinecone"}
    assert {key.name for key in config.sync_secret_keys()} == {"models", "pinecone", "git", "bucket"}
    public = make_config(sources=[Source(name="git", git=GitSource(url="https://git.example/docs.git"))])
    assert public.search_secret_keys() == public.sync_secret_keys() == frozenset()
