"""Every bound and every rule of the CRDs, just kept and just broken: by the API server, and by the models alike."""

import re
from collections import Counter

import pytest

from syntera_crds.errors import InvalidResource
from syntera_crds.validation import load
from tests.support.apiserver import ApiRefused, unique_name

from .cases import CHANGES, EXAMPLES, RESERVED_PARAMETERS, Case, Change, build_cases
from .constraints import BOUNDS, RULES, Constraint, Json, constraints, crds
from .manifests import make_manifest
from .server import Kinds


def _is_transition(constraint: Constraint) -> bool:
    return constraint.keyword == RULES and "oldSelf" in constraint.value["rule"]


ALL = constraints()
CASES = [case for constraint in ALL if not _is_transition(constraint) for case in build_cases(constraint)]

in_all_cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
in_spec_cases = pytest.mark.parametrize(
    "case", [case for case in CASES if not case.is_status], ids=lambda case: case.name
)
in_all_changes = pytest.mark.parametrize("change", CHANGES.values(), ids=lambda change: change.kind)


def test_every_constraint_has_a_case_that_keeps_it_and_one_that_breaks_it() -> None:
    unknown = {constraint.keyword for constraint in ALL} - BOUNDS - {RULES}
    assert not unknown, "say in tests/crds/cases.py what objects keep and break these"
    taken = {case.constraint.name for case in CASES if case.is_sound}
    refused = {case.constraint.name for case in CASES if not case.is_sound}
    needed = {constraint.name for constraint in ALL if not _is_transition(constraint)}
    assert needed == taken == refused


def test_constraints_have_names_of_their_own() -> None:
    """Or one with cases would hide one without."""
    assert [name for name, count in Counter(one.name for one in ALL).items() if count > 1] == []


def test_every_rule_has_hand_written_examples_and_no_example_is_left_over() -> None:
    rules = [constraint for constraint in ALL if constraint.keyword == RULES]
    assert {one.value["message"] for one in rules if _is_transition(one)} == set(CHANGES)
    assert {one.value["message"] for one in rules if not _is_transition(one)} == set(EXAMPLES)
    assert all(examples.takes and examples.refuses for examples in EXAMPLES.values())
    assert all(change.takes and change.refuses for change in CHANGES.values())


def test_every_reserved_parameter_has_a_case() -> None:
    schema = crds()["Agent"]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    parameters = schema["properties"]["spec"]["properties"]["model"]["properties"]["parameters"]
    assert set(parameters["properties"]) == set(RESERVED_PARAMETERS)


@pytest.mark.api
@in_all_cases
def test_api_server_keeps_the_constraint(case: Case, kinds: Kinds, stored: dict[str, Json]) -> None:
    if case.is_sound:
        _send(case, kinds, stored)
        return
    with pytest.raises(ApiRefused) as refused:
        _send(case, kinds, stored)
    # The server writes a map's entry as a field where a type is wrong, and in brackets where a rule is broken.
    named = {re.sub(r"\[([a-z]+)\]", r".\1", field) for field, _ in refused.value.causes}
    assert case.path in named, refused.value.causes
    if case.constraint.keyword == RULES:
        assert any(case.constraint.value["message"] in message for _, message in refused.value.causes)


@in_spec_cases
def test_models_keep_the_constraint(case: Case) -> None:
    if case.is_sound:
        load(case.manifest)
        return
    with pytest.raises(InvalidResource) as refused:
        load(case.manifest)
    assert case.path in {fault.path for fault in refused.value.faults}, refused.value.faults
    if case.constraint.keyword == RULES:
        assert case.constraint.value["message"] in str(refused.value)


@pytest.mark.api
@in_all_changes
def test_api_server_compares_with_the_object_before(change: Change, kinds: Kinds) -> None:
    before = kinds.create(make_manifest(change.kind, change.before, name=unique_name()))
    for spec in change.takes:
        kinds.update({**before, "spec": spec}, is_dry_run=True)
    for spec in change.refuses:
        with pytest.raises(ApiRefused, match="Forbidden: cannot change"):
            kinds.update({**before, "spec": spec}, is_dry_run=True)


@pytest.mark.api
def test_namespace_cannot_change_by_way_of_leaving_it_out(kinds: Kinds) -> None:
    """A rule on the field itself would not run when the field goes, and not when it comes back."""
    named = kinds.create(make_manifest("Tenant", {"namespace": "acme"}, name=unique_name()))
    with pytest.raises(ApiRefused, match=r"spec\.namespace: Forbidden"):
        kinds.update({**named, "spec": {}})
    unnamed = kinds.create(make_manifest("Tenant", {}, name=unique_name()))
    with pytest.raises(ApiRefused, match=r"spec\.namespace: Forbidden"):
        kinds.update({**unnamed, "spec": {"namespace": "acme"}})
    with pytest.raises(ApiRefused, match="spec: Required"):
        kinds.update({key: value for key, value in named.items() if key != "spec"})


def _send(case: Case, kinds: Kinds, stored: dict[str, Json]) -> None:
    if case.is_status:
        there = stored[case.constraint.kind]
        manifest = {**there, "status": case.manifest["status"]}
        kinds.update(manifest, subresource="status", is_dry_run=True)
    else:
        kinds.create(case.manifest, is_dry_run=True)
