"""The end of a KnowledgeBase: its syncs first, then what the stores hold of it, then the object.

A Job erases, for it reaches all stores, Pinecone too. Runtimes are told before, and follow a moment later: until then people may upload
and ask for syncs, so what came of that goes by the operator's own hand at the end. Where no Job can run any more, because the Tenant or the namespace goes as
well, the rows go by the operator's own hand, or with the Tenant's. The finalizer is taken away last; an annotation lets an
administrator give up what cannot be erased.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog
from pydantic import ValidationError

from syntera_crds.contract import names
from syntera_crds.contract.agent_config import SecretKey
from syntera_crds.contract.knowledge_config import KnowledgeBaseConfig
from syntera_crds.errors import InvalidResource
from syntera_crds.v1alpha1 import Tenant
from syntera_crds.v1alpha1.common import Reason
from syntera_crds.v1alpha1.knowledge_base import KnowledgeBaseStatus
from syntera_crds.v1alpha1.tenant import DeletionPolicy
from syntera_crds.validation import load_as
from syntera_kube import resources as kube
from syntera_kube.errors import Forbidden

from ..causes import knowledge_base_key, namespace_of_tenant
from ..conditions import Outlook, Problem
from ..desired.deployment import Image
from ..desired.knowledge_config import build_pinecone
from ..desired.metadata import Scope
from ..desired.published import build_withdrawn
from ..desired.sync_job import SyncPods, build_erase_job, erase_job_name
from ..errors import StoreRefused, StoreUnavailable
from ..manifest import Manifest, annotations_of, is_being_deleted, labels_of, managers, name_of, namespace_of, uid_of
from ..queue import Outcome
from ..stores.knowledge_summary import VectorPlace
from .context import Context
from .identity import StoreError, describe_store_error
from .knowledge_compiling import compile_knowledge_base
from .knowledge_jobs import end_syncs, failed_at, find_failure, is_complete, made_at
from .knowledge_status import report_knowledge_base
from .publishing import Refused
from .report import read_status
from .vector_places import describe_left, describe_places

log = structlog.get_logger(__name__)

_LOOK_AGAIN_SECONDS = 2.0
"""While Kubernetes is at work; its watches usually tell sooner."""
_REST = timedelta(minutes=1)
"""Between an erasure that failed and the next one."""
_SERVED_ON = timedelta(seconds=6)
"""How long runtimes may serve what was withdrawn: three seconds after they hear of it."""

_MAX_TOLD = 300
"""Characters of what stands in the way: what can be done about it follows in the message."""
_ERASING = "A Job erases what the stores hold of it."
_NAMESPACE_GOES = "is being terminated"
"""What the API server says of a namespace in which nothing can be made any more; quotas and webhooks forbid as well."""


@dataclass(frozen=True, slots=True)
class _Held:
    """What the stores hold."""

    tenant_id: UUID
    places: Sequence[VectorPlace]
    """Where in Pinecone vectors are, as the indexes say themselves, whatever the Tenant names by now."""


async def delete_knowledge_base(manifest: Manifest, context: Context) -> Outcome:
    """Take the next steps of a KnowledgeBase's end.

    Raises:
        KubeError: the API server did not answer, or refused.
        StoreUnavailable: PostgreSQL does not answer; the conditions say so.
        StoreRefused: PostgreSQL refused; the conditions say so.
        LeadershipLost: this process may write no more.
    """
    namespace, name = namespace_of(manifest) or "", name_of(manifest)
    finalizers = manifest["metadata"].get("finalizers") or []
    if names.KNOWLEDGE_BASE_FINALIZER not in finalizers:
        return Outcome()
    if left := await end_syncs(manifest, context):
        return await _wait(manifest, context, f"{left} of its Jobs are being ended.")
    held = await _erase(manifest, context)
    if held is not None and annotations_of(manifest).get(names.ABANDON_KNOWLEDGE_ANNOTATION) != "true":
        return await _wait(manifest, context, held)
    await _withdraw(manifest, context)
    if held is not None:
        message = (
            f"What the stores hold of the knowledge base may still be there, and nobody looks after it any more. {held}"
        )
        await context.cluster.event(manifest, type="Warning", reason="KnowledgeAbandoned", message=message)
    context.cluster.set_references(knowledge_base_key(namespace, name), set())
    await context.cluster.set_finalizers(manifest, [one for one in finalizers if one != names.KNOWLEDGE_BASE_FINALIZER])
    return Outcome()


async def _erase(manifest: Manifest, context: Context) -> str | None:
    """Take the next step of the erasure; gives what it waits for, None when nothing is left."""
    try:
        held = await _look_up(manifest, context)
    except (StoreUnavailable, StoreRefused) as error:
        return await _hold(manifest, error, context)
    if held is None:
        return None
    tenant = _find_tenant(manifest, context)
    if tenant is None:
        return await _forget(manifest, held, context, leaves=held.places)
    job = context.cluster.child(kube.JOBS, namespace_of(manifest), erase_job_name(name_of(manifest), uid_of(manifest)))
    if job is not None:
        return await _follow(job, manifest, held, context)
    return await _begin(manifest, tenant, held, context)


async def _begin(manifest: Manifest, tenant: Manifest, held: _Held, context: Context) -> str | None:
    """Have a Job erase everything, where one is needed and can; gives what is waited for, None when nothing is left."""
    if is_being_deleted(tenant) and not held.places:
        # With the Tenant's data go its rows; where that is kept, the KnowledgeBase's goes alone.
        return None if _erases(tenant) else await _forget(manifest, held, context)
    found = _read_published(manifest, context) or await _compile(manifest, held, context)
    config = _with_present_key(found, tenant) if isinstance(found, KnowledgeBaseConfig) else None
    is_suspended = bool(tenant["spec"].get("suspended"))
    if not held.places and (config is None or is_suspended):
        return await _forget(manifest, held, context)
    if config is None or is_suspended or (held.places and config.pinecone is None):
        refused = found if isinstance(found, Refused) else None
        return _describe_obstacle(held.places, refused, is_suspended=is_suspended)
    return await _make_job(manifest, tenant, config, held, context)


def _describe_obstacle(places: Sequence[VectorPlace], refused: Refused | None, *, is_suspended: bool) -> str:
    """Why no Job can erase vectors in Pinecone now, where they are, and what to do. `refused`: there is no configuration, and why."""
    vectors = f"Its vectors in Pinecone ({describe_places(places)})"
    if is_suspended:
        return f"{vectors} are erased by a Job, and none runs while the Tenant is suspended; let it go on."
    if refused is not None:
        why = refused.describe()[:_MAX_TOLD]
        return f"{vectors} are erased by a Job, which needs a configuration, and that cannot be made: {why}"
    return f"{vectors} are out of reach: the Tenant's stores.vectors.pinecone names no key. Restore it until they are gone."


def _find_tenant(manifest: Manifest, context: Context) -> Manifest | None:
    """The Tenant in whose namespace a Job could run; None: there is none, or the namespace goes."""
    namespace = namespace_of(manifest) or ""
    labelled = context.cluster.namespace(namespace)
    if labelled is None or is_being_deleted(labelled):
        return None
    tenant = context.cluster.tenant(labels_of(labelled).get(names.TENANT_LABEL, ""))
    return tenant if tenant is not None and namespace_of_tenant(tenant) == namespace else None


def _read_published(manifest: Manifest, context: Context) -> KnowledgeBaseConfig | None:
    """What is published; None: nothing is, so that no Job ever ran."""
    name = names.published_knowledge_base_name(name_of(manifest))
    found = context.cluster.child(kube.CONFIG_MAPS, namespace_of(manifest), name)
    try:
        return KnowledgeBaseConfig.model_validate_json((found or {})["data"][names.KNOWLEDGE_BASE_CONFIG_KEY])
    except (KeyError, TypeError, ValidationError):
        return None


async def _compile(manifest: Manifest, held: _Held, context: Context) -> KnowledgeBaseConfig | Refused | None:
    """What was published, for where the garbage collector took it already: a deletion in the foreground takes everything along
    that the object owns; or why it cannot be told any more. None: nothing ever was, so that no Job ran.

    Vectors may be those of an object of the same name before, which a Tenant that was kept has left.
    """
    if read_status(KnowledgeBaseStatus, manifest).revision is None and not held.places:
        return None
    try:
        return (await compile_knowledge_base(manifest, context)).config
    except Refused as refused:
        return refused


def _erases(tenant: Manifest) -> bool:
    return (tenant.get("spec") or {}).get("deletionPolicy") == DeletionPolicy.DELETE


async def _look_up(manifest: Manifest, context: Context) -> _Held | None:
    """What the stores hold of the tenant whose rows the KnowledgeBase's are; None: there is none.

    Raises:
        StoreUnavailable, StoreRefused: nobody can tell.
    """
    name = _find_owner_of_rows(manifest, context)
    tenant_id = await context.stores.find(name) if name else None
    if tenant_id is None:
        return None
    return _Held(tenant_id, await context.knowledge.list_vectors(tenant_id, name_of(manifest)))


async def _forget(
    manifest: Manifest, held: _Held, context: Context, *, leaves: Sequence[VectorPlace] = ()
) -> str | None:
    """Delete the rows, where there are any; gives what stands in the way if that is to be waited for.

    `leaves` is where vectors stay for good, which somebody should hear of.

    Raises:
        StoreUnavailable, StoreRefused: unless the knowledge base is given up.
    """
    try:
        await context.knowledge.forget(held.tenant_id, name_of(manifest))
    except (StoreUnavailable, StoreRefused) as error:
        return await _hold(manifest, error, context)
    if leaves:
        await context.cluster.event(manifest, type="Warning", reason="VectorsLeft", message=describe_left(leaves))
    return None


async def _hold(manifest: Manifest, error: StoreError, context: Context) -> str:
    """Say which store holds the erasure, and raise its error, unless the knowledge base is given up."""
    described = describe_store_error(error)
    if annotations_of(manifest).get(names.ABANDON_KNOWLEDGE_ANNOTATION) != "true":
        await _wait(manifest, context, described)
        raise error
    return described


def _find_owner_of_rows(manifest: Manifest, context: Context) -> str:
    """The tenant whose rows the KnowledgeBase's are; empty: nobody's.

    Whoever may label a namespace could name any tenant. One that is there says itself which namespace is its own; where it is gone,
    what was published, which only the operator writes down, proves that the KnowledgeBase was its.
    """
    namespace = namespace_of(manifest) or ""
    labelled = context.cluster.namespace(namespace)
    name = "" if labelled is None else labels_of(labelled).get(names.TENANT_LABEL, "")
    tenant = context.cluster.tenant(name) if name else None
    if tenant is not None:
        return name if namespace_of_tenant(tenant) == namespace else ""
    return "" if read_status(KnowledgeBaseStatus, manifest).revision is None else name


async def _follow(job: Manifest, manifest: Manifest, held: _Held, context: Context) -> str | None:
    """See how far the Job is that erases everything; None when nothing is left."""
    if is_complete(job):
        made = made_at(job)
        if made is not None and context.now() - made < _SERVED_ON:
            return "What the stores held of it is erased; the last pods are about to serve it no more."
        return await _forget(manifest, held, context)
    failure = find_failure(job)
    if failure is None:
        return _ERASING
    ended = failed_at(job)
    if ended is None or context.now() - ended > _REST:
        await context.cluster.delete(kube.JOBS, namespace_of(manifest), name_of(job), uid=uid_of(job))
    message = f"Job {name_of(job)!r}, which erases what the stores hold of it, failed ({failure}), and is tried again."
    if not held.places:
        return message
    return (
        f"{message} Its vectors in Pinecone ({describe_places(held.places)}) are left; the Job's log tells why, for example that"
        " Pinecone refuses the key of the Tenant's stores.vectors.pinecone."
    )


async def _make_job(
    manifest: Manifest, tenant: Manifest, config: KnowledgeBaseConfig, held: _Held, context: Context
) -> str | None:
    """Have runtimes serve it no more, and make the Job; gives how far that is, None where there is nothing left to be erased."""
    settings, scope = context.settings, Scope(tenant=name_of(tenant), namespace=namespace_of(manifest) or "")
    pods = SyncPods(
        tenant_id=held.tenant_id,
        knowledge_base=config.name,
        image=Image(settings.ingestion_image, settings.image_pull_policy, tuple(settings.image_pull_secrets)),
        secrets=_list_secrets(config),
    )
    withdrawn = build_withdrawn(scope, config, digest=config.digest())
    job_name = erase_job_name(name_of(manifest), uid_of(manifest))
    try:
        # Without an owner: the garbage collector takes what is owned before an owner that is deleted in the foreground.
        for desired in (withdrawn, build_erase_job(scope, pods, name=job_name)):
            await context.cluster.apply(desired, owner=None, manager=names.KNOWLEDGE_BASE_FIELD_MANAGER)
    except Forbidden as error:
        if _NAMESPACE_GOES not in error.message:
            return f"The API server refuses the Job that erases what the stores hold of it: {error.message}"
        # Nobody has told yet.
        return await _forget(manifest, held, context, leaves=held.places)
    log.info("erasure begun", job=job_name)
    return _ERASING


def _with_present_key(config: KnowledgeBaseConfig, tenant: Manifest) -> KnowledgeBaseConfig:
    """The configuration with what the Tenant names for Pinecone now, so that who restores a key need not publish anything."""
    try:
        pinecone = build_pinecone(load_as(Tenant, {**tenant, "status": {}}))
    except InvalidResource:
        return config
    return config if pinecone is None else config.model_copy(update={"pinecone": pinecone})


async def _withdraw(manifest: Manifest, context: Context) -> None:
    """Delete the configuration, which nobody owns any more."""
    namespace, name = namespace_of(manifest), names.published_knowledge_base_name(name_of(manifest))
    found = context.cluster.child(kube.CONFIG_MAPS, namespace, name)
    if found is not None and names.KNOWLEDGE_BASE_FIELD_MANAGER in managers(found):
        await context.cluster.delete(kube.CONFIG_MAPS, namespace, name, uid=uid_of(found))


def _list_secrets(config: KnowledgeBaseConfig) -> frozenset[SecretKey]:
    return frozenset() if config.pinecone is None else frozenset({config.pinecone.api_key})


async def _wait(manifest: Manifest, context: Context, progress: str) -> Outcome:
    namespace, name = namespace_of(manifest), name_of(manifest)
    hint = (
        f"{progress} To leave there what is left and go on: kubectl annotate kb {name} -n {namespace}"
        f" {names.ABANDON_KNOWLEDGE_ANNOTATION}=true"
    )
    ready = Problem(Reason.DELETING, hint, Outlook.PASSING)
    await report_knowledge_base(manifest, context, {}, ready=ready, fields={})
    return Outcome(_LOOK_AGAIN_SECONDS)
