"""From what the operator found out about an object to the object's conditions. Pure: no client, no clock.

A reconcile hands over one `Check` per aspect that it looked at: `Good`, or a `Problem` with its outlook. `Ready`,
`Reconciling` and `Stalled` follow from these by one rule for all kinds:

* `Ready` is True when every aspect was looked at, and is good or no hindrance. Else it tells the most telling problem.
* `Stalled` is True when some problem will not go away before somebody acts.
* `Reconciling` is True when some problem will go away by itself, and nothing is stalled. Both are never True at once:
  kstatus would believe the one that it meets first.

An aspect that was not looked at keeps its last condition, which tells the generation that it speaks of.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from syntera_crds.v1alpha1.common import Condition, ConditionStatus, ConditionType, Reason

TENANT_ASPECTS = (
    ConditionType.ACCEPTED,
    ConditionType.RESOLVED_REFS,
    ConditionType.NAMESPACE_READY,
    ConditionType.DATABASE_READY,
    ConditionType.CACHE_READY,
    ConditionType.RUNTIME_READY,
)
"""What a Tenant is judged by; the first problem in this order is the one that `Ready` tells."""
AGENT_ASPECTS = (ConditionType.ACCEPTED, ConditionType.RESOLVED_REFS)
"""What an Agent is judged by, beside whether it serves."""
KNOWLEDGE_BASE_ASPECTS = (ConditionType.ACCEPTED, ConditionType.RESOLVED_REFS, ConditionType.SYNCED)
"""The same of a KnowledgeBase."""

_MAX_MESSAGE_LENGTH = 1024
_DELIBERATE = frozenset({Reason.SUSPENDED, Reason.DELETING})
"""Somebody wants it so: what else may be wrong is then of less interest."""


class Outlook(Enum):
    """What becomes of a problem."""

    PASSING = auto()
    """The operator works on it, or waits for something that may come by itself."""
    STALLED = auto()
    """Nothing changes until somebody acts."""
    WANTED = auto()
    """It is what the spec asks for."""


_GRAVITY = (Outlook.STALLED, Outlook.PASSING, Outlook.WANTED)
"""The gravest first."""


@dataclass(frozen=True, slots=True)
class Good:
    """An aspect is as it should be."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Problem:
    """An aspect is not as it should be. The message is a sentence that says what to do."""

    reason: Reason
    message: str
    outlook: Outlook = Outlook.PASSING
    serves: bool = False
    """Whether the object serves all the same, so that it is Ready."""


Check = Good | Problem


def join_problems(problems: Iterable[Problem], *, good: Good) -> Check:
    """One check for several findings: reason and outlook of the gravest problem, and everybody's message; or `good`."""
    found = list(problems)
    return merge_problems(found) if found else good


def merge_problems(problems: Sequence[Problem]) -> Problem:
    """One problem for several, of which there is one at least."""
    gravest = min(problems, key=lambda problem: _GRAVITY.index(problem.outlook))
    message = " ".join(dict.fromkeys(problem.message for problem in problems))
    return Problem(gravest.reason, message, gravest.outlook, serves=all(problem.serves for problem in problems))


def build_conditions(
    aspects: Sequence[ConditionType],
    checks: Mapping[ConditionType, Check],
    *,
    ready: Check,
    current: Sequence[Condition],
    generation: int,
    now: datetime,
) -> list[Condition]:
    """All conditions of an object.

    `checks` are the aspects that were looked at; `ready` is what `Ready` says if these are all good: that it serves, or
    why it does not yet. `current` are the conditions as they are, `generation` is that of the spec that was looked at.
    """
    findings = {aspect: _find(check) for aspect, check in checks.items()}
    findings |= _summarize(list(_list_problems(aspects, checks, ready)), ready)
    before = {condition.type: condition for condition in current}
    made = []
    for type_ in (*aspects, ConditionType.READY, ConditionType.RECONCILING, ConditionType.STALLED):
        finding = findings.get(type_)
        if finding is None and type_ in before:
            made.append(before[type_])
            continue
        status, reason, message = finding or (ConditionStatus.UNKNOWN, Reason.NOT_OBSERVED, "Not looked at yet.")
        previous = before.get(type_)
        has_moved = previous is None or previous.status is not status
        made.append(
            Condition(
                type=type_,
                status=status,
                observed_generation=generation,
                last_transition_time=now if previous is None or has_moved else previous.last_transition_time,
                reason=reason,
                message=_shorten(message),
            )
        )
    return made


_NOT_STUCK = "The operator goes on by itself as soon as it can."
_Finding = tuple[ConditionStatus, Reason, str]


def _find(check: Check) -> _Finding:
    status = ConditionStatus.TRUE if isinstance(check, Good) else ConditionStatus.FALSE
    return status, check.reason, check.message


def _list_problems(
    aspects: Sequence[ConditionType], checks: Mapping[ConditionType, Check], ready: Check
) -> Iterator[Problem]:
    for aspect in aspects:
        check = checks.get(aspect)
        if isinstance(check, Problem):
            yield check
    if isinstance(ready, Problem):
        yield ready
    elif missing := [str(aspect) for aspect in aspects if aspect not in checks]:
        yield Problem(Reason.NOT_OBSERVED, f"Not looked at yet: {', '.join(missing)}.")


def _summarize(problems: list[Problem], ready: Check) -> dict[ConditionType, _Finding]:
    stalled = next((problem for problem in problems if problem.outlook is Outlook.STALLED), None)
    passing = next((problem for problem in problems if problem.outlook is Outlook.PASSING), None)
    deliberate = next((problem for problem in problems if problem.reason in _DELIBERATE), None)
    rest = (ConditionStatus.FALSE, Reason.UP_TO_DATE, "The operator has nothing left to do.")
    reconciling: _Finding = rest
    if stalled is not None:
        reconciling = (ConditionStatus.FALSE, stalled.reason, "The operator waits for somebody to act.")
    elif passing is not None:
        reconciling = (ConditionStatus.TRUE, passing.reason, passing.message)
    hindering = next((problem for problem in problems if not problem.serves), None)
    return {
        ConditionType.READY: _find(deliberate or hindering or ready),
        ConditionType.RECONCILING: reconciling,
        ConditionType.STALLED: (
            (ConditionStatus.TRUE, stalled.reason, stalled.message)
            if stalled
            else (ConditionStatus.FALSE, reconciling[1], _NOT_STUCK if passing else "Nobody has to act.")
        ),
    }


def _shorten(message: str) -> str:
    return message if len(message) <= _MAX_MESSAGE_LENGTH else message[: _MAX_MESSAGE_LENGTH - 1] + "…"
