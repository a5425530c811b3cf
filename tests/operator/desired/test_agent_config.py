"""Compiling Agents."""

from typing import Any

import pytest

from syntera_crds.contract.agent_config import AgentConfig
from syntera_crds.v1alpha1 import Agent, Tenant
from syntera_operator.desired.agent_config import (
    build_agent_config,
    choose_models,
    choose_soft_models,
)
from syntera_operator.desired.model_access import EndpointMissing, ModelMissing
from syntera_operator.desired.templates import TemplateError
from tests.support.golden import Golden
from tests.support.make import make_agent, make_endpoint, make_tenant

FULL_ENDPOINT = make_endpoint(
    "vllm",
    baseURL="https://vllm.gpu.svc/v1",
    chat="big",
    imageModels=["bigger"],
    apiKeySecretRef={"name": "vllm", "key": "token"},
    timeoutSeconds=120,
    maxTokensParameter="max_tokens",
    headers=[
        {"name": "X-Team", "value": "travel"},
        {"name": "X-Token", "secretKeyRef": {"name": "vllm", "key": "extra"}},
    ],
    caBundleConfigMapRef={"name": "ca", "key": "ca.crt"},
    proxyURL="http://proxy.egress.svc:3128",
    prices=[
        {"model": "big", "inputPerMillionTokens": "0.15", "outputPerMillionTokens": "0.6"},
        {"model": "bigger", "inputPerMillionTokens": "2", "outputPerMillionTokens": "8"},
    ],
)


def compile_(agent: Agent, tenant: Tenant) -> AgentConfig:
    choices, soft_choices = choose_models(agent, tenant), choose_soft_models(agent, tenant)
    refs = [choice.endpoint.ca_bundle_config_map_ref for choice in (*choices, *soft_choices)]
    bundles = {ref: "-----BEGIN CERTIFICATE-----" for ref in refs if ref}
    return build_agent_config(
        agent,
        tenant,
        choices,
        soft_choices=soft_choices,
        instructions=agent.spec.instructions or "",
        instructions_field="spec.instructions",
        bundles=bundles,
    )


def test_agent_config_of_the_least_agent_uses_the_first_endpoint() -> None:
    config = compile_(make_agent(), make_tenant(models=[make_endpoint("one"), make_endpoint("two")]))
    (candidate,) = config.models
    assert (candidate.endpoint, candidate.model) == ("one", "chat-small")
    assert config.instructions == "You help customers of acme."


def test_agent_config_of_a_full_agent(golden: Golden) -> None:
    agent = make_agent(
        displayName="Travel assistant",
        description="Answers questions",
        instructions="You are {{agent.displayName}} of {{tenant.displayName}}.",
        model={
            "endpoint": "vllm",
            "name": "bigger",
            "temperature": 0.2,
            "topP": 0.9,
            "maxOutputTokens": 800,
            "parameters": {"reasoning_effort": "low", "tools": None},
            "fallbacks": [{"endpoint": "main"}, {"endpoint": "main", "name": "tiny"}],
        },
        greeting="Hello",
        suggestions=["Where is my booking?"],
        memory={"historyMessages": 10, "historyTokens": 4000},
        access="Public",
        limits={
            "tokensPerConversation": 50_000,
            "turnsPerConversation": 40,
            "overSoftLimit": {"model": {"endpoint": "vllm"}, "historyMessages": 6},
            "message": "{{agent.displayName}} is back tomorrow.",
        },
        knowledge=[{"name": "handbook", "topK": 7, "minScore": 0.5}, {"name": "prices"}],
        retrieval={"maxTokens": 2000, "onNothingFound": "Refuse", "refusal": "{{agent.displayName}} does not know."},
        guardrails={"requireCitations": True},
    )
    tenant = make_tenant(displayName="Acme Travel", models=[make_endpoint(), FULL_ENDPOINT], currency="EUR")
    config = compile_(agent, tenant)
    golden.check_text("desired/agent-config.json", config.model_dump_json(by_alias=True, indent=2) + "\n")


