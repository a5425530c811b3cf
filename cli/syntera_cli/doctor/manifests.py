"""What the doctor reads out of manifests, and how it words what others wrote. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..text import printable

Manifest = Mapping[str, Any]
"""A Kubernetes object as JSON."""

_MAX_QUOTE_LENGTH = 400


@dataclass(frozen=True, slots=True)
class Hidden:
    """Something that the user may not look at."""

    action: str
    """What is not allowed, such as "list pods in namespace 'acme'"."""


Seen = Manifest | Hidden | None
"""One object; None: there is none."""
SeenAll = Sequence[Manifest] | Hidden
"""Objects of one kind."""


def name_of(manifest: Manifest) -> str:
    """The object's name."""
    return str(manifest["metadata"]["name"])


def namespace_of(manifest: Manifest) -> str:
    """The object's namespace, empty where its kind has none."""
    return str(manifest["metadata"].get("namespace") or "")


def labels_of(manifest: Manifest) -> Mapping[str, str]:
    """The object's labels."""
    return manifest["metadata"].get("labels") or {}


def generation_of(manifest: Manifest) -> int:
    """The generation of the object's spec."""
    return int(manifest["metadata"].get("generation") or 0)


def status_of(manifest: Manifest) -> Mapping[str, Any]:
    """The object's status, an empty one where it has none."""
    return manifest.get("status") or {}


def conditions_of(manifest: Manifest) -> dict[str, Manifest]:
    """The object's conditions by type."""
    return {str(one.get("type")): one for one in status_of(manifest).get("conditions") or ()}


def is_true(condition: Manifest | None) -> bool:
    """Whether a condition is True; one that is not there is not."""
    return condition is not None and condition.get("status") == "True"


def is_being_deleted(manifest: Manifest) -> bool:
    """Whether somebody has asked for the object's deletion."""
    return bool(manifest["metadata"].get("deletionTimestamp"))


def time_in(text: object) -> datetime | None:
    """A time as Kubernetes writes it, None where there is none."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC) if text else None
    except ValueError:
        return None


def seconds_since(text: object, now: datetime) -> float | None:
    """How long ago a time was, None where there is none."""
    time = time_in(text)
    return None if time is None else (now - time).total_seconds()


def quote(text: object) -> str:
    """What somebody else wrote, as the end of a sentence of ours: one line, no control characters, a full stop."""
    line = " ".join(printable(str(text or "")).split())
    if len(line) > _MAX_QUOTE_LENGTH:
        line = line[: _MAX_QUOTE_LENGTH - 1].rstrip() + "…"
    return line if line.endswith((".", "!", "?", "…")) else f"{line}."


def span(seconds: float) -> str:
    """A duration for people: `40 seconds`, `5 minutes`, `3 hours`, `2 days`."""
    for length, unit in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= 2 * length or unit == "second":
            return count(round(seconds / length), unit)
    raise AssertionError("the last unit takes any duration")


def count(number: int, noun: str) -> str:
    """`1 pod`, `2 pods`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def join(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else "".join(words)
