"""A Tenant's Agents: published, served, or why not. Pure."""

from collections.abc import Iterator, Sequence

from syntera_crds.v1alpha1.common import ConditionType, Reason

from .findings import Check, Finding, forbidden, ok, problem, skipped, warning
from .judge_tenant import is_behind
from .manifests import (
    Hidden,
    Manifest,
    SeenAll,
    conditions_of,
    count,
    is_being_deleted,
    is_true,
    name_of,
    namespace_of,
    quote,
    status_of,
)

_TENANTS_AFFAIR = frozenset(
    {
        Reason.SUSPENDED,
        Reason.DELETING,
        Reason.PENDING,
        Reason.TENANT_NOT_ACCEPTED,
        Reason.PODS_NOT_READY,
    }
)
"""Reasons that lie with the Tenant, where they were told."""
_MAX_NAMES = 5


def is_agent_ready(agent: Manifest) -> bool:
    """Whether the operator says that every pod serves the Agent's present spec."""
    is_current = not is_being_deleted(agent) and not is_behind(agent)
    return is_current and is_true(conditions_of(agent).get(ConditionType.READY))


def judge_agents(agents: SeenAll, *, logs: str) -> Iterator[Finding]:
    """One line for those that are well, one for each that is not."""
    if isinstance(agents, Hidden):
        yield forbidden(Check.AGENTS, agents.action)
        return
    if not agents:
        yield warning(Check.AGENTS, "The Tenant has no Agent.", do="Apply one; manifests/samples/ has an example.")
        return
    well = [agent for agent in agents if is_agent_ready(agent)]
    if well:
        yield ok(Check.AGENTS, f"{_describe(well)} served as {'its' if len(well) == 1 else 'their'} spec says.")
    yield from (_judge_agent(agent, logs=logs) for agent in agents if not is_agent_ready(agent))


def _describe(agents: Sequence[Manifest]) -> str:
    if len(agents) == 1:
        return f"The Agent {name_of(agents[0])!r} is"
    names = [name_of(agent) for agent in agents[:_MAX_NAMES]]
    return f"{count(len(agents), 'Agent')} ({', '.join(names)}{', …' if len(agents) > _MAX_NAMES else ''}) are"


def _judge_agent(agent: Manifest, *, logs: str) -> Finding:
    name, subject = name_of(agent), f"agent/{name_of(agent)}"
    if is_being_deleted(agent):
        return skipped(Check.AGENTS, f"The Agent {name!r} is being deleted.", subject=subject)
    conditions = conditions_of(agent)
    ready = conditions.get(ConditionType.READY) or {}
    if is_behind(agent) or ready.get("status") == "Unknown":
        return problem(
            Check.AGENTS,
            f"The operator has not judged the present spec of the Agent {name!r}.{_tell_revision(agent)}",
            do="It usually takes a moment. If it stays so, the operator's log says why.",
            command=logs,
            subject=subject,
        )
    message = quote(ready.get("message"))
    if ready.get("reason") in _TENANTS_AFFAIR:
        return skipped(Check.AGENTS, f"The Agent {name!r} waits for its Tenant: {message}", subject=subject)
    if ready.get("reason") == Reason.NOT_LOADED:
        return problem(
            Check.AGENTS,
            f"The Agent {name!r} is published, but not served by every pod: {message}",
            do="The pods load it in a moment. If it stays so, their log says why.",
            command=f"kubectl -n {namespace_of(agent)} logs deployment/syntera-runtime --since=10m",
            subject=subject,
        )
    return problem(
        Check.AGENTS,
        f"The Agent {name!r} is not served as its spec says: {message}",
        do="Mend what it names." if _tell_revision(agent) == "" else "Mend what it names; users notice nothing so far.",
        command=f"kubectl -n {namespace_of(agent)} edit agent {name}",
        subject=subject,
    )


def _tell_revision(agent: Manifest) -> str:
    revision = status_of(agent).get("revision")
    return f" Revision {revision} goes on being served." if revision else ""
