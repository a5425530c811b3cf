"""A whole cluster beside the one that is in use: that it works, and that nothing of it stays. Only the real thing can show either."""

import json
import os
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from syntera_dev.cluster import lifecycle
from syntera_dev.cluster.node import Node
from syntera_dev.cluster.pause_image import ensure_pause_image
from syntera_dev.cluster.plan import Plan
from syntera_dev.cluster.target import find_kubectl
from syntera_dev.commands import run
from syntera_dev.packages import CLUSTER_REQUIREMENTS, ensure_packages

from .machine import processes_of, traces

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(
        os.environ.get("CLUSTER") == "current", reason="with CLUSTER=current no cluster of ours is started"
    ),
]

NAME = "leaves-nothing"
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.fixture(autouse=True)
def down_afterwards() -> Iterator[None]:
    # On a new machine no cluster has installed them yet, and what is left behind is looked for with them.
    ensure_packages(CLUSTER_REQUIREMENTS)
    lifecycle.down(NAME)
    yield
    lifecycle.down(NAME)


def kubectl(*arguments: str, stdin: str = "") -> str:
    kubeconfig = lifecycle.cluster_folder(NAME) / "kubeconfig"
    return run([find_kubectl(), f"--kubeconfig={kubeconfig}", *arguments], stdin=stdin, timeout_seconds=120)


def make_pod() -> str:
    """A hardened pod with a volume, in a namespace that admits no other kind."""
    container = {
        "name": "pause",
        "image": ensure_pause_image()[0],
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    items = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "hardened", "labels": labels}},
        {
            "kind": "PersistentVolumeClaim",
            "apiVersion": "v1",
            "metadata": {"name": "data", "namespace": "hardened"},
            "spec": claim,
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "pause", "namespace": "hardened"},
            "spec": {"containers": [container], "volumes": [volume]},
        },
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def run_pod() -> None:
    kubectl("apply", "-f", "-", stdin=make_pod())
    kubectl("wait", "--for=condition=Ready", "pod/pause", "-n", "hardened", "--timeout=90s")


def running_node() -> Node:
    plan = Plan.load(lifecycle.cluster_folder(NAME))
    assert plan is not None
    return Node(plan, lifecycle.cluster_folder(NAME))


def process_namespace(node: Node) -> str:
    init = node.namespaces.init
    assert init is not None
    return str(Path(f"/proc/{init.pid}/ns/pid").readlink())


def resolve(name: str, server: str) -> str:
    """Ask a name server for a name's address."""
    question = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(5)
        asking.sendto(struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + question, (server, 53))
        return socket.inet_ntoa(asking.recv(512)[-4:])


def test_cluster_runs_hardened_pods_and_leaves_nothing() -> None:
    before = traces()
    kubeconfig = lifecycle.up(NAME)
    node = running_node()
    run_pod()

    assert kubectl("logs", "pause", "-n", "hardened") == ""  # through the kubelet, by the node's address
    assert resolve("kubernetes.default.svc.cluster.local", node.network.dns_address) == node.network.api_service_address
    status = lifecycle.status(NAME)
    assert status is not None
    assert status.is_serving
    assert {component.name for component in status.components if component.is_running} >= {"etcd", "kubelet", "coredns"}
    namespace = process_namespace(node)
    assert len(processes_of(namespace)) > 8

    lifecycle.down(NAME)
    assert traces() == before
    assert processes_of(namespace) == []
    assert not kubeconfig.parent.exists()


def test_up_again_changes_nothing_that_runs() -> None:
    lifecycle.up(NAME)
    run_pod()
    pods, records = kubectl("get", "pods", "-A", "-o", "name"), records_of_components()
    lifecycle.up(NAME)
    assert records_of_components() == records
    assert kubectl("get", "pods", "-A", "-o", "name") == pods


def test_up_starts_what_has_ended() -> None:
    lifecycle.up(NAME)
    run_pod()
    plane = running_node().control_plane
    for name in ("kubelet", "kube-apiserver", "coredns"):
        plane.runner.stop(name, grace_seconds=0)
    lifecycle.up(NAME)
    kubectl("wait", "--for=condition=Ready", "pod/pause", "-n", "hardened", "--timeout=60s")


def test_up_clears_what_a_killed_run_left() -> None:
    before = traces()
    lifecycle.up(NAME)
    run_pod()
    init = running_node().namespaces.init
    assert init is not None
    os.kill(init.pid, signal.SIGKILL)

    lifecycle.up(NAME)
    assert kubectl("get", "namespaces", "-o", "name").split() == [
        f"namespace/{name}" for name in ("default", "kube-node-lease", "kube-public", "kube-system")
    ]
    lifecycle.down(NAME)
    assert traces() == before


def records_of_components() -> dict[str, str]:
    return {file.name: file.read_text() for file in Path(lifecycle.cluster_folder(NAME), "pids").iterdir()}
