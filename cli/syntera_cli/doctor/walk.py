"""The walk itself: in which order things are looked at, and what is not judged because of what was found before."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from syntera_crds.contract import names

from .evidence import (
    TenantEvidence,
    find_agents,
    find_kinds,
    find_knowledge_bases,
    find_namespace,
    find_operators,
    find_sync_pods,
    find_tenant,
    find_tenants,
    look_at_operator,
    look_at_tenant,
)
from .findings import Check, Finding, State, forbidden, has_problem, ok, problem, skipped, warning
from .judge_agents import is_agent_ready, judge_agents
from .judge_cluster import judge_kinds, judge_version
from .judge_knowledge import is_knowledge_base_ready, judge_knowledge
from .judge_operator import judge_no_operator, judge_operator, judge_presence
from .judge_references import judge_credentials, judge_references
from .judge_surroundings import judge_events, judge_quotas
from .judge_tenant import (
    is_suspended,
    is_well,
    judge_conditions,
    judge_missing_tenant,
    judge_namespace,
    judge_tenant,
    namespace_name,
)
from .judge_workload import Workload, judge_deployment, judge_pods, ready_pods
from .looking import Lookout
from .manifests import Hidden, Manifest, Seen, SeenAll, count, is_being_deleted, name_of, namespace_of
from .question import Way, ask

_RUNTIME = Workload(
    check=Check.PODS,
    image_advice="image.registry and image.runtime in the chart's values; tenants.imagePullSecrets for a private registry",
    resources_advice="spec.runtime.resources of the Tenant",
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user wants to know."""

    tenant: str | None = None
    """One Tenant; None: all of them, those in trouble in detail."""
    operator: str = ""
    """`NAMESPACE/NAME` of the operator's Deployment; empty: it is looked for."""
    agent: str | None = None
    """Whom to ask; None: the first Agent that is ready."""
    asks: bool = True
    """Whether to ask a question."""


@dataclass(frozen=True, slots=True)
class Members:
    """What of ours lives in a Tenant's namespace."""

    agents: SeenAll
    knowledge_bases: SeenAll


