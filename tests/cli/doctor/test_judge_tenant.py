"""What states of a Tenant are told to mean."""

from typing import Any

import pytest

from syntera_cli.doctor.findings import Check, Finding, State
from syntera_cli.doctor.judge_tenant import (
    ASPECTS,
    is_well,
    judge_conditions,
    judge_missing_tenant,
    judge_namespace,
    judge_tenant,
)
from syntera_cli.doctor.manifests import Hidden, Seen
from syntera_crds.contract import names
from syntera_operator.conditions import TENANT_ASPECTS

from .make import NOW, Json, ago, make_conditions, make_namespace, make_tenant

LOGS = "kubectl logs"


def judge_state(tenant: Json, namespace: Seen = None) -> Finding:
    (found,) = judge_tenant(tenant, namespace, logs=LOGS, now=NOW)
    assert (found.check, found.subject) == (Check.TENANT, "tenant/acme")
    return found


def test_every_aspect_of_a_tenant_is_told() -> None:
    assert tuple(ASPECTS) == TENANT_ASPECTS


def test_tenant_that_is_well_is_told_so() -> None:
    tenant = make_tenant()
    assert is_well(tenant)
    assert judge_state(tenant).state is State.OK
    told = list(judge_conditions(tenant, logs=LOGS))
    assert [found.state for found in told] == [State.OK] * 6
    assert [found.check for found in told].count(Check.STORES) == 2


def test_suspended_tenant_is_told_with_the_way_back() -> None:
    tenant = make_tenant(suspended=True)
    found = judge_state(tenant)
    assert not is_well(tenant)
    assert found.state is State.PROBLEM
    assert "is suspended: no pod of it runs" in found.says
    assert found.command == """kubectl patch tenant acme --type=merge -p '{"spec":{"suspended":false}}'"""


@pytest.mark.parametrize(
    ("observed", "says"),
    [(1, "(generation 2); the last that it judged is generation 1."), (0, "(generation 2); it has judged none yet.")],
)
def test_spec_that_nobody_judged_is_told(observed: int, says: str) -> None:
    tenant = make_tenant(generation=2, observed=observed)
    found = judge_state(tenant)
    assert not is_well(tenant)
    assert (found.state, found.command) == (State.PROBLEM, LOGS)
    assert says in found.says


@pytest.mark.parametrize(
    ("fields", "namespace", "state", "says"),
    [
        (
            {
                "deleted": ago(10),
                "conditions": make_conditions(Ready=("False", "Deleting", "2 Agents are being deleted.")),
            },
            None,
            State.WARNING,
            "on its way out for 10 seconds: 2 Agents are being deleted.",
        ),
        ({"deleted": ago(600)}, None, State.PROBLEM, "for 10 minutes: the operator has not begun."),
        (
            {
                "deleted": ago(10),
                "conditions": make_conditions(
                    DatabaseReady=("False", "Unavailable", "It is away."),
                    Ready=("False", "Deleting", "It is away. Deletion waits for it."),
                ),
            },
            None,
            State.PROBLEM,
            "It is away. Deletion waits for it.",
        ),
        (
            {"deleted": ago(10), "finalizers": ("example.com/backup",)},
            None,
            State.PROBLEM,
            "The operator is done; example.com/backup is not.",
        ),
        (
            {"deleted": ago(10), "conditions": make_conditions(Ready=("False", "Deleting", "The namespace goes."))},
            make_namespace(deleted=ago(5), left="Some resources are remaining: widgets. has 1 resource instances"),
            State.WARNING,
            "The namespace goes. Some resources are remaining: widgets. has 1 resource instances.",
        ),
    ],
)
def test_what_holds_a_deletion_is_told(fields: dict[str, Any], namespace: Seen, state: State, says: str) -> None:
    found = judge_state(make_tenant(**fields), namespace)
    assert found.state is state
    assert says in found.says


