"""Keeps a KnowledgeBase in step with its sources: gather, compile, publish, have it synced, report.

The operator fetches and embeds nothing: a Job does, and tells the stores how it went. At most one runs for a knowledge base as
far as the operator makes them; where the schedule makes another one, the stores' lock keeps them apart.

A KnowledgeBase that cannot be compiled changes nothing but its own conditions: what was published last goes on being searched,
and synced by its schedule.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import structlog

from syntera_crds.contract import names
from syntera_crds.contract.knowledge_config import Retrieval
from syntera_crds.v1alpha1.common import ConditionType, Reason
from syntera_crds.v1alpha1.knowledge_base import MAX_TOKEN_LENGTH, KnowledgeBaseStatus
from syntera_kube import resources as kube
from syntera_kube.errors import BadRequest, Forbidden, Invalid

from ..causes import knowledge_base_key
from ..cluster import Owner
from ..conditions import Check, Outlook, Problem
from ..desired.deployment import Image
from ..desired.published import KNOWLEDGE_BASE, Publication
from ..desired.sync_job import SyncPods, Trigger, build_cron_job, build_sync_job, sync_job_name
from ..errors import NameTaken, StoreRefused, StoreUnavailable
from ..manifest import Manifest, annotations_of, is_being_deleted, name_of, namespace_of, uid_of
from ..queue import Outcome
from .children import describe_name_taken
from .context import Context
from .host import Host, find_host
from .knowledge_compiling import CompiledKnowledge, compile_knowledge_base
from .knowledge_deletion import delete_knowledge_base
from .knowledge_jobs import end_running, end_schedule, list_jobs, list_running
from .knowledge_status import (
    Observed,
    Wish,
    check_room,
    check_serving,
    check_synced,
    describe_contents,
    is_lost,
    report_knowledge_base,
)
from .publishing import Refused, annotate_refusal, publish, read_published
from .report import read_status

log = structlog.get_logger(__name__)

_LOOK_WHILE_RUNNING_SECONDS = 30.0
"""How far a sync is stands in the stores, which nobody watches."""
_LOOK_FOR_WALLS_SECONDS = 1.0
"""The Tenant's reconcile makes what Jobs need in the namespace; it is at it."""
_LOOK_AGAIN_SECONDS = 15.0
"""Where something that nobody watches stands in the way."""


@dataclass(frozen=True, slots=True)
class _Due:
    """A sync that should begin."""

    trigger: Trigger
    because: str
    job_name: str


@dataclass(frozen=True, slots=True)
class _Published:
    """What was found out of a KnowledgeBase that is sound."""

    compiled: CompiledKnowledge
    publication: Publication
    wanted_digest: str
    """Of what a sync works by, ConfigMaps included."""
    token: str | None


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
        return await _report_refused(manifest, refused, context)
    return await _sync(manifest, published, context)


async def _publish(manifest: Manifest, compiled: CompiledKnowledge, context: Context) -> _Published:
    """Take the KnowledgeBase in charge, and write its configuration under its revision.

    Raises:
        Refused: it does not fit, or cannot be written.
    """
    finalizers = manifest["metadata"].get("finalizers") or []
    if names.KNOWLEDGE_BASE_FINALIZER not in finalizers:
        await context.cluster.set_finalizers(manifest, [*finalizers, names.KNOWLEDGE_BASE_FINALIZER])
    before = read_status(KnowledgeBaseStatus, manifest)
    published = await publish(
        compiled.config,
        scope=compiled.host.scope,
        recorded=Publication(before.revision, before.digest) if before.revision and before.digest else None,
        checks=compiled.checks,
        manifest=manifest,
        manager=names.KNOWLEDGE_BASE_FIELD_MANAGER,
        cluster=context.cluster,
    )
    token = annotations_of(manifest).get(names.SYNC_ANNOTATION)
    return _Published(
        compiled, published.publication, _digest_of_sync(compiled), token[:MAX_TOKEN_LENGTH] if token else None
    )


