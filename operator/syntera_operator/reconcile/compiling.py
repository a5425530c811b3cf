"""Gathers what an Agent refers to and compiles it: either everything is there and sound, or nothing is published."""

from dataclasses import dataclass

from syntera_crds.contract.agent_config import AgentConfig
from syntera_crds.errors import InvalidResource
from syntera_crds.v1alpha1 import Agent
from syntera_crds.v1alpha1.common import ConditionType, ConfigMapKeyRef, Reason
from syntera_crds.validation import load_as

from ..causes import agent_key
from ..conditions import Check, Good, Outlook, Problem
from ..desired.agent_config import EndpointMissing, build_agent_config, choose_models, choose_soft_models
from ..desired.templates import TemplateError
from ..manifest import Manifest
from .context import Context
from .host import Host, find_host
from .references import check_of, list_references, resolve

_ABOUT_REFERENCES = frozenset({Reason.TENANT_NOT_FOUND, Reason.TENANT_NOT_ACCEPTED})
_ACCEPTED = Good(Reason.ACCEPTED, "The spec is sound.")
_NOT_PUBLISHED = Problem(Reason.PENDING, "Nothing was published; see the other conditions.")

Checks = dict[ConditionType, Check]


class Refused(Exception):
    """Nothing new can be published: why, and when to look again although nothing changed."""

    def __init__(self, checks: Checks, *, ready: Check = _NOT_PUBLISHED, again_seconds: float | None = None) -> None:
        self.checks = checks
        self.ready = ready
        self.again_seconds = again_seconds
        super().__init__()


@dataclass(frozen=True, slots=True)
class Compiled:
    """What to publish, and for whom."""

    config: AgentConfig
    """Without its revision."""
    host: Host
    checks: Checks


async def compile_agent(manifest: Manifest, context: Context) -> Compiled:
    """Gather what the Agent refers to and compile it.

    Raises:
        Refused: something is missing or wrong.
    """
    cluster = context.cluster
    try:
        agent = load_as(Agent, {**manifest, "status": {}})
    except InvalidResource as error:
        raise Refused({ConditionType.ACCEPTED: _invalid("; ".join(map(str, error.faults)) + ".")}) from None
    checks: Checks = {ConditionType.ACCEPTED: _ACCEPTED}
    namespace = agent.metadata.namespace or ""
    host = find_host(namespace, cluster=cluster)
    if isinstance(host, Problem):
        if host.reason in _ABOUT_REFERENCES:
            raise Refused(checks | {ConditionType.RESOLVED_REFS: host})
        raise Refused(checks, ready=host)
    try:
        choices = choose_models(agent, host.tenant)
        soft_choices = choose_soft_models(agent, host.tenant)
    except EndpointMissing as error:
        problem = Problem(Reason.ENDPOINT_NOT_FOUND, f"{error}.")
        raise Refused(checks | {ConditionType.RESOLVED_REFS: problem}) from None
    written_elsewhere = agent.spec.instructions_from
    source = None if written_elsewhere is None else written_elsewhere.config_map_key_ref
    references = list_references(
        ((f"model endpoint {choice.endpoint.name!r}: ", choice.endpoint) for choice in (*choices, *soft_choices)),
        config_maps={source: "spec.instructionsFrom.configMapKeyRef"} if source else None,
    )
    cluster.set_references(agent_key(namespace, agent.metadata.name), references.causes(namespace))
    resolution = await resolve(references, namespace=namespace, cluster=cluster)
    checks[ConditionType.RESOLVED_REFS] = check_of(resolution.problems)
    if resolution.problems:
        raise Refused(checks)
    instructions = resolution.texts[source] if source else agent.spec.instructions or ""
    if not instructions:
        raise Refused(checks | {ConditionType.ACCEPTED: _invalid(f"{_field(source)}: the instructions are empty.")})
    try:
        config = build_agent_config(
            agent,
            host.tenant,
            choices,
            soft_choices=soft_choices,
            instructions=instructions,
            instructions_field=_field(source),
            bundles=resolution.texts,
        )
    except TemplateError as error:
        raise Refused(checks | {ConditionType.ACCEPTED: _invalid(f"{error}.")}) from None
    return Compiled(config, host, checks)


def _invalid(message: str) -> Problem:
    return Problem(Reason.INVALID, message, Outlook.STALLED)


def _field(source: ConfigMapKeyRef | None) -> str:
    """Where the instructions come from."""
    return "spec.instructions" if source is None else f"entry {source.key!r} of ConfigMap {source.name!r}"
