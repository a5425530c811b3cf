"""Conditions: what follows from what was found out, and that kstatus and kubectl read the truth at every moment."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntera_crds.v1alpha1.common import Condition, ConditionStatus, ConditionType, Reason
from syntera_operator.conditions import (
    AGENT_ASPECTS,
    TENANT_ASPECTS,
    Check,
    Good,
    Outlook,
    Problem,
    build_conditions,
    join_problems,
)
from tests.support.kstatus import Kstatus, compute, is_condition_met

T0 = datetime(2026, 1, 1, tzinfo=UTC)
T1 = T0 + timedelta(minutes=1)

GOOD = Good(Reason.UP_TO_DATE, "It is.")
SERVING = Good(Reason.SERVING, "It serves.")
WAITING = Problem(Reason.PROGRESSING, "It comes.")
BROKEN = Problem(Reason.INVALID, "Mend it.", Outlook.STALLED)
SUSPENDED = Problem(Reason.SUSPENDED, "It rests.", Outlook.WANTED)

ACCEPTED, RESOLVED = AGENT_ASPECTS


INCOMPLETE = Problem(Reason.SYNC_FAILED, "Mend it.", Outlook.STALLED, serves=True)


def build(
    checks: dict[ConditionType, Check], *, ready: Check = SERVING, current: Any = (), now: datetime = T0, **changes: Any
) -> dict[str, Condition]:
    fields: dict[str, Any] = {"ready": ready, "current": list(current), "generation": 1, "now": now} | changes
    return {condition.type: condition for condition in build_conditions(AGENT_ASPECTS, checks, **fields)}


def as_object(conditions: dict[str, Condition], *, generation: int = 1, observed: int = 1) -> dict[str, Any]:
    dumped = [condition.model_dump(mode="json", by_alias=True) for condition in conditions.values()]
    status = {"observedGeneration": observed, "conditions": dumped}
    return {"metadata": {"generation": generation}, "status": status}


@pytest.mark.parametrize(
    ("accepted", "resolved", "ready", "told", "reconciling", "stalled", "state"),
    [
        pytest.param(GOOD, GOOD, SERVING, "Serving", "False", "False", Kstatus.CURRENT, id="all well"),
        pytest.param(GOOD, GOOD, WAITING, "Progressing", "True", "False", Kstatus.IN_PROGRESS, id="on its way"),
        pytest.param(
            GOOD, WAITING, SERVING, "Progressing", "True", "False", Kstatus.IN_PROGRESS, id="reference missing"
        ),
        pytest.param(BROKEN, GOOD, SERVING, "Invalid", "False", "True", Kstatus.FAILED, id="invalid"),
        pytest.param(BROKEN, WAITING, WAITING, "Invalid", "False", "True", Kstatus.FAILED, id="invalid and more"),
        pytest.param(
            GOOD, WAITING, BROKEN, "Progressing", "False", "True", Kstatus.FAILED, id="stalled behind waiting"
        ),
        pytest.param(GOOD, GOOD, SUSPENDED, "Suspended", "False", "False", Kstatus.IN_PROGRESS, id="suspended"),
        pytest.param(
            GOOD, WAITING, SUSPENDED, "Suspended", "True", "False", Kstatus.IN_PROGRESS, id="suspended, waiting"
        ),
    ],
)
def test_summary(
    *, accepted: Check, resolved: Check, ready: Check, told: str, reconciling: str, stalled: str, state: Kstatus
) -> None:
    made = build({ACCEPTED: accepted, RESOLVED: resolved}, ready=ready)
    assert made["Ready"].status == ("True" if told == "Serving" else "False")
    assert made["Ready"].reason == told
    assert (made["Reconciling"].status, made["Stalled"].status) == (reconciling, stalled)
    assert compute(as_object(made)) is state


def test_conditions_on_the_first_visit_are_all_there() -> None:
    made = build_conditions(
        TENANT_ASPECTS, {ConditionType.ACCEPTED: GOOD}, ready=WAITING, current=[], generation=1, now=T0
    )
    assert [condition.type for condition in made] == [
        "Accepted",
        "ResolvedRefs",
        "NamespaceReady",
        "DatabaseReady",
        "CacheReady",
        "RuntimeReady",
        "Ready",
        "Reconciling",
        "Stalled",
    ]
    unseen = made[1]
    assert (unseen.status, unseen.reason) == (ConditionStatus.UNKNOWN, Reason.NOT_OBSERVED)
    assert all(condition.observed_generation == 1 for condition in made)


def test_condition_of_an_aspect_that_was_not_looked_at_stays_and_tells_its_generation() -> None:
    before = build({ACCEPTED: GOOD, RESOLVED: GOOD})
    after = build({ACCEPTED: BROKEN}, current=before.values(), generation=2, now=T1)
    assert after["ResolvedRefs"] == before["ResolvedRefs"]
    assert after["Accepted"].observed_generation == 2


def test_ready_is_not_true_while_an_aspect_was_not_looked_at() -> None:
    before = build({ACCEPTED: GOOD, RESOLVED: GOOD})
    after = build({ACCEPTED: GOOD}, current=before.values(), now=T1)
    assert (after["Ready"].status, after["Ready"].reason) == (ConditionStatus.FALSE, Reason.NOT_OBSERVED)


def test_transition_time_moves_with_the_status_alone() -> None:
    before = build({ACCEPTED: GOOD, RESOLVED: WAITING})
    after = build(
        {ACCEPTED: Good(Reason.ACCEPTED, "Another word."), RESOLVED: GOOD},
        current=before.values(),
        generation=2,
        now=T1,
    )
    assert after["Accepted"].last_transition_time == T0
    assert after["Accepted"].message == "Another word."
    assert after["ResolvedRefs"].last_transition_time == T1
    assert after["Ready"].last_transition_time == T1
    assert after["Stalled"].last_transition_time == T0


def test_message_of_any_length_is_cut() -> None:
    made = build({ACCEPTED: Problem(Reason.INVALID, "x" * 100_000, Outlook.STALLED)})
    assert len(made["Accepted"].message) == 1024
    assert made["Accepted"].message.endswith("…")


def test_an_old_generation_is_never_taken_for_the_new_one() -> None:
    served = build({ACCEPTED: GOOD, RESOLVED: GOOD})
    edited = as_object(served, generation=2)
    assert compute(edited) is Kstatus.IN_PROGRESS
    assert not is_condition_met(edited, "Ready")


def test_problems_are_joined_with_the_gravest_ones_reason_and_every_message_once() -> None:
    joined = join_problems([WAITING, BROKEN, WAITING], good=GOOD)
    assert joined == Problem(Reason.INVALID, "It comes. Mend it.", Outlook.STALLED)
    assert join_problems([INCOMPLETE, INCOMPLETE], good=GOOD) == INCOMPLETE
    assert join_problems([INCOMPLETE, WAITING], good=GOOD) == replace(
        INCOMPLETE, message="Mend it. It comes.", serves=False
    )
    assert join_problems([], good=GOOD) is GOOD


checks = st.one_of(
    st.just(GOOD),
    st.builds(Problem, st.sampled_from(Reason), st.just("Something."), st.sampled_from(Outlook)),
)
states = st.tuples(st.dictionaries(st.sampled_from(TENANT_ASPECTS), checks), checks)


@given(st.lists(states, min_size=1, max_size=6))
def test_conditions_hold_their_promises_in_any_history(history: list[tuple[dict[ConditionType, Check], Check]]) -> None:
    current: list[Condition] = []
    for step, (found, ready) in enumerate(history, start=1):
        before = {condition.type: condition for condition in current}
        now = T0 + timedelta(minutes=step)
        current = build_conditions(TENANT_ASPECTS, found, ready=ready, current=current, generation=step, now=now)
        made = {condition.type: condition for condition in current}
        problems = [one for one in [*found.values(), ready] if isinstance(one, Problem)]
        is_ready = made["Ready"].status is ConditionStatus.TRUE
        assert is_ready == (not problems and set(found) == set(TENANT_ASPECTS))
        assert [made["Reconciling"].status, made["Stalled"].status].count(ConditionStatus.TRUE) <= 1
        assert (made["Stalled"].status is ConditionStatus.TRUE) == any(
            problem.outlook is Outlook.STALLED for problem in problems
        )
        assert all(made[type_].observed_generation == step for type_ in ("Ready", "Reconciling", "Stalled"))
        state = compute(as_object(made, generation=step, observed=step))
        assert (state is Kstatus.CURRENT) == is_ready
        for type_, condition in made.items():
            has_moved = type_ not in before or before[type_].status is not condition.status
            assert condition.last_transition_time == (now if has_moved else before[type_].last_transition_time)


@pytest.mark.parametrize(
    ("resolved", "message"),
    [(GOOD, "Nobody has to act."), (WAITING, "The operator goes on by itself as soon as it can.")],
)
def test_stalled_is_not_denied_by_telling_people_to_do_nothing_while_something_is_missing(
    resolved: Check, message: str
) -> None:
    assert build({ACCEPTED: GOOD, RESOLVED: resolved})["Stalled"].message == message


def test_problem_that_keeps_nothing_from_serving_is_told_beside_readiness() -> None:
    made = build({ACCEPTED: GOOD, RESOLVED: INCOMPLETE})

    assert made[RESOLVED].status is ConditionStatus.FALSE
    assert (made[ConditionType.READY].status, made[ConditionType.READY].reason) == (
        ConditionStatus.TRUE,
        Reason.SERVING,
    )
    assert made[ConditionType.STALLED].status is ConditionStatus.TRUE
    assert made[ConditionType.RECONCILING].status is ConditionStatus.FALSE


def test_problem_that_keeps_it_from_serving_comes_before_one_that_does_not() -> None:
    made = build({ACCEPTED: INCOMPLETE, RESOLVED: WAITING})

    assert (made[ConditionType.READY].status, made[ConditionType.READY].reason) == (
        ConditionStatus.FALSE,
        Reason.PROGRESSING,
    )
