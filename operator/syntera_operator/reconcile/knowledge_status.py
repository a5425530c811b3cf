"""The status of a KnowledgeBase, from what its Jobs and the stores tell. Pure, but for writing it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from syntera_crds.contract import names
from syntera_crds.contract.knowledge_config import MOST_KNOWLEDGE_BASES
from syntera_crds.v1alpha1.common import ConditionType, Reason
from syntera_crds.v1alpha1.knowledge_base import (
    MAX_FAILURES,
    DocumentCounts,
    Failure,
    KnowledgeBaseStatus,
    Rebuild,
    SyncReport,
)

from ..conditions import KNOWLEDGE_BASE_ASPECTS, Check, Good, Outlook, Problem, build_conditions, merge_problems
from ..manifest import Manifest, name_of
from ..stores.knowledge_summary import FailureSummary, KnowledgeSummary, SyncSummary
from .context import Context
from .identity import StoreError, describe_store_error
from .knowledge_jobs import Held, find_failure, find_last, list_running, made_at
from .publishing import Checks
from .report import find_condition, generation_of, list_news, list_wanted_news, read_status, write_status
from .vector_places import describe_places

_MAX_TEXT = 512
_NO_ROOM = Problem(
    Reason.TOO_MANY,
    f"The tenant has {MOST_KNOWLEDGE_BASES} knowledge bases already, which is the most; delete one that is not needed.",
    Outlook.STALLED,
)
_EMPTY = Problem(Reason.EMPTY, "There is no index yet that could be searched; the first sync builds it.")


@dataclass(frozen=True, slots=True)
class Observed:
    """How a KnowledgeBase's syncs went, as far as somebody tells."""

    jobs: Sequence[Manifest]
    summary: KnowledgeSummary | None = None
    """None: the stores know of no such knowledge base, or were not asked."""
    has_room: bool = True
    """Whether they could take it in, where they do not know it yet."""
    error: StoreError | None = None
    """Why they told nothing."""


def check_synced(observed: Observed, *, held: Held | None, schedule: Held | None, serves: bool) -> Check:
    """Whether the knowledge base holds what its sources say.

    `held` is why a sync that is due was not begun, `schedule` why there is no CronJob as the spec says; `serves`: there is an
    index that is searched meanwhile.
    """
    kept_back = None if held is None else held.problem
    check = check_stores(observed) or kept_back or _check_last(observed) or _check_running(observed)
    problems = [] if isinstance(check, Good) else [check]
    if schedule is not None:
        problems.append(schedule.problem)
    return replace(merge_problems(problems), serves=serves) if problems else check


def has_failed(observed: Observed) -> bool:
    """Whether the newest sync has failed for good."""
    problem = _check_last(observed)
    return problem is not None and problem.reason is Reason.SYNC_FAILED


def check_stores(observed: Observed) -> Problem | None:
    """What keeps the stores from taking anything in."""
    if observed.error is not None:
        outlook = Outlook.PASSING if observed.error.retryable else Outlook.STALLED
        return Problem(Reason.UNAVAILABLE, describe_store_error(observed.error), outlook)
    return None if observed.has_room else _NO_ROOM


def is_lost(before: KnowledgeBaseStatus, observed: Observed) -> bool:
    """Whether a sync was begun of which neither a Job nor the stores tell any more.

    Its Job failed before it could write a word, and was cleaned up some hours later; or somebody deleted the Job, or what the
    stores held. Nothing else would ever begin another one.
    """
    if observed.error is not None or observed.jobs:
        return False
    if observed.summary is None or observed.summary.last_sync is None:
        return True
    ended = observed.summary.last_ended
    return (
        _is_told_as_failed(before)
        and ended is not None
        and ended.state == "complete"
        and not _has_no_end(observed.summary)
        and _end_of(ended) == before.last_sync_time
    )


def _is_told_as_failed(status: KnowledgeBaseStatus) -> bool:
    condition = find_condition(status, ConditionType.SYNCED)
    return condition is not None and condition.reason == Reason.SYNC_FAILED


def _check_last(observed: Observed) -> Problem | None:
    """Whether the newest sync failed."""
    ended = None if observed.summary is None else observed.summary.last_ended
    is_running = bool(list_running(observed.jobs))
    failure = _find_failure(find_last(observed.jobs), ended)
    if failure is None and not is_running and _has_no_end(observed.summary):
        failure = (
            "The last sync was ended before it had gone through all sources; ask for another one, which goes on there."
        )
    if failure is None:
        return None
    if is_running:
        return Problem(Reason.SYNCING, f"{failure} It is being tried again.")
    return Problem(Reason.SYNC_FAILED, failure, Outlook.STALLED)


def _check_running(observed: Observed) -> Check:
    """Where none failed: whether one has gone through all sources."""
    running = list_running(observed.jobs)
    ended = None if observed.summary is None else observed.summary.last_ended
    if ended is None:
        message = _describe_running(running[0], observed) if running else "No sync has ended yet."
        return Problem(Reason.SYNCING, message)
    if (one_off := next(filter(_is_one_off, running), None)) is not None:
        return Problem(Reason.SYNCING, _describe_running(one_off, observed))
    note = f" {ended.failed} could not be taken in; see status.failures." if ended.failed else ""
    return Good(Reason.SYNCED, f"The last sync went through all sources.{note}{_describe_left(observed.summary)}")


