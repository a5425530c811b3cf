"""What Prometheus learns of a runtime, to the letter."""

from syntera_runtime.metrics import Metrics
from tests.runtime.observed import make_observed_metrics
from tests.support.exposition import TARGET_LABELS, list_series, ours
from tests.support.golden import Golden


def test_exposition_is_as_reviewed(golden: Golden) -> None:
    golden.check_text("metrics/runtime.txt", ours(make_observed_metrics().registry))


def test_names_follow_prometheus_conventions() -> None:
    for series in list_series(make_observed_metrics().registry):
        assert series.name.endswith("_total") == (series.type == "counter"), series.name
        assert series.type != "histogram" or series.name.endswith("_seconds"), series.name
        assert series.help.endswith("."), series.name


def test_no_label_is_taken_by_prometheus_itself() -> None:
    """It would call ours `exported_…`, and no query would find it."""
    for series in list_series(make_observed_metrics().registry):
        assert not TARGET_LABELS & set(series.labels), series.name


def test_process_is_shown_too() -> None:
    assert b"process_resident_memory_bytes" in Metrics().render()
