"""What a Deployment's status means."""

from typing import Any

import pytest

from syntera_crds.v1alpha1.common import Reason
from syntera_operator.conditions import Good, Outlook, Problem
from syntera_operator.reconcile.readiness import check_runtime, check_suspended, list_ready_pods


def make_deployment(*, generation: int = 2, conditions: Any = (), **status: int) -> dict[str, Any]:
    counts = {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2} | status
    return {"metadata": {"generation": generation}, "status": {**counts, "conditions": list(conditions)}}


@pytest.mark.parametrize(
    ("deployment", "expected"),
    [
        pytest.param(make_deployment(), Good, id="all there"),
        pytest.param(make_deployment(replicas=5, updatedReplicas=5), Good, id="an autoscaler wants more"),
        pytest.param(None, Reason.PROGRESSING, id="not made yet"),
        pytest.param({"metadata": {"generation": 1}}, Reason.PROGRESSING, id="not seen by its controller"),
        pytest.param(make_deployment(generation=3), Reason.PROGRESSING, id="changed just now"),
        pytest.param(make_deployment(updatedReplicas=1), Reason.PROGRESSING, id="half are old"),
        pytest.param(make_deployment(replicas=3, availableReplicas=3), Reason.PROGRESSING, id="an old one is left"),
        pytest.param(
            make_deployment(replicas=1, updatedReplicas=1, availableReplicas=1), Reason.PROGRESSING, id="too few"
        ),
        pytest.param(make_deployment(availableReplicas=1), Reason.PODS_NOT_READY, id="one is not ready"),
    ],
)
def test_runtime(deployment: Any, expected: Any) -> None:
    check = check_runtime(deployment, wanted=2)
    assert isinstance(check, Good) if expected is Good else check.reason is expected


def test_runtime_that_does_not_come_up_in_time_needs_somebody() -> None:
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    check = check_runtime(make_deployment(availableReplicas=0, conditions=[late]), wanted=2)
    assert isinstance(check, Problem)
    assert check.outlook is Outlook.STALLED


def test_runtime_whose_pods_cannot_be_made_tells_why() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "message": 'pods "x" is forbidden: exceeded quota'}
    check = check_runtime(make_deployment(updatedReplicas=0, replicas=0, conditions=[failure]), wanted=2)
    assert "exceeded quota" in check.message


def test_runtime_that_recovered_forgets_that_it_was_late() -> None:
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    assert isinstance(check_runtime(make_deployment(conditions=[late]), wanted=2), Good)


def test_suspended_is_reached_when_no_pod_is_left() -> None:
    assert check_suspended(make_deployment()).outlook is Outlook.PASSING
    assert check_suspended(make_deployment(replicas=0)).outlook is Outlook.WANTED
    assert check_suspended(None).outlook is Outlook.WANTED


def test_pods_are_asked_only_if_they_take_requests() -> None:
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    pods: list[dict[str, Any]] = [
        {"metadata": {"name": "good"}, "status": {**ready, "podIP": "10.0.0.1"}},
        {"metadata": {"name": "no address"}, "status": ready},
        {"metadata": {"name": "leaving", "deletionTimestamp": "now"}, "status": {**ready, "podIP": "10.0.0.2"}},
        {"metadata": {"name": "unready"}, "status": {"podIP": "10.0.0.3"}},
        {"metadata": {"name": "new"}},
    ]
    assert [pod["metadata"]["name"] for pod in list_ready_pods(pods)] == ["good"]
