"""Published configuration: equal behaviour has equal digests, and pods of another release can still read it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntera_crds.contract.agent_config import (
    Access,
    AgentConfig,
    AgentGuardrails,
    AgentKnowledge,
    AgentLimits,
    AgentRetrieval,
    FailureRule,
    HeaderFromSecret,
    ModelCandidate,
    ModelPrice,
    SecretKey,
)


def make_candidate(**fields: Any) -> ModelCandidate:
    return ModelCandidate(
        **{
            "endpoint": "main",
            "base_url": "https://models.example/v1",
            "model": "small",
            "timeout_seconds": 60,
            **fields,
        }
    )


def make_config(**fields: Any) -> AgentConfig:
    return AgentConfig(
        **{
            "name": "travel",
            "uid": "4f1c",
            "revision": 1,
            "display_name": "Travel assistant",
            "instructions": "You help.",
            "models": [make_candidate()],
            **fields,
        }
    )


FULL = make_config(
    description="Answers questions.",
    greeting="Hello",
    suggestions=["Where is my booking?"],
    history_messages=10,
    models=[
        make_candidate(
            api_key=SecretKey(name="openai", key="api-key"),
            headers={"X-Team": "travel"},
            headers_from=[HeaderFromSecret(name="X-Token", secret=SecretKey(name="token", key="value"))],
            ca_bundle="-----BEGIN CERTIFICATE-----",
            proxy_url="http://proxy.example:3128",
            max_tokens_parameter="max_tokens",
            temperature=0.2,
            top_p=0.9,
            max_output_tokens=800,
            parameters={"reasoning_effort": "low", "seed": 7, "nested": {"b": [1, None], "a": "ä"}},
        ),
        make_candidate(endpoint="backup", api_key=SecretKey(name="backup", key="k")),
    ],
)
OTHER_VALUES: dict[str, Any] = {
    "name": "other",
    "uid": "other",
    "display_name": "Other",
    "description": "Other.",
    "instructions": "Other.",
    "models": [make_candidate(model="other")],
    "greeting": "Other",
    "suggestions": ["Other?"],
    "history_messages": 7,
    "history_tokens": 7,
    "access": Access.PUBLIC,
    "limits": AgentLimits(turns_per_conversation=7),
    "knowledge": [AgentKnowledge(name="handbook")],
    "retrieval": AgentRetrieval(max_tokens=7),
    "guardrails": AgentGuardrails(require_citations=True),
}
OTHER_CANDIDATE_VALUES: dict[str, Any] = {
    "endpoint": "other",
    "base_url": "https://other.example/v1",
    "model": "other",
    "timeout_seconds": 7.5,
    "api_key": SecretKey(name="other", key="k"),
    "headers": {"X-Other": "1"},
    "headers_from": [HeaderFromSecret(name="X-Other", secret=SecretKey(name="other", key="k"))],
    "ca_bundle": "other",
    "proxy_url": "http://other.example",
    "max_tokens_parameter": "max_tokens",
    "temperature": 1.0,
    "top_p": 0.5,
    "max_output_tokens": 7,
    "parameters": {"seed": 1},
    "takes_images": True,
    "price": ModelPrice(currency="EUR", input_per_million_tokens="1", output_per_million_tokens="2"),
}
OTHER_LIMITS: dict[str, Any] = {
    "tokens_per_conversation": 7,
    "turns_per_conversation": 7,
    "soft_models": [make_candidate(model="cheap")],
    "soft_history_messages": 7,
    "message": "Other.",
}
OTHER_KNOWLEDGE: dict[str, Any] = {"name": "other", "top_k": 7, "min_score": 0.5}
OTHER_RETRIEVAL: dict[str, Any] = {
    "max_tokens": 7,
    "on_nothing_found": FailureRule.REFUSE,
    "on_unavailable": FailureRule.ANSWER,
    "refusal": "Other.",
}


def test_text_reads_back_as_the_same_configuration() -> None:
    for config in (FULL, make_config()):
        assert AgentConfig.model_validate_json(config.to_json()) == config


def test_text_is_camel_case_and_leaves_defaults_out() -> None:
    assert json.loads(make_config().to_json()) == {
        "name": "travel",
        "uid": "4f1c",
        "revision": 1,
        "displayName": "Travel assistant",
        "instructions": "You help.",
        "models": [
            {
                "endpoint": "main",
                "baseUrl": "https://models.example/v1",
                "model": "small",
                "timeoutSeconds": 60.0,
            }
        ],
    }


def test_text_of_the_same_configuration_is_the_same() -> None:
    assert AgentConfig.model_validate(FULL.model_dump()).to_json() == FULL.to_json()


def test_digest_stays_what_it_was_in_earlier_releases() -> None:
    """A new digest for an unchanged configuration would publish every agent anew after an upgrade."""
    assert make_config().digest() == "e25e7eddf4198e2620156a2cbdae4e8f"
    assert FULL.digest() == "9e06223f622cc4d17ec03a7986384212"


def test_digest_does_not_count_a_new_field_that_has_its_default() -> None:
    class LaterConfig(AgentConfig):
        tone: str = "neutral"

    assert LaterConfig.model_validate(FULL.model_dump()).digest() == FULL.digest()
    assert LaterConfig.model_validate({**FULL.model_dump(), "tone": "warm"}).digest() != FULL.digest()


def test_digest_leaves_the_revision_out() -> None:
    assert make_config(revision=1).digest() == make_config(revision=99).digest()


def test_digest_does_not_depend_on_the_order_of_maps() -> None:
    one = make_config(models=[make_candidate(headers={"a": "1", "b": "2"}, parameters={"x": {"p": 1, "q": 2}, "y": 1})])
    other = make_config(
        models=[make_candidate(headers={"b": "2", "a": "1"}, parameters={"y": 1, "x": {"q": 2, "p": 1}})]
    )
    assert one.digest() == other.digest()


def test_digest_depends_on_the_order_of_fallbacks() -> None:
    one, other = make_candidate(endpoint="one"), make_candidate(endpoint="other")
    assert make_config(models=[one, other]).digest() != make_config(models=[other, one]).digest()


@pytest.mark.parametrize("field", sorted(AgentConfig.model_fields.keys() - {"revision"}))
def test_digest_changes_with_every_field(field: str) -> None:
    assert make_config(**{field: OTHER_VALUES[field]}).digest() != make_config().digest()


@pytest.mark.parametrize("field", sorted(ModelCandidate.model_fields))
def test_digest_changes_with_every_field_of_a_model(field: str) -> None:
    changed = make_config(models=[make_candidate(**{field: OTHER_CANDIDATE_VALUES[field]})])
    assert changed.digest() != make_config().digest()


@pytest.mark.parametrize("field", sorted(AgentLimits.model_fields))
def test_digest_changes_with_every_field_of_the_limits(field: str) -> None:
    assert make_config(limits=AgentLimits(**{field: OTHER_LIMITS[field]})).digest() != make_config().digest()


@pytest.mark.parametrize("field", sorted(AgentKnowledge.model_fields))
def test_digest_changes_with_every_field_of_the_knowledge(field: str) -> None:
    changed = AgentKnowledge(**{"name": "handbook", field: OTHER_KNOWLEDGE[field]})
    assert (
        make_config(knowledge=[changed]).digest() != make_config(knowledge=[AgentKnowledge(name="handbook")]).digest()
    )


@pytest.mark.parametrize("field", sorted(AgentRetrieval.model_fields))
def test_digest_changes_with_every_field_of_the_retrieval(field: str) -> None:
    assert make_config(retrieval=AgentRetrieval(**{field: OTHER_RETRIEVAL[field]})).digest() != make_config().digest()


def test_limits_that_say_nothing_are_not_published() -> None:
    """An agent that has none must keep its digest."""
    said = make_config(limits=AgentLimits(tokens_per_conversation=None, soft_models=[]))
    assert said.to_json() == make_config().to_json()
    assert said.digest() == make_config().digest()


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(), below, max_size=3),
    max_leaves=8,
)


@given(st.text(), st.dictionaries(st.text(), _JSON, max_size=4), st.floats(0, 2) | st.none())
def test_digest_is_that_of_what_was_published(text: str, parameters: dict[str, Any], temperature: float | None) -> None:
    """The operator compares what it would publish with what it reads back."""
    config = make_config(
        instructions=text, models=[make_candidate(parameters=parameters, temperature=temperature)], greeting=text
    )
    again = AgentConfig.model_validate_json(config.to_json())
    assert again == config
    assert again.digest() == config.digest()
    assert len(config.digest()) == 32


@given(st.dictionaries(st.text(min_size=1).map(lambda name: f"x{name}"), _JSON, max_size=3))
def test_fields_of_a_later_release_are_ignored_at_every_level(unknown: dict[str, Any]) -> None:
    published = json.loads(FULL.to_json())
    first, second = published["models"]
    for part in (published, first, second, first["apiKey"], second["apiKey"], first["headersFrom"][0]):
        part.update(unknown)
    assert AgentConfig.model_validate(published) == FULL


def test_fields_that_an_earlier_release_did_not_know_mean_as_before() -> None:
    """The smallest configuration that was ever published must stay readable."""
    first = (
        '{"name":"a","uid":"u","revision":1,"displayName":"A","instructions":"i",'
        '"models":[{"endpoint":"e","baseUrl":"http://e","model":"m","timeoutSeconds":60}]}'
    )
    config = AgentConfig.model_validate_json(first)
    assert (config.history_messages, config.greeting, config.suggestions) == (30, None, [])
    assert (config.history_tokens, config.limits, config.models[0].price) == (None, AgentLimits(), None)
    assert config.models[0].max_tokens_parameter == "max_completion_tokens"


def test_secret_keys_are_those_of_keys_and_headers_of_all_models() -> None:
    cheap = make_candidate(api_key=SecretKey(name="cheap", key="k"))
    limited = make_config(models=FULL.models, limits=AgentLimits(soft_models=[cheap]))
    assert {key.name for key in FULL.secret_keys()} == {"openai", "token", "backup"}
    assert limited.secret_keys() == FULL.secret_keys() | {SecretKey(name="cheap", key="k")}
    assert make_config().secret_keys() == frozenset()


def test_configuration_holds_no_value_of_a_secret() -> None:
    """Secrets are named, never copied: no field takes a value."""
    assert set(SecretKey.model_fields) == {"name", "key"}
    assert set(HeaderFromSecret.model_fields) == {"name", "secret"}
