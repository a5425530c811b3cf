"""Gathers what a KnowledgeBase refers to and compiles it: either everything is there and sound, or nothing is published."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from syntera_crds.contract.agent_config import SecretKey
from syntera_crds.contract.knowledge_config import KnowledgeBaseConfig
from syntera_crds.errors import InvalidResource
from syntera_crds.v1alpha1 import KnowledgeBase, Tenant
from syntera_crds.v1alpha1.common import ConditionType, Reason, SecretKeyRef
from syntera_crds.v1alpha1.files import ACCESS_KEY_ID, SECRET_ACCESS_KEY
from syntera_crds.validation import load_as

from ..causes import knowledge_base_key
from ..conditions import Outlook, Problem
from ..desired.destinations import Destination, InPublic, destination_of, is_allowed
from ..desired.knowledge_config import (
    EmbeddingChoice,
    build_knowledge_base_config,
    choose_embedding,
    choose_rerank,
    list_config_maps,
    list_source_urls,
)
from ..desired.model_access import Choice, EndpointMissing, ModelMissing, build_secret_key
from ..manifest import Manifest
from .context import Context
from .host import Host
from .publishing import ACCEPTED, Checks, Refused, invalid, require_host
from .references import References, check_of, list_references, list_source_references, resolve


@dataclass(frozen=True, slots=True)
class CompiledKnowledge:
    """What to publish and to sync by, and for whom."""

    config: KnowledgeBaseConfig
    """Without its revision."""
    knowledge_base: KnowledgeBase
    host: Host
    checks: Checks
    config_maps: Sequence[str]
    """ConfigMaps of its sources."""
    versions: Sequence[str]
    """What changes with these."""
    secrets: frozenset[SecretKey]
    """What a sync reads."""


async def compile_knowledge_base(manifest: Manifest, context: Context) -> CompiledKnowledge:
    """Gather what the KnowledgeBase refers to and compile it.

    Raises:
        Refused: something is missing or wrong.
        KubeError: the API server did not answer, or refused.
    """
    cluster = context.cluster
    try:
        knowledge_base = load_as(KnowledgeBase, {**manifest, "status": {}})
    except InvalidResource as error:
        raise Refused({ConditionType.ACCEPTED: invalid("; ".join(map(str, error.faults)) + ".")}) from None
    checks: Checks = {ConditionType.ACCEPTED: ACCEPTED}
    namespace = knowledge_base.metadata.namespace or ""
    host = require_host(namespace, kind=knowledge_base.kind(), checks=checks, cluster=cluster)
    _check_hosts(knowledge_base, host.tenant, checks)
    embedding, rerank = _choose(knowledge_base, host.tenant, checks)
    references = _list_references(knowledge_base, host.tenant, embedding, rerank)
    cluster.set_references(knowledge_base_key(namespace, knowledge_base.metadata.name), references.causes(namespace))
    resolution = await resolve(references, namespace=namespace, cluster=cluster)
    checks[ConditionType.RESOLVED_REFS] = check_of(resolution.problems)
    if resolution.problems:
        raise Refused(checks)
    config = build_knowledge_base_config(knowledge_base, host.tenant, embedding, rerank, bundles=resolution.texts)
    config_maps = sorted(references.whole_config_maps)
    return CompiledKnowledge(
        config=config,
        knowledge_base=knowledge_base,
        host=host,
        checks=checks,
        config_maps=config_maps,
        versions=[cluster.config_map_version(namespace, name) or "" for name in config_maps],
        secrets=config.sync_secret_keys()
        | {build_secret_key(ref) for ref in _list_service_keys(knowledge_base, host.tenant)},
    )


def list_source_destinations(knowledge_bases: Iterable[Manifest], tenant: Tenant) -> list[Destination] | None:
    """Where the sources of a namespace are: public hosts, each at its port, and others that the Tenant names.

    None: there is no KnowledgeBase. One that is not sound has no say, and nor has a host that nobody allows.
    """
    found: set[Destination] = set()
    exists = False
    for manifest in knowledge_bases:
        exists = True
        try:
            knowledge_base = load_as(KnowledgeBase, {**manifest, "status": {}})
        except InvalidResource:
            continue
        for _, url in list_source_urls(knowledge_base):
            try:
                destination = destination_of(url, own_namespace=tenant.namespace)
                if isinstance(destination, InPublic) or is_allowed(url, tenant):
                    found.add(destination)
            except ValueError:
                continue
    return sorted(found, key=repr) if exists else None


def _check_hosts(knowledge_base: KnowledgeBase, tenant: Tenant, checks: Checks) -> None:
    """Refuse sources where the Tenant does not let anybody go. Whoever may write a KnowledgeBase opens no wall with it."""
    for field, url in list_source_urls(knowledge_base):
        try:
            allowed = is_allowed(url, tenant)
        except ValueError as error:
            raise Refused(checks | {ConditionType.ACCEPTED: invalid(f"{field}: {error}.")}) from None
        if not allowed:
            problem = Problem(
                Reason.HOST_NOT_ALLOWED,
                f"{field}: {url!r} is not at a public host; have it added to spec.egress of Tenant"
                f" {tenant.metadata.name!r}, or name another one.",
                Outlook.STALLED,
            )
            raise Refused(checks | {ConditionType.RESOLVED_REFS: problem})


def _choose(knowledge_base: KnowledgeBase, tenant: Tenant, checks: Checks) -> tuple[EmbeddingChoice, Choice | None]:
    try:
        return choose_embedding(knowledge_base, tenant), choose_rerank(knowledge_base, tenant)
    except EndpointMissing as error:
        problem = Problem(Reason.ENDPOINT_NOT_FOUND, f"{error}.")
    except ModelMissing as error:
        problem = Problem(Reason.MODEL_NOT_FOUND, f"{error}.")
    raise Refused(checks | {ConditionType.RESOLVED_REFS: problem})


def _list_references(
    knowledge_base: KnowledgeBase, tenant: Tenant, embedding: EmbeddingChoice, rerank: Choice | None
) -> References:
    choices = [embedding.choice, *([] if rerank is None else [rerank])]
    models = list_references((f"model endpoint {one.endpoint.name!r}: ", one.endpoint) for one in choices)
    return References(
        secrets={
            **models.secrets,
            **_list_service_keys(knowledge_base, tenant),
            **list_source_references(knowledge_base),
        },
        bundles=models.bundles,
        config_maps={},
        whole_config_maps=list_config_maps(knowledge_base),
    )


def _list_service_keys(knowledge_base: KnowledgeBase, tenant: Tenant) -> dict[SecretKeyRef, str]:
    """What reads the Tenant's services that a sync uses: where vectors are, and where uploaded files are."""
    pinecone, s3 = tenant.spec.stores.vectors.pinecone, tenant.spec.files.s3
    keys: dict[SecretKeyRef, str] = {}
    if pinecone is not None:
        keys[pinecone.api_key_secret_ref] = "Tenant's spec.stores.vectors.pinecone.apiKeySecretRef"
    if s3 is not None and any(source.upload is not None for source in knowledge_base.spec.sources):
        for key in (ACCESS_KEY_ID, SECRET_ACCESS_KEY):
            ref = SecretKeyRef(name=s3.credentials_secret_ref.name, key=key)
            keys.setdefault(ref, "Tenant's spec.files.s3.credentialsSecretRef")
    return keys
