"""What states of the operator are told to mean."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from syntera_cli.doctor.findings import Check, Finding, State
from syntera_cli.doctor.judge_operator import OperatorEvidence, is_operator, judge_operator, judge_presence
from syntera_cli.doctor.manifests import Hidden

from .make import (
    NOW,
    Json,
    ago,
    make_bindings,
    make_deployment,
    make_lease,
    make_operator,
    make_pod,
    make_policies,
)


def make_pods() -> list[Json]:
    return [make_pod(f"operator-{number}", "syntera-system") for number in range(2)]


WELL = OperatorEvidence(make_operator(), make_pods(), [], make_lease(), make_policies(), make_bindings())


def judge(check: Check, **changes: Any) -> list[Finding]:
    return [found for found in judge_operator(replace(WELL, **changes), NOW) if found.check is check]


def test_operator_that_works_is_told_so() -> None:
    assert [found.state for found in judge_operator(WELL, NOW)] == [State.OK, State.OK, State.OK]


def test_operator_is_found_by_the_chart_s_labels() -> None:
    assert is_operator(make_operator())
    renamed = make_operator()
    renamed["metadata"]["labels"]["app.kubernetes.io/name"] = "chatbots"
    assert is_operator(renamed)
    stranger = make_deployment(labels={"app.kubernetes.io/component": "operator", "helm.sh/chart": "postgres-1.0.0"})
    assert not is_operator(stranger)


@pytest.mark.parametrize(
    ("operators", "named", "state", "says"),
    [
        ([], "", State.PROBLEM, "No operator is installed in any namespace."),
        ([], "a/b", State.PROBLEM, "There is no Deployment a/b."),
        (
            [make_operator(), make_operator()],
            "",
            State.PROBLEM,
            "2 operators, which undo one another's work: syntera-system/syntera-operator and",
        ),
        (Hidden("list Deployments in all namespaces"), "", State.FORBIDDEN, "You may not list Deployments"),
    ],
)
def test_number_of_operators_is_judged(operators: Sequence[Json] | Hidden, named: str, state: State, says: str) -> None:
    (found,) = judge_presence(operators, named=named)
    assert found.state is state
    assert says in found.says


def test_one_operator_needs_no_word() -> None:
    assert list(judge_presence([make_operator()], named="")) == []


def test_operator_without_pods_and_one_with_broken_pods_are_told() -> None:
    (scaled,) = judge(Check.OPERATOR, deployment=make_operator(wanted=0))
    assert scaled.state is State.PROBLEM
    assert scaled.do == "kubectl -n syntera-system scale deployment syntera-operator --replicas=2"
    broken = make_pod(
        "operator-0", "syntera-system", ready=False, container={"state": {"waiting": {"reason": "ErrImagePull"}}}
    )
    deployment, pod = judge(Check.OPERATOR, deployment=make_operator(available=1), pods=[broken])
    assert (deployment.state, pod.state) == (State.WARNING, State.PROBLEM)
    assert "image.operator in the chart's values" in pod.do


@pytest.mark.parametrize(
    ("changes", "state", "says"),
    [
        ({"lease": None}, State.PROBLEM, "nobody holds the Lease"),
        ({"lease": make_lease("")}, State.PROBLEM, "nobody holds the Lease"),
        ({"lease": make_lease(renewed=300)}, State.PROBLEM, "renewed it 5 minutes ago, which is too long"),
        ({"lease": make_lease(renewed=None)}, State.PROBLEM, "renewed it never"),
        ({"lease": make_lease(renewed=16)}, State.OK, "operator-0 is the active operator"),
        ({"lease": make_lease("gone_1a2b")}, State.WARNING, "held by 'gone', which does not run"),
        (
            {"pods": [make_pod("operator-0", deleted=ago(-20))]},
            State.WARNING,
            "'operator-0' is on its way out",
        ),
        ({"lease": Hidden("read Leases")}, State.FORBIDDEN, "You may not read Leases"),
        ({"pods": Hidden("list pods")}, State.OK, "'operator-0_1a2b3c4d' is the active operator"),
    ],
)
def test_lease_is_judged(changes: dict[str, Any], state: State, says: str) -> None:
    (found,) = judge(Check.LEASE, **changes)
    assert found.state is state
    assert says in found.says


@pytest.mark.parametrize(
    ("changes", "state", "says"),
    [
        ({"policies": make_policies(without="children")}, State.WARNING, "syntera-operator-children is not in force"),
        ({"bindings": make_bindings(auditing="tenants")}, State.WARNING, "syntera-operator-tenants is not in force"),
        (
            {"policies": [], "bindings": []},
            State.WARNING,
            "syntera-operator-rolebindings and syntera-operator-children are not in force",
        ),
        (
            {"policies": make_policies(warned="undefined field 'spec'")},
            State.WARNING,
            "does not understand the policy syntera-operator-tenants: undefined field 'spec'.",
        ),
        ({"policies": Hidden("list policies")}, State.FORBIDDEN, "You may not list policies"),
    ],
)
def test_admission_is_judged(changes: dict[str, Any], state: State, says: str) -> None:
    (found,) = judge(Check.ADMISSION, **changes)
    assert found.state is state
    assert says in found.says
