"""What the doctor found out, step by step, and what that comes to."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Check(StrEnum):
    """The steps, in their order. Scripts know them by these names."""

    CLUSTER = "cluster"
    """The API server answers, and is of a release that Syntera is made for."""
    KINDS = "kinds"
    """The CRDs are there, served, and those of this command line."""
    OPERATOR = "operator"
    """The operator's Deployment and its pods."""
    LEASE = "lease"
    """One of the operator's pods is active."""
    ADMISSION = "admission"
    """The policies around the operator's rights are in force."""
    TENANT = "tenant"
    """The Tenant exists, is not on its way out and not suspended, and the operator has seen its present spec."""
    CONDITIONS = "conditions"
    """What the operator says of the Tenant."""
    NAMESPACE = "namespace"
    """The Tenant's namespace is there and the Tenant's own."""
    REFERENCES = "references"
    """Secrets and ConfigMaps that the Tenant refers to."""
    STORES = "stores"
    """PostgreSQL and Redis let the tenant in, and its credentials are in its namespace."""
    RUNTIME = "runtime"
    """The runtime's Deployment."""
    PODS = "pods"
    """The runtime's pods."""
    QUOTA = "quota"
    """The namespace's quotas leave room for another pod."""
    EVENTS = "events"
    """What Kubernetes complained of lately."""
    KNOWLEDGE = "knowledge"
    """The KnowledgeBases are searched, and in step with their sources."""
    AGENTS = "agents"
    """The Agents are published and served."""
    QUESTION = "question"
    """One Agent answers a question."""


class State(StrEnum):
    """How a step ended."""

    OK = "ok"
    WARNING = "warning"
    """It works, but somebody should look at it."""
    PROBLEM = "problem"
    """It does not work."""
    SKIPPED = "skipped"
    """It could not be judged, because of something that was found earlier or was asked for."""
    FORBIDDEN = "forbidden"
    """The user may not look at it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: Check
    state: State
    says: str
    """What is, in one plain sentence."""
    do: str = ""
    """What to do about it."""
    command: str = ""
    """The exact command for that, where there is one."""
    subject: str = ""
    """The object that this is about, as `kind/name`."""
    tenant: str = ""
    """Name of the Tenant; empty for what concerns all of them."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """What was measured, by name."""


def ok(check: Check, says: str, *, subject: str = "", figures: Mapping[str, float] | None = None) -> Finding:
    """All is well here."""
    return Finding(check, State.OK, says, subject=subject, figures=figures or {})


def warning(check: Check, says: str, *, do: str = "", command: str = "", subject: str = "") -> Finding:
    """It works, but somebody should look at it."""
    return Finding(check, State.WARNING, says, do, command, subject)


def problem(check: Check, says: str, *, do: str = "", command: str = "", subject: str = "") -> Finding:
    """It does not work."""
    return Finding(check, State.PROBLEM, says, do, command, subject)


def skipped(check: Check, says: str, *, subject: str = "") -> Finding:
    """It cannot be judged now."""
    return Finding(check, State.SKIPPED, says, subject=subject)


def forbidden(check: Check, action: str, *, do: str = "", subject: str = "") -> Finding:
    """The user may not look: `action` is what is not allowed, such as "list pods in namespace 'acme'"."""
    return Finding(check, State.FORBIDDEN, f"You may not {action}, so this was not looked at.", do, subject=subject)


ALL_WELL, PROBLEM_FOUND, NOT_ASKED = 0, 1, 2


def has_problem(findings: Iterable[Finding]) -> bool:
    """Whether something does not work."""
    return any(finding.state is State.PROBLEM for finding in findings)


def exit_code(findings: Sequence[Finding]) -> int:
    """What the findings come to: 0 all well (warnings allowed), 1 a problem, 2 nothing may be looked at that matters.

    An API server that gives no answer never gets here.
    """
    if has_problem(findings):
        return PROBLEM_FOUND
    tenants = [finding for finding in findings if finding.check is Check.TENANT]
    return NOT_ASKED if all(finding.state is State.FORBIDDEN for finding in tenants) else ALL_WELL
