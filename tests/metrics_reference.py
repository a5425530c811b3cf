"""Every metric of ours, as the code defines them."""

from prometheus_client import CollectorRegistry

from tests.operator.observed import make_observed_metrics as make_operator_metrics
from tests.runtime.observed import make_observed_metrics as make_runtime_metrics
from tests.support.exposition import Series, list_series
from tests.support.virtual_time import virtual_time


def list_runtime_series() -> list[Series]:
    """Of a runtime."""
    return list(list_series(make_runtime_metrics().registry))


def list_operator_series() -> list[Series]:
    """Of the operator."""
    made: list[CollectorRegistry] = []
    series: list[Series] = []

    @virtual_time
    async def collect() -> None:
        made.append(make_operator_metrics().registry)
        series.extend(list_series(made[0]))

    collect()
    return series


def list_all_series() -> dict[str, set[str]]:
    """Labels of each metric by its name, with the suffixes that queries use; one that both have has the labels of both."""
    found: dict[str, set[str]] = {}
    for series in [*list_operator_series(), *list_runtime_series()]:
        names = [series.name]
        if series.type == "histogram":
            names = [f"{series.name}_{suffix}" for suffix in ("bucket", "sum", "count")]
        for name in names:
            found.setdefault(name, set()).update(series.labels, {"le"} if name.endswith("_bucket") else ())
    return found
