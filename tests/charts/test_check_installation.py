"""What `helm test` runs, with the identity that the chart gives it, against a real API server."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import pytest

from syntera_kube.resources import LEASES, ROLE_BINDINGS, ROLES, SERVICE_ACCOUNTS
from tests.support.apiserver import RunningApiServer

from .chart import CHART, Chart, Manifest
from .installed import MERGE_PATCH, Installed, Request, check_allowed, eventually, token_of

pytestmark = pytest.mark.api

SCRIPT = CHART / "files" / "check_installation.py"
LEASE = "operator.syntera.io"
RESOURCES = {resource.kind: resource for resource in (SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS)}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_installation", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def identity(chart: Chart, api_server: RunningApiServer) -> tuple[str, str]:
    """Namespace and name of the ServiceAccount that `helm test` makes, with its Role and nothing else."""
    namespace = api_server.create_namespace("helm-test")
    for manifest in chart.manifests():
        if manifest["metadata"].get("annotations", {}).get("helm.sh/hook") != "test" or manifest["kind"] == "Pod":
            continue
        manifest["metadata"]["namespace"] = namespace
        for subject in manifest.get("subjects", []):
            subject["namespace"] = namespace
        resource = RESOURCES[manifest["kind"]]
        api_server.send("POST", resource.path(namespace=namespace), manifest)
    user = f"system:serviceaccount:{namespace}:syntera-test"
    eventually(partial(check_allowed, api_server, user, Request("get", "leases.coordination.k8s.io", namespace, LEASE)))
    return namespace, "syntera-test"


@pytest.fixture
def credentials(
    identity: tuple[str, str], api_server: RunningApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The folder that the pod finds at the usual path, and the pod's variables."""
    (tmp_path / "namespace").write_text(identity[0])
    (tmp_path / "token").write_text(token_of(api_server, *identity))
    (tmp_path / "ca.crt").write_bytes(api_server.ca_file.read_bytes())
    address = urlsplit(api_server.url)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(address.hostname))
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(address.port))
    return tmp_path


@pytest.fixture
def lease(identity: tuple[str, str], api_server: RunningApiServer) -> Iterator[Callable[..., None]]:
    """A Lease that an operator holds; calling it changes its spec."""
    held: Manifest = {
        "apiVersion": LEASES.api_version,
        "kind": "Lease",
        "metadata": {"name": LEASE},
        "spec": {"holderIdentity": "syntera-operator-0", "leaseDurationSeconds": 300, "renewTime": moment()},
    }
    path = LEASES.path(namespace=identity[0], name=LEASE)

    def change(**spec: object) -> None:
        api_server.send("PATCH", path, {"spec": spec}, content_type=MERGE_PATCH)

    api_server.send("POST", LEASES.path(namespace=identity[0]), held)
    yield change
    api_server.send("DELETE", path)


def moment(*, seconds_ago: float = 0) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds_ago)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@pytest.mark.usefixtures("lease")
def test_check_passes_when_an_operator_leads(script: ModuleType, credentials: Path) -> None:
    assert "'syntera-operator-0' is the active operator" in script.check(credentials)


def test_check_fails_when_there_is_no_lease(script: ModuleType, credentials: Path) -> None:
    with pytest.raises(script.NotYetError, match=r"operator\.syntera\.io was answered with status 404"):
        script.check(credentials)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"holderIdentity": ""}, "nobody holds the Lease"),
        ({"renewTime": moment(seconds_ago=600)}, "renewed the Lease .* seconds ago and not since"),
    ],
)
def test_check_fails_when_nobody_leads(
    spec: dict[str, object],
    message: str,
    script: ModuleType,
    credentials: Path,
    lease: Callable[..., None],
) -> None:
    lease(**spec)

    with pytest.raises(script.NotYetError, match=message):
        script.check(credentials)


def test_check_fails_when_the_api_server_is_away(
    script: ModuleType, credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")

    with pytest.raises(script.NotYetError, match="failed"):
        script.check(credentials)


def test_check_gives_up_after_its_deadline_and_says_why(
    script: ModuleType, credentials: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(credentials, deadline_seconds=0) == 1
    assert LEASE in capsys.readouterr().err


@pytest.mark.usefixtures("lease")
def test_pod_runs_the_script_as_it_stands(chart: Chart, credentials: Path) -> None:
    """YAML must not have bent it on its way into the pod."""
    [pod] = [manifest for manifest in chart.manifests() if manifest["kind"] == "Pod"]
    [container] = pod["spec"]["containers"]
    program, *flags = container["command"]
    text, folder = container["args"]
    assert program == "python"
    assert folder == container["volumeMounts"][0]["mountPath"]

    ended = subprocess.run(
        [sys.executable, *flags, text, str(credentials)],
        capture_output=True, text=True, check=False, env=dict(os.environ),
    )  # fmt: skip

    assert ended.returncode == 0, ended.stderr
    assert "is the active operator" in ended.stdout


def test_identity_of_the_test_may_do_nothing_else(
    identity: tuple[str, str], credentials: Path, script: ModuleType, installed: Installed
) -> None:
    namespace = identity[0]
    for path in (
        f"/api/v1/namespaces/{namespace}/secrets",
        f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases",
        f"/apis/coordination.k8s.io/v1/namespaces/{installed.namespace}/leases/{LEASE}",
        "/apis/syntera.io/v1alpha1/tenants",
    ):
        with pytest.raises(script.NotYetError, match="status 403"):
            script.get(path, credentials)