@pytest.mark.parametrize(
    ("type_", "condition", "state", "says"),
    [
        (
            "Accepted",
            ("False", "Invalid", "spec.models[0]: no."),
            State.PROBLEM,
            "does not accept the Tenant's spec: spec",
        ),
        (
            "ResolvedRefs",
            ("False", "SecretNotFound", "No Secret."),
            State.PROBLEM,
            "missing or may not be used: No Secret.",
        ),
        ("NamespaceReady", ("False", "Rejected", "It refuses."), State.PROBLEM, "hold what it should: It refuses."),
        ("DatabaseReady", ("False", "Unavailable", "Away."), State.PROBLEM, "login in PostgreSQL does not work: Away."),
        ("CacheReady", ("False", "Unavailable", "Away."), State.PROBLEM, "user in Redis does not work: Away."),
        ("CacheReady", ("False", "Pending", "Waits for it."), State.SKIPPED, "CacheReady: Waits for it."),
        ("RuntimeReady", ("False", "PodsNotReady", "0 of 1."), State.PROBLEM, "The runtime is not ready: 0 of 1."),
        ("RuntimeReady", ("False", "Progressing", "Rolled."), State.WARNING, "The runtime is not ready: Rolled."),
    ],
)
def test_condition_is_told_in_plain_words(type_: str, condition: tuple[str, str, str], state: State, says: str) -> None:
    told = list(judge_conditions(make_tenant(conditions=make_conditions(1, **{type_: condition})), logs=LOGS))
    (found,) = [finding for finding in told if finding.state is not State.OK]
    assert found.state is state
    assert says in found.says
    assert found.do or state is State.SKIPPED


def test_what_somebody_wants_so_is_told_once() -> None:
    told = make_conditions(RuntimeReady=("False", "Suspended", "No pod runs."), Ready=("False", "Suspended", "No pod."))
    findings = list(judge_conditions(make_tenant(suspended=True, conditions=told), logs=LOGS))
    assert {finding.state for finding in findings} == {State.OK}


def test_conditions_of_an_earlier_spec_are_not_believed() -> None:
    (found,) = judge_conditions(make_tenant(generation=2), logs=LOGS)
    assert found.state is State.SKIPPED
    assert found.says == (
        "The operator said nothing new yet of Accepted, ResolvedRefs, NamespaceReady, DatabaseReady, CacheReady and"
        " RuntimeReady."
    )


def test_conditions_that_are_not_there_are_not_judged() -> None:
    (found,) = judge_conditions(make_tenant(conditions=[]), logs=LOGS)
    assert found.state is State.SKIPPED
    assert "has not looked at Accepted" in found.says


def test_tenant_that_is_not_ready_although_all_is_well_is_told() -> None:
    told = make_conditions(Ready=("False", "Progressing", "It is being set up"))
    found = list(judge_conditions(make_tenant(conditions=told), logs=LOGS))[-1]
    assert (found.state, found.says) == (State.PROBLEM, "The Tenant is not ready: It is being set up.")


@pytest.mark.parametrize(
    ("namespace", "state", "says", "command"),
    [
        (make_namespace(), State.OK, "is there and the Tenant's own.", ""),
        (None, State.PROBLEM, "The namespace 'acme' does not exist.", ""),
        (Hidden("read the namespace 'acme'"), State.FORBIDDEN, "You may not read the namespace 'acme'", ""),
        (
            make_namespace(tenant=None),
            State.PROBLEM,
            f"does not carry the label {names.TENANT_LABEL}",
            f"kubectl label namespace acme {names.TENANT_LABEL}=acme",
        ),
        (
            make_namespace(tenant="other"),
            State.PROBLEM,
            "is labelled for the Tenant 'other'",
            f"kubectl label namespace acme {names.TENANT_LABEL}=acme --overwrite",
        ),
        (
            make_namespace(deleted=ago(60), left="pods remain"),
            State.PROBLEM,
            "is being deleted, with everything in it. pods remain.",
            "kubectl get namespace acme -o yaml",
        ),
    ],
)
def test_namespace_is_judged(namespace: Seen, state: State, says: str, command: str) -> None:
    found = judge_namespace(make_tenant(), namespace)
    assert (found.check, found.state, found.command) == (Check.NAMESPACE, state, command)
    assert says in found.says


def test_namespace_that_is_yet_to_be_made_is_no_problem_of_its_own() -> None:
    assert judge_namespace(make_tenant(observed=0), None).state is State.SKIPPED


@pytest.mark.parametrize(
    ("there", "says"),
    [(["b", "a"], "There is no Tenant 'acme', but a and b."), ([], "There is no Tenant 'acme', nor any other.")],
)
def test_tenant_that_does_not_exist_is_told(there: list[str], says: str) -> None:
    found = judge_missing_tenant("acme", there)
    assert (found.state, found.says) == (State.PROBLEM, says)
