"""What states of Agents, quotas and events are told to mean."""

from typing import Any

import pytest

from syntera_cli.doctor.findings import Check, State
from syntera_cli.doctor.judge_agents import judge_agents
from syntera_cli.doctor.judge_surroundings import judge_events, judge_quotas
from syntera_cli.doctor.manifests import Hidden

from .make import NOW, Json, make_agent, make_event, make_quota

LOGS = "kubectl logs"


@pytest.mark.parametrize(
    ("agents", "says"),
    [
        ([make_agent()], "The Agent 'travel' is served as its spec says."),
        ([make_agent("a"), make_agent("b")], "2 Agents (a, b) are served as their spec says."),
        ([make_agent(f"a{n}") for n in range(7)], "7 Agents (a0, a1, a2, a3, a4, …) are served as their spec says."),
    ],
)
def test_agents_that_are_served_share_a_line(agents: list[Json], says: str) -> None:
    (found,) = judge_agents(agents, logs=LOGS)
    assert (found.check, found.state, found.says) == (Check.AGENTS, State.OK, says)


@pytest.mark.parametrize(
    ("fields", "state", "says", "command"),
    [
        (
            {"ready": ("False", "EndpointNotFound", "There is no endpoint 'x'. Revision 3 stays published.")},
            State.PROBLEM,
            "is not served as its spec says: There is no endpoint 'x'. Revision 3 stays published.",
            "kubectl -n acme edit agent travel",
        ),
        (
            {"ready": ("False", "NotLoaded", "Served by 1 of 2.")},
            State.PROBLEM,
            "is published, but not served by every pod: Served by 1 of 2.",
            "kubectl -n acme logs deployment/syntera-runtime --since=10m",
        ),
        (
            {"generation": 2},
            State.PROBLEM,
            "has not judged the present spec of the Agent 'travel'. Revision 3 goes on being served.",
            LOGS,
        ),
        (
            {"observed": 0, "revision": None, "ready": ("Unknown", "NotObserved", "")},
            State.PROBLEM,
            "has not judged the present spec of the Agent 'travel'.",
            LOGS,
        ),
        ({"ready": ("False", "Suspended", "Suspended.")}, State.SKIPPED, "waits for its Tenant: Suspended.", ""),
        ({"ready": ("False", "PodsNotReady", "No pod.")}, State.SKIPPED, "waits for its Tenant: No pod.", ""),
    ],
)
def test_agent_that_is_not_served_is_told(fields: dict[str, Any], state: State, says: str, command: str) -> None:
    well, found = judge_agents([make_agent("other"), make_agent(**fields)], logs=LOGS)
    assert well.state is State.OK
    assert (found.state, found.subject, found.command) == (state, "agent/travel", command)
    assert says in found.says


def test_tenant_without_agents_is_worth_a_word() -> None:
    (found,) = judge_agents([], logs=LOGS)
    assert found.state is State.WARNING


def test_agents_that_may_not_be_seen_are_told() -> None:
    (found,) = judge_agents(Hidden("list Agents"), logs=LOGS)
    assert found.state is State.FORBIDDEN


def test_quota_that_is_used_up_is_told() -> None:
    (well,) = judge_quotas([make_quota()])
    (full,) = judge_quotas([make_quota(used="10")])
    assert (well.state, full.state) == (State.OK, State.WARNING)
    assert "'syntera' is used up: 10 of 10 pods" in full.says
    assert list(judge_quotas([])) == []


def test_quota_that_is_zero_on_purpose_is_not_told() -> None:
    (found,) = judge_quotas([make_quota(used="0", hard="0")])
    assert found.state is State.OK


def test_warnings_of_the_last_minutes_are_told() -> None:
    told = list(
        judge_events(
            [
                make_event(
                    "FailedGetResourceMetric", "no metrics", kind="HorizontalPodAutoscaler", name="syntera-runtime"
                ),
                make_event(
                    "FailedGetResourceMetric",
                    "older",
                    kind="HorizontalPodAutoscaler",
                    name="syntera-runtime",
                    seconds=90,
                ),
                make_event("FailedCreate", "long ago", kind="ReplicaSet", name="x", seconds=3600),
                make_event("Unhealthy", "a pod's own"),
                make_event(
                    "SecretNotFound", "ours", kind="Agent", name="travel", reportingComponent="syntera.io/operator"
                ),
            ],
            NOW,
        )
    )
    (found,) = told
    assert (found.check, found.state, found.subject) == (
        Check.EVENTS,
        State.WARNING,
        "horizontalpodautoscaler/syntera-runtime",
    )
    assert found.says.endswith("(FailedGetResourceMetric): no metrics.")


def test_silence_is_told_too() -> None:
    (found,) = judge_events([], NOW)
    assert found.state is State.OK
