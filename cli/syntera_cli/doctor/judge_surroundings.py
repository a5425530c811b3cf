"""What Kubernetes complains of in a Tenant's namespace, and whether its quotas leave room. Pure."""

from collections.abc import Iterator
from datetime import datetime

from syntera_crds.contract import names
from syntera_crds.v1alpha1.quantity import parse_quantity

from .findings import Check, Finding, forbidden, ok, warning
from .judge_workload import event_time
from .manifests import Hidden, Manifest, SeenAll, name_of, namespace_of, quote, seconds_since, span, status_of

_RECENT_SECONDS = 600.0
_MAX_EVENTS = 3
_OURS = f"{names.GROUP}/"


def judge_quotas(quotas: SeenAll) -> Iterator[Finding]:
    """Whether a quota is used up: then a rollout, which needs one pod more for a while, waits for ever."""
    if isinstance(quotas, Hidden):
        yield forbidden(Check.QUOTA, quotas.action)
        return
    full = [(quota, resource) for quota in quotas for resource in _list_full(quota)]
    for quota, resource in full:
        status = status_of(quota)
        yield warning(
            Check.QUOTA,
            f"The quota {name_of(quota)!r} is used up: {status['used'][resource]} of {status['hard'][resource]}"
            f" {resource}. A rollout or another pod has no room.",
            do="Raise spec.quota of the Tenant, or delete what is not needed.",
            command=f"kubectl -n {namespace_of(quota)} describe resourcequota {name_of(quota)}",
            subject=f"resourcequota/{name_of(quota)}",
        )
    if quotas and not full:
        yield ok(Check.QUOTA, "The namespace's quotas leave room.")


def _list_full(quota: Manifest) -> Iterator[str]:
    status = status_of(quota)
    used = status.get("used") or {}
    for resource, hard in (status.get("hard") or {}).items():
        if resource in used and parse_quantity(used[resource]) >= parse_quantity(hard) > 0:
            yield resource


def judge_events(events: SeenAll, now: datetime) -> Iterator[Finding]:
    """Warnings of the last minutes about anything but pods, whose troubles are told with them, and our own kinds."""
    if isinstance(events, Hidden):
        yield forbidden(Check.EVENTS, events.action)
        return
    newest: dict[tuple[str, str], Manifest] = {}
    for event in sorted(events, key=event_time):
        if _is_worth_telling(event, now):
            newest[_subject(event), str(event.get("reason"))] = event
    for event in list(reversed(newest.values()))[:_MAX_EVENTS]:
        ago = span(max(0.0, seconds_since(event_time(event), now) or 0.0))
        yield warning(
            Check.EVENTS,
            f"Kubernetes complained {ago} ago about {_subject(event)} ({event.get('reason')}):"
            f" {quote(event.get('message'))}",
            command=f"kubectl -n {namespace_of(event)} get events --field-selector type=Warning",
            subject=_subject(event),
        )
    if not newest:
        yield ok(Check.EVENTS, "Kubernetes has complained of nothing lately.")


def _is_worth_telling(event: Manifest, now: datetime) -> bool:
    about = event.get("involvedObject") or {}
    ago = seconds_since(event_time(event), now)
    is_ours = str(event.get("reportingComponent") or "").startswith(_OURS)
    return about.get("kind") != "Pod" and not is_ours and ago is not None and ago < _RECENT_SECONDS


def _subject(event: Manifest) -> str:
    about = event.get("involvedObject") or {}
    return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"
