"""docs/how-to/install.md promises what the chart keeps."""

import re

import yaml
from jsonschema import Draft7Validator

from .chart import ROOT, SCHEMA, Chart

GUIDE = (ROOT / "docs" / "how-to" / "install.md").read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def test_values_of_the_guide_are_the_charts(chart: Chart) -> None:
    [values] = [yaml.safe_load(block) for block in BLOCKS if block.startswith("# values.yaml")]

    assert list(Draft7Validator(SCHEMA).iter_errors(values)) == []
    assert chart.render(values)


def test_values_named_in_the_guide_exist() -> None:
    rows = re.findall(r"^\| (`[a-z].*?) \|", GUIDE, re.MULTILINE)
    named = {path for row in rows for path in re.findall(r"`([a-zA-Z]+(?:\.[a-zA-Z]+)+)", row)}
    named |= set(re.findall(r"`((?:crds|rbac|stores|image)\.[a-zA-Z.]+)", GUIDE))

    assert len(named) > 8
    for path in named:
        schema = SCHEMA
        for key in path.split("."):
            schema = schema["properties"][key]
            if "$ref" in schema:
                schema = SCHEMA["definitions"][schema["$ref"].rsplit("/", 1)[1]]


def test_manifests_of_the_guide_are_yaml() -> None:
    kinds = [manifest.get("kind") for block in BLOCKS for manifest in yaml.safe_load_all(block)]

    assert kinds == [None, "HelmRelease", "Kustomization", "ConfigMap"]


def test_roles_named_in_the_guide_are_made(chart: Chart) -> None:
    made = {manifest["metadata"]["name"] for manifest in chart.manifests() if manifest["kind"] == "ClusterRole"}

    named = set(re.findall(r"--clusterrole=(syntera-[a-z-]+)", GUIDE)) | {"syntera-tenant-namespace"}

    assert named == {"syntera-tenant-admin", "syntera-tenant-namespace"}
    assert named <= made
