"""Whether a KnowledgeBase should be synced now, and why. Pure."""

from dataclasses import dataclass

from syntera_crds.contract import names
from syntera_crds.v1alpha1.knowledge_base import KnowledgeBaseStatus

from ..desired.sync_job import Trigger, sync_job_name
from ..manifest import Manifest, name_of, uid_of
from .knowledge_status import Observed, has_failed, is_lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the newest sync should have been begun for."""

    revision: int
    digest: str
    """Of what a sync works by, ConfigMaps included."""
    token: str | None
    """Of the annotation by which somebody asks for one."""
    image: str
    """Of the pods."""


@dataclass(frozen=True, slots=True)
class Due:
    """A sync that should begin."""

    trigger: Trigger
    because: str
    job_name: str


def find_due(manifest: Manifest, wanted: Wanted, before: KnowledgeBaseStatus, observed: Observed) -> Due | None:
    """Why a sync should begin now; None: it should not.

    The Job's name tells what was asked for and what had been done by then: it stays the same until the status says that a sync
    was begun, and comes again only where that sync is lost.
    """
    found = _find_reason(wanted, before, observed)
    if found is None:
        return None
    trigger, because = found
    request = None if observed.summary is None else observed.summary.request_id
    reason = (
        uid_of(manifest),
        wanted.revision,
        before.synced_digest,
        wanted.digest,
        before.sync_token,
        wanted.token,
        before.sync_image,
        wanted.image,
        None if request is None else str(request),
        None if before.last_sync_time is None else before.last_sync_time.isoformat(),
    )
    return Due(trigger, because, sync_job_name(name_of(manifest), reason))


def _find_reason(wanted: Wanted, before: KnowledgeBaseStatus, observed: Observed) -> tuple[Trigger, str] | None:
    if before.synced_digest != wanted.digest:
        return "configuration", "the configuration or one of its ConfigMaps changed"
    if wanted.token is not None and wanted.token != before.sync_token:
        return "request", f"the annotation {names.SYNC_ANNOTATION} asks for it"
    if observed.summary is not None and observed.summary.request_id is not None:
        return "request", "somebody asked for it through the API"
    if is_lost(before, observed):
        return "configuration", "nobody tells any more how the last one went"
    if before.sync_image != wanted.image and has_failed(observed):
        return "configuration", "the last one failed, and another image may do better"
    return None
