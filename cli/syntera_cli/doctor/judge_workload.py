"""What the state of a Deployment and its pods means in plain words, for operator and runtime alike. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .findings import Check, Finding, ok, problem, warning
from .manifests import (
    Manifest,
    conditions_of,
    count,
    generation_of,
    is_being_deleted,
    is_true,
    name_of,
    namespace_of,
    quote,
    seconds_since,
    span,
    status_of,
)

_START_SECONDS = 90.0
"""A pod may take so long to start before that is worth a word of alarm: pulling images and the startup probe's minute."""
_RECENT_SECONDS = 3600.0
"""A container that ended within this time is news."""
_PULL_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
)
_CREATE_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_STARTING_REASONS = frozenset({"ContainerCreating", "PodInitializing"})


@dataclass(frozen=True, slots=True)
class Workload:
    """Whose pods these are, and where to turn."""

    check: Check
    """The step that pods belong to."""
    image_advice: str
    """Where its image is set."""
    resources_advice: str
    """Where its requests and limits are set."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a pod; pods with the same trouble are told together."""

    text: str
    """Goes on after "Pod x: "."""
    do: str
    verb: str = "describe"
    """What shows more: `describe`, `logs` or `logs --previous`."""
    is_problem: bool = True


def ready_pods(pods: Sequence[Manifest]) -> int:
    """How many take requests."""
    return sum(is_true(conditions_of(pod).get("Ready")) and not is_being_deleted(pod) for pod in pods)


def judge_deployment(deployment: Manifest, check: Check, noun: str, *, wanted_by_whom: str) -> Finding:
    """Whether a Deployment has the pods that it wants. `wanted_by_whom` is what to do where it wants none."""
    subject = f"deployment/{name_of(deployment)}"
    describe = f"kubectl -n {namespace_of(deployment)} describe deployment {name_of(deployment)}"
    if int(deployment["spec"].get("replicas", 1)) == 0:
        return problem(check, f"{noun} is scaled to zero: no pod runs.", do=wanted_by_whom, subject=subject)
    if failure := _find_failure(deployment):
        make = warning if status_of(deployment).get("availableReplicas") else problem
        do = "See the quota of the namespace, and what else the message names."
        return make(check, f"{noun} cannot make its pods: {failure}", do=do, command=describe, subject=subject)
    if int(status_of(deployment).get("observedGeneration") or 0) < generation_of(deployment):
        return problem(
            check,
            f"{noun} has a Deployment that was changed, and Kubernetes has not acted on it.",
            do="If this stays, look at the cluster's controller manager.",
            command=describe,
            subject=subject,
        )
    return _judge_number(deployment, check, noun, command=describe, subject=subject)


def _judge_number(deployment: Manifest, check: Check, noun: str, *, command: str, subject: str) -> Finding:
    status, wanted = status_of(deployment), int(deployment["spec"].get("replicas", 1))
    available, updated = int(status.get("availableReplicas") or 0), int(status.get("updatedReplicas") or 0)
    told = f"{noun} has {available} of {count(wanted, 'pod')} ready"
    if available < wanted:
        make = warning if available else problem
        return make(check, f"{told}.", do="Its pods, below, say why.", command=command, subject=subject)
    if updated < wanted or int(status.get("replicas") or 0) > updated:
        return warning(check, f"{told} and is being rolled out.", command=command, subject=subject)
    return ok(check, f"{told}.", subject=subject)


def _find_failure(deployment: Manifest) -> str:
    """Why the API server takes no pods of it, empty if it does."""
    failure = conditions_of(deployment).get("ReplicaFailure")
    return quote((failure or {}).get("message")) if is_true(failure) else ""


def judge_pods(
    pods: Sequence[Manifest], events: Sequence[Manifest], workload: Workload, now: datetime
) -> list[Finding]:
    """What is wrong with the pods, those with the same trouble together. Nothing, if nothing is."""
    alike: dict[Trouble, list[Manifest]] = {}
    for pod in pods:
        trouble = find_trouble(pod, events, workload, now)
        if trouble is not None:
            alike.setdefault(trouble, []).append(pod)
    return [_tell(trouble, found, workload.check) for trouble, found in alike.items()]


