"""A Tenant: whether it is wanted, seen by the operator, and what the operator says of it. Pure.

The operator's messages are sentences already; here they are put behind what they mean, and followed by what to do.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from syntera_crds.contract import names
from syntera_crds.v1alpha1.common import ConditionType, Reason
from syntera_crds.v1alpha1.tenant import NAMESPACE_PREFIX

from .findings import Check, Finding, forbidden, ok, problem, skipped, warning
from .manifests import (
    Hidden,
    Manifest,
    Seen,
    conditions_of,
    generation_of,
    is_being_deleted,
    is_true,
    join,
    labels_of,
    name_of,
    quote,
    seconds_since,
    span,
    status_of,
)

_PATIENCE_SECONDS = 120.0
"""An end that takes longer is held up by something."""
_TOLD_ELSEWHERE = frozenset({Reason.SUSPENDED, Reason.DELETING})


@dataclass(frozen=True, slots=True)
class Aspect:
    """How a condition is told."""

    check: Check
    good: str
    bad: str
    do: str = ""


ASPECTS: Mapping[ConditionType, Aspect] = {
    ConditionType.ACCEPTED: Aspect(
        Check.CONDITIONS,
        "The operator accepts the Tenant's spec.",
        "The operator does not accept the Tenant's spec",
        "Mend the spec; what its last sound version made goes on serving.",
    ),
    ConditionType.RESOLVED_REFS: Aspect(
        Check.CONDITIONS,
        "Everything that the Tenant refers to exists and may be used.",
        "Something that the Tenant refers to is missing or may not be used",
        "The Tenant's references, below, are told one by one.",
    ),
    ConditionType.NAMESPACE_READY: Aspect(
        Check.CONDITIONS,
        "The namespace holds what it should.",
        "The namespace does not hold what it should",
        "Mend what it names; the operator tries again.",
    ),
    ConditionType.DATABASE_READY: Aspect(
        Check.STORES,
        "PostgreSQL lets the tenant in.",
        "The tenant's login in PostgreSQL does not work",
        "See whether PostgreSQL runs and lets the operator in; docs/stores.md says what it needs.",
    ),
    ConditionType.CACHE_READY: Aspect(
        Check.STORES,
        "Redis lets the tenant in.",
        "The tenant's user in Redis does not work",
        "See whether Redis runs and lets the operator in; docs/stores.md says what it needs.",
    ),
    ConditionType.RUNTIME_READY: Aspect(
        Check.CONDITIONS,
        "The operator finds the runtime ready.",
        "The runtime is not ready",
        "The Tenant's runtime and pods, below, say why.",
    ),
}


def namespace_name(tenant: Manifest) -> str:
    """The namespace that the Tenant lives in, or is to live in."""
    return str((tenant.get("spec") or {}).get("namespace") or NAMESPACE_PREFIX + name_of(tenant))


def is_suspended(tenant: Manifest) -> bool:
    """Whether the Tenant is to run no pod."""
    return bool((tenant.get("spec") or {}).get("suspended"))


def is_well(tenant: Manifest) -> bool:
    """Whether the operator says of the present spec that it is served."""
    return (
        not is_being_deleted(tenant)
        and not is_suspended(tenant)
        and not is_behind(tenant)
        and is_true(conditions_of(tenant).get(ConditionType.READY))
    )


def is_behind(manifest: Manifest) -> bool:
    """Whether the operator has not judged the present spec."""
    return int(status_of(manifest).get("observedGeneration") or 0) < generation_of(manifest)


def judge_tenant(tenant: Manifest, namespace: Seen, *, logs: str, now: datetime) -> Iterator[Finding]:
    """Whether the Tenant is wanted and seen. `logs` is the command that shows the operator's log, if it is known."""
    name, subject = name_of(tenant), f"tenant/{name_of(tenant)}"
    if is_being_deleted(tenant):
        yield _judge_deletion(tenant, namespace, logs=logs, now=now)
        return
    if is_suspended(tenant):
        yield problem(
            Check.TENANT,
            f"The Tenant {name!r} is suspended: no pod of it runs and nobody gets an answer. Nothing is lost.",
            do="Resume it when it is to serve again.",
            command=f'kubectl patch tenant {name} --type=merge -p \'{{"spec":{{"suspended":false}}}}\'',
            subject=subject,
        )
    if is_behind(tenant):
        seen = status_of(tenant).get("observedGeneration")
        judged = f"the last that it judged is generation {seen}" if seen else "it has judged none yet"
        yield problem(
            Check.TENANT,
            f"The operator has not judged the present spec of the Tenant {name!r} (generation {generation_of(tenant)});"
            f" {judged}.",
            do="It usually takes a moment. If it stays so, the operator's log says why.",
            command=logs,
            subject=subject,
        )
    elif not is_suspended(tenant):
        yield ok(Check.TENANT, f"The Tenant {name!r} exists, and the operator has judged its spec.", subject=subject)


