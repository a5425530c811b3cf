"""A Tenant's KnowledgeBases: searched, in step with their sources, or why not. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from syntera_crds.contract import names
from syntera_crds.v1alpha1.common import ConditionType, Reason

from .findings import Check, Finding, forbidden, ok, problem, skipped, warning
from .judge_tenant import is_behind
from .judge_workload import Workload, judge_pods
from .manifests import (
    Hidden,
    Manifest,
    SeenAll,
    conditions_of,
    count,
    is_being_deleted,
    is_true,
    labels_of,
    name_of,
    namespace_of,
    quote,
    status_of,
)

_TENANTS_AFFAIR = frozenset({Reason.SUSPENDED, Reason.DELETING, Reason.PENDING, Reason.TENANT_NOT_ACCEPTED})
"""Reasons that lie with the Tenant, where they were told."""
_AT_WORK = frozenset({Reason.SYNCING, Reason.EMPTY})
_MAX_NAMES = 5
_SYNCS = Workload(
    check=Check.KNOWLEDGE,
    image_advice="image.registry and image.ingestion in the chart's values; tenants.imagePullSecrets for a private registry",
    resources_advice="the sources of the KnowledgeBase: what its pods get is fixed, so leave the largest files out",
)


def is_knowledge_base_ready(knowledge_base: Manifest) -> bool:
    """Whether the operator says that it is searched and that its last sync went through, for the present spec."""
    is_current = not is_being_deleted(knowledge_base) and not is_behind(knowledge_base)
    conditions = conditions_of(knowledge_base)
    wanted = (ConditionType.READY, ConditionType.SYNCED)
    return is_current and all(is_true(conditions.get(type_)) for type_ in wanted)


def judge_knowledge(
    knowledge_bases: SeenAll, pods: SeenAll, events: SeenAll, *, logs: str, now: datetime
) -> Iterator[Finding]:
    """One line for those that are well, one for each that is not, and what is wrong with the pods of their syncs."""
    if isinstance(knowledge_bases, Hidden):
        yield forbidden(Check.KNOWLEDGE, knowledge_bases.action)
        return
    well = [one for one in knowledge_bases if is_knowledge_base_ready(one)]
    if well:
        yield ok(Check.KNOWLEDGE, f"{_describe(well)} searched and in step with {_whose(well)} sources.")
    for knowledge_base in knowledge_bases:
        if not is_knowledge_base_ready(knowledge_base):
            yield _judge(knowledge_base, logs=logs)
            yield from _judge_syncs(knowledge_base, pods, events, now)


def _describe(knowledge_bases: Sequence[Manifest]) -> str:
    if len(knowledge_bases) == 1:
        return f"The KnowledgeBase {name_of(knowledge_bases[0])!r} is"
    found = [name_of(one) for one in knowledge_bases[:_MAX_NAMES]]
    more = ", …" if len(knowledge_bases) > _MAX_NAMES else ""
    return f"{count(len(knowledge_bases), 'KnowledgeBase')} ({', '.join(found)}{more}) are"


def _whose(knowledge_bases: Sequence[Manifest]) -> str:
    return "its" if len(knowledge_bases) == 1 else "their"


def _judge(knowledge_base: Manifest, *, logs: str) -> Finding:
    name, subject = name_of(knowledge_base), f"knowledgebase/{name_of(knowledge_base)}"
    conditions = conditions_of(knowledge_base)
    ready = conditions.get(ConditionType.READY) or {}
    if is_being_deleted(knowledge_base):
        message = quote(ready.get("message"))
        return skipped(Check.KNOWLEDGE, f"The KnowledgeBase {name!r} is being deleted: {message}", subject=subject)
    if is_behind(knowledge_base) or ready.get("status") == "Unknown":
        return problem(
            Check.KNOWLEDGE,
            f"The operator has not judged the present spec of the KnowledgeBase {name!r}.",
            do="It usually takes a moment. If it stays so, the operator's log says why.",
            command=logs,
            subject=subject,
        )
    if is_true(ready):
        return _judge_sync(knowledge_base, conditions.get(ConditionType.SYNCED) or {}, subject=subject)
    return _judge_unready(knowledge_base, ready, subject=subject)


def _judge_sync(knowledge_base: Manifest, synced: Manifest, *, subject: str) -> Finding:
    """It is searched, but not known to be in step with its sources."""
    name, message = name_of(knowledge_base), quote(synced.get("message"))
    if synced.get("reason") in _AT_WORK:
        return skipped(Check.KNOWLEDGE, f"The KnowledgeBase {name!r} is searched meanwhile: {message}", subject=subject)
    return warning(
        Check.KNOWLEDGE,
        f"The KnowledgeBase {name!r} is searched, but may be behind its sources: {message}",
        do="Mend what it names; then ask for a sync.",
        command=_how_to_sync(knowledge_base),
        subject=subject,
    )


def _judge_unready(knowledge_base: Manifest, ready: Manifest, *, subject: str) -> Finding:
    name, message, reason = name_of(knowledge_base), quote(ready.get("message")), ready.get("reason")
    namespace = namespace_of(knowledge_base)
    if reason in _TENANTS_AFFAIR:
        return skipped(Check.KNOWLEDGE, f"The KnowledgeBase {name!r} waits for its Tenant: {message}", subject=subject)
    if reason in _AT_WORK:
        return problem(
            Check.KNOWLEDGE,
            f"The KnowledgeBase {name!r} cannot be searched yet: {message}",
            do="The first sync takes as long as its sources are large. If it does not end, the log of its pods says why.",
            command=f"kubectl -n {namespace} logs -l {names.KNOWLEDGE_BASE_LABEL}={name} --tail=50",
            subject=subject,
        )
    has_index = status_of(knowledge_base).get("activeIndex") is not None
    return problem(
        Check.KNOWLEDGE,
        f"The KnowledgeBase {name!r} is not as its spec says: {message}",
        do="Mend what it names; users notice nothing so far." if has_index else "Mend what it names.",
        command=_how_to_sync(knowledge_base)
        if reason == Reason.SYNC_FAILED
        else f"kubectl -n {namespace} edit kb {name}",
        subject=subject,
    )


def _judge_syncs(knowledge_base: Manifest, pods: SeenAll, events: SeenAll, now: datetime) -> Iterator[Finding]:
    if isinstance(pods, Hidden):
        return
    own: Mapping[str, str] = {names.KNOWLEDGE_BASE_LABEL: name_of(knowledge_base)}
    found = [pod for pod in pods if own.items() <= labels_of(pod).items()]
    yield from judge_pods(_list_alive(found), () if isinstance(events, Hidden) else events, _SYNCS, now)


def _list_alive(pods: Sequence[Manifest]) -> list[Manifest]:
    """Pods that have not ended: how those went the KnowledgeBase tells."""
    return [pod for pod in pods if status_of(pod).get("phase") not in ("Succeeded", "Failed")]


def _how_to_sync(knowledge_base: Manifest) -> str:
    return (
        f"kubectl -n {namespace_of(knowledge_base)} annotate kb {name_of(knowledge_base)}"
        f' {names.SYNC_ANNOTATION}="$(date +%s)" --overwrite'
    )
