"""What a process shows to Prometheus, as far as it is ours and the same each time."""

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

PREFIX = "syntera_"
TARGET_LABELS = frozenset({"job", "instance", "namespace", "pod", "container", "service", "endpoint", "node"})
"""Labels that Prometheus, as its operator sets it up, gives to every series of a target."""


@dataclass(frozen=True, slots=True)
class Series:
    """One metric as a table would list it."""

    name: str
    """As queries spell it, a histogram without its suffixes."""
    type: str
    labels: tuple[str, ...]
    help: str


def ours(registry: CollectorRegistry) -> str:
    """The exposition, less what the interpreter and the kernel say of the process."""
    lines = generate_latest(registry).decode().splitlines()
    return (
        "\n".join(line for line in lines if line.removeprefix("# HELP ").removeprefix("# TYPE ").startswith(PREFIX))
        + "\n"
    )


def list_series(registry: CollectorRegistry) -> Iterator[Series]:
    """Every metric of ours; each has to have a value."""
    for family in text_string_to_metric_families(ours(registry)):
        assert family.samples, f"{family.name} has no value"
        labels = tuple(label for label in family.samples[0].labels if label != "le")
        name = f"{family.name}_total" if family.type == "counter" else family.name
        yield Series(name, family.type, labels, family.documentation)