def _tell(trouble: Trouble, pods: Sequence[Manifest], check: Check) -> Finding:
    first, *others = pods
    who = f"Pod {name_of(first)}" + (f" and {len(others)} more like it" if others else "")
    verb, _, option = trouble.verb.partition(" ")
    words = ["kubectl", "-n", namespace_of(first), verb, "pod" if verb == "describe" else "", name_of(first), option]
    make = problem if trouble.is_problem else warning
    return make(
        check,
        f"{who}: {trouble.text}",
        do=trouble.do,
        command=" ".join(word for word in words if word),
        subject=f"pod/{name_of(first)}",
    )


def find_trouble(pod: Manifest, events: Sequence[Manifest], workload: Workload, now: datetime) -> Trouble | None:
    """What is wrong with a pod, None if nothing is."""
    status = status_of(pod)
    if is_being_deleted(pod):
        return _find_hanging(pod, now)
    if status.get("phase") in {"Failed", "Succeeded"}:
        return Trouble(
            f"it was ended ({status.get('reason') or status['phase']}): {quote(status.get('message') or 'no reason given')}",
            "Another one takes its place; delete it when nobody needs it to find the reason.",
            is_problem=False,
        )
    scheduled = conditions_of(pod).get("PodScheduled")
    if scheduled is not None and not is_true(scheduled):
        return _describe_unscheduled(scheduled, workload)
    for container in _containers(pod):
        if trouble := _find_waiting(container, pod, events, workload, now):
            return trouble
    if not is_true(conditions_of(pod).get("Ready")):
        return _describe_unready(pod, events, now)
    return next(filter(None, (_find_recent_end(one, pod, workload, now) for one in _containers(pod))), None)


def _find_hanging(pod: Manifest, now: datetime) -> Trouble | None:
    late = seconds_since(pod["metadata"]["deletionTimestamp"], now)
    if late is None or late < _START_SECONDS:
        return None
    return Trouble(
        f"it should have ended {span(late)} ago and has not.",
        "Its node may be gone; if it is, delete the pod with --grace-period=0 --force.",
        is_problem=False,
    )


def _describe_unscheduled(scheduled: Manifest, workload: Workload) -> Trouble:
    message = str(scheduled.get("message") or "")
    do = "See what the nodes lack, or what keeps the pod from them."
    if "Insufficient" in message:
        do = f"Add nodes, or ask for less: {workload.resources_advice}."
    return Trouble(f"no node takes it: {quote(message or 'it was not looked at yet')}", do)


def _containers(pod: Manifest) -> Iterator[Manifest]:
    """The pod's containers, without initial ones that have done their work."""
    status = status_of(pod)
    for container in status.get("initContainerStatuses") or ():
        if ((container.get("state") or {}).get("terminated") or {}).get("exitCode") != 0:
            yield container
    yield from status.get("containerStatuses") or ()


def _find_waiting(
    container: Manifest, pod: Manifest, events: Sequence[Manifest], workload: Workload, now: datetime
) -> Trouble | None:
    """Why a container does not run, None if it does."""
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    reason, message = waiting.get("reason"), waiting.get("message")
    if reason in _PULL_REASONS:
        return Trouble(
            f"the image {container.get('image')} cannot be had ({reason}): {quote(_pull_error(pod, events) or message)}",
            f"Name an image that the nodes can pull: {workload.image_advice}.",
        )
    if reason == "CrashLoopBackOff" or "terminated" in state:
        ended = (container.get("lastState") or {}).get("terminated") or state.get("terminated") or {}
        return _describe_end(ended, container, pod, workload)
    if reason in _CREATE_REASONS:
        return Trouble(f"its container cannot be made: {quote(message or reason)}", "Mend what it names.")
    if reason in _STARTING_REASONS:
        return _describe_starting(pod, events, now)
    return None


