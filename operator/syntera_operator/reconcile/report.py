"""Writes what a reconcile found out into an object's status, and tells people of the changes that they must see."""

from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeVar

import structlog
from pydantic import ValidationError

from syntera_crds.v1alpha1.common import Condition, ConditionStatus, ConditionType, Reason, Status

from ..cluster import Cluster
from ..manifest import Manifest

log = structlog.get_logger(__name__)

StatusT = TypeVar("StatusT", bound=Status)

_TROUBLES = (
    ConditionType.ACCEPTED,
    ConditionType.RESOLVED_REFS,
    ConditionType.DATABASE_READY,
    ConditionType.CACHE_READY,
    ConditionType.SYNCED,
)
"""Conditions whose turn to False somebody should hear of; that of the others is part of every start."""
_NO_TROUBLE = frozenset(
    {Reason.PENDING, Reason.TENANT_NOT_FOUND, Reason.TENANT_NOT_ACCEPTED, Reason.SYNCING, Reason.SUSPENDED}
)
"""Reasons that lie with another object or condition, which tells them itself, and those that are part of every start."""
_DELIBERATE = frozenset({Reason.SUSPENDED, Reason.DELETING})

News = tuple[Literal["Normal", "Warning"], str, str]
"""Type, reason and message of an Event."""


def read_status(kind: type[StatusT], manifest: Manifest) -> StatusT:
    """The object's status; an empty one where it makes no sense."""
    try:
        return kind.model_validate(manifest.get("status") or {}, by_alias=True, by_name=False)
    except ValidationError:
        return kind()


def generation_of(manifest: Manifest) -> int:
    """The generation of the object's spec."""
    return int(manifest["metadata"].get("generation") or 0)


def find_condition(status: Status, type_: ConditionType) -> Condition | None:
    """The condition of that type."""
    return next((condition for condition in status.conditions if condition.type == type_), None)


async def write_status(manifest: Manifest, status: Status, *, cluster: Cluster, news: Iterable[News] = ()) -> Manifest:
    """Write the status if it differs, tell the news, and give the object as it is then.

    Raises:
        KubeError: the API server did not answer, or refused.
        LeadershipLost: this process may write no more.
    """
    dumped: dict[str, Any] = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    if await cluster.patch_status(manifest, dumped):
        ready = find_condition(status, ConditionType.READY)
        log.info("status written", ready=ready and ready.status, reason=ready and ready.reason)
    for type_, reason, message in news:
        await cluster.event(manifest, type=type_, reason=reason, message=message)
    return {**manifest, "status": dumped}


def list_news(before: Status, after: Status, *, serves_news: bool = False) -> Iterator[News]:
    """What somebody should hear of: that something is wrong, that the object is ready or serves something new."""
    for type_ in _TROUBLES:
        condition = find_condition(after, type_)
        if condition is None or condition.status is not ConditionStatus.FALSE or condition.reason in _NO_TROUBLE:
            continue
        if _has_changed(find_condition(before, type_), condition):
            yield "Warning", condition.reason, condition.message
    was, ready = find_condition(before, ConditionType.READY), find_condition(after, ConditionType.READY)
    if ready is None or ready.status is not ConditionStatus.TRUE:
        return
    if serves_news or was is None or was.status is not ConditionStatus.TRUE:
        yield "Normal", ConditionType.READY, ready.message


def list_wanted_news(before: Status, after: Status) -> Iterator[News]:
    """That somebody wants the object not to be ready, and how far that has come."""
    was, ready = find_condition(before, ConditionType.READY), find_condition(after, ConditionType.READY)
    if ready is not None and ready.reason in _DELIBERATE and _has_changed(was, ready):
        yield "Normal", ready.reason, ready.message


def _has_changed(was: Condition | None, now: Condition) -> bool:
    return was is None or (was.status, was.reason, was.message) != (now.status, now.reason, now.message)
