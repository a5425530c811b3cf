"""The operator: its Deployment and pods, the Lease that says which of them is active, the policies around its rights. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from syntera_crds.contract import names

from .findings import Check, Finding, forbidden, ok, problem, skipped, warning
from .judge_workload import Workload, judge_deployment, judge_pods
from .manifests import (
    Hidden,
    Manifest,
    Seen,
    SeenAll,
    is_being_deleted,
    join,
    labels_of,
    name_of,
    namespace_of,
    quote,
    seconds_since,
    span,
    status_of,
)

CHART = "syntera"
_POLICIES = ("tenants", "namespaces", "rolebindings", "children")
"""Ends of the names of the chart's ValidatingAdmissionPolicies, which begin with the Deployment's name."""
_CLOCK_SECONDS = 5.0
"""Clocks of nodes differ by that much."""
_INSTALL = "docs/how-to/install.md says how to install it."


@dataclass(frozen=True, slots=True)
class OperatorEvidence:
    """What there is of one operator."""

    deployment: Manifest
    pods: SeenAll
    events: SeenAll
    lease: Seen
    policies: SeenAll
    bindings: SeenAll


def is_operator(deployment: Manifest) -> bool:
    """Whether a Deployment is one of the chart's, whatever the release and the names are."""
    labels = labels_of(deployment)
    is_of_chart = str(labels.get("helm.sh/chart", "")).startswith(f"{CHART}-") or labels.get(names.NAME_LABEL) == CHART
    return is_of_chart and labels.get(names.COMPONENT_LABEL) == "operator"


def judge_presence(operators: SeenAll, *, named: str) -> Iterator[Finding]:
    """Whether there is exactly one operator; nothing is said where there is. `named` is what the user asked for."""
    if isinstance(operators, Hidden):
        hint = "" if named else "Name the operator with --operator NAMESPACE/NAME, if you may look at that one."
        yield forbidden(Check.OPERATOR, operators.action, do=hint)
    elif not operators and named:
        yield problem(Check.OPERATOR, f"There is no Deployment {named}.", do="Name the operator's own, or none.")
    elif not operators:
        yield problem(Check.OPERATOR, "No operator is installed in any namespace.", do=_INSTALL)
    elif len(operators) > 1:
        places = [f"{namespace_of(one)}/{name_of(one)}" for one in operators]
        yield problem(
            Check.OPERATOR,
            f"There are {len(operators)} operators, which undo one another's work: {join(places)}.",
            do="Keep one and uninstall the others with helm.",
        )


def judge_operator(evidence: OperatorEvidence, now: datetime) -> Iterator[Finding]:
    """Everything about one operator."""
    deployment, pods = evidence.deployment, evidence.pods
    place = f"{namespace_of(deployment)}/{name_of(deployment)}"
    judged = judge_deployment(
        deployment,
        Check.OPERATOR,
        f"The operator {place}",
        wanted_by_whom=f"kubectl -n {namespace_of(deployment)} scale deployment {name_of(deployment)} --replicas=2",
    )
    yield judged
    if isinstance(pods, Hidden):
        yield forbidden(Check.OPERATOR, pods.action)
    else:
        events = () if isinstance(evidence.events, Hidden) else evidence.events
        yield from judge_pods(pods, events, _WORKLOAD, now)
    yield judge_lease(evidence.lease, pods, deployment, now)
    yield from judge_admission(evidence.policies, evidence.bindings, deployment)


_WORKLOAD = Workload(
    check=Check.OPERATOR,
    image_advice="image.registry and image.operator in the chart's values",
    resources_advice="operator.resources in the chart's values",
)


