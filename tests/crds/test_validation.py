"""Manifests into models, and faults into sentences: each names the field as the YAML spells it, and what to do."""

from typing import Any

import pytest

from syntera_crds.contract.agent_config import AgentConfig, ModelCandidate
from syntera_crds.errors import Fault, InvalidResource
from syntera_crds.v1alpha1 import Agent, Tenant
from syntera_crds.v1alpha1.agent import MAX_PARAMETER_DEPTH
from syntera_crds.validation import load, load_as

from .constraints import Json
from .manifests import complete_manifests, make_manifest

ENDPOINT = {"name": "main", "baseURL": "https://models.example/v1", "chat": "small"}


def faults_of(manifest: Json) -> list[str]:
    """What is wrong, line by line."""
    with pytest.raises(InvalidResource) as caught:
        load(manifest)
    assert str(caught.value).splitlines() == [str(fault) for fault in caught.value.faults]
    return str(caught.value).splitlines()


def tenant_faults(**spec: Any) -> list[str]:
    return faults_of(make_manifest("Tenant", spec))


def agent_faults(**spec: Any) -> list[str]:
    return faults_of(make_manifest("Agent", {"instructions": "Help.", **spec}))


@pytest.mark.parametrize(("kind", "model"), [("Tenant", Tenant), ("Agent", Agent)])
def test_load_gives_the_kind_that_the_manifest_names(kind: str, model: type[Tenant | Agent]) -> None:
    for manifest in complete_manifests(kind):
        loaded = load(manifest)
        assert isinstance(loaded, model)
        assert loaded == load_as(model, manifest)


def test_load_takes_what_the_api_server_adds() -> None:
    manifest = make_manifest("Agent", {"instructions": "Help."})
    manifest["metadata"] |= {
        "uid": "u",
        "generation": 3,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "managedFields": [{"manager": "kubectl"}],
        "ownerReferences": [],
    }
    loaded = load_as(Agent, manifest)
    assert (loaded.metadata.uid, loaded.metadata.generation) == ("u", 3)


def test_status_of_another_release_does_not_stand_in_the_way() -> None:
    manifest = make_manifest("Agent", {"instructions": "Help."})
    loaded = load_as(Agent, {**manifest, "status": {"revision": 7, "somethingNew": [1]}})
    assert loaded.status.revision == 7


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"apiVersion": "syntera.io/v1"}, "apiVersion: must be 'syntera.io/v1alpha1', not 'syntera.io/v1'"),
        ({"apiVersion": None}, "apiVersion: must be 'syntera.io/v1alpha1', not None"),
        ({"kind": "Tennant"}, "kind: must be 'Tenant' or 'Agent' or 'KnowledgeBase', not 'Tennant'"),
        ({"kind": ["Tenant"]}, "kind: must be 'Tenant' or 'Agent' or 'KnowledgeBase', not ['Tenant']"),
        ({"specs": {}}, "specs: is no field of this kind; did you mean 'spec'?"),
        ({"spec": None}, "spec: must be an object, not null"),
        ({"spec": []}, "spec: must be an object, not a list"),
        ({"metadata": {}}, "metadata.name: is required"),
        ({"metadata": {"name": 7}}, "metadata.name: must be a string, not an integer"),
    ],
)
def test_faults_of_the_whole_object(change: Json, fault: str) -> None:
    assert faults_of({**make_manifest("Tenant", {}), **change}) == [fault]


def test_missing_spec_is_named() -> None:
    manifest = make_manifest("Tenant", {})
    del manifest["spec"]
    assert faults_of(manifest) == ["spec: is required"]


def test_all_faults_are_told_at_once_each_with_its_path() -> None:
    assert tenant_faults(
        deletionPolicy="Keep",
        models=[{**ENDPOINT, "baseURL": "ftp://models.example"}, {"name": "other", "timeoutSeconds": 0}],
        runtime={"replicas": "3"},
    ) == [
        "spec.runtime.replicas: must be an integer, not a string",
        "spec.deletionPolicy: must be 'Retain' or 'Delete', not 'Keep'",
        "spec.models[0].baseURL: must be a URL such as https://models.example/v1: http or https, a host, and at most a port"
        " and a path",
        "spec.models[1].baseURL: is required",
        "spec.models[1].timeoutSeconds: must be at least 1",
    ]


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ({"modles": []}, "spec.modles: is no field of this kind; did you mean 'models'?"),
        ({"zzz": 1}, "spec.zzz: is no field of this kind"),
        ({"display_name": "x"}, "spec.display_name: is no field of this kind; did you mean 'displayName'?"),
        (
            {"models": [{**ENDPOINT, "baseUrl": "https://x"}]},
            "spec.models[0].baseUrl: is no field of this kind; did you mean 'baseURL'?",
        ),
    ],
)
def test_unknown_field_gets_the_nearest_known_one(spec: Json, fault: str) -> None:
    assert tenant_faults(**spec) == [fault]


