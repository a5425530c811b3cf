"""What states of a Deployment and its pods are told to mean."""

from typing import Any

import pytest

from syntera_cli.doctor.findings import Check, State
from syntera_cli.doctor.judge_workload import Workload, judge_deployment, judge_pods, ready_pods

from .make import NOW, Json, ago, make_deployment, make_event, make_pod

WORKLOAD = Workload(Check.PODS, "set the image there", "set its resources there")
OOM = {"reason": "OOMKilled", "exitCode": 137, "finishedAt": ago(60)}
DIED = {"reason": "Error", "exitCode": 3, "finishedAt": ago(60), "message": "no such\nfile"}


def waiting(reason: str, message: str = "") -> Json:
    return {"state": {"waiting": {"reason": reason, "message": message}}}


@pytest.mark.parametrize(
    ("fields", "state", "says"),
    [
        ({}, State.OK, "The runtime has 1 of 1 pod ready."),
        ({"wanted": 3}, State.OK, "The runtime has 3 of 3 pods ready."),
        ({"wanted": 0}, State.PROBLEM, "The runtime is scaled to zero: no pod runs."),
        ({"wanted": 2, "available": 1}, State.WARNING, "The runtime has 1 of 2 pods ready."),
        ({"wanted": 2, "available": 0}, State.PROBLEM, "The runtime has 0 of 2 pods ready."),
        ({"wanted": 2, "updated": 1}, State.WARNING, "The runtime has 2 of 2 pods ready and is being rolled out."),
        ({"generation": 2}, State.PROBLEM, "Kubernetes has not acted on it."),
        ({"available": 0, "failure": "exceeded quota: syntera"}, State.PROBLEM, "its pods: exceeded quota: syntera."),
        ({"failure": "exceeded quota: syntera"}, State.WARNING, "its pods: exceeded quota: syntera."),
    ],
)
def test_deployment_is_told(fields: Any, state: State, says: str) -> None:
    found = judge_deployment(make_deployment(**fields), Check.RUNTIME, "The runtime", wanted_by_whom="Scale it.")
    assert (found.check, found.state, found.subject) == (Check.RUNTIME, state, "deployment/syntera-runtime")
    assert says in found.says


@pytest.mark.parametrize(
    "pod",
    [
        make_pod(),
        make_pod(container={"restartCount": 1, "lastState": {"terminated": {**OOM, "finishedAt": ago(90000)}}}),
        make_pod(deleted=ago(-600)),
        make_pod(init={"name": "mesh", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}),
    ],
    ids=["ready", "restarted long ago", "leaving", "initial container is done"],
)
def test_pod_that_is_well_is_not_told(pod: Json) -> None:
    assert judge_pods([pod], [], WORKLOAD, NOW) == []


