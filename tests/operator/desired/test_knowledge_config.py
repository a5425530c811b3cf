"""Compiling KnowledgeBases."""

from typing import Any

import pytest

from syntera_crds.contract.knowledge_config import KnowledgeBaseConfig
from syntera_crds.v1alpha1 import KnowledgeBase, Tenant
from syntera_operator.desired.knowledge_config import (
    build_knowledge_base_config,
    choose_embedding,
    choose_rerank,
    list_config_maps,
    list_source_urls,
)
from syntera_operator.desired.model_access import EndpointMissing, ModelMissing
from tests.support.golden import Golden
from tests.support.make import make_embedding, make_endpoint, make_knowledge_base, make_source, make_tenant

PREFIXES = {"queryPrefix": "query: ", "documentPrefix": "passage: "}
USUAL = make_endpoint("main", embedding=make_embedding(sendsDimensions=True, **PREFIXES))


def compile_(knowledge_base: KnowledgeBase, tenant: Tenant) -> KnowledgeBaseConfig:
    embedding, rerank = choose_embedding(knowledge_base, tenant), choose_rerank(knowledge_base, tenant)
    return build_knowledge_base_config(knowledge_base, tenant, embedding, rerank, bundles={})


def test_config_of_a_full_knowledge_base(golden: Golden) -> None:
    credentials = {"credentialsSecretRef": {"name": "bucket"}}
    s3 = {
        "endpointURL": "https://s3.example",
        "bucket": "files",
        "prefix": "help",
        "include": ["**/*.pdf"],
        **credentials,
    }
    git = {
        "url": "https://git.example/docs.git",
        "ref": "main",
        "paths": ["**/*.md"],
        "credentialsSecretRef": {"name": "git"},
    }
    web = {
        "urls": ["https://acme.example/help"],
        "sitemap": "https://acme.example/sitemap.xml",
        "maxPages": 10,
        "maxDepth": 1,
        "include": ["/help/**"],
        "exclude": ["/help/old/**"],
        "requestsPerSecond": 0.5,
    }
    knowledge_base = make_knowledge_base(
        displayName="Handbook",
        sources=[
            make_source("faq"),
            make_source("policies", configMap={"name": "policies"}),
            make_source("site", web=web)
            | {"audience": ["authenticated", "member"], "tags": ["help"], "language": "de"},
            make_source("docs", git=git),
            make_source("files", s3=s3),
            make_source("uploads", upload={"maxFileMegabytes": 50}),
        ],
        chunking={"targetTokens": 300, "overlapTokens": 20},
        embedding={"endpoint": "main", "model": "embed-large", "dimensions": 1024, "queryPrefix": "q: "},
        retrieval={
            "mode": "Vector",
            "topK": 9,
            "minScore": 0.25,
            "neighbours": 2,
            "passageTokens": 700,
            "rerank": {"endpoint": "judges", "model": "rerank", "candidates": 20},
        },
        budget={"maxTokensPerSync": 100000},
        rollbackHours=48,
    )
    pinecone = {"indexHost": "https://docs.example", "apiKeySecretRef": {"name": "pinecone", "key": "key"}}
    judges = make_endpoint(
        "judges", baseURL="https://judges.example/v1", apiKeySecretRef={"name": "judges", "key": "k"}
    )
    tenant = make_tenant(models=[USUAL, judges], stores={"vectors": {"pinecone": pinecone}})

    config = compile_(knowledge_base, tenant)

    golden.check_text("desired/knowledge-config.json", config.model_dump_json(by_alias=True, indent=2) + "\n")
    assert {key.name for key in config.sync_secret_keys()} == {"bucket", "git", "pinecone"}


def test_config_says_the_embedding_model_of_the_first_endpoint_that_has_one() -> None:
    tenant = make_tenant(models=[make_endpoint("talks"), USUAL])
    embedding = compile_(make_knowledge_base(), tenant).embedding
    assert (embedding.endpoint, embedding.model, embedding.dimensions) == ("main", "embed-small", 384)
    assert (embedding.query_prefix, embedding.document_prefix) == ("query: ", "passage: ")
    assert embedding.sends_dimensions


