"""Keeps a KnowledgeBase in step with its sources: gather, compile, publish, have it synced, report.

The operator fetches and embeds nothing: a Job does, and tells the stores how it went. At most one runs for a knowledge base as
far as the operator makes them; where the schedule makes another one, the stores' lock keeps them apart.

A KnowledgeBase that cannot be compiled changes nothing but its own conditions: what was published last goes on being searched,
and synced by its schedule. A schedule that the cluster refuses keeps no sync from beginning that is asked for otherwise.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

import structlog

from syntera_crds.contract import names
from syntera_crds.contract.knowledge_config import Retrieval
from syntera_crds.v1alpha1.common import ConditionType, Reason
from syntera_crds.v1alpha1.knowledge_base import MAX_TOKEN_LENGTH, KnowledgeBaseStatus
from syntera_kube import resources as kube

from ..causes import knowledge_base_key
from ..conditions import Check, Good, Outlook, Problem
from ..desired.deployment import Image
from ..desired.published import KNOWLEDGE_BASE, Publication
from ..desired.sync_job import SyncPods, build_sync_job
from ..errors import StoreRefused, StoreUnavailable
from ..manifest import Manifest, annotations_of, is_being_deleted, name_of, namespace_of
from ..queue import Outcome
from .context import Context
from .host import Host, find_host
from .knowledge_compiling import CompiledKnowledge, compile_knowledge_base
from .knowledge_deletion import delete_knowledge_base
from .knowledge_due import Due, Wanted, find_due
from .knowledge_jobs import Held, apply_job, end_running, end_schedule, find_cron_job, list_jobs, list_running
from .knowledge_schedule import ensure_schedule, find_next_sync
from .knowledge_status import (
    Observed,
    check_serving,
    check_stores,
    check_synced,
    describe_contents,
    report_knowledge_base,
)
from .publishing import Checks, Refused, annotate_refusal, publish, read_published
from .report import read_status
from .vector_places import describe_left

log = structlog.get_logger(__name__)

_LOOK_WHILE_RUNNING_SECONDS = 30.0
"""How far a sync is stands in the stores, which nobody watches."""
_LOOK_FOR_WALLS_SECONDS = 1.0
"""The Tenant's reconcile makes what Jobs need in the namespace; it is at it."""


@dataclass(frozen=True, slots=True)
class _Published:
    """What was found out of a KnowledgeBase that is sound."""

    compiled: CompiledKnowledge
    publication: Publication
    pods: SyncPods | None
    """None: the tenant has no identity in the stores yet."""


async def reconcile_knowledge_base(namespace: str, name: str, context: Context) -> Outcome:
    """Bring one KnowledgeBase to what its spec says, as far as it goes now.

    Raises:
        KubeError: the API server did not answer, or refused.
        StoreUnavailable: PostgreSQL does not answer; the KnowledgeBase's conditions say so.
        StoreRefused: PostgreSQL refused; the KnowledgeBase's conditions say so.
        LeadershipLost: this process may write no more.
    """
    manifest = context.cluster.knowledge_base(namespace, name)
    if manifest is None:
        context.cluster.set_references(knowledge_base_key(namespace, name), set())
        return Outcome()
    if is_being_deleted(manifest):
        return await delete_knowledge_base(manifest, context)
    try:
        compiled = await compile_knowledge_base(manifest, context)
        published = await _publish(manifest, compiled, context)
    except Refused as refused:
        return await _go_on(manifest, refused, context)
    return await _sync(manifest, published, context)


async def _publish(manifest: Manifest, compiled: CompiledKnowledge, context: Context) -> _Published:
    """Take the KnowledgeBase in charge, and write its configuration under its revision.

    Raises:
        Refused: it does not fit, or cannot be written.
    """
    finalizers = manifest["metadata"].get("finalizers") or []
    if names.KNOWLEDGE_BASE_FINALIZER not in finalizers:
        await context.cluster.set_finalizers(manifest, [*finalizers, names.KNOWLEDGE_BASE_FINALIZER])
    published = await publish(
        compiled.config,
        scope=compiled.host.scope,
        before=read_status(KnowledgeBaseStatus, manifest),
        checks=compiled.checks,
        manifest=manifest,
        manager=names.KNOWLEDGE_BASE_FIELD_MANAGER,
        cluster=context.cluster,
    )
    return _Published(compiled, published.publication, _build_pods(compiled, context))


