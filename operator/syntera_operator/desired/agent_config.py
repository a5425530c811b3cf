"""Compiles an Agent: its spec, its Tenant's model endpoints and what both refer to, into what a runtime serves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from syntera_crds.contract.agent_config import (
    AgentConfig,
    AgentLimits,
    HeaderFromSecret,
    ModelCandidate,
    ModelPrice,
    SecretKey,
)
from syntera_crds.v1alpha1 import Agent, Tenant
from syntera_crds.v1alpha1.agent import RESERVED_PARAMETERS
from syntera_crds.v1alpha1.common import ConfigMapKeyRef, SecretKeyRef
from syntera_crds.v1alpha1.tenant import ModelEndpoint

from .templates import build_values, render_template

UNPUBLISHED = 0
"""Revision of a configuration that has none yet."""


class EndpointMissing(LookupError):
    """An Agent names a model endpoint that its Tenant does not have; the message says which and how to mend it."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One model to ask, at one of the Tenant's endpoints."""

    endpoint: ModelEndpoint
    model: str


def choose_models(agent: Agent, tenant: Tenant) -> list[Choice]:
    """The models that an Agent asks, the first one first.

    Raises:
        EndpointMissing: an endpoint that the Agent names, or any at all, is missing.
    """
    wanted = agent.spec.model
    first = _find(tenant, wanted.endpoint, field="spec.model.endpoint")
    choices = [Choice(first, wanted.name or first.chat)]
    for index, fallback in enumerate(wanted.fallbacks):
        endpoint = _find(tenant, fallback.endpoint, field=f"spec.model.fallbacks[{index}].endpoint")
        choices.append(Choice(endpoint, fallback.name or endpoint.chat))
    return choices


def choose_soft_models(agent: Agent, tenant: Tenant) -> list[Choice]:
    """The models that it asks where a limit is nearly reached. None: the same as ever.

    Raises:
        EndpointMissing: the endpoint is missing.
    """
    wanted = agent.spec.limits.over_soft_limit.model
    if wanted is None:
        return []
    endpoint = _find(tenant, wanted.endpoint, field="spec.limits.overSoftLimit.model.endpoint")
    return [Choice(endpoint, wanted.name or endpoint.chat)]


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
        TemplateError: instructions, greeting or what is said at a limit use an expression that does not exist or does not end.
    """
    values = build_values(
        tenant=tenant.metadata.name,
        tenant_display_name=tenant.display_name,
        agent=agent.metadata.name,
        agent_display_name=agent.display_name,
    )
    first, *fallbacks = choices
    limits = agent.spec.limits
    parameters = {name: value for name, value in agent.spec.model.parameters.items() if name not in RESERVED_PARAMETERS}
    return AgentConfig(
        name=agent.metadata.name,
        uid=agent.metadata.uid,
        revision=UNPUBLISHED,
        display_name=agent.display_name,
        description=agent.spec.description,
        instructions=render_template(instructions, values, field=instructions_field),
        models=[
            _build_candidate(agent, tenant, first, bundles, parameters=parameters),
            *(_build_candidate(agent, tenant, fallback, bundles, parameters={}) for fallback in fallbacks),
        ],
        greeting=agent.spec.greeting and render_template(agent.spec.greeting, values, field="spec.greeting"),
        suggestions=agent.spec.suggestions,
        history_messages=agent.spec.memory.history_messages,
        history_tokens=agent.spec.memory.history_tokens,
        access=agent.spec.access,
        limits=AgentLimits(
            tokens_per_conversation=limits.tokens_per_conversation,
            turns_per_conversation=limits.turns_per_conversation,
            soft_models=[_build_candidate(agent, tenant, choice, bundles, parameters={}) for choice in soft_choices],
            soft_history_messages=limits.over_soft_limit.history_messages,
            message=limits.message and render_template(limits.message, values, field="spec.limits.message"),
        ),
    )


def _find(tenant: Tenant, name: str | None, *, field: str) -> ModelEndpoint:
    endpoints = tenant.spec.models
    if not endpoints:
        raise EndpointMissing(f"Tenant {tenant.metadata.name!r} has no model endpoint; add one to its spec.models")
    if name is None:
        return endpoints[0]
    found = next((endpoint for endpoint in endpoints if endpoint.name == name), None)
    if found is None:
        known = ", ".join(repr(endpoint.name) for endpoint in endpoints)
        raise EndpointMissing(
            f"{field}: Tenant {tenant.metadata.name!r} has no model endpoint {name!r}; name one of {known}, or add it to"
            " the Tenant's spec.models"
        )
    return found


def _build_candidate(
    agent: Agent,
    tenant: Tenant,
    choice: Choice,
    bundles: Mapping[ConfigMapKeyRef, str],
    *,
    parameters: dict[str, Any],
) -> ModelCandidate:
    endpoint, sampling = choice.endpoint, agent.spec.model
    bundle = endpoint.ca_bundle_config_map_ref
    return ModelCandidate(
        endpoint=endpoint.name,
        base_url=endpoint.base_url,
        model=choice.model,
        timeout_seconds=endpoint.timeout_seconds,
        api_key=None if endpoint.api_key_secret_ref is None else _build_secret_key(endpoint.api_key_secret_ref),
        headers={header.name: header.value for header in endpoint.headers if header.value is not None},
        headers_from=[
            HeaderFromSecret(name=header.name, secret=_build_secret_key(header.secret_key_ref))
            for header in endpoint.headers
            if header.secret_key_ref is not None
        ],
        ca_bundle=None if bundle is None else bundles[bundle],
        proxy_url=endpoint.proxy_url,
        max_tokens_parameter=endpoint.max_tokens_parameter.value,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_output_tokens=sampling.max_output_tokens,
        parameters=parameters,
        price=_build_price(tenant, choice),
        takes_images=choice.model in endpoint.image_models,
    )


def _build_price(tenant: Tenant, choice: Choice) -> ModelPrice | None:
    stated = next((price for price in choice.endpoint.prices if price.model == choice.model), None)
    if stated is None or tenant.spec.currency is None:
        return None
    return ModelPrice(
        currency=tenant.spec.currency,
        input_per_million_tokens=stated.input_per_million_tokens,
        output_per_million_tokens=stated.output_per_million_tokens,
    )


def _build_secret_key(ref: SecretKeyRef) -> SecretKey:
    return SecretKey(name=ref.name, key=ref.key)
