"""The schedule of a KnowledgeBase: a CronJob that is as it says, and when that comes due."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from ..desired.sync_job import SyncPods, build_cron_job
from ..manifest import Manifest, is_being_deleted
from .context import Context
from .knowledge_compiling import CompiledKnowledge
from .knowledge_jobs import Held, apply_job, end_schedule

_WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_SOON = timedelta(days=366 * 5)
"""A schedule that does not come due within this time, such as one for 30 February, never does."""


async def ensure_schedule(
    manifest: Manifest, compiled: CompiledKnowledge, pods: SyncPods, context: Context
) -> Held | None:
    """Have a CronJob as the schedule says, or none; gives why it is not so.

    Raises:
        KubeError: the API server did not answer.
        LeadershipLost: this process may write no more.
    """
    schedule = compiled.knowledge_base.spec.schedule
    if schedule is None:
        await end_schedule(manifest, context)
        return None
    desired = build_cron_job(
        compiled.host.scope,
        pods,
        cron=schedule.cron,
        time_zone=schedule.time_zone,
        is_suspended=schedule.suspend,
    )
    return await apply_job(manifest, desired, context)


def find_next_sync(cron_job: Manifest | None, *, now: datetime) -> datetime | None:
    """When a CronJob comes due next; None: there is none, it rests, or only the cluster knows."""
    if cron_job is None or is_being_deleted(cron_job) or cron_job["spec"].get("suspend"):
        return None
    cron = cron_job["spec"]["schedule"]
    try:
        zone = ZoneInfo(cron_job["spec"]["timeZone"])
        found: datetime = next(CronSim(_WORDS.get(cron, cron).replace("?", "*"), now.astimezone(zone)))
    # The cluster judges a schedule: one that it takes and this library does not is no error.
    except (CronSimError, StopIteration, ValueError, LookupError, OSError):
        return None
    return found.astimezone(UTC) if found - now.astimezone(zone) < _SOON else None
