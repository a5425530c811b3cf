"""A whole cluster on one node: the control plane, containerd, kubelet, kube-proxy and CoreDNS in namespaces of their own.

The machine reaches the node over a cable (`host_network`), as it would reach another machine: pods, Services, the API server.
"""

import socket
import time
from collections.abc import Callable
from pathlib import Path

from syntera_dev.build import ensure_binaries
from syntera_dev.commands import run, succeeds
from syntera_dev.errors import ComponentFailed, MissingTool
from syntera_dev.packages import CNI_FOLDERS
from syntera_dev.paths import write_atomically
from syntera_dev.progress import step

from . import node_config as config
from .addons import build_addons
from .components import Component, answers, find_program
from .control_plane import ControlPlane
from .host_network import HostNetwork
from .namespaces import NodeNamespaces
from .pause_image import ensure_pause_image
from .plan import Network, Plan

_RESOLVER_FILES = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
_KERNEL_MODULES = ("overlay", "br_netfilter", "nf_conntrack", "veth")


class Node:
    """One whole cluster, in one folder."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        """Describe the cluster; nothing is written or started."""
        assert plan.network is not None
        self.plan = plan
        self.folder = folder
        self.network: Network = plan.network
        self.files = config.NodeFiles(folder)
        self.namespaces = NodeNamespaces(folder, plan.name)
        self.cable = HostNetwork(self.network)

    @property
    def control_plane(self) -> ControlPlane:
        """The control plane, run inside the node.

        Raises:
            ComponentFailed: the node does not run.
        """
        return ControlPlane(self.plan, self.folder, enter=self.namespaces.enter)

    def start(self) -> None:
        """Start what does not run and wait until the cluster serves.

        Raises:
            DevError: something could not be made or did not become healthy.
        """
        self.connect()
        with step("start etcd, kube-apiserver, kube-controller-manager, kube-scheduler"):
            self.control_plane.start()
        with step("start containerd, kubelet, kube-proxy, CoreDNS"):
            self._start_node_programs()
        with step("wait for the node, DNS and Services"):
            self._wait_until_serving()

    def connect(self) -> None:
        """Make the node's namespaces and its cable unless they are there.

        Raises:
            DevError: the kernel or the machine's rules do not allow it.
        """
        # Most kernels have these built in or loaded, and a machine without `modprobe` can load none.
        for module in _KERNEL_MODULES:
            _load_module(module)
        self.namespaces.start()
        self.cable.connect(self._init_pid())

    def stop(self) -> None:
        """End everything and take it off the machine; the folder stays."""
        self.namespaces.stop()
        self.cable.disconnect()

    def is_ready(self) -> bool:
        """Tell whether Kubernetes calls the node ready."""
        conditions = self.control_plane.api.get(f"/api/v1/nodes/{self.plan.name}")["status"].get("conditions", ())
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    def import_image(self, archive: Path) -> None:
        """Load the images of an archive into the place where the kubelet looks for them.

        Raises:
            DevError: containerd refused, or the node does not run.
        """
        run([*self._ctr(), "images", "import", archive], timeout_seconds=600)

    def images(self) -> set[str]:
        """Return the references of all images that the kubelet can use.

        Raises:
            DevError: the node does not run.
        """
        return set(run([*self._ctr(), "images", "list", "--quiet"]).split())

    def components(self) -> list[Component]:
        """Return the node's own programs in the order in which they start; the control plane's are its own."""
        programs = ensure_binaries(["kubelet", "kube-proxy", "coredns"])
        address, folder = self.network.node_address, self.files.config
        # fmt: off
        return [
            Component("containerd", (find_program("containerd"), f"--config={folder / 'containerd.toml'}", "--log-level=warn"),
                      lambda: succeeds([*self._ctr(), "version"])),
            Component("kubelet", (str(programs["kubelet"]), f"--config={folder / 'kubelet.json'}", f"--node-ip={address}",
                                  f"--hostname-override={self.plan.name}", f"--kubeconfig={self.files.kubeconfig('kubelet')}"),
                      lambda: answers(f"http://{address}:{config.KUBELET_HEALTH_PORT}/healthz")),
            Component("kube-proxy", (str(programs["kube-proxy"]), f"--config={folder / 'kube-proxy.json'}"),
                      lambda: answers(f"http://{address}:{config.KUBE_PROXY_HEALTH_PORT}/healthz")),
            Component("coredns", (str(programs["coredns"]), f"-conf={folder / 'Corefile'}"),
                      lambda: answers(f"http://{address}:{config.DNS_READY_PORT}/ready")),
        ]
        # fmt: on

    def _start_node_programs(self) -> None:
        plane = self.control_plane
        pause_image, pause_archive = ensure_pause_image()
        self._write_configuration(pause_image)
        for path, manifest in build_addons(self.network):
            plane.api.apply(path, manifest)
        components = self.components()
        plane.runner.start(components[0])
        plane.runner.wait(components[0])
        if pause_image not in self.images():
            self.import_image(pause_archive)
        for component in components[1:]:
            plane.runner.start(component)
        for component in components[1:]:
            plane.runner.wait(component)

    def _write_configuration(self, pause_image: str) -> None:
        plane, files = self.control_plane, self.files
        cni_folder = next((each for each in CNI_FOLDERS if (each / "bridge").exists()), None)
        if cni_folder is None:
            raise MissingTool("the network plugin 'bridge' is not installed (Debian: containernetworking-plugins)")
        upstreams = config.find_upstreams(*(path.read_text() for path in _RESOLVER_FILES if path.exists()))
        contents = {
            "containerd.toml": config.render_containerd(files, pause_image=pause_image, cni_folder=cni_folder),
            "cni/10-syntera.conflist": config.render_cni(self.network),
            "kubelet.json": config.render_kubelet(
                files, self.network, control_group=f"/{self.namespaces.control_group}"
            ),
            "kube-proxy.json": config.render_kube_proxy(files, self.network, node_name=self.plan.name),
            "Corefile": config.render_corefile(files, self.network, upstreams=upstreams),
            "resolv.conf": "".join(f"nameserver {upstream}\n" for upstream in upstreams),
        }
        for name, content in contents.items():
            write_atomically(files.config / name, content)
        plane.authority.server_files("kubelet-server", (self.plan.name, self.network.node_address))
        plane.write_kubeconfig(files.kubeconfig("kubelet"), f"system:node:{self.plan.name}", ("system:nodes",))
        plane.write_kubeconfig(files.kubeconfig("kube-proxy"), "system:kube-proxy")
        plane.write_kubeconfig(files.kubeconfig("coredns"), "system:coredns")

    def _wait_until_serving(self) -> None:
        _wait("the node to be ready", self.is_ready, seconds=120)
        _wait("Services to be reachable", lambda: _accepts(self.network.dns_address, 53), seconds=60)

    def _ctr(self) -> tuple[str, ...]:
        return (*self.namespaces.enter, find_program("ctr"), "--namespace=k8s.io")

    def _init_pid(self) -> int:
        init = self.namespaces.init
        if init is None:
            raise ComponentFailed(f"the node of cluster {self.plan.name!r} ended while it was being started")
        return init.pid


def _load_module(name: str) -> None:
    try:
        succeeds(["modprobe", "--quiet", name])
    except MissingTool:
        return


def _wait(what: str, is_so: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise ComponentFailed(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.2)


def _accepts(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False
