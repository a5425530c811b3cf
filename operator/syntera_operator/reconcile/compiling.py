"""Gathers what an Agent refers to and compiles it: either everything is there and sound, or nothing is published."""

from collections.abc import Iterator
from dataclasses import dataclass

from syntera_crds.contract.agent_config import AgentConfig
from syntera_crds.errors import InvalidResource
from syntera_crds.v1alpha1 import Agent
from syntera_crds.v1alpha1.common import ConditionType, ConfigMapKeyRef, Reason
from syntera_crds.validation import load_as

from ..causes import agent_key
from ..cluster import Cluster, Reference
from ..conditions import Problem
from ..desired.agent_config import build_agent_config, choose_models, choose_soft_models
from ..desired.model_access import EndpointMissing, ModelMissing
from ..desired.templates import TemplateError
from ..manifest import Manifest, is_being_deleted
from .context import Context
from .host import Host
from .publishing import ACCEPTED, Checks, Refused, invalid, require_host
from .references import check_of, list_references, resolve


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
        raise Refused({ConditionType.ACCEPTED: invalid("; ".join(map(str, error.faults)) + ".")}) from None
    checks: Checks = {ConditionType.ACCEPTED: ACCEPTED}
    namespace = agent.metadata.namespace or ""
    host = require_host(namespace, kind=agent.kind(), checks=checks, cluster=cluster)
    try:
        choices = choose_models(agent, host.tenant)
        soft_choices = choose_soft_models(agent, host.tenant)
    except EndpointMissing as error:
        problem = Problem(Reason.ENDPOINT_NOT_FOUND, f"{error}.")
        raise Refused(checks | {ConditionType.RESOLVED_REFS: problem}) from None
    except ModelMissing as error:
        problem = Problem(Reason.MODEL_NOT_FOUND, f"{error}.")
        raise Refused(checks | {ConditionType.RESOLVED_REFS: problem}) from None
    written_elsewhere = agent.spec.instructions_from
    source = None if written_elsewhere is None else written_elsewhere.config_map_key_ref
    references = list_references(
        ((f"model endpoint {choice.endpoint.name!r}: ", choice.endpoint) for choice in (*choices, *soft_choices)),
        config_maps={source: "spec.instructionsFrom.configMapKeyRef"} if source else None,
    )
    knowledge = {Reference("KnowledgeBase", namespace, one.name) for one in agent.spec.knowledge}
    cluster.set_references(agent_key(namespace, agent.metadata.name), references.causes(namespace) | knowledge)
    resolution = await resolve(references, namespace=namespace, cluster=cluster)
    problems = [*resolution.problems, *_check_knowledge(agent, namespace, cluster=cluster)]
    checks[ConditionType.RESOLVED_REFS] = check_of(problems)
    if problems:
        raise Refused(checks)
    instructions = resolution.texts[source] if source else agent.spec.instructions or ""
    if not instructions:
        raise Refused(checks | {ConditionType.ACCEPTED: invalid(f"{_field(source)}: the instructions are empty.")})
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
        raise Refused(checks | {ConditionType.ACCEPTED: invalid(f"{error}.")}) from None
    return Compiled(config, host, checks)


def _check_knowledge(agent: Agent, namespace: str, *, cluster: Cluster) -> Iterator[Problem]:
    """Whether the knowledge bases that the Agent names are there, and something is published of each."""
    for index, wanted in enumerate(agent.spec.knowledge):
        found = cluster.knowledge_base(namespace, wanted.name)
        field = f"spec.knowledge[{index}].name"
        if found is None or is_being_deleted(found):
            yield Problem(
                Reason.KNOWLEDGE_BASE_NOT_FOUND,
                f"{field}: namespace {namespace!r} has no KnowledgeBase {wanted.name!r}; create it, or name another one.",
            )
        elif not (found.get("status") or {}).get("revision"):
            yield Problem(
                Reason.KNOWLEDGE_BASE_NOT_PUBLISHED,
                f"{field}: of KnowledgeBase {wanted.name!r} nothing is published yet; its own conditions tell why.",
            )


def _field(source: ConfigMapKeyRef | None) -> str:
    """Where the instructions come from."""
    return "spec.instructions" if source is None else f"entry {source.key!r} of ConfigMap {source.name!r}"
