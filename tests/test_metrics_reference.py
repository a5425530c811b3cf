"""The reference of metrics is what the code defines. `--update-data` writes it anew."""

from collections.abc import Iterable

from tests.metrics_reference import list_operator_series, list_runtime_series
from tests.support.exposition import Series
from tests.support.golden import Golden

_HEAD = """# Metrics

What the operator and the runtimes show to Prometheus. [Monitor](../how-to/monitor.md) says how to read them; this page is
generated from the code (`pytest --update-data tests/test_metrics_reference.py`). Both show the usual `process_…` metrics too,
and the runtimes those of Python's garbage collector.

A histogram is read by its parts: `…_bucket` with the label `le`, `…_sum` and `…_count`. The operator's labels hold no
name of a tenant or an object. The runtimes' hold names that administrators chose, such as agents and model endpoints, and never
anything that users send.
"""


def _table(title: str, about: str, series: Iterable[Series]) -> str:
    rows = [
        f"| `{one.name}` | {one.type} | {', '.join(f'`{label}`' for label in sorted(one.labels))} | {one.help} |"
        for one in sorted(series, key=lambda one: one.name)
    ]
    return "\n".join(
        [f"## {title}", "", about, "", "| metric | type | labels | meaning |", "|---|---|---|---|", *rows, ""]
    )


def test_reference_is_what_the_code_defines(golden: Golden) -> None:
    docs = Golden(golden.folder.parent.parent / "docs", update=golden.update)
    page = "\n".join(
        [
            _HEAD,
            _table("Operator", "Port 9090 of each replica (`metrics.port`), path `/metrics`.", list_operator_series()),
            _table("Runtimes", "Port 8081 of each pod, path `/metrics`.", list_runtime_series()),
        ]
    )

    docs.check_text("reference/metrics.md", page)