@pytest.mark.parametrize(
    ("pod", "events", "state", "says", "do"),
    [
        (
            make_pod(ready=False, unscheduled="0/3 nodes are available: 3 Insufficient memory."),
            [],
            State.PROBLEM,
            "no node takes it: 0/3 nodes are available: 3 Insufficient memory.",
            "ask for less: set its resources there",
        ),
        (
            make_pod(ready=False, unscheduled="0/3 nodes are available: 3 had untolerated taints."),
            [],
            State.PROBLEM,
            "untolerated taints.",
            "what the nodes lack",
        ),
        (
            make_pod(ready=False, container=waiting("ErrImagePull", "not found")),
            [],
            State.PROBLEM,
            "the image syntera/runtime:1 cannot be had (ErrImagePull): not found.",
            "Name an image that the nodes can pull: set the image there.",
        ),
        (
            make_pod(ready=False, container=waiting("ImagePullBackOff", "Back-off pulling image")),
            [
                make_event("Failed", "Failed to pull image: no such host"),
                make_event("Failed", "Error: ImagePullBackOff"),
            ],
            State.PROBLEM,
            "(ImagePullBackOff): Failed to pull image: no such host.",
            "set the image there",
        ),
        (
            make_pod(ready=False, container=waiting("CreateContainerConfigError", 'secret "x" not found')),
            [],
            State.PROBLEM,
            'its container cannot be made: secret "x" not found.',
            "Mend what it names.",
        ),
        (
            make_pod(
                ready=False,
                container={**waiting("CrashLoopBackOff"), "restartCount": 7, "lastState": {"terminated": DIED}},
            ),
            [],
            State.PROBLEM,
            "it ends again and again with exit code 3, restarted 7 times so far: no such file.",
            "last words",
        ),
        (
            make_pod(
                ready=False,
                container={**waiting("CrashLoopBackOff"), "restartCount": 1, "lastState": {"terminated": OOM}},
            ),
            [],
            State.PROBLEM,
            "more memory than it may (512Mi), 1 time so far.",
            "Raise the limit: set its resources there.",
        ),
        (
            make_pod(ready=False, container={"state": {"terminated": DIED}}),
            [],
            State.PROBLEM,
            "it ends again and again with exit code 3",
            "last words",
        ),
        (
            make_pod(ready=False, started=20, container=waiting("ContainerCreating")),
            [],
            State.WARNING,
            "it has been starting for 20 seconds",
            "Wait a moment.",
        ),
        (
            make_pod(ready=False, container=waiting("ContainerCreating")),
            [make_event("FailedMount", 'secret "syntera-stores" not found')],
            State.PROBLEM,
            'it has been starting for 10 minutes: secret "syntera-stores" not found.',
            "Mend what it names.",
        ),
        (
            make_pod(ready=False),
            [make_event("Unhealthy", "Readiness probe failed: 503"), make_event("Unhealthy", "old", seconds=300)],
            State.PROBLEM,
            "it has run for 10 minutes and is not ready: Readiness probe failed: 503.",
            "Its log says why",
        ),
        (make_pod(ready=False, started=10), [], State.WARNING, "it has run for 10 seconds and is not ready.", "log"),
        (
            make_pod(container={"restartCount": 2, "lastState": {"terminated": OOM}}),
            [],
            State.WARNING,
            "it was killed 60 seconds ago for using more memory than it may (512Mi); restarted 2 times so far.",
            "Raise the limit",
        ),
        (
            make_pod(container={"restartCount": 1, "lastState": {"terminated": DIED}}),
            [],
            State.WARNING,
            "it ended 60 seconds ago with exit code 3 and runs again; restarted 1 time so far.",
            "last words",
        ),
        (make_pod(deleted=ago(7200)), [], State.WARNING, "it should have ended 2 hours ago and has not.", "--force"),
        (
            make_pod(ready=False, phase="Failed", reason="Evicted", message="The node was low on memory."),
            [],
            State.WARNING,
            "it was ended (Evicted): The node was low on memory.",
            "Another one takes its place",
        ),
    ],
)
def test_pod_in_trouble_is_told(pod: Json, events: list[Json], state: State, says: str, do: str) -> None:
    (found,) = judge_pods([pod], events, WORKLOAD, NOW)
    assert (found.check, found.state, found.subject) == (Check.PODS, state, "pod/syntera-runtime-1")
    assert found.says.startswith("Pod syntera-runtime-1: ")
    assert says in found.says
    assert do in found.do
    assert found.command.startswith("kubectl -n acme ")
    assert "syntera-runtime-1" in found.command


def test_log_of_a_pod_that_ended_is_that_of_its_last_run() -> None:
    pod = make_pod(ready=False, container={"state": {"terminated": DIED}})
    (found,) = judge_pods([pod], [], WORKLOAD, NOW)
    assert found.command == "kubectl -n acme logs syntera-runtime-1 --previous"


def test_pods_with_the_same_trouble_are_told_once() -> None:
    pods = [make_pod(f"pod-{number}", ready=False, container=waiting("ErrImagePull", "gone")) for number in range(3)]
    (found,) = judge_pods([*pods, make_pod()], [], WORKLOAD, NOW)
    assert found.says.startswith("Pod pod-0 and 2 more like it: the image")


def test_events_of_other_pods_explain_nothing() -> None:
    pod = make_pod(ready=False)
    (found,) = judge_pods([pod], [make_event("Unhealthy", "Another one's probe", name="other")], WORKLOAD, NOW)
    assert "Another one" not in found.says


def test_pods_on_their_way_out_are_not_counted_as_ready() -> None:
    assert ready_pods([make_pod(), make_pod(deleted=ago(0)), make_pod(ready=False)]) == 1