def judge_lease(lease: Seen, pods: SeenAll, deployment: Manifest, now: datetime) -> Finding:
    """Whether one of the operator's pods is active."""
    subject = f"lease/{names.LEASE_NAME}"
    logs = f"kubectl -n {namespace_of(deployment)} logs deployment/{name_of(deployment)} --since=10m"
    if isinstance(lease, Hidden):
        return forbidden(Check.LEASE, lease.action, subject=subject)
    spec = (lease or {}).get("spec") or {}
    holder = str(spec.get("holderIdentity") or "")
    if not holder:
        return problem(
            Check.LEASE,
            "No operator is active: nobody holds the Lease.",
            do="If pods of it are ready, their log says why none takes it.",
            command=logs,
            subject=subject,
        )
    age = seconds_since(spec.get("renewTime"), now)
    lasts = float(spec.get("leaseDurationSeconds") or 0)
    if age is None or age > lasts + _CLOCK_SECONDS:
        since = "never" if age is None else f"{span(age)} ago"
        return problem(
            Check.LEASE,
            f"No operator is active: {holder!r} holds the Lease and renewed it {since}, which is too long.",
            do="Another pod takes over as soon as one is ready; its log says what keeps it.",
            command=logs,
            subject=subject,
        )
    return _judge_holder(holder, pods, logs=logs, subject=subject)


def _judge_holder(holder: str, pods: SeenAll, *, logs: str, subject: str) -> Finding:
    pod = holder.rpartition("_")[0] or holder
    if isinstance(pods, Hidden):
        return ok(Check.LEASE, f"{holder!r} is the active operator and renewed its Lease lately.", subject=subject)
    found = next((one for one in pods if name_of(one) == pod), None)
    if found is None or status_of(found).get("phase") != "Running":
        return warning(
            Check.LEASE,
            f"The Lease is held by {pod!r}, which does not run; a pod that stands by takes it when it runs out.",
            do="Look again in half a minute.",
            command=logs,
            subject=subject,
        )
    if is_being_deleted(found):
        return warning(
            Check.LEASE,
            f"The active operator {pod!r} is on its way out; another one takes over.",
            do="Look again in half a minute.",
            subject=subject,
        )
    return ok(Check.LEASE, f"{pod} is the active operator and renewed its Lease lately.", subject=subject)


def judge_admission(policies: SeenAll, bindings: SeenAll, deployment: Manifest) -> Iterator[Finding]:
    """Whether the chart's admission policies are there and deny."""
    if isinstance(policies, Hidden) or isinstance(bindings, Hidden):
        hidden = policies if isinstance(policies, Hidden) else bindings
        assert isinstance(hidden, Hidden)
        yield forbidden(Check.ADMISSION, hidden.action)
        return
    wanted = [f"{name_of(deployment)}-{end}" for end in _POLICIES]
    missing = [name for name in wanted if name not in {name_of(one) for one in policies}]
    lax = [name for name in wanted if name not in missing and not _is_enforced(name, bindings)]
    faulty = {name_of(one): warned for one in policies if name_of(one) in wanted and (warned := _list_warnings(one))}
    if missing or lax:
        yield warning(
            Check.ADMISSION,
            f"Of the walls around the operator's rights, {join([*missing, *lax])} "
            + ("are not in force." if len(missing) + len(lax) > 1 else "is not in force."),
            do="The operator works without them, but nothing keeps it in tenants' namespaces: upgrade the chart.",
        )
    for name, warned in faulty.items():
        yield warning(
            Check.ADMISSION,
            f"The API server does not understand the policy {name}: {quote(warned)}",
            do="Upgrade the chart.",
            subject=f"validatingadmissionpolicy/{name}",
        )
    if not (missing or lax or faulty):
        yield ok(Check.ADMISSION, f"All {len(wanted)} walls around the operator's rights are in force.")


def _is_enforced(policy: str, bindings: Sequence[Manifest]) -> bool:
    def enforces(spec: Mapping[str, object]) -> bool:
        actions = spec.get("validationActions")
        return spec.get("policyName") == policy and isinstance(actions, list) and "Deny" in actions

    return any(enforces(binding["spec"]) for binding in bindings)


def _list_warnings(policy: Manifest) -> str:
    checked = status_of(policy).get("typeChecking") or {}
    return "; ".join(str(one.get("warning")) for one in checked.get("expressionWarnings") or ())


def judge_no_operator() -> Iterator[Finding]:
    """What follows where no operator could be looked at."""
    yield skipped(Check.LEASE, "Whether an operator is active was not judged, because no operator was seen.")
    yield skipped(Check.ADMISSION, "The walls around its rights were not judged either.")
