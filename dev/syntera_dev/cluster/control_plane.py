"""A Kubernetes control plane: etcd, kube-apiserver and, where planned, kube-controller-manager and kube-scheduler.

Alone (`control_plane`) it serves tests that need a real API server and no pods: up in seconds, several at once. A whole cluster
stands on the same class, run inside the node's namespaces. Nothing here knows of containers or networks.
"""

import contextlib
import shutil
import ssl
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from syntera_dev.build import ensure_binaries
from syntera_dev.errors import DevError
from syntera_dev.paths import write_atomically

from . import control_plane_commands as commands
from .components import (
    Component,
    ComponentRunner,
    answers,
    free_ports,
    socket_answers,
    stop_all,
)
from .guard import guarded
from .kubeconfig import ServerAddress, render_kubeconfig
from .pki import Authority, service_account_keys
from .plan import MAXIMUM_SOCKET_PATH, Plan, plan_control_plane
from .rest import ApiServer

ADMINISTRATORS = "system:masters"
# Clients go first and the store last, or the API server spends its grace time on a store that is gone.
STOP_ORDER = ("kube-controller-manager", "kube-scheduler", "kube-apiserver", "etcd")


class ControlPlane:
    """The control plane of one cluster, in one folder."""

    def __init__(
        self, plan: Plan, folder: Path, *, enter: tuple[str, ...] = (), api_server_flags: Sequence[str] = ()
    ) -> None:
        """Describe the control plane; nothing is written or started.

        Raises:
            DevError: the folder's path is too long for a unix socket.
        """
        self.plan = plan
        self.files = commands.Files(folder)
        self.runner = ComponentRunner(folder, enter)
        self._api_server_flags = tuple(api_server_flags)
        if len(str(self.files.etcd_socket)) > MAXIMUM_SOCKET_PATH:
            raise DevError(f"{self.files.etcd_socket} is too long for a unix socket; choose a shorter folder")

    @property
    def server(self) -> str:
        """The API server's URL."""
        return f"https://{self.plan.address}:{self.plan.api_port}"

    @property
    def ca(self) -> Path:
        """The file of the authority that signed the API server's certificate."""
        return self.files.pki / "ca.crt"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.files.folder / "kubeconfig"

    @property
    def api(self) -> ApiServer:
        """The API server as its administrator sees it."""
        certificate, key = self.authority.client_files("admin", "syntera-admin", (ADMINISTRATORS,))
        return ApiServer(self.server, authority=self.ca, certificate=certificate, key=key)

    @property
    def authority(self) -> Authority:
        """The authority that signs the certificates of the cluster's servers and clients."""
        return Authority(self.files.pki)

    def client_kubeconfig(self, user: str, groups: Iterable[str] = ()) -> str:
        """Return a kubeconfig for a user of any name and groups, who may do what RBAC grants them."""
        address = ServerAddress(self.server, self.authority.certificate)
        credentials = self.authority.client(user, tuple(groups))
        return render_kubeconfig(address, context=self.plan.name, user=user, credentials=credentials)

    def prepare(self) -> None:
        """Write certificates, kubeconfigs and the plan. Repeating it changes nothing."""
        self.files.folder.mkdir(parents=True, exist_ok=True)
        self.files.folder.chmod(0o700)  # keys, and a store that asks nobody for a password
        self._prepare_certificates()
        programs = {
            "kube-controller-manager": self.plan.has_controllers,
            "kube-scheduler": self.plan.network is not None,
        }
        for program in (name for name, wanted in programs.items() if wanted):
            self.write_kubeconfig(self.files.kubeconfig(program), f"system:{program}")
        self.write_kubeconfig(self.kubeconfig, "syntera-admin", (ADMINISTRATORS,))
        self.plan.save(self.files.folder)

    def write_kubeconfig(self, path: Path, user: str, groups: Iterable[str] = ()) -> None:
        """Write the kubeconfig of a user unless the file is there."""
        if not path.exists():
            write_atomically(path, self.client_kubeconfig(user, groups), mode=0o600)

    def start(self) -> None:
        """Start what does not run and wait until all of it is healthy.

        Raises:
            DevError: a program could not be compiled, or did not become healthy.
        """
        self.prepare()
        components = self.components()
        for component in components:
            self.runner.start(component)
            if component.name in ("etcd", "kube-apiserver"):
                self.runner.wait(component)
        for component in components:
            self.runner.wait(component)

    def components(self) -> list[Component]:
        """Return the components in the order in which they start."""
        names = ["etcd", "kube-apiserver"]
        names += ["kube-controller-manager"] if self.plan.has_controllers else []
        names += ["kube-scheduler"] if self.plan.network is not None else []
        programs = ensure_binaries(names)
        return [self._component(name, programs[name]) for name in names]

    def start_component(self, name: str) -> None:
        """Start one component and wait until it is healthy.

        Raises:
            DevError: it did not become healthy, or the control plane has none of that name.
        """
        component = self._planned(name)
        self.runner.start(component)
        self.runner.wait(component)

    def stop_component(self, name: str, *, grace_seconds: float = 10) -> None:
        """End one component; no grace makes it a crash.

        Raises:
            DevError: the control plane has none of that name.
        """
        self.runner.stop(self._planned(name).name, grace_seconds=grace_seconds)

    def restart_api_server(self, *, grace_seconds: float = 2) -> None:
        """End the API server and start it again on the same port. It would grant its open watches the whole grace time.

        Raises:
            DevError: it did not become healthy again.
        """
        self.stop_component("kube-apiserver", grace_seconds=grace_seconds)
        self.start_component("kube-apiserver")

    def stop(self) -> None:
        """End every component; the data stay in the folder."""
        stop_all(self.runner, STOP_ORDER)

    def _planned(self, name: str) -> Component:
        for component in self.components():
            if component.name == name:
                return component
        raise DevError(f"the control plane {self.plan.name!r} has no component {name!r}")

    def _component(self, name: str, program: Path) -> Component:
        plan, files = self.plan, self.files
        match name:
            case "etcd":
                command = commands.build_etcd_command(program, files)
                return Component(name, command, lambda: socket_answers(files.etcd_socket, "/health"))
            case "kube-apiserver":
                command = commands.build_api_server_command(program, plan, files, flags=self._api_server_flags)
                return Component(name, command, self.api.is_healthy)
            case "kube-controller-manager":
                command = commands.build_controller_manager_command(program, plan, files)
                return Component(name, command, lambda: self._serves(plan.controller_manager_port))
            case _:
                command = commands.build_scheduler_command(program, plan, files)
                return Component(name, command, lambda: self._serves(plan.scheduler_port))

    def _serves(self, port: int) -> bool:
        context = ssl.create_default_context(cafile=str(self.ca))
        return answers(f"https://{self.plan.address}:{port}/healthz", context=context)

    def _prepare_certificates(self) -> None:
        authority = self.authority
        authority.server_files("kube-apiserver", self.plan.server_names)
        authority.client_files("kube-apiserver-kubelet-client", "kube-apiserver-kubelet-client", (ADMINISTRATORS,))
        # A second authority: whoever holds a certificate of this one may claim to be anybody.
        front_proxy = Authority(self.files.pki, "front-proxy-ca")
        front_proxy.client_files("front-proxy-client", "front-proxy-client")
        service_account_keys(self.files.pki)


def plan_new_control_plane(name: str, *, controllers: bool) -> Plan:
    """Return a plan on ports that are free now."""
    api_port, controller_manager_port = free_ports(2)
    return plan_control_plane(name, controllers=controllers, ports=(api_port, controller_manager_port))


@contextlib.contextmanager
def control_plane(
    state_folder: Path, *, controllers: bool = True, api_server_flags: Sequence[str] = ()
) -> Iterator[ControlPlane]:
    """Run a control plane for the length of the block and remove its folder; it ends with the calling process in any case.

    With `controllers` owned objects are collected, namespaces go away and have their ServiceAccounts; without, it is up sooner.

    Raises:
        DevError: a program could not be compiled, or did not become healthy.
    """
    plan = plan_new_control_plane(state_folder.name, controllers=controllers)
    plane = ControlPlane(plan, state_folder, api_server_flags=api_server_flags)
    with guarded(state_folder):
        try:
            plane.start()
            yield plane
        finally:
            plane.stop()
            shutil.rmtree(state_folder, ignore_errors=True)
