"""A real control plane: what is tested is that real programs take what we give them, which nothing smaller can show."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from syntera_dev.cluster.control_plane import ControlPlane, control_plane
from syntera_dev.cluster.processes import ProcessRecord
from syntera_dev.cluster.target import find_kubectl
from syntera_dev.commands import run
from syntera_dev.errors import CommandFailed, DevError
from syntera_dev.paths import REPOSITORY

pytestmark = [pytest.mark.api, pytest.mark.long]

_CONFIG_MAP = "/api/v1/namespaces/default/configmaps/kept"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("plane") / "one", controllers=True) as plane:
        yield plane


def kubectl(kubeconfig: Path, *arguments: str) -> str:
    return run([find_kubectl(), f"--kubeconfig={kubeconfig}", *arguments], timeout_seconds=120)


def test_kubeconfig_gives_the_administrator_every_right(plane: ControlPlane) -> None:
    assert kubectl(plane.kubeconfig, "auth", "can-i", "*", "*").strip() == "yes"


def test_client_kubeconfig_is_the_users_alone(plane: ControlPlane, tmp_path: Path) -> None:
    file = tmp_path / "ann"
    file.write_text(plane.client_kubeconfig("ann", ["dev"]))
    who = json.loads(kubectl(file, "auth", "whoami", "-o", "json"))["status"]["userInfo"]
    assert who["username"] == "ann"
    assert "dev" in who["groups"]
    with pytest.raises(CommandFailed, match='User "ann" cannot list resource "namespaces"'):
        kubectl(file, "get", "namespaces")


def test_controllers_give_a_namespace_its_service_account_and_take_it_away(plane: ControlPlane) -> None:
    kubectl(plane.kubeconfig, "create", "namespace", "short-lived")
    kubectl(plane.kubeconfig, "wait", "--for=create", "serviceaccount/default", "-n", "short-lived", "--timeout=100s")
    kubectl(plane.kubeconfig, "delete", "namespace", "short-lived", "--timeout=100s")


def test_restarted_api_server_keeps_address_and_data(plane: ControlPlane) -> None:
    server = plane.server
    plane.api.apply(
        _CONFIG_MAP, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}, "data": {"a": "b"}}
    )
    plane.restart_api_server()
    assert plane.server == server
    assert plane.api.get(_CONFIG_MAP)["data"] == {"a": "b"}


def test_stopped_component_can_be_started_again(plane: ControlPlane) -> None:
    plane.stop_component("kube-controller-manager", grace_seconds=0)
    assert not plane.runner.is_running("kube-controller-manager")
    plane.start_component("kube-controller-manager")
    assert plane.runner.is_running("kube-controller-manager")


def test_unknown_component_is_refused(plane: ControlPlane) -> None:
    with pytest.raises(DevError, match="has no component 'kube-scheduler'"):
        plane.stop_component("kube-scheduler")


def test_two_control_planes_run_side_by_side_and_leave_nothing(plane: ControlPlane, tmp_path: Path) -> None:
    folder = tmp_path / "two"
    with control_plane(folder, controllers=False) as second:
        assert second.server != plane.server
        assert second.api.is_healthy()
        assert plane.api.is_healthy()
        records = [ProcessRecord.load(file) for file in (folder / "pids").iterdir()]
    assert not folder.exists()
    assert len(records) == 2
    assert not any(record.is_running() for record in records if record is not None)


def test_control_plane_ends_with_a_run_that_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    code = (
        "import sys, time; from pathlib import Path; from syntera_dev.cluster.control_plane import control_plane\n"
        "with control_plane(Path(sys.argv[1]), controllers=False):\n  print('up', flush=True); time.sleep(600)"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "dev")}
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], env=environment, stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"up\n"
        records = [ProcessRecord.load(file) for file in (folder / "pids").iterdir()]
        killed.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not folder.exists()
    assert len(records) == 2
    assert not any(record.is_running() for record in records if record is not None)
