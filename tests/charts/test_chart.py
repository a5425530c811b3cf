"""What the chart says of itself, and the CRDs that it carries."""

from typing import Any

import pytest
import yaml

from syntera_crds import __version__
from syntera_crds.v1alpha1 import KINDS

from .chart import CHART, ROOT, Chart, Manifest

METADATA: dict[str, Any] = yaml.safe_load((CHART / "Chart.yaml").read_text())


def crds(chart: Chart, **values: bool) -> list[Manifest]:
    manifests = chart.manifests({"crds": values})
    return [manifest for manifest in manifests if manifest["kind"] == "CustomResourceDefinition"]


def test_versions_are_the_distributions() -> None:
    assert METADATA["version"] == METADATA["appVersion"] == __version__
    assert METADATA["annotations"]["artifacthub.io/license"] == "Apache-2.0"


def test_kinds_are_listed_as_they_are() -> None:
    listed = yaml.safe_load(METADATA["annotations"]["artifacthub.io/crds"])

    assert {(entry["kind"], entry["name"], entry["version"]) for entry in listed} == {
        (kind.kind(), f"{kind.info.plural}.syntera.io", "v1alpha1") for kind in KINDS.values()
    }


def test_examples_are_valid() -> None:
    examples = yaml.safe_load(METADATA["annotations"]["artifacthub.io/crdsExamples"])

    assert {KINDS[example["kind"]].model_validate(example).metadata.name for example in examples} == {
        "acme",
        "travel",
        "handbook",
    }


def test_crds_are_the_generated_ones_but_for_labels_and_annotations(chart: Chart) -> None:
    generated = {file.stem: yaml.safe_load(file.read_text()) for file in (ROOT / "crds").glob("*.yaml")}

    rendered = {crd["spec"]["names"]["plural"]: crd for crd in crds(chart, enabled=True)}

    assert rendered.keys() == generated.keys()
    for name, crd in rendered.items():
        assert crd["spec"] == generated[name]["spec"]
        assert crd["metadata"].pop("labels")["app.kubernetes.io/managed-by"] == "Helm"
        assert crd["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
        assert crd["metadata"] == generated[name]["metadata"]


def test_crds_are_removed_with_the_release_where_that_is_wanted(chart: Chart) -> None:
    assert all("annotations" not in crd["metadata"] for crd in crds(chart, enabled=True, keep=False))


def test_crds_are_left_to_others_where_that_is_wanted(chart: Chart) -> None:
    assert crds(chart, enabled=False) == []


@pytest.mark.parametrize("kubernetes", ["1.30.9", "1.30.14-gke.100"])
def test_kubernetes_that_is_too_old_is_refused(kubernetes: str, chart: Chart) -> None:
    with pytest.raises(Exception, match="chart requires kubeVersion"):
        chart.run("template", "syntera", CHART, "--kube-version", kubernetes)


@pytest.mark.parametrize("kubernetes", ["1.31.0", "1.31.5-eks-abc", "v1.36.3+k3s1", "1.37.1"])
def test_supported_kubernetes_is_accepted(kubernetes: str, chart: Chart) -> None:
    assert chart.run("template", "syntera", CHART, "--kube-version", kubernetes)