def _judge_deletion(tenant: Manifest, namespace: Seen, *, logs: str, now: datetime) -> Finding:
    """How far a Tenant's end has come, and what holds it."""
    name, subject = name_of(tenant), f"tenant/{name_of(tenant)}"
    since = seconds_since(tenant["metadata"]["deletionTimestamp"], now) or 0.0
    finalizers = [str(one) for one in tenant["metadata"].get("finalizers") or ()]
    strangers = [one for one in finalizers if one != names.TENANT_FINALIZER]
    says = f"The Tenant {name!r} has been on its way out for {span(since)}"
    ready = conditions_of(tenant).get(ConditionType.READY) or {}
    if names.TENANT_FINALIZER not in finalizers and strangers:
        return problem(
            Check.TENANT,
            f"{says}. The operator is done; {join(strangers)} is not.",
            do="Ask whoever put that finalizer there.",
            command=f"kubectl get tenant {name} -o jsonpath='{{.metadata.finalizers}}'",
            subject=subject,
        )
    held = [type_ for type_ in _STORE_CONDITIONS if _is_held(tenant, type_)]
    told = quote(ready.get("message")) if ready.get("reason") == Reason.DELETING else "the operator has not begun."
    content = "" if isinstance(namespace, Hidden) or namespace is None else describe_terminating(namespace)
    make = problem if held or since > _PATIENCE_SECONDS else warning
    return make(
        Check.TENANT,
        f"{says}: {told}" + (f" {content}" if content else ""),
        do="Mend what holds it, or give it up as the message says."
        if held
        else "If it stays so, see the operator's log.",
        command=logs,
        subject=subject,
    )


_STORE_CONDITIONS = (ConditionType.DATABASE_READY, ConditionType.CACHE_READY)


def _is_held(tenant: Manifest, type_: ConditionType) -> bool:
    condition = conditions_of(tenant).get(type_) or {}
    return condition.get("status") == "False" and condition.get("reason") == Reason.UNAVAILABLE


def describe_terminating(namespace: Manifest) -> str:
    """What is left in a namespace that is being deleted, as its own sentences; empty where nothing is told."""
    left = [
        quote(condition.get("message"))
        for type_, condition in conditions_of(namespace).items()
        if type_.startswith("Namespace") and is_true(condition)
    ]
    return " ".join(left)


def judge_conditions(tenant: Manifest, *, logs: str) -> Iterator[Finding]:
    """What the operator says of the Tenant, aspect by aspect, in the order in which they depend on one another."""
    conditions = conditions_of(tenant)
    subject = f"tenant/{name_of(tenant)}"
    unseen = [type_ for type_ in ASPECTS if _is_unknown(conditions.get(type_))]
    outdated = [type_ for type_ in ASPECTS if type_ not in unseen and _is_outdated(conditions[type_], tenant)]
    judged = [type_ for type_ in ASPECTS if type_ not in unseen and type_ not in outdated]
    told = [_judge_condition(tenant, type_, conditions[type_], logs=logs) for type_ in judged]
    yield from (finding for finding in told if finding is not None)
    if outdated:
        yield skipped(Check.CONDITIONS, f"The operator said nothing new yet of {join(outdated)}.", subject=subject)
    if unseen:
        yield skipped(Check.CONDITIONS, f"The operator has not looked at {join(unseen)} yet.", subject=subject)
    ready = conditions.get(ConditionType.READY)
    if not outdated and all(is_true(conditions.get(type_)) for type_ in ASPECTS) and not is_true(ready):
        message = quote((ready or {}).get("message") or "it does not say why")
        yield problem(Check.CONDITIONS, f"The Tenant is not ready: {message}", command=logs, subject=subject)


