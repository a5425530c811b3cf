"""What Prometheus learns of the operator, to the letter."""

import asyncio
from datetime import datetime

import pytest
from prometheus_client import CollectorRegistry

from syntera_kube.errors import Conflict
from syntera_operator.errors import NameTaken, code_of
from syntera_operator.manifest import Manifest
from syntera_operator.metrics import Metrics
from syntera_operator.object_metrics import ObjectCollector
from syntera_operator.queue import Key
from tests.operator.observed import NOW, at, condition, make_observed_metrics
from tests.support.exposition import TARGET_LABELS, list_series, ours
from tests.support.golden import Golden
from tests.support.make import make_agent_manifest, make_tenant_manifest
from tests.support.virtual_time import virtual_time


@virtual_time
async def test_exposition_is_as_reviewed(golden: Golden) -> None:
    golden.check_text("metrics/operator.txt", ours(make_observed_metrics().registry))


@virtual_time
async def test_names_follow_prometheus_conventions() -> None:
    for series in list_series(make_observed_metrics().registry):
        assert series.name.endswith("_total") == (series.type == "counter"), series.name
        assert series.type != "histogram" or series.name.endswith("_seconds"), series.name
        assert series.help.endswith("."), series.name
        assert not TARGET_LABELS & set(series.labels), series.name


@virtual_time
async def test_no_name_of_an_object_is_shown() -> None:
    text = ours(make_observed_metrics().registry)

    assert "acme" not in text
    assert "travel" not in text


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NameTaken("Secret 'x'"), "name_taken"),
        (Conflict("changed"), "conflict"),
        (TimeoutError(), "timeout"),
        (ValueError("agent 'x'"), "unexpected"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
def test_error_is_a_word_of_a_closed_list(error: BaseException, code: str) -> None:
    assert code_of(error) == code


def test_reconcile_that_was_cancelled_is_no_unexpected_error() -> None:
    metrics = Metrics()

    metrics.finished(Key("Tenant", None, "acme"), result="error", error=None, seconds=1)

    labels = {"kind": "Tenant", "code": "cancelled"}
    assert metrics.registry.get_sample_value("syntera_reconcile_errors_total", labels) == 1


def collected(*objects: Manifest, now: datetime = NOW) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(ObjectCollector(lambda: objects, now=lambda: now))
    return registry


def count(registry: CollectorRegistry, kind: str, type_: str, status: str, reason: str) -> float | None:
    labels = {"kind": kind, "condition": type_, "status": status, "reason": reason}
    return registry.get_sample_value("syntera_objects", labels)


def unready(registry: CollectorRegistry, kind: str = "Tenant") -> float | None:
    return registry.get_sample_value("syntera_objects_longest_unready_seconds", {"kind": kind})


def deleting(registry: CollectorRegistry, kind: str = "Tenant") -> float | None:
    return registry.get_sample_value("syntera_objects_longest_deleting_seconds", {"kind": kind})


def with_ready(status: str, reason: str, *, since: float = 60, created: float = 86400) -> Manifest:
    conditions = [condition("Ready", status, reason, since=since)]
    return make_tenant_manifest(status={"conditions": conditions}, created=at(created))


def test_objects_are_counted_by_every_condition() -> None:
    broken = [condition("Ready", "False", "Invalid"), condition("Accepted", "False", "Invalid")]
    registry = collected(
        with_ready("True", "Serving"),
        with_ready("True", "Serving"),
        make_tenant_manifest(status={"conditions": broken}),
        make_agent_manifest(status={"conditions": broken}),
    )

    assert count(registry, "Tenant", "Ready", "True", "Serving") == 2
    assert count(registry, "Tenant", "Ready", "False", "Invalid") == 1
    assert count(registry, "Agent", "Accepted", "False", "Invalid") == 1
    assert count(registry, "Agent", "Ready", "True", "Serving") is None


def test_words_that_somebody_else_wrote_into_a_status_are_no_labels() -> None:
    conditions = [
        condition("Ready", "False", "acme"),
        condition("acme", "True", "acme"),
        condition("Stalled", "no", "acme"),
    ]
    registry = collected(make_tenant_manifest(status={"conditions": conditions}))

    assert count(registry, "Tenant", "Ready", "False", "Other") == 1
    assert "acme" not in ours(registry)


def test_unready_object_is_the_one_that_is_so_for_longest() -> None:
    registry = collected(with_ready("False", "PodsNotReady", since=90), with_ready("Unknown", "NotObserved", since=300))

    assert unready(registry) == 300
    assert unready(registry, "Agent") == 0


def test_object_that_nobody_has_looked_at_is_unready_since_it_was_made() -> None:
    """The schema's default says 1970."""
    fresh = with_ready("Unknown", "NotObserved", since=NOW.timestamp(), created=20)

    assert unready(collected(fresh)) == 20


@pytest.mark.parametrize(("status", "reason"), [("True", "Serving"), ("False", "Suspended")])
def test_object_that_is_as_it_should_be_is_not_unready(status: str, reason: str) -> None:
    assert unready(collected(with_ready(status, reason, since=3600))) == 0


def test_object_on_its_way_out_counts_as_deleting_alone() -> None:
    leaving = with_ready("False", "Deleting", since=500)
    leaving["metadata"]["deletionTimestamp"] = at(450)

    registry = collected(leaving)

    assert (unready(registry), deleting(registry)) == (0, 450)


def test_time_that_makes_no_sense_is_no_time() -> None:
    item = with_ready("False", "Invalid")
    item["status"]["conditions"][0]["lastTransitionTime"] = "yesterday"

    assert unready(collected(item)) == 0


def test_registering_the_objects_does_not_walk_over_them() -> None:
    def fail() -> list[Manifest]:
        raise AssertionError("walked")

    CollectorRegistry().register(ObjectCollector(fail))
