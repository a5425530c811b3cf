"""Brings clusters up, takes them down and tells how they are. Each is a folder below the state folder, named after the cluster.

`up` leaves alone what runs, clears what a killed run left, and starts the rest; `down` leaves nothing.
"""

import os
import re
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from syntera_dev.build import BINARIES, ensure_binaries
from syntera_dev.build.binaries import version
from syntera_dev.commands import run
from syntera_dev.errors import DevError
from syntera_dev.packages import CLUSTER_REQUIREMENTS, ensure_packages
from syntera_dev.paths import exclusive, state_folder
from syntera_dev.progress import step

from .components import ComponentRunner, stop_all
from .control_plane import STOP_ORDER, ControlPlane, plan_new_control_plane
from .host_network import HostNetwork, choose_slot
from .namespaces import NodeNamespaces
from .node import Node
from .plan import Network, Plan, plan_node, recorded_slot

DEFAULT_NAME = "syntera"

_NODE_PROGRAMS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "coredns",
    "pause",
)
_VALID_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?")


@dataclass(frozen=True)
class ComponentStatus:
    """One program of a cluster."""

    name: str
    version: str
    is_running: bool


@dataclass(frozen=True)
class ClusterStatus:
    """What runs of one cluster."""

    name: str
    kubeconfig: Path
    server: str
    components: Sequence[ComponentStatus]
    is_serving: bool
    """The API server answers; with a node, the node is ready as well."""


def cluster_folder(name: str) -> Path:
    """Return the folder of a cluster.

    Raises:
        DevError: the name would not do as a node's name.
    """
    if not _VALID_NAME.fullmatch(name):
        raise DevError(f"cluster name {name!r}: at most 20 small letters, digits and dashes, no dash at either end")
    return state_folder() / "clusters" / name


def up(name: str = DEFAULT_NAME) -> Path:
    """Bring up a whole cluster and return its kubeconfig.

    Raises:
        DevError: something could not be installed, compiled or started.
    """
    folder = cluster_folder(name)
    if os.geteuid() != 0:
        raise DevError("a whole cluster needs root: its node has mounts, namespaces and control groups of its own")
    with _changing(name):
        _prepare_machine()
        plan = Plan.load(folder)
        if plan is None or plan.network is None or NodeNamespaces(folder, name).init is None:
            _clear(name, folder)
            plan = _claim_slot(name, folder)
        node = Node(plan, folder)
        node.start()
        return node.control_plane.kubeconfig


def up_control_plane(name: str = DEFAULT_NAME, *, controllers: bool = False) -> Path:
    """Bring up a control plane without a node and return its kubeconfig.

    Raises:
        DevError: something could not be compiled or started.
    """
    folder = cluster_folder(name)
    with _changing(name):
        plan = Plan.load(folder)
        if plan is None or plan.network is not None or plan.has_controllers != controllers:
            _clear(name, folder)
            plan = plan_new_control_plane(name, controllers=controllers)
        plane = ControlPlane(plan, folder)
        with step("start the control plane"):
            plane.start()
        return plane.kubeconfig


def down(name: str = DEFAULT_NAME) -> None:
    """End a cluster and remove every trace of it; nothing happens when there is none.

    Raises:
        DevError: something could not be removed.
    """
    folder = cluster_folder(name)
    with _changing(name), step(f"take down cluster {name!r}"):
        _clear(name, folder)


def status(name: str = DEFAULT_NAME) -> ClusterStatus | None:
    """Tell what runs of a cluster; None when there is none."""
    folder = cluster_folder(name)
    plan = Plan.load(folder)
    if plan is None:
        return None
    plane = ControlPlane(plan, folder)
    runner = plane.runner
    components = [ComponentStatus(each, _version(each), runner.is_running(each)) for each in runner.recorded()]
    return ClusterStatus(name, plane.kubeconfig, plane.server, components, _is_serving(plan, folder))


def existing_node(name: str = DEFAULT_NAME) -> Node:
    """Return the running whole cluster of a name.

    Raises:
        DevError: there is none.
    """
    folder = cluster_folder(name)
    plan = Plan.load(folder)
    if plan is None or plan.network is None or NodeNamespaces(folder, name).init is None:
        raise DevError(
            f"no whole cluster named {name!r} is up; start it with `python -m syntera_dev.cluster up --name {name}`"
        )
    return Node(plan, folder)


def _changing(name: str) -> AbstractContextManager[None]:
    return exclusive(state_folder() / "locks" / f"cluster-{name}", f"changing cluster {name!r}")


def _prepare_machine() -> None:
    """Install packages and compile at the same time: one waits for the network, the other for the processors."""
    with ThreadPoolExecutor() as pool:
        packages = pool.submit(ensure_packages, CLUSTER_REQUIREMENTS)
        ensure_binaries(_NODE_PROGRAMS)
        packages.result()


def _claim_slot(name: str, folder: Path) -> Plan:
    """Choose addresses and take them at once by laying the cable, so that two runs do not choose the same."""
    with exclusive(state_folder() / "locks" / "slots", "choosing addresses"), step("make the node"):
        plan = plan_node(name, choose_slot())
        plan.save(folder)
        Node(plan, folder).connect()
        return plan


def _clear(name: str, folder: Path) -> None:
    """Remove what is there of a cluster, in whatever state it is."""
    slot = recorded_slot(folder)
    if slot is not None:
        NodeNamespaces(folder, name).stop()
        HostNetwork(Network(slot)).disconnect()
    stop_all(ComponentRunner(folder), STOP_ORDER)
    if folder.exists():
        shutil.rmtree(folder)


def _is_serving(plan: Plan, folder: Path) -> bool:
    if plan.network is None:
        return ControlPlane(plan, folder).api.is_healthy()
    try:
        return Node(plan, folder).is_ready()
    except DevError:
        return False


def _version(component: str) -> str:
    if component in BINARIES:
        return version(BINARIES[component])
    # containerd is the machine's own: "containerd github.com/containerd/containerd 1.6.20~ds1 ..."
    return run([component, "--version"]).split()[2]
