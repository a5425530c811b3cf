"""The Jobs of a KnowledgeBase: how they are made, which are there, how they went, and their end."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from syntera_crds.contract import names
from syntera_crds.v1alpha1.common import Reason
from syntera_kube import resources as kube
from syntera_kube.errors import BadRequest, Forbidden, Invalid

from ..cluster import Owner
from ..conditions import Outlook, Problem
from ..desired.sync_job import cron_job_name
from ..errors import NameTaken
from ..manifest import Manifest, is_being_deleted, labels_of, name_of, namespace_of, owner_uids, resource_of, uid_of
from .children import describe_name_taken
from .context import Context

_LOOK_AGAIN_SECONDS = 15.0
"""Where something that nobody watches stands in the way."""


@dataclass(frozen=True, slots=True)
class Held:
    """Why a Job or a CronJob is not as it should be."""

    problem: Problem
    again_seconds: float | None = None
    """When to look again; None: when something changes."""


async def apply_job(manifest: Manifest, desired: Manifest, context: Context) -> Held | None:
    """Write a Job or a CronJob of a KnowledgeBase; gives why it could not be.

    Raises:
        KubeError: the API server did not answer.
        LeadershipLost: this process may write no more.
    """
    told = f"The API server refuses {desired['kind']} {name_of(desired)!r}"
    try:
        await context.cluster.apply(desired, owner=Owner.of(manifest), manager=names.KNOWLEDGE_BASE_FIELD_MANAGER)
    except NameTaken as error:
        return Held(describe_name_taken(error), _LOOK_AGAIN_SECONDS)
    except (Invalid, BadRequest) as error:
        return Held(Problem(Reason.REJECTED, f"{told}: {error.message}", Outlook.STALLED))
    except Forbidden as error:  # a quota, an admission webhook: it may pass
        return Held(Problem(Reason.REJECTED, f"{told}: {error.message}"), _LOOK_AGAIN_SECONDS)
    return None


def list_jobs(manifest: Manifest, context: Context) -> list[Manifest]:
    """The Jobs that work for a KnowledgeBase: its own, and those of its CronJob. A label alone proves nothing."""
    namespace, name = namespace_of(manifest) or "", name_of(manifest)
    cron_job = find_cron_job(manifest, context)
    owners = {uid_of(manifest), *(() if cron_job is None else (uid_of(cron_job),))}
    return [
        job
        for job in context.cluster.jobs(namespace)
        if labels_of(job).get(names.KNOWLEDGE_BASE_LABEL) == name and not owners.isdisjoint(owner_uids(job))
    ]


def find_cron_job(manifest: Manifest, context: Context) -> Manifest | None:
    """The CronJob of a KnowledgeBase, None if it has none."""
    namespace, name = namespace_of(manifest) or "", name_of(manifest)
    found = context.cluster.child(kube.CRON_JOBS, namespace, cron_job_name(name))
    return found if found is not None and uid_of(manifest) in owner_uids(found) else None


def list_running(jobs: Iterable[Manifest]) -> list[Manifest]:
    """Those of which pods may be running."""
    return [job for job in jobs if not is_finished(job)]


def is_finished(job: Manifest) -> bool:
    """Whether a Job's pods have all ended, and there will be no more."""
    return is_complete(job) or find_failure(job) is not None


def is_complete(job: Manifest) -> bool:
    """Whether a Job did what it was made for."""
    return _find_condition(job, "Complete") is not None


def find_failure(job: Manifest) -> str | None:
    """Why a Job has failed for good; None: it has not."""
    failed = _find_condition(job, "Failed")
    if failed is None:
        return None
    return f"{failed.get('reason') or 'Failed'}: {failed.get('message') or 'no message'}"


def failed_at(job: Manifest) -> datetime | None:
    """When a Job failed for good; None: it has not, or says nothing of when."""
    return _read_time((_find_condition(job, "Failed") or {}).get("lastTransitionTime"))


def find_last(jobs: Iterable[Manifest]) -> Manifest | None:
    """The Job that was made last."""
    return max(jobs, key=lambda job: str(job["metadata"].get("creationTimestamp", "")), default=None)


def made_at(job: Manifest) -> datetime | None:
    """When a Job was made."""
    return _read_time(job["metadata"].get("creationTimestamp"))


async def end_running(manifest: Manifest, context: Context) -> bool:
    """End a KnowledgeBase's Jobs; gives whether there are any. Those that are on their way out count: who asks again has the same answer.

    Raises:
        KubeError: the API server did not answer, or refused.
        LeadershipLost: this process may write no more.
    """
    running = list_running(list_jobs(manifest, context))
    for job in running:
        if not is_being_deleted(job):
            await context.cluster.delete(
                kube.JOBS, namespace_of(manifest), name_of(job), uid=uid_of(job), propagation="Foreground"
            )
    return bool(running)


async def end_syncs(manifest: Manifest, context: Context) -> int:
    """End a KnowledgeBase's schedule and its Jobs; gives how many of these are left, whose pods are on their way out.

    Raises:
        KubeError: the API server did not answer, or refused.
        LeadershipLost: this process may write no more.
    """
    cluster, namespace = context.cluster, namespace_of(manifest) or ""
    left = list_running(list_jobs(manifest, context))
    # A CronJob that waits for its Jobs to go begins no others, and while it is there it proves whose these are.
    if (cron_job := find_cron_job(manifest, context)) is not None:
        left.append(cron_job)
    for one in left:
        if not is_being_deleted(one):
            await cluster.delete(resource_of(one), namespace, name_of(one), uid=uid_of(one), propagation="Foreground")
    return len(left)


async def end_schedule(manifest: Manifest, context: Context) -> None:
    """Delete a KnowledgeBase's CronJob, if it has one; a sync that this began ends with it.

    Raises:
        KubeError: the API server did not answer, or refused.
        LeadershipLost: this process may write no more.
    """
    cron_job = find_cron_job(manifest, context)
    if cron_job is not None and not is_being_deleted(cron_job):
        await context.cluster.delete(
            kube.CRON_JOBS, namespace_of(manifest), name_of(cron_job), uid=uid_of(cron_job), propagation="Foreground"
        )


def _find_condition(job: Manifest, type_: str) -> dict[str, Any] | None:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one.get("type") == type_ and one.get("status") == "True"), None)


def _read_time(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None