class Walk:
    """One walk over a cluster. Findings come as soon as they are made."""

    def __init__(self, lookout: Lookout, wish: Wish, way: Way) -> None:
        """Nothing is looked at yet."""
        self._lookout = lookout
        self._wish = wish
        self._way = way
        self._logs = ""
        """The command that shows the operator's log, once it is known where it is."""

    def findings(self) -> Iterator[Finding]:
        """Look at everything in order.

        Raises:
            ClusterUnusable: The API server cannot be asked, or not any more.
        """
        version = self._lookout.get("/version", "read the version of Kubernetes")
        yield (
            forbidden(Check.CLUSTER, version.action) if isinstance(version, Hidden) else judge_version(version or {})
        )
        kinds = list(judge_kinds(*find_kinds(self._lookout)))
        yield from kinds
        operator = list(self._look_at_operators())
        yield from operator
        if has_problem(kinds):
            yield skipped(Check.TENANT, "No Tenant was looked at, because the kinds are not as they should be.")
        elif self._wish.tenant is not None:
            yield from self._look_at_one(self._wish.tenant)
        else:
            yield from self._look_at_all(trusts_operator=not has_problem(operator))

    def _look_at_operators(self) -> Iterator[Finding]:
        operators = find_operators(self._lookout, named=self._wish.operator)
        yield from judge_presence(operators, named=self._wish.operator)
        if isinstance(operators, Hidden) or not operators:
            yield from judge_no_operator()
            return
        first = operators[0]
        self._logs = f"kubectl -n {namespace_of(first)} logs deployment/{name_of(first)} --since=10m"
        for operator in operators:
            yield from judge_operator(look_at_operator(self._lookout, operator), self._lookout.now())

    def _look_at_one(self, name: str) -> Iterator[Finding]:
        """One Tenant in detail, and a question to it."""
        tenant = find_tenant(self._lookout, name)
        if tenant is None:
            tenants = find_tenants(self._lookout)
            there = [] if isinstance(tenants, Hidden) else [name_of(one) for one in tenants]
            yield replace(judge_missing_tenant(name, there), tenant=name)
            return
        if isinstance(tenant, Hidden):
            yield replace(forbidden(Check.TENANT, tenant.action), tenant=name)
            return
        members = self._find_members(namespace_name(tenant))
        findings: list[Finding] = []
        for finding in self._examine(tenant, members):
            findings.append(finding)
            yield finding
        yield replace(self._question(tenant, members.agents, findings), tenant=name)

    def _look_at_all(self, *, trusts_operator: bool) -> Iterator[Finding]:
        """A line for each Tenant that is well, details of the others, and a question to the first that is well."""
        tenants = find_tenants(self._lookout)
        if isinstance(tenants, Hidden):
            yield forbidden(Check.TENANT, tenants.action, do="Name one that you may read.")
            return
        if not tenants:
            yield ok(Check.TENANT, "There is no Tenant yet; docs/how-to/install.md says how to make one.")
            return
        everywhere = self._find_members()
        members = {name_of(tenant): self._members_of(tenant, everywhere) for tenant in tenants}
        well: list[Manifest] = []
        for tenant in tenants:
            if trusts_operator and is_well(tenant) and _are_ready(members[name_of(tenant)]):
                yield _summarize(tenant, members[name_of(tenant)].agents)
                well.append(tenant)
            else:
                yield from self._examine(tenant, members[name_of(tenant)])
        yield self._question_to_one_of(well, {name: one.agents for name, one in members.items()})

    def _find_members(self, namespace: str = "") -> Members:
        return Members(find_agents(self._lookout, namespace), find_knowledge_bases(self._lookout, namespace))

    def _members_of(self, tenant: Manifest, everywhere: Members) -> Members:
        namespace = namespace_name(tenant)
        if isinstance(everywhere.agents, Hidden) or isinstance(everywhere.knowledge_bases, Hidden):
            return self._find_members(namespace)
        return Members(
            [agent for agent in everywhere.agents if namespace_of(agent) == namespace],
            [one for one in everywhere.knowledge_bases if namespace_of(one) == namespace],
        )

    def _examine(self, tenant: Manifest, members: Members) -> Iterator[Finding]:
        """One Tenant in detail, but for the question."""
        name = name_of(tenant)
        for finding in self._judge_tenant(tenant, members):
            yield replace(finding, tenant=name)

    def _judge_tenant(self, tenant: Manifest, members: Members) -> Iterator[Finding]:
        namespace = find_namespace(self._lookout, tenant)
        yield from judge_tenant(tenant, namespace, logs=self._logs, now=self._lookout.now())
        if is_being_deleted(tenant):
            yield skipped(Check.CONDITIONS, "Nothing else was judged, because the Tenant is being deleted.")
            return
        yield from judge_conditions(tenant, logs=self._logs)
        judged = judge_namespace(tenant, namespace)
        yield judged
        if judged.state in {State.PROBLEM, State.SKIPPED}:
            yield skipped(
                Check.RUNTIME, "Nothing in the namespace was judged, because it is not there, or not as it should be."
            )
            return
        evidence = look_at_tenant(self._lookout, tenant)
        yield from judge_references(tenant, evidence.outlines)
        yield from judge_credentials(tenant, evidence.outlines)
        yield from self._judge_runtime(tenant, evidence)
        yield from self._judge_knowledge(tenant, members.knowledge_bases, evidence)
        yield from judge_agents(members.agents, logs=self._logs)

    def _judge_knowledge(
        self, tenant: Manifest, knowledge_bases: SeenAll, evidence: TenantEvidence
    ) -> Iterator[Finding]:
        is_any = not isinstance(knowledge_bases, Hidden) and len(knowledge_bases) > 0
        pods: SeenAll = find_sync_pods(self._lookout, tenant) if is_any else []
        yield from judge_knowledge(knowledge_bases, pods, evidence.events, logs=self._logs, now=self._lookout.now())

    def _judge_runtime(self, tenant: Manifest, evidence: TenantEvidence) -> Iterator[Finding]:
        if is_suspended(tenant):
            yield skipped(Check.RUNTIME, "The runtime was not judged, because the Tenant is suspended.")
            return
        yield _judge_runtime_deployment(evidence.deployment)
        if isinstance(evidence.pods, Hidden):
            yield forbidden(Check.PODS, evidence.pods.action)
        else:
            yield from _judge_runtime_pods(evidence.pods, evidence.events, self._lookout)
        yield from judge_quotas(evidence.quotas)
        yield from judge_events(evidence.events, self._lookout.now())

    def _question(self, tenant: Manifest, agents: SeenAll, findings: Sequence[Finding]) -> Finding:
        """Ask one Agent of a Tenant, if that can be."""
        if not self._wish.asks:
            return _NOT_WISHED
        if obstacle := _find_obstacle(tenant, findings):
            return skipped(Check.QUESTION, f"No question was asked, because {obstacle}.")
        agent = self._wish.agent or _first_ready(agents)
        if agent is None:
            return skipped(Check.QUESTION, "No question was asked, because no Agent is ready.")
        return ask(self._lookout, tenant, agent, self._way)

    def _question_to_one_of(self, well: Sequence[Manifest], agents: Mapping[str, SeenAll]) -> Finding:
        """Ask the first Agent that is ready of the first Tenant that is well."""
        if not self._wish.asks:
            return _NOT_WISHED
        for tenant in well:
            name = name_of(tenant)
            if _first_ready(agents[name]) is not None:
                return replace(self._question(tenant, agents[name], ()), tenant=name)
        return skipped(
            Check.QUESTION, "No question was asked, because no Tenant that is well has an Agent that is ready."
        )