async def _sync(manifest: Manifest, published: _Published, context: Context) -> Outcome:
    """Have the KnowledgeBase synced where that is due, and say how it is."""
    compiled, publication = published.compiled, published.publication
    suspended = _describe_suspended(compiled.host)
    fields: dict[str, Any] = {"revision": publication.revision, "digest": publication.digest}
    if suspended is not None:
        fields |= await _rest(manifest, context)
    observed = await _observe(manifest, compiled.host, context)
    observed = await _give_up_vectors(manifest, compiled.host, observed, context)
    schedule = None
    if suspended is None and published.pods is not None and observed.has_room:
        schedule = await ensure_schedule(manifest, compiled, published.pods, context)
    wanted = _want(manifest, published, context)
    due = find_due(manifest, wanted, read_status(KnowledgeBaseStatus, manifest), observed)
    held = None
    if due is not None:
        held = _find_obstacle(published, observed, context) or await _begin(due, manifest, published, observed, context)
    if due is not None and held is None:
        fields |= {"synced_digest": wanted.digest, "sync_token": wanted.token, "sync_image": wanted.image}
        observed = replace(observed, jobs=list_jobs(manifest, context))
    await _report(
        manifest,
        observed,
        context,
        checks=compiled.checks,
        held=held,
        schedule=schedule,
        ready=suspended,
        fields=fields,
    )
    return _look_again(observed, *(one.again_seconds for one in (held, schedule) if one is not None))


async def _go_on(manifest: Manifest, refused: Refused, context: Context) -> Outcome:
    """Write why nothing new is published, what is meanwhile, and how its syncs go."""
    namespace = namespace_of(manifest) or ""
    name = names.published_knowledge_base_name(name_of(manifest))
    kept = read_published(namespace, name, KNOWLEDGE_BASE, cluster=context.cluster)
    checks = annotate_refusal(refused, kept)
    host = find_host(namespace, kind=manifest["kind"], cluster=context.cluster)
    if kept is None or isinstance(host, Problem):
        await report_knowledge_base(manifest, context, checks, ready=refused.ready, fields={})
        return Outcome(refused.again_seconds)
    # A schedule cannot be suspended without what it is made of, which is refused; it is made anew when it is sound.
    fields = await _rest(manifest, context) if host.tenant.spec.suspended else {}
    observed = await _observe(manifest, host, context)
    await _report(manifest, observed, context, checks=checks, ready=refused.ready, fields=fields)
    return _look_again(observed, refused.again_seconds)


async def _rest(manifest: Manifest, context: Context) -> dict[str, Any]:
    """Have nothing synced, because the Tenant is suspended; gives what the status says of a sync that this ended.

    That is begun again when the Tenant goes on, and so is the schedule.
    """
    is_ended = await end_running(manifest, context)
    await end_schedule(manifest, context)
    return {"synced_digest": None} if is_ended else {}


async def _observe(manifest: Manifest, host: Host, context: Context) -> Observed:
    """What the Jobs and the stores tell."""
    jobs, stores = list_jobs(manifest, context), context.knowledge
    if host.tenant_id is None:
        return Observed(jobs)
    try:
        summary = await stores.summary(host.tenant_id, name_of(manifest))
        has_room = summary is not None or await stores.has_room(host.tenant_id)
    except (StoreUnavailable, StoreRefused) as error:
        return Observed(jobs, error=error)
    return Observed(jobs, summary, has_room)


async def _give_up_vectors(manifest: Manifest, host: Host, observed: Observed, context: Context) -> Observed:
    """Leave vectors of replaced indexes where they are, if the annotation names the host; gives what is observed then."""
    abandoned = annotations_of(manifest).get(names.ABANDON_VECTORS_ANNOTATION)
    summary = observed.summary
    left = [] if summary is None else [place for place in summary.left if place.host == abandoned]
    if abandoned is None or summary is None or host.tenant_id is None or not left:
        return observed
    await context.knowledge.abandon_vectors(host.tenant_id, name_of(manifest), abandoned)
    await context.cluster.event(manifest, type="Warning", reason="VectorsLeft", message=describe_left(left))
    kept = tuple(place for place in summary.left if place.host != abandoned)
    return replace(observed, summary=replace(summary, left=kept))


def _want(manifest: Manifest, published: _Published, context: Context) -> Wanted:
    compiled, token = published.compiled, annotations_of(manifest).get(names.SYNC_ANNOTATION)
    # How the knowledge base is searched is no part of what a sync works by.
    config = compiled.config.model_copy(update={"retrieval": Retrieval()})
    content = json.dumps([config.digest(), *compiled.versions])
    return Wanted(
        revision=published.publication.revision,
        digest=hashlib.sha256(content.encode()).hexdigest()[:32],
        token=token[:MAX_TOKEN_LENGTH] if token else None,
        image=context.settings.ingestion_image,
    )