def _describe_starting(pod: Manifest, events: Sequence[Manifest], now: datetime) -> Trouble:
    waited = seconds_since(status_of(pod).get("startTime"), now) or 0.0
    mount = _find_event(pod, events, {"FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox"})
    reason = f"{quote(mount)}" if mount else "its container is being made."
    return Trouble(
        f"it has been starting for {span(waited)}: {reason}",
        "Mend what it names." if mount else "Wait a moment.",
        is_problem=waited > _START_SECONDS,
    )


def _describe_end(ended: Manifest, container: Manifest, pod: Manifest, workload: Workload) -> Trouble:
    """A container that ends again and again."""
    times = count(int(container.get("restartCount") or 0), "time")
    if ended.get("reason") == "OOMKilled":
        return Trouble(
            f"it is killed for using more memory than it may ({_memory_limit(container, pod)}), {times} so far.",
            f"Raise the limit: {workload.resources_advice}.",
        )
    how = f"with exit code {ended.get('exitCode')}" if "exitCode" in ended else "at once"
    said = f": {quote(ended['message'])}" if ended.get("message") else "."
    return Trouble(
        f"it ends again and again {how}, restarted {times} so far{said}",
        "Its last words say why.",
        verb="logs --previous",
    )


def _find_recent_end(container: Manifest, pod: Manifest, workload: Workload, now: datetime) -> Trouble | None:
    """A container that runs, but did not all the time."""
    ended = (container.get("lastState") or {}).get("terminated") or {}
    ago = seconds_since(ended.get("finishedAt"), now)
    if ago is None or ago > _RECENT_SECONDS:
        return None
    times = count(int(container.get("restartCount") or 0), "time")
    if ended.get("reason") == "OOMKilled":
        return Trouble(
            f"it was killed {span(ago)} ago for using more memory than it may ({_memory_limit(container, pod)}); restarted"
            f" {times} so far.",
            f"Raise the limit: {workload.resources_advice}.",
            is_problem=False,
        )
    return Trouble(
        f"it ended {span(ago)} ago with exit code {ended.get('exitCode')} and runs again; restarted {times} so far.",
        "Its last words say why.",
        verb="logs --previous",
        is_problem=False,
    )


def _describe_unready(pod: Manifest, events: Sequence[Manifest], now: datetime) -> Trouble:
    started = status_of(pod).get("startTime")
    runs = seconds_since(started, now) or 0.0
    probe = _find_event(pod, events, {"Unhealthy"})
    why = f": {quote(probe)}" if probe else "."
    return Trouble(
        f"it has run for {span(runs)} and is not ready{why}",
        "Its log says why; if it runs on a node that does not answer, look at the node.",
        verb="logs",
        is_problem=runs > _START_SECONDS,
    )


def _pull_error(pod: Manifest, events: Sequence[Manifest]) -> str:
    """What the registry said; once the kubelet waits between tries, the container's status does not tell it any more."""
    return _find_event(pod, events, {"Failed"}, containing="pull")


def _find_event(pod: Manifest, events: Sequence[Manifest], reasons: set[str], *, containing: str = "") -> str:
    """The message of the newest of these events about a pod, empty where there is none."""
    uid = pod["metadata"].get("uid")
    about = [
        event
        for event in events
        if (event.get("involvedObject") or {}).get("uid") == uid
        and event.get("reason") in reasons
        and containing in str(event.get("message"))
    ]
    return str(max(about, key=event_time)["message"]) if about else ""


def event_time(event: Manifest) -> str:
    """When an event was last seen, in a form that sorts."""
    series: Mapping[str, Any] = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or "")


def _memory_limit(container: Manifest, pod: Manifest) -> str:
    for one in pod["spec"].get("containers") or ():
        if one.get("name") == container.get("name"):
            return str(((one.get("resources") or {}).get("limits") or {}).get("memory") or "no limit of its own")
    return "its limit"