_NOT_WISHED = skipped(Check.QUESTION, "No question was asked, as you wished.")


def _judge_runtime_deployment(deployment: Seen) -> Finding:
    if isinstance(deployment, Hidden):
        return forbidden(Check.RUNTIME, deployment.action)
    if deployment is None:
        return problem(
            Check.RUNTIME,
            "The runtime has no Deployment yet.",
            do="The operator makes it once the stores gave the tenant its logins; what was found above says what is missing.",
            subject=f"deployment/{names.RUNTIME}",
        )
    return judge_deployment(
        deployment,
        Check.RUNTIME,
        "The runtime",
        wanted_by_whom="Nobody asked for that: see whether the operator works.",
    )


def _judge_runtime_pods(pods: Sequence[Manifest], events: SeenAll, lookout: Lookout) -> Iterator[Finding]:
    troubles = judge_pods(pods, () if isinstance(events, Hidden) else events, _RUNTIME, lookout.now())
    yield from troubles
    if not pods:
        yield warning(Check.PODS, "The runtime has no pod.", do="The runtime's Deployment, above, says why.")
    elif not troubles:
        yield ok(Check.PODS, f"{count(ready_pods(pods), 'pod')} of the runtime {_is_or_are(ready_pods(pods))} ready.")


def _is_or_are(number: int) -> str:
    return "is" if number == 1 else "are"


def _are_ready(members: Members) -> bool:
    if isinstance(members.agents, Hidden) or isinstance(members.knowledge_bases, Hidden):
        return False
    return all(map(is_agent_ready, members.agents)) and all(map(is_knowledge_base_ready, members.knowledge_bases))


def _first_ready(agents: SeenAll) -> str | None:
    found: Iterable[Manifest] = () if isinstance(agents, Hidden) else agents
    return min((name_of(agent) for agent in found if is_agent_ready(agent)), default=None)


def _summarize(tenant: Manifest, agents: SeenAll) -> Finding:
    number = 0 if isinstance(agents, Hidden) else len(agents)
    served = f"and so {_is_or_are(number)} its {count(number, 'Agent')}" if number else "but it has no Agent"
    told = ok(Check.TENANT, f"The Tenant {name_of(tenant)!r} is served, {served}.", subject=f"tenant/{name_of(tenant)}")
    return replace(told, tenant=name_of(tenant))


def _find_obstacle(tenant: Manifest, findings: Sequence[Finding]) -> str:
    """Why there is nobody to ask, empty if there may be somebody."""
    if is_being_deleted(tenant):
        return "the Tenant is being deleted"
    if is_suspended(tenant):
        return "the Tenant is suspended"
    no_pods = {State.PROBLEM, State.SKIPPED}
    if any(finding.check is Check.RUNTIME and finding.state in no_pods for finding in findings):
        return "no pod of it is ready"
    return ""