def _describe_left(summary: KnowledgeSummary | None) -> str:
    if summary is None or not summary.left:
        return ""
    return (
        f" Vectors of replaced indexes are left in Pinecone, which syncs could not erase: {describe_places(summary.left)}. The next"
        " one tries again, with the key of the Tenant's stores.vectors.pinecone. Where they are gone or may stay, set the annotation"
        f" {names.ABANDON_VECTORS_ANNOTATION} to their host."
    )


def _describe_running(job: Manifest, observed: Observed) -> str:
    """How far a Job is: that it was made says nothing of whether its pod ever starts."""
    if _has_no_end(observed.summary):
        return "A sync is under way."
    return (
        f"Job {name_of(job)!r} has not begun to work. Where that lasts, see why with kubectl describe: its pod may wait for an"
        " image, a node or a quota."
    )


def check_serving(active_index: int | None, observed: Observed) -> Check:
    """Whether there is something to search; `active_index` as far as is known."""
    if active_index is None:
        return _EMPTY
    stuck = None if observed.summary is None else observed.summary.stuck
    note = (
        ""
        if stuck is None
        else f" It has grown large, and is searched more slowly until it has a table of its own; making that failed ({stuck})"
        " and is tried again, in some hours at most."
    )
    return Good(Reason.SERVING, f"Index {active_index} is searched.{note}")


def describe_contents(observed: Observed) -> dict[str, Any]:
    """The fields of the status that tell what is in the knowledge base and how its syncs went.

    None where the stores told nothing: what they told last stays.
    """
    if observed.error is not None:
        return {}
    summary = observed.summary or KnowledgeSummary()
    ended = summary.last_ended
    failures = [] if ended is None else [_build_failure(one) for one in ended.failures[:MAX_FAILURES]]
    more = 0 if ended is None else ended.failed - len(failures)
    return {
        "documents": DocumentCounts(total=summary.documents, indexed=summary.indexed, failed=summary.failed),
        "chunks": summary.chunks,
        "active_index": summary.active_index,
        "rebuild": _build_rebuild(summary),
        "last_sync_time": None if ended is None else _end_of(ended),
        "last_sync_duration_seconds": None if ended is None else _duration(ended),
        "last_sync": None if ended is None else _build_report(ended),
        "failures": failures,
        "more_failures": more if more > 0 else None,
    }


async def report_knowledge_base(
    manifest: Manifest, context: Context, checks: Checks, *, ready: Check, fields: dict[str, Any]
) -> None:
    """Write the status; `fields` are those of `KnowledgeBaseStatus` that are known now.

    Raises:
        KubeError: the API server did not answer, or refused.
        LeadershipLost: this process may write no more.
    """
    before = read_status(KnowledgeBaseStatus, manifest)
    generation = generation_of(manifest)
    conditions = build_conditions(
        KNOWLEDGE_BASE_ASPECTS,
        checks,
        ready=ready,
        current=before.conditions,
        generation=generation,
        now=context.now(),
    )
    status = before.model_copy(update={**fields, "observed_generation": generation, "conditions": conditions})
    news = [*list_news(before, status), *list_wanted_news(before, status)]
    await write_status(manifest, status, cluster=context.cluster, news=news)


def _find_failure(job: Manifest | None, ended: SyncSummary | None) -> str | None:
    """Why the newest sync failed: in the sync's own words, else in those of its Job, which may never have begun one."""
    if job is not None and (failure := find_failure(job)) is not None:
        made = made_at(job)
        if ended is None or made is None or ended.started_at < made:
            return f"The Job of the last sync failed ({failure}); look at it with kubectl describe and kubectl logs."
    if ended is None or ended.state != "failed":
        return None
    return f"The last sync failed: {ended.message or ended.failure or 'it told no reason'}"


def _has_no_end(summary: KnowledgeSummary | None) -> bool:
    """Whether a sync began of which nobody told the end: it runs, or where no Job does it was cut off."""
    return summary is not None and summary.last_sync is not None and summary.last_sync.state == "running"


def _is_one_off(job: Manifest) -> bool:
    """Whether a Job was made because something changed or somebody asked, and not by the schedule."""
    return all(owner.get("kind") != "CronJob" for owner in job["metadata"].get("ownerReferences") or ())


def _build_rebuild(summary: KnowledgeSummary) -> Rebuild | None:
    if summary.building_index is None:
        return None
    sync = summary.last_sync
    is_running = sync is not None and sync.state == "running"
    return Rebuild(
        index=summary.building_index,
        estimated_tokens=None if sync is None else sync.estimated_tokens,
        documents_done=sync.added + sync.changed + sync.unchanged if sync is not None and is_running else None,
    )


def _build_report(sync: SyncSummary) -> SyncReport:
    return SyncReport(
        trigger=sync.trigger,
        added=sync.added,
        changed=sync.changed,
        unchanged=sync.unchanged,
        removed=sync.removed,
        failed=sync.failed,
        fetched_bytes=sync.fetched_bytes,
        embedded_chunks=sync.embedded_chunks,
        embedded_tokens=sync.embedded_tokens,
    )


def _build_failure(failure: FailureSummary) -> Failure:
    return Failure(
        source=failure.source,
        document=None if failure.document is None else failure.document[:_MAX_TEXT],
        reason=failure.reason,
        message=failure.message[:_MAX_TEXT],
    )


def _end_of(sync: SyncSummary) -> datetime | None:
    """As the status tells it."""
    return None if sync.ended_at is None else sync.ended_at.replace(microsecond=0)


def _duration(sync: SyncSummary) -> int | None:
    return None if sync.ended_at is None else max(0, round((sync.ended_at - sync.started_at).total_seconds()))
