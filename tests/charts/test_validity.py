"""Whether Kubernetes takes what the chart renders: kubeconform against an API server's own schemas, and the API server itself."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from syntera_crds.v1alpha1 import KINDS
from syntera_dev.build import ensure_binary
from syntera_kube.resources import NAMESPACES
from tests.support.apiserver import RunningApiServer

from .chart import FULL, NAMESPACE, Chart, Values
from .installed import Installed, eventually
from .kubernetes_schemas import LOCATION, write_schemas
from .test_chart import METADATA

pytestmark = pytest.mark.api

_POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
VARIANTS = {"default": {}, "full": FULL}
OF_PROMETHEUS = ("ServiceMonitor", "PodMonitor", "PrometheusRule")
"""The Prometheus operator's kinds, which no cluster here has."""


@pytest.fixture(scope="module")
def schemas(api_server: RunningApiServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schemas")
    wanted = [folder / f"syntera.io_v1alpha1_{kind}.json".lower() for kind in KINDS]

    def write() -> None:
        write_schemas(api_server, folder)
        assert all(file.exists() for file in wanted)

    # An API server serves a new kind a moment before it describes it.
    eventually(write)
    return folder


def conform(text: str, schemas: Path) -> tuple[int, str]:
    """Exit code and output of kubeconform."""
    words: list[str | Path] = [
        ensure_binary("kubeconform"), "-strict", "-summary", "-skip", ",".join(OF_PROMETHEUS),
        "-schema-location", str(schemas / LOCATION), "-",
    ]  # fmt: skip
    ended = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_rendering_conforms(values: Values, chart: Chart, schemas: Path) -> None:
    code, said = conform(chart.render(values), schemas)

    assert code == 0, said
    assert "Invalid: 0, Errors: 0" in said


def test_examples_conform(schemas: Path) -> None:
    examples = yaml.safe_load(METADATA["annotations"]["artifacthub.io/crdsExamples"])

    code, said = conform(yaml.safe_dump_all(examples), schemas)

    assert code == 0, said
    assert "3 resources found" in said


@pytest.mark.parametrize(
    "change", [("replicas:", "replica:"), ("restartPolicy: Never", "restartPolicy: Never\n  another: field")]
)
def test_schemas_are_strict(change: tuple[str, str], chart: Chart, schemas: Path) -> None:
    """Else the test above would find nothing."""
    code, said = conform(chart.render().replace(*change), schemas)

    assert code == 1
    assert "additional" in said


def test_api_server_takes_the_full_rendering(chart: Chart, api_server: RunningApiServer) -> None:
    for name in (NAMESPACE, "monitoring"):
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        api_server.apply(NAMESPACES.path(name=name), namespace)
    manifests = chart.manifests({**FULL, "crds": {"enabled": False}})
    # The test's pod is made when its ServiceAccount is there.
    known = [manifest for manifest in manifests if manifest["kind"] not in (*OF_PROMETHEUS, "Pod")]

    words: list[str | Path] = [
        Path(sys.executable).with_name("kubectl"), "--kubeconfig", api_server.kubeconfig,
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-",
    ]  # fmt: skip
    ended = subprocess.run(words, input=yaml.safe_dump_all(known), capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.splitlines()) == len(known)


def test_expressions_of_the_policies_are_typed(installed: Installed) -> None:
    """The API server would take one that fails at every request."""
    for policy in ("tenants", "namespaces", "rolebindings", "children"):
        deadline = time.monotonic() + 60
        while True:
            found = installed.server.send("GET", f"{_POLICIES}/{installed.account}-{policy}")
            if found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"]:
                break
            assert time.monotonic() < deadline, f"nobody checked {policy}"
            time.sleep(0.1)
        assert found["status"].get("typeChecking", {}) == {}