@pytest.mark.parametrize(
    ("value", "given"),
    [("x", "a string"), (1, "an integer"), (0.5, "a number"), (True, "a boolean"), ({}, "an object"), (None, "null")],
)
def test_wrong_type_names_the_wanted_and_the_given(value: Any, given: str) -> None:
    assert agent_faults(suggestions=value) == [f"spec.suggestions: must be a list, not {given}"]


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ({"greeting": 1}, "spec.greeting: must be a string, not an integer"),
        ({"model": {"temperature": "warm"}}, "spec.model.temperature: must be a number, not a string"),
        ({"model": {"temperature": True}}, "spec.model.temperature: must be a number, not a boolean"),
        ({"memory": {"historyMessages": 1.5}}, "spec.memory.historyMessages: must be an integer, not a number"),
        ({"model": {"parameters": []}}, "spec.model.parameters: must be an object, not a list"),
        ({"model": 7}, "spec.model: must be an object, not an integer"),
    ],
)
def test_every_type_has_a_name(spec: Json, fault: str) -> None:
    assert agent_faults(**spec) == [fault]


@pytest.mark.parametrize("levels", [MAX_PARAMETER_DEPTH + 1, 300])
@pytest.mark.parametrize("kind", [list, dict])
def test_parameters_that_are_nested_too_deep_are_refused(kind: type, levels: int) -> None:
    value: Any = 1
    for _ in range(levels - 1):
        value = [value] if kind is list else {"a": value}

    faults = agent_faults(model={"parameters": {"p": value}})

    assert faults == [f"spec.model.parameters: must not be nested deeper than {MAX_PARAMETER_DEPTH} levels"]


def test_parameters_that_just_fit_can_be_published_and_read() -> None:
    value: Any = 1
    for _ in range(MAX_PARAMETER_DEPTH - 1):
        value = {"a": value}
    load(make_manifest("Agent", {"instructions": "Help.", "model": {"parameters": {"p": value}}}))

    candidate = ModelCandidate(endpoint="e", base_url="u", model="m", timeout_seconds=1, parameters={"p": value})
    config = AgentConfig(name="a", uid="u", revision=1, display_name="A", instructions="x", models=[candidate])

    assert AgentConfig.model_validate_json(config.to_json()) == config
    assert config.digest()


def test_boolean_is_asked_for_in_yamls_words() -> None:
    assert tenant_faults(suspended="yes") == ["spec.suspended: must be true or false, not a string"]


@pytest.mark.parametrize("value", [True, 1.5, [1], {"int": 1}, {"x": 1}, None])
def test_amount_of_a_wrong_type_is_one_fault(value: Any) -> None:
    (fault,) = tenant_faults(quota={"pods": value})
    assert fault.startswith("spec.quota.pods: must be an integer or a string, not ")


def test_amount_of_a_wrong_form_is_one_fault() -> None:
    (fault,) = tenant_faults(quota={"requests.cpu": "many"})
    assert fault == "spec.quota[requests.cpu]: must be an amount such as 2, 500m, 1.5 or 512Mi, not negative"


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ({"greeting": ""}, "spec.greeting: must not be empty"),
        ({"displayName": "x" * 129}, "spec.displayName: must have at most 128 characters"),
        ({"suggestions": ["x"] * 17}, "spec.suggestions: must have at most 16 entries"),
        ({"suggestions": ["x", ""]}, "spec.suggestions[1]: must not be empty"),
        ({"memory": {"historyMessages": 501}}, "spec.memory.historyMessages: must be at most 500"),
        ({"memory": {"historyMessages": 0}}, "spec.memory.historyMessages: must be at least 1"),
    ],
)
def test_bounds_are_told_with_their_value(spec: Json, fault: str) -> None:
    assert agent_faults(**spec) == [fault]


def test_empty_map_is_told() -> None:
    assert tenant_faults(quota={}) == ["spec.quota: must not be empty"]


def test_double_entry_is_told_where_it_stands_again() -> None:
    assert tenant_faults(models=[ENDPOINT, ENDPOINT]) == [
        "spec.models[1]: name 'main' stands here twice; give each entry its own"
    ]


def test_rule_of_the_whole_object_names_its_field() -> None:
    manifest = make_manifest("Tenant", {}, name="a" * 56)
    (fault,) = faults_of(manifest)
    assert fault.startswith("spec.namespace: is needed where the Tenant's name has more than 55 characters")


def test_values_of_any_length_are_not_repeated() -> None:
    (fault,) = agent_faults(instructions="secret" * 10_000)
    assert "secret" not in fault


def test_cause_is_not_chained_because_it_repeats_the_values() -> None:
    with pytest.raises(InvalidResource) as caught:
        load(make_manifest("Agent", {"instructions": "x" * 40_000}))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_error_is_permanent_and_has_a_code() -> None:
    error = InvalidResource((Fault("spec", "is required"), Fault("", "is wrong as a whole")))
    assert (error.code, error.retryable) == ("invalid-resource", False)
    assert str(error) == "spec: is required\nis wrong as a whole"