async def _sync(manifest: Manifest, published: _Published, context: Context) -> Outcome:
    """Have the KnowledgeBase synced where that is due, and say how it is."""
    compiled, before = published.compiled, read_status(KnowledgeBaseStatus, manifest)
    checks = dict(compiled.checks)
    observed = await _observe(manifest, compiled.host, context)
    trouble = await _ensure_schedule(manifest, compiled, context)
    due = _find_due(manifest, published, before, observed)
    blocked = None if due is None else _find_obstacle(compiled.host, observed, context)
    is_running = bool(list_running(observed.jobs))
    began: dict[str, Any] = {}
    if compiled.host.tenant.spec.suspended and await end_running(manifest, context):
        began = {"synced_digest": None}  # it is begun again when the Tenant goes on
    elif due is not None and blocked is None and observed.error is None and not is_running and trouble is None:
        trouble = await _begin(manifest, published, due, observed, context)
        if trouble is None:
            began = {"synced_digest": published.wanted_digest, "sync_token": published.token}
            observed = Observed(list_jobs(manifest, context), observed.summary)
    schedule = None if compiled.host.tenant.spec.suspended else compiled.knowledge_base.spec.schedule
    contents = describe_contents(observed, schedule, now=context.now())
    fields = {"revision": published.publication.revision, "digest": published.publication.digest, **contents, **began}
    serving = check_serving(before.model_copy(update=fields))
    wish = Wish(due.because, blocked) if due is not None and "sync_token" not in began else None
    serves = not isinstance(serving, Problem)
    checks[ConditionType.SYNCED] = trouble or check_synced(observed, wish, serves=serves)
    await report_knowledge_base(
        manifest, context, checks, ready=_describe_suspended(compiled.host) or serving, fields=fields
    )
    if observed.error is not None:
        raise observed.error
    if trouble is not None:
        return Outcome(_LOOK_AGAIN_SECONDS)
    if list_running(observed.jobs):
        return Outcome(_LOOK_WHILE_RUNNING_SECONDS)
    return Outcome(_LOOK_FOR_WALLS_SECONDS if blocked is not None and blocked.outlook is Outlook.PASSING else None)


async def _observe(manifest: Manifest, host: Host, context: Context) -> Observed:
    """What the Jobs and the stores tell."""
    jobs = list_jobs(manifest, context)
    if host.tenant_id is None:
        return Observed(jobs, None)
    try:
        summary = await context.knowledge.summary(host.tenant_id, name_of(manifest))
        has_no_room = summary is None and await context.knowledge.is_full(host.tenant_id)
        return Observed(jobs, summary, has_no_room=has_no_room)
    except (StoreUnavailable, StoreRefused) as error:
        return Observed(jobs, None, error)


def _find_due(
    manifest: Manifest, published: _Published, before: KnowledgeBaseStatus, observed: Observed
) -> _Due | None:
    """Why a sync should begin now; None: it should not.

    The Job's name tells what was asked for and what had been done by then: it stays the same until the status says that a sync
    was begun, and comes again only where that sync is lost.
    """
    request = None if observed.summary is None else observed.summary.request_id
    trigger: Trigger
    if before.synced_digest != published.wanted_digest:
        trigger, because = "configuration", "the configuration or one of its ConfigMaps changed"
    elif published.token is not None and published.token != before.sync_token:
        trigger, because = "request", f"the annotation {names.SYNC_ANNOTATION} asks for it"
    elif request is not None:
        trigger, because = "request", "somebody asked for it through the API"
    elif is_lost(before, observed):
        trigger, because = "configuration", "nobody tells any more how the last one went"
    else:
        return None
    reason = (
        uid_of(manifest),
        published.publication.revision,
        before.synced_digest,
        published.wanted_digest,
        before.sync_token,
        published.token,
        None if request is None else str(request),
        None if before.last_sync_time is None else before.last_sync_time.isoformat(),
    )
    return _Due(trigger, because, sync_job_name(name_of(manifest), reason))


def _find_obstacle(host: Host, observed: Observed, context: Context) -> Problem | None:
    """What no Job can begin without, or why none may."""
    if (suspended := _describe_suspended(host)) is not None:
        return suspended
    if host.tenant_id is None:
        return Problem(Reason.PENDING, "Waits for the tenant's identity, which PostgreSQL keeps; see the Tenant.")
    namespace = host.scope.namespace
    needed = (
        (kube.SERVICE_ACCOUNTS, names.INGESTION),
        (kube.NETWORK_POLICIES, names.INGESTION),
        (kube.CONFIG_MAPS, names.TENANT_CONFIG),
    )
    for resource, name in needed:
        if context.cluster.child(resource, namespace, name) is None:
            return Problem(
                Reason.PENDING, f"Waits for {resource.kind} {name!r}, which comes with the Tenant; see there."
            )
    if (full := check_room(observed)) is not None:
        return full
    if list_running(observed.jobs):
        return Problem(Reason.SYNCING, "Another sync is under way; the next one begins when it has ended.")
    return None


def _describe_suspended(host: Host) -> Problem | None:
    if not host.tenant.spec.suspended:
        return None
    message = f"Tenant {host.tenant.metadata.name!r} is suspended: nothing is synced until it goes on."
    return Problem(Reason.SUSPENDED, message, Outlook.WANTED)


