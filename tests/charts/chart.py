"""The chart as Helm renders it."""

import functools
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
Values = Mapping[str, Any]

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "charts" / "syntera"
DASHBOARDS = CHART / "files" / "dashboards"
ALERTS = CHART / "files" / "alerts.yaml"
DATA = ROOT / "tests" / "data" / "charts"
RELEASE = "syntera"
NAMESPACE = "syntera-system"
OLDEST_KUBERNETES = "1.31.0"

DEFAULTS: Values = yaml.safe_load((CHART / "values.yaml").read_text())
FULL: Values = yaml.safe_load((DATA / "full.values.yaml").read_text())
"""Every value that can be set to something else without hiding another."""
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())


class Refused(Exception):
    """Helm ended with an error; its message is the exception's."""


@dataclass(frozen=True, slots=True)
class Chart:
    """The chart, and the helm to render it with."""

    helm: Path

    def run(self, *arguments: str | Path, stdin: str = "") -> str:
        """Run helm and return what it prints.

        Raises:
            Refused: it ended with an error.
        """
        words = [str(self.helm), *map(str, arguments)]
        ended = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            raise Refused(ended.stdout + ended.stderr)
        return ended.stdout

    def render(self, values: Values | None = None) -> str:
        """What `helm template` prints.

        Raises:
            Refused: the values are not as the schema says, or contradict each other.
        """
        return _render(self, json.dumps(values or {}))

    def manifests(self, values: Values | None = None) -> list[Manifest]:
        """The rendered objects.

        Raises:
            Refused: as `render`.
        """
        return [manifest for manifest in yaml.safe_load_all(self.render(values)) if manifest]

    def one(self, kind: str, name: str, values: Values | None = None) -> Manifest:
        """The rendered object of that kind and name.

        Raises:
            Refused: as `render`.
        """
        [found] = [
            manifest
            for manifest in self.manifests(values)
            if manifest["kind"] == kind and manifest["metadata"]["name"] == name
        ]
        return found


@functools.cache
def _render(chart: Chart, values: str) -> str:
    """One rendering serves all tests of a session: the chart's files do not change under it."""
    return chart.run(
        "template", RELEASE, CHART, "--namespace", NAMESPACE, "--kube-version", OLDEST_KUBERNETES, "--values", "-",
        stdin=values,
    )  # fmt: skip


def leaves(values: Values, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value that is no non-empty object, with its path."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def nested(path: tuple[str, ...], value: object) -> dict[str, Any]:
    """Values in which only the one at `path` is set."""
    made = value
    for key in reversed(path):
        made = {key: made}
    assert isinstance(made, dict)
    return made


def without(values: Values, path: tuple[str, ...]) -> dict[str, Any]:
    """The values, less the one at `path`."""
    key, *rest = path
    if not rest:
        return {name: value for name, value in values.items() if name != key}
    return {name: without(value, tuple(rest)) if name == key else value for name, value in values.items()}


def pod_specs(manifests: list[Manifest]) -> dict[str, Manifest]:
    """The pod specs among the objects, each by the name of its object."""
    found = {}
    for manifest in manifests:
        if manifest["kind"] == "Pod":
            found[manifest["metadata"]["name"]] = manifest["spec"]
        elif "template" in manifest.get("spec", {}):
            found[manifest["metadata"]["name"]] = manifest["spec"]["template"]["spec"]
        elif manifest["kind"] == "CronJob":
            found[manifest["metadata"]["name"]] = manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return found


def operator_environment(manifests: list[Manifest]) -> dict[str, str]:
    """The variables of the operator's container; those that come from the pod itself hold the pod's name."""
    [deployment] = [manifest for manifest in manifests if manifest["kind"] == "Deployment"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    return {variable["name"]: variable.get("value", "operator-0") for variable in container["env"]}