def test_agent_config_gives_the_same_bytes_for_the_same_input() -> None:
    tenant = make_tenant(models=[FULL_ENDPOINT], currency="EUR")
    assert compile_(make_agent(), tenant).to_json() == compile_(make_agent(), tenant).to_json()


@pytest.mark.parametrize(
    ("model", "models", "message"),
    [
        ({"endpoint": "lost"}, [make_endpoint()], "spec.model.endpoint: Tenant 'acme' has no model endpoint 'lost'"),
        ({"fallbacks": [{"endpoint": "lost"}]}, [make_endpoint()], r"spec.model.fallbacks\[0\].endpoint: "),
        ({}, [], "Tenant 'acme' has no model endpoint; add one to its spec.models"),
    ],
)
def test_agent_config_when_an_endpoint_is_missing(model: dict[str, Any], models: list[Any], message: str) -> None:
    with pytest.raises(EndpointMissing, match=message):
        choose_models(make_agent(model=model), make_tenant(models=models))


def test_agent_config_when_the_endpoint_for_soft_limits_is_missing() -> None:
    agent = make_agent(limits={"overSoftLimit": {"model": {"endpoint": "lost"}}})
    with pytest.raises(EndpointMissing, match=r"spec\.limits\.overSoftLimit\.model\.endpoint: Tenant 'acme' has no"):
        choose_soft_models(agent, make_tenant())


def test_model_that_has_no_price_is_published_without_one() -> None:
    priced = make_endpoint(prices=[{"model": "big", "inputPerMillionTokens": "1", "outputPerMillionTokens": "2"}])
    (candidate,) = compile_(make_agent(), make_tenant(models=[priced], currency="EUR")).models
    assert candidate.price is None


def test_agent_without_limits_keeps_its_text() -> None:
    assert "limits" not in compile_(make_agent(), make_tenant()).to_json()


def test_agent_that_names_no_model_asks_the_first_endpoint_that_has_one() -> None:
    embeds = make_endpoint("embeds", embedding={"model": "e", "dimensions": 3})
    embeds.pop("chat")
    tenant = make_tenant(models=[embeds, make_endpoint("talks")])
    assert [one.endpoint.name for one in choose_models(make_agent(), tenant)] == ["talks"]
    named = make_agent(model={"endpoint": "embeds", "name": "x"})
    assert [one.model for one in choose_models(named, tenant)] == ["x"]


@pytest.mark.parametrize("model", [{}, {"endpoint": "embeds"}])
def test_agent_config_when_nobody_names_a_model(model: dict[str, Any]) -> None:
    embeds = make_endpoint("embeds")
    embeds.pop("chat")
    with pytest.raises(ModelMissing, match=r"spec\.model: endpoint 'embeds' of Tenant 'acme' has no chat model"):
        choose_models(make_agent(model=model), make_tenant(models=[embeds]))


def test_agent_without_knowledge_keeps_its_text() -> None:
    text = compile_(make_agent(), make_tenant()).to_json()
    assert not any(word in text for word in ("knowledge", "retrieval", "guardrails"))


def test_refusal_uses_the_same_expressions() -> None:
    agent = make_agent(retrieval={"refusal": "Ask {{tenant.displayName}}."})
    assert compile_(agent, make_tenant(displayName="Acme Travel")).retrieval.refusal == "Ask Acme Travel."
    with pytest.raises(TemplateError, match=r"spec\.retrieval\.refusal: "):
        compile_(make_agent(retrieval={"refusal": "{{nobody}}"}), make_tenant())


def test_greeting_uses_the_same_expressions() -> None:
    agent = make_agent(greeting="Welcome to {{tenant.displayName}}!")
    assert compile_(agent, make_tenant(displayName="Acme Travel")).greeting == "Welcome to Acme Travel!"


def test_greeting_is_named_when_its_expression_is_unknown() -> None:
    with pytest.raises(TemplateError, match=r"spec\.greeting: the expression '\{\{nobody\}\}' is unknown"):
        compile_(make_agent(greeting="{{nobody}}"), make_tenant())