def _is_unknown(condition: Manifest | None) -> bool:
    return condition is None or condition.get("status") == "Unknown"


def _is_outdated(condition: Manifest, tenant: Manifest) -> bool:
    """Whether a condition speaks of an earlier spec."""
    return int(condition.get("observedGeneration") or 0) < generation_of(tenant)


def _judge_condition(tenant: Manifest, type_: ConditionType, condition: Manifest, *, logs: str) -> Finding | None:
    """How the operator judges one aspect of the present spec; None where it is told elsewhere."""
    aspect, subject = ASPECTS[type_], f"tenant/{name_of(tenant)}"
    if is_true(condition):
        return ok(aspect.check, aspect.good, subject=subject)
    reason, message = condition.get("reason"), quote(condition.get("message"))
    if reason in _TOLD_ELSEWHERE:
        return None
    if reason == Reason.PENDING:
        return skipped(aspect.check, f"{type_}: {message}", subject=subject)
    make = warning if type_ is ConditionType.RUNTIME_READY and reason == Reason.PROGRESSING else problem
    command = logs if aspect.check is Check.STORES else ""
    return make(aspect.check, f"{aspect.bad}: {message}", do=aspect.do, command=command, subject=subject)


def judge_namespace(tenant: Manifest, namespace: Seen) -> Finding:
    """Whether the Tenant's namespace is there and its own."""
    tenant_name, wanted = name_of(tenant), namespace_name(tenant)
    subject = f"namespace/{wanted}"
    if isinstance(namespace, Hidden):
        return forbidden(Check.NAMESPACE, namespace.action, subject=subject)
    if namespace is None and is_behind(tenant):
        return skipped(Check.NAMESPACE, f"The namespace {wanted!r} does not exist yet.", subject=subject)
    if namespace is None:
        return problem(
            Check.NAMESPACE,
            f"The namespace {wanted!r} does not exist.",
            do="The operator makes it; what was found above says what keeps it from that.",
            subject=subject,
        )
    if is_being_deleted(namespace):
        return problem(
            Check.NAMESPACE,
            f"The namespace {wanted!r} is being deleted, with everything in it. {describe_terminating(namespace)}".strip(),
            do="The operator makes it anew once it is gone; see what is left in it.",
            command=f"kubectl get namespace {wanted} -o yaml",
            subject=subject,
        )
    owner = labels_of(namespace).get(names.TENANT_LABEL)
    if owner != tenant_name:
        said = f"is labelled for the Tenant {owner!r}" if owner else f"does not carry the label {names.TENANT_LABEL}"
        return problem(
            Check.NAMESPACE,
            f"The namespace {wanted!r} {said}, so the operator leaves it alone.",
            do="If this Tenant is to have it, and nobody else needs what is in it, hand it over.",
            command=f"kubectl label namespace {wanted} {names.TENANT_LABEL}={tenant_name}"
            + (" --overwrite" if owner else ""),
            subject=subject,
        )
    return ok(Check.NAMESPACE, f"The namespace {wanted!r} is there and the Tenant's own.", subject=subject)


def judge_missing_tenant(name: str, there: Sequence[str]) -> Finding:
    """A Tenant of this name does not exist."""
    says = f"There is no Tenant {name!r}" + (f", but {join(sorted(there))}." if there else ", nor any other.")
    do = "Name another one, or apply this one." if there else "Apply it; manifests/samples/ has an example."
    return problem(Check.TENANT, says, do=do, subject=f"tenant/{name}")