def _build_pods(compiled: CompiledKnowledge, context: Context) -> SyncPods | None:
    settings, tenant_id = context.settings, compiled.host.tenant_id
    if tenant_id is None:
        return None
    return SyncPods(
        tenant_id=tenant_id,
        knowledge_base=compiled.config.name,
        image=Image(settings.ingestion_image, settings.image_pull_policy, tuple(settings.image_pull_secrets)),
        config_maps=compiled.config_maps,
        secrets=compiled.secrets,
    )


def _find_obstacle(published: _Published, observed: Observed, context: Context) -> Held | None:
    """What no Job can begin without, or why none may."""
    host = published.compiled.host
    if (suspended := _describe_suspended(host)) is not None:
        return Held(suspended)
    if published.pods is None:
        message = "Waits for the tenant's identity, which PostgreSQL keeps; see the Tenant."
        return Held(Problem(Reason.PENDING, message), _LOOK_FOR_WALLS_SECONDS)
    if (obstacle := check_stores(observed)) is not None:
        return Held(obstacle)
    needed = (
        (kube.SERVICE_ACCOUNTS, names.INGESTION),
        (kube.NETWORK_POLICIES, names.INGESTION),
        (kube.CONFIG_MAPS, names.TENANT_CONFIG),
    )
    for resource, name in needed:
        if context.cluster.child(resource, host.scope.namespace, name) is None:
            message = f"Waits for {resource.kind} {name!r}, which comes with the Tenant; see there."
            return Held(Problem(Reason.PENDING, message), _LOOK_FOR_WALLS_SECONDS)
    if list_running(observed.jobs):
        message = "Another sync is under way; the next one begins when it has ended."
        return Held(Problem(Reason.SYNCING, message))
    return None


async def _begin(
    due: Due, manifest: Manifest, published: _Published, observed: Observed, context: Context
) -> Held | None:
    """Make the Job; gives why there is none."""
    scope, pods = published.compiled.host.scope, published.pods
    assert pods is not None, "nothing stands in its way"
    if context.cluster.child(kube.JOBS, scope.namespace, due.job_name) is None:
        job = build_sync_job(scope, pods, name=due.job_name, trigger=due.trigger)
        if (held := await apply_job(manifest, job, context)) is not None:
            return held
        log.info("sync begun", job=due.job_name, trigger=due.trigger, because=due.because)
    if observed.summary is not None and observed.summary.request_id is not None:
        await context.knowledge.begun(pods.tenant_id, name_of(manifest), observed.summary.request_id)
    return None


def _describe_suspended(host: Host) -> Problem | None:
    if not host.tenant.spec.suspended:
        return None
    message = f"Tenant {host.tenant.metadata.name!r} is suspended: nothing is synced until it goes on."
    return Problem(Reason.SUSPENDED, message, Outlook.WANTED)


async def _report(
    manifest: Manifest,
    observed: Observed,
    context: Context,
    *,
    checks: Checks,
    ready: Check | None,
    fields: dict[str, Any],
    held: Held | None = None,
    schedule: Held | None = None,
) -> None:
    """Write the status. `ready` is what `Ready` says whatever is searched; `fields` are known beside what
    is observed.

    Raises:
        StoreUnavailable, StoreRefused: the stores told nothing.
    """
    next_sync = find_next_sync(find_cron_job(manifest, context), now=context.now())
    fields = {**describe_contents(observed), "next_sync_time": next_sync, **fields}
    active_index = fields.get("active_index", read_status(KnowledgeBaseStatus, manifest).active_index)
    serving = check_serving(active_index, observed)
    synced = check_synced(observed, held=held, schedule=schedule, serves=isinstance(serving, Good))
    await report_knowledge_base(
        manifest, context, {**checks, ConditionType.SYNCED: synced}, ready=ready or serving, fields=fields
    )
    if observed.error is not None:
        raise observed.error


def _look_again(observed: Observed, *seconds: float | None) -> Outcome:
    """When to look although nothing changed that is watched."""
    while_running = _LOOK_WHILE_RUNNING_SECONDS if list_running(observed.jobs) else None
    return Outcome(min((one for one in (*seconds, while_running) if one is not None), default=None))
