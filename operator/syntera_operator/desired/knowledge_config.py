"""Compiles a KnowledgeBase: its spec, its Tenant's model endpoints and what both refer to, into what is searched and synced by."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

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
    Source,
    SyncBudget,
    UploadSource,
    WebSource,
)
from syntera_crds.v1alpha1 import KnowledgeBase, Tenant
from syntera_crds.v1alpha1 import knowledge_sources as declared
from syntera_crds.v1alpha1.common import ConfigMapKeyRef
from syntera_crds.v1alpha1.files import ACCESS_KEY_ID, SECRET_ACCESS_KEY
from syntera_crds.v1alpha1.knowledge_base import Chunking as DeclaredChunking
from syntera_crds.v1alpha1.tenant import ModelEndpoint

from .model_access import Choice, ModelMissing, build_access, build_secret_key, find_endpoint, require_endpoints
from .published import UNPUBLISHED

_OVERLAP_TOKENS = 50
_OVERLAP_PART = 7
"""Of short chunks no more than this part is repeated."""


@dataclass(frozen=True, slots=True)
class EmbeddingChoice:
    """The model that makes vectors, and what is said of it."""

    choice: Choice
    dimensions: int
    sends_dimensions: bool
    query_prefix: str
    document_prefix: str


def choose_embedding(knowledge_base: KnowledgeBase, tenant: Tenant) -> EmbeddingChoice:
    """The model that makes a KnowledgeBase's vectors.

    Raises:
        EndpointMissing: the endpoint that it names, or any at all, is missing.
        ModelMissing: nobody says which model, or how many dimensions it has.
    """
    wanted = knowledge_base.spec.embedding
    endpoint = _find_endpoint(tenant, wanted.endpoint)
    usual = endpoint.embedding
    model = wanted.model or (None if usual is None else usual.model)
    if model is None:
        raise ModelMissing(
            f"spec.embedding: endpoint {endpoint.name!r} of Tenant {tenant.metadata.name!r} has no embedding model; name a"
            " model and its dimensions here, or set the endpoint's embedding"
        )
    same = usual if usual is not None and usual.model == model else None
    dimensions = wanted.dimensions or (None if same is None else same.dimensions)
    if dimensions is None:
        raise ModelMissing(
            f"spec.embedding.dimensions: nobody says how many dimensions the model {model!r} has; set it here"
        )
    return EmbeddingChoice(
        choice=Choice(endpoint, model),
        dimensions=dimensions,
        sends_dimensions=same is not None and same.sends_dimensions,
        query_prefix=_first(wanted.query_prefix, None if same is None else same.query_prefix),
        document_prefix=_first(wanted.document_prefix, None if same is None else same.document_prefix),
    )


def choose_rerank(knowledge_base: KnowledgeBase, tenant: Tenant) -> Choice | None:
    """The model that judges what was found; None: none does.

    Raises:
        EndpointMissing: its endpoint is missing.
    """
    wanted = knowledge_base.spec.retrieval.rerank
    if wanted is None:
        return None
    endpoint = find_endpoint(tenant, wanted.endpoint, field="spec.retrieval.rerank.endpoint")
    return Choice(endpoint, wanted.model)


def build_knowledge_base_config(
    knowledge_base: KnowledgeBase,
    tenant: Tenant,
    embedding: EmbeddingChoice,
    rerank: Choice | None,
    *,
    bundles: Mapping[ConfigMapKeyRef, str],
) -> KnowledgeBaseConfig:
    """The configuration, as yet without a revision; `bundles` holds the CA certificates of the endpoints that have some."""
    spec = knowledge_base.spec
    return KnowledgeBaseConfig(
        name=knowledge_base.metadata.name,
        uid=knowledge_base.metadata.uid,
        revision=UNPUBLISHED,
        sources=[_build_source(source) for source in spec.sources],
        chunking=_build_chunking(spec.chunking),
        embedding=EmbeddingModel(
            **dict(build_access(embedding.choice, tenant, bundles)),
            dimensions=embedding.dimensions,
            sends_dimensions=embedding.sends_dimensions,
            query_prefix=embedding.query_prefix,
            document_prefix=embedding.document_prefix,
        ),
        retrieval=_build_retrieval(knowledge_base, tenant, rerank, bundles),
        budget=SyncBudget(max_tokens_per_sync=spec.budget.max_tokens_per_sync),
        pinecone=build_pinecone(tenant),
        rollback_hours=spec.rollback_hours,
    )


def list_source_urls(knowledge_base: KnowledgeBase) -> Iterator[tuple[str, str]]:
    """Every URL that a sync begins at, with its field."""
    for index, source in enumerate(knowledge_base.spec.sources):
        field = f"spec.sources[{index}]"
        if source.web is not None:
            for position, url in enumerate(source.web.urls):
                yield f"{field}.web.urls[{position}]", url
            if source.web.sitemap is not None:
                yield f"{field}.web.sitemap", source.web.sitemap
        if source.git is not None:
            yield f"{field}.git.url", source.git.url
        if source.s3 is not None:
            yield f"{field}.s3.endpointURL", source.s3.endpoint_url


def list_config_maps(knowledge_base: KnowledgeBase) -> dict[str, str]:
    """The ConfigMaps of its sources, each with the field that names it first."""
    found: dict[str, str] = {}
    for index, source in enumerate(knowledge_base.spec.sources):
        if source.config_map is not None:
            found.setdefault(source.config_map.name, f"spec.sources[{index}].configMap.name")
    return found


def _find_endpoint(tenant: Tenant, name: str | None) -> ModelEndpoint:
    if name is not None:
        return find_endpoint(tenant, name, field="spec.embedding.endpoint")
    require_endpoints(tenant)
    endpoints = tenant.spec.models
    return next((endpoint for endpoint in endpoints if endpoint.embedding is not None), endpoints[0])


def _first(*values: str | None) -> str:
    return next((value for value in values if value is not None), "")


def _build_chunking(wanted: DeclaredChunking) -> Chunking:
    overlap = wanted.overlap_tokens
    if overlap is None:
        overlap = min(_OVERLAP_TOKENS, wanted.target_tokens // _OVERLAP_PART)
    return Chunking(target_tokens=wanted.target_tokens, overlap_tokens=overlap)


def _build_retrieval(
    knowledge_base: KnowledgeBase, tenant: Tenant, rerank: Choice | None, bundles: Mapping[ConfigMapKeyRef, str]
) -> Retrieval:
    wanted = knowledge_base.spec.retrieval
    model = None
    if rerank is not None and wanted.rerank is not None:
        model = RerankModel(**dict(build_access(rerank, tenant, bundles)), candidates=wanted.rerank.candidates)
    return Retrieval(
        mode=wanted.mode,
        top_k=wanted.top_k,
        min_score=wanted.min_score,
        neighbours=wanted.neighbours,
        passage_tokens=wanted.passage_tokens,
        rerank=model,
    )


def build_pinecone(tenant: Tenant) -> PineconeIndex | None:
    """Where new indexes have their vectors, with the key to it; None: in PostgreSQL."""
    pinecone = tenant.spec.stores.vectors.pinecone
    if pinecone is None:
        return None
    return PineconeIndex(index_host=pinecone.index_host, api_key=build_secret_key(pinecone.api_key_secret_ref))


def _build_source(source: declared.Source) -> Source:
    return Source(
        name=source.name,
        audience=[audience.value for audience in source.audience],
        tags=source.tags,
        language=source.language,
        inline=source.inline and InlineSource(title=source.inline.title, text=source.inline.text),
        config_map=source.config_map and ConfigMapSource(name=source.config_map.name),
        web=source.web and _build_web(source.web),
        git=source.git and _build_git(source.git),
        s3=source.s3 and _build_s3(source.s3),
        upload=source.upload and UploadSource(max_file_megabytes=source.upload.max_file_megabytes),
    )


def _build_web(web: declared.Web) -> WebSource:
    return WebSource(
        urls=web.urls,
        sitemap=web.sitemap,
        max_pages=web.max_pages,
        max_depth=web.max_depth,
        include=web.include,
        exclude=web.exclude,
        requests_per_second=web.requests_per_second,
    )


def _build_git(git: declared.Git) -> GitSource:
    secret = None if git.credentials_secret_ref is None else git.credentials_secret_ref.name
    return GitSource(
        url=git.url,
        ref=git.ref,
        paths=git.paths,
        username=None if secret is None else SecretKey(name=secret, key=declared.USERNAME),
        password=None if secret is None else SecretKey(name=secret, key=declared.PASSWORD),
    )


def _build_s3(s3: declared.S3Source) -> S3Source:
    secret = s3.credentials_secret_ref.name
    return S3Source(
        endpoint=s3.endpoint_url,
        region=s3.region,
        bucket=s3.bucket,
        prefix=s3.prefix or "",
        include=s3.include,
        access_key_id=SecretKey(name=secret, key=ACCESS_KEY_ID),
        secret_access_key=SecretKey(name=secret, key=SECRET_ACCESS_KEY),
    )
