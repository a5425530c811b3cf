"""Compiles an Agent: its spec, its Tenant's model endpoints and what both refer to, into what a runtime serves."""

from collections.abc import Mapping, Sequence
from typing import Any

from syntera_crds.contract.agent_config import (
    AgentConfig,
    AgentGuardrails,
    AgentKnowledge,
    AgentLimits,
    AgentRetrieval,
    ModelCandidate,
)
from syntera_crds.v1alpha1 import Agent, Tenant
from syntera_crds.v1alpha1.agent import RESERVED_PARAMETERS
from syntera_crds.v1alpha1.common import ConfigMapKeyRef
from syntera_crds.v1alpha1.tenant import ModelEndpoint

from .model_access import Choice, ModelMissing, build_access, find_endpoint, require_endpoints
from .published import UNPUBLISHED
from .templates import build_values, render_template


def choose_models(agent: Agent, tenant: Tenant) -> list[Choice]:
    """The models that an Agent asks, the first one first.

    Raises:
        EndpointMissing: an endpoint that the Agent names, or any at all, is missing.
        ModelMissing: nobody says which model answers.
    """
    wanted = agent.spec.model
    choices = [_choose(tenant, wanted.endpoint, wanted.name, field="spec.model")]
    for index, fallback in enumerate(wanted.fallbacks):
        choices.append(_choose(tenant, fallback.endpoint, fallback.name, field=f"spec.model.fallbacks[{index}]"))
    return choices


def choose_soft_models(agent: Agent, tenant: Tenant) -> list[Choice]:
    """The models that it asks where a limit is nearly reached. None: the same as ever.

    Raises:
        EndpointMissing: the endpoint is missing.
        ModelMissing: nobody says which model answers.
    """
    wanted = agent.spec.limits.over_soft_limit.model
    if wanted is None:
        return []
    return [_choose(tenant, wanted.endpoint, wanted.name, field="spec.limits.overSoftLimit.model")]


def build_agent_config(
    agent: Agent,
    tenant: Tenant,
    choices: Sequence[Choice],
    *,
    soft_choices: Sequence[Choice] = (),
    instructions: str,
    instructions_field: str,
    bundles: Mapping[ConfigMapKeyRef, str],
) -> AgentConfig:
    """The configuration, as yet without a revision.

    `instructions` is the text before its expressions are replaced and `instructions_field` where it stands; `bundles`
    holds the CA certificates of the chosen endpoints that have some.

    Raises:
        TemplateError: instructions, greeting, refusal or what is said at a limit use an expression that does not exist or does
            not end.
    """
    values = build_values(
        tenant=tenant.metadata.name,
        tenant_display_name=tenant.display_name,
        agent=agent.metadata.name,
        agent_display_name=agent.display_name,
    )
    first, *fallbacks = choices
    spec, limits = agent.spec, agent.spec.limits
    parameters = {name: value for name, value in spec.model.parameters.items() if name not in RESERVED_PARAMETERS}
    return AgentConfig(
        name=agent.metadata.name,
        uid=agent.metadata.uid,
        revision=UNPUBLISHED,
        display_name=agent.display_name,
        description=spec.description,
        instructions=render_template(instructions, values, field=instructions_field),
        models=[
            _build_candidate(agent, tenant, first, bundles, parameters=parameters),
            *(_build_candidate(agent, tenant, fallback, bundles, parameters={}) for fallback in fallbacks),
        ],
        greeting=spec.greeting and render_template(spec.greeting, values, field="spec.greeting"),
        suggestions=spec.suggestions,
        history_messages=spec.memory.history_messages,
        history_tokens=spec.memory.history_tokens,
        access=spec.access,
        limits=AgentLimits(
            tokens_per_conversation=limits.tokens_per_conversation,
            turns_per_conversation=limits.turns_per_conversation,
            soft_models=[_build_candidate(agent, tenant, choice, bundles, parameters={}) for choice in soft_choices],
            soft_history_messages=limits.over_soft_limit.history_messages,
            message=limits.message and render_template(limits.message, values, field="spec.limits.message"),
        ),
        knowledge=[AgentKnowledge(name=one.name, top_k=one.top_k, min_score=one.min_score) for one in spec.knowledge],
        retrieval=_build_retrieval(agent, values),
        guardrails=AgentGuardrails(require_citations=spec.guardrails.require_citations),
    )


def _build_retrieval(agent: Agent, values: Mapping[str, str]) -> AgentRetrieval:
    wanted = agent.spec.retrieval
    return AgentRetrieval(
        max_tokens=wanted.max_tokens,
        on_nothing_found=wanted.on_nothing_found,
        on_unavailable=wanted.on_unavailable,
        refusal=wanted.refusal and render_template(wanted.refusal, values, field="spec.retrieval.refusal"),
    )


def _choose(tenant: Tenant, endpoint_name: str | None, model: str | None, *, field: str) -> Choice:
    endpoint = _find_endpoint(tenant, endpoint_name, field=field)
    name = model or endpoint.chat
    if name is None:
        raise ModelMissing(
            f"{field}: endpoint {endpoint.name!r} of Tenant {tenant.metadata.name!r} has no chat model; name a model here,"
            " name another endpoint, or set the endpoint's chat"
        )
    return Choice(endpoint, name)


def _find_endpoint(tenant: Tenant, name: str | None, *, field: str) -> ModelEndpoint:
    if name is not None:
        return find_endpoint(tenant, name, field=f"{field}.endpoint")
    require_endpoints(tenant)
    endpoints = tenant.spec.models
    return next((endpoint for endpoint in endpoints if endpoint.chat is not None), endpoints[0])


def _build_candidate(
    agent: Agent,
    tenant: Tenant,
    choice: Choice,
    bundles: Mapping[ConfigMapKeyRef, str],
    *,
    parameters: dict[str, Any],
) -> ModelCandidate:
    endpoint, sampling = choice.endpoint, agent.spec.model
    return ModelCandidate(
        **dict(build_access(choice, tenant, bundles)),
        max_tokens_parameter=endpoint.max_tokens_parameter.value,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_output_tokens=sampling.max_output_tokens,
        parameters=parameters,
        takes_images=choice.model in endpoint.image_models,
    )
