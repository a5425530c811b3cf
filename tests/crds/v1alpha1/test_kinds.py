"""What the models say beyond their fields: names of fields, defaults that depend on the object's name."""

import pytest
from pydantic import BaseModel, ValidationError

from syntera_crds.v1alpha1 import KINDS, Agent, Condition, ConditionStatus, KnowledgeBase, Tenant
from syntera_crds.v1alpha1.common import Model, StatusModel, to_field_name
from syntera_crds.v1alpha1.tenant import Runtime

from ..manifests import make_manifest


def make_tenant(**spec: object) -> Tenant:
    return Tenant.model_validate(make_manifest("Tenant", spec))


def models_below(model: type[BaseModel]) -> set[type[BaseModel]]:
    """All models of the package."""
    return {model} | {found for below in model.__subclasses__() for found in models_below(below)}


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("chat", "chat"),
        ("display_name", "displayName"),
        ("base_url", "baseURL"),
        ("url", "url"),
        ("tenant_id", "tenantID"),
        ("api_key_secret_ref", "apiKeySecretRef"),
        ("top_p", "topP"),
    ],
)
def test_fields_are_spelled_as_kubernetes_does(name: str, field: str) -> None:
    assert to_field_name(name) == field


def test_kinds_are_found_by_the_name_in_their_manifests() -> None:
    assert {"Tenant": Tenant, "Agent": Agent, "KnowledgeBase": KnowledgeBase} == KINDS


def test_namespace_of_a_tenant_has_a_default_of_its_name() -> None:
    assert make_tenant().namespace == "syntera-acme"
    assert make_tenant(namespace="travel").namespace == "travel"


def test_display_name_of_a_tenant_and_an_agent_is_their_name_by_default() -> None:
    assert make_tenant().display_name == "acme"
    assert make_tenant(displayName="Acme Travel").display_name == "Acme Travel"
    agent = make_manifest("Agent", {"instructions": "Help."}, name="travel")
    assert Agent.model_validate(agent).display_name == "travel"
    agent["spec"]["displayName"] = "Travel assistant"
    assert Agent.model_validate(agent).display_name == "Travel assistant"


def test_models_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        make_tenant().spec.runtime.replicas = 7  # type: ignore[misc]  # what is tried


def test_models_are_made_in_python_under_pythons_names() -> None:
    assert Runtime(replicas=2).model_dump(by_alias=True, exclude_unset=True) == {"replicas": 2}


def test_condition_written_as_yaml_is_the_one_made_in_python() -> None:
    text = {
        "type": "Ready",
        "status": "True",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "reason": "Serving",
        "message": "It serves.",
    }
    condition = Condition.model_validate(text)
    assert condition.status is ConditionStatus.TRUE
    assert condition.model_dump(mode="json", by_alias=True, exclude_none=True) == text


def test_models_of_specs_are_strict_and_those_of_statuses_lenient() -> None:
    for model in models_below(Model) - {Model}:
        is_status = issubclass(model, StatusModel)
        assert model.model_config["extra"] == ("ignore" if is_status else "forbid"), model
        assert model.model_config["strict"] is not is_status, model