def test_config_takes_nothing_over_for_another_model() -> None:
    knowledge_base = make_knowledge_base(embedding={"model": "other", "dimensions": 7})
    embedding = compile_(knowledge_base, make_tenant(models=[USUAL])).embedding
    assert (embedding.model, embedding.dimensions, embedding.query_prefix) == ("other", 7, "")
    assert not embedding.sends_dimensions


def test_prefix_may_be_taken_away() -> None:
    knowledge_base = make_knowledge_base(embedding={"documentPrefix": ""})
    embedding = compile_(knowledge_base, make_tenant(models=[USUAL])).embedding
    assert (embedding.query_prefix, embedding.document_prefix) == ("query: ", "")


@pytest.mark.parametrize(
    ("embedding", "models", "error", "message"),
    [
        ({}, [], EndpointMissing, "has no model endpoint; add one"),
        ({"endpoint": "lost"}, [USUAL], EndpointMissing, r"spec\.embedding\.endpoint: .* no model endpoint 'lost'"),
        ({}, [make_endpoint("talks")], ModelMissing, "endpoint 'talks' .* has no embedding model"),
        ({"endpoint": "talks"}, [USUAL, make_endpoint("talks")], ModelMissing, "endpoint 'talks'"),
        ({"model": "other"}, [USUAL], ModelMissing, r"spec\.embedding\.dimensions: .* 'other'"),
    ],
)
def test_config_when_no_model_is_found(
    embedding: dict[str, Any], models: list[Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        choose_embedding(make_knowledge_base(embedding=embedding), make_tenant(models=models))


def test_config_when_the_endpoint_for_judging_is_missing() -> None:
    knowledge_base = make_knowledge_base(retrieval={"rerank": {"endpoint": "lost", "model": "m"}})
    with pytest.raises(EndpointMissing, match=r"spec\.retrieval\.rerank\.endpoint: "):
        choose_rerank(knowledge_base, make_tenant())


@pytest.mark.parametrize(
    ("chunking", "expected"),
    [({}, (350, 50)), ({"targetTokens": 70}, (70, 10)), ({"targetTokens": 70, "overlapTokens": 34}, (70, 34))],
)
def test_overlap_fits_its_chunks(chunking: dict[str, int], expected: tuple[int, int]) -> None:
    made = compile_(make_knowledge_base(chunking=chunking), make_tenant(models=[USUAL])).chunking
    assert (made.target_tokens, made.overlap_tokens) == expected


def test_config_gives_the_same_bytes_for_the_same_input() -> None:
    tenant = make_tenant(models=[USUAL])
    assert compile_(make_knowledge_base(), tenant).to_json() == compile_(make_knowledge_base(), tenant).to_json()


def test_urls_and_config_maps_are_listed_with_their_fields() -> None:
    s3 = {"endpointURL": "https://s3.example", "bucket": "abc", "credentialsSecretRef": {"name": "b"}}
    knowledge_base = make_knowledge_base(
        sources=[
            make_source("a", web={"urls": ["https://a.example", "https://b.example"], "sitemap": "https://c.example"}),
            make_source("b", configMap={"name": "policies"}),
            make_source("c", git={"url": "https://git.example/a"}),
            make_source("d", configMap={"name": "policies"}),
            make_source("e", s3=s3),
        ]
    )
    assert dict(list_source_urls(knowledge_base)) == {
        "spec.sources[0].web.urls[0]": "https://a.example",
        "spec.sources[0].web.urls[1]": "https://b.example",
        "spec.sources[0].web.sitemap": "https://c.example",
        "spec.sources[2].git.url": "https://git.example/a",
        "spec.sources[4].s3.endpointURL": "https://s3.example",
    }
    assert list_config_maps(knowledge_base) == {"policies": "spec.sources[1].configMap.name"}