async def _begin(
    manifest: Manifest, published: _Published, due: _Due, observed: Observed, context: Context
) -> Problem | None:
    """Make the Job; gives why there is none."""
    host, cluster = published.compiled.host, context.cluster
    assert host.tenant_id is not None, "nothing stands in its way"
    if cluster.child(kube.JOBS, host.scope.namespace, due.job_name) is None:
        pods = _build_pods(published.compiled, context)
        job = build_sync_job(host.scope, pods, name=due.job_name, trigger=due.trigger)
        try:
            await cluster.apply(job, owner=Owner.of(manifest), manager=names.KNOWLEDGE_BASE_FIELD_MANAGER)
        except NameTaken as error:
            return describe_name_taken(error)
        except (Invalid, BadRequest) as error:
            return Problem(Reason.REJECTED, f"The API server refuses the Job: {error.message}", Outlook.STALLED)
        except Forbidden as error:  # a quota, an admission webhook: it may pass
            return Problem(Reason.REJECTED, f"The API server refuses the Job: {error.message}")
        log.info("sync begun", job=due.job_name, trigger=due.trigger)
    if observed.summary is not None and observed.summary.request_id is not None:
        await context.knowledge.begun(host.tenant_id, name_of(manifest), observed.summary.request_id)
    return None


async def _ensure_schedule(manifest: Manifest, compiled: CompiledKnowledge, context: Context) -> Problem | None:
    """Have a CronJob as the schedule says, or none; gives what is wrong with it."""
    schedule, host = compiled.knowledge_base.spec.schedule, compiled.host
    if schedule is None:
        await end_schedule(manifest, context)
        return None
    if host.tenant_id is None:
        return None
    desired = build_cron_job(
        host.scope,
        _build_pods(compiled, context),
        cron=schedule.cron,
        time_zone=schedule.time_zone,
        is_suspended=schedule.suspend or host.tenant.spec.suspended,
    )
    try:
        await context.cluster.apply(desired, owner=Owner.of(manifest), manager=names.KNOWLEDGE_BASE_FIELD_MANAGER)
    except NameTaken as error:
        return describe_name_taken(error)
    except (Invalid, BadRequest) as error:
        message = f"spec.schedule: the API server refuses the CronJob: {error.message}"
        return Problem(Reason.REJECTED, message, Outlook.STALLED)
    except Forbidden as error:
        return Problem(Reason.REJECTED, f"The API server refuses the CronJob: {error.message}")
    return None


def _build_pods(compiled: CompiledKnowledge, context: Context) -> SyncPods:
    settings = context.settings
    assert compiled.host.tenant_id is not None, "nothing is made before it is known"
    return SyncPods(
        tenant_id=compiled.host.tenant_id,
        knowledge_base=compiled.config.name,
        image=Image(settings.ingestion_image, settings.image_pull_policy, tuple(settings.image_pull_secrets)),
        config_maps=compiled.config_maps,
        secrets=compiled.secrets,
    )


def _digest_of_sync(compiled: CompiledKnowledge) -> str:
    """Changes with all that a sync works by; how the knowledge base is searched is no part of that."""
    config = compiled.config.model_copy(update={"retrieval": Retrieval()})
    content = json.dumps([config.digest(), *compiled.versions])
    return hashlib.sha256(content.encode()).hexdigest()[:32]


async def _report_refused(manifest: Manifest, refused: Refused, context: Context) -> Outcome:
    """Write why nothing new is published, what is meanwhile, and how its syncs go."""
    namespace, name = namespace_of(manifest) or "", name_of(manifest)
    before = read_status(KnowledgeBaseStatus, manifest)
    kept = read_published(namespace, names.published_knowledge_base_name(name), KNOWLEDGE_BASE, cluster=context.cluster)
    checks = annotate_refusal(refused, kept)
    host = find_host(namespace, kind=manifest["kind"], cluster=context.cluster)
    fields: dict[str, Any] = {}
    observed: Observed | None = None
    if isinstance(host, Host) and kept is not None:
        observed = await _observe(manifest, host, context)
        fields = describe_contents(observed, None, now=context.now())
        if host.tenant.spec.suspended:
            fields |= await _end_kept(manifest, context)
        else:
            del fields["next_sync_time"]
        checks[ConditionType.SYNCED] = _check_kept(before, observed, fields)
    await report_knowledge_base(manifest, context, checks, ready=refused.ready, fields=fields)
    if observed is not None and observed.error is not None:
        raise observed.error
    if observed is not None and list_running(observed.jobs):
        return Outcome(min(refused.again_seconds or _LOOK_WHILE_RUNNING_SECONDS, _LOOK_WHILE_RUNNING_SECONDS))
    return Outcome(refused.again_seconds)


async def _end_kept(manifest: Manifest, context: Context) -> dict[str, Any]:
    """End the schedule and the syncs of what stays published, for a Tenant that is suspended; gives what the status says of it.

    A schedule cannot be suspended without what it is made of, which is refused; it is made anew when it is sound.
    """
    ended = await end_running(manifest, context)
    await end_schedule(manifest, context)
    return {"synced_digest": None} if ended else {}


def _check_kept(before: KnowledgeBaseStatus, observed: Observed, fields: dict[str, Any]) -> Check:
    serving = check_serving(before.model_copy(update=fields))
    return check_synced(observed, None, serves=not isinstance(serving, Problem))
