"""What a cluster is made of before anything runs: addresses, ports and switches, decided once and kept in its folder.

A restarted program finds the same ports, and `down` finds what `up` has made, because both read this.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from syntera_dev.paths import write_atomically

_FILE = "plan.json"
# The kernel's sockaddr_un holds 108 bytes, the closing zero included.
MAXIMUM_SOCKET_PATH = 107


@dataclass(frozen=True)
class Network:
    """The addresses of one node. A slot gives each whole cluster on a machine addresses of its own; slot 0 has the usual ones."""

    slot: int = 0

    @property
    def node_address(self) -> str:
        """Where the node is reached from the machine and from pods."""
        return f"172.30.{self.slot}.1"

    @property
    def host_address(self) -> str:
        """The machine's end of the cable to the node."""
        return f"172.30.{self.slot}.2"

    @property
    def pod_cidr(self) -> str:
        """The addresses of pods."""
        return f"10.244.{self.slot}.0/24"

    @property
    def service_cidr(self) -> str:
        """The addresses of Services."""
        return f"10.{96 + self.slot}.0.0/16"

    @property
    def api_service_address(self) -> str:
        """The Service address of the API server."""
        return f"10.{96 + self.slot}.0.1"

    @property
    def dns_address(self) -> str:
        """The Service address of the cluster's DNS."""
        return f"10.{96 + self.slot}.0.10"


@dataclass(frozen=True)
class Plan:
    """One cluster."""

    name: str
    address: str
    """Where the control plane serves: the loopback address, or the node's."""
    api_port: int
    controller_manager_port: int
    scheduler_port: int
    has_controllers: bool
    slot: int | None
    """The node's network slot; None without a node."""

    @property
    def network(self) -> Network | None:
        """The node's addresses; None without a node."""
        return None if self.slot is None else Network(self.slot)

    @property
    def service_cidr(self) -> str:
        """The addresses of Services; without a node they are only written into objects."""
        return (self.network or Network()).service_cidr

    @property
    def server_names(self) -> tuple[str, ...]:
        """Every name and address under which clients reach the API server."""
        inside = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
        return (*inside, "localhost", "127.0.0.1", self.address, (self.network or Network()).api_service_address)

    def save(self, folder: Path) -> None:
        """Keep the plan in the cluster's folder."""
        write_atomically(folder / _FILE, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Plan | None":
        """Read the plan of the cluster in a folder; None when there is no cluster."""
        try:
            return cls(**json.loads((folder / _FILE).read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None


def recorded_slot(folder: Path) -> int | None:
    """Return the slot that a folder's plan names, even where another version of this program has written the plan."""
    try:
        slot = json.loads((folder / _FILE).read_text())["slot"]
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
    return slot if isinstance(slot, int) else None


def plan_node(name: str, slot: int) -> Plan:
    """Return the plan of a whole cluster: the usual ports, on addresses of its own."""
    return Plan(
        name=name,
        address=Network(slot).node_address,
        api_port=6443,
        controller_manager_port=10257,
        scheduler_port=10259,
        has_controllers=True,
        slot=slot,
    )


def plan_control_plane(name: str, *, controllers: bool, ports: tuple[int, int]) -> Plan:
    """Return the plan of a control plane alone: loopback, on ports that the caller found free."""
    return Plan(
        name=name,
        address="127.0.0.1",
        api_port=ports[0],
        controller_manager_port=ports[1],
        scheduler_port=0,
        has_controllers=controllers,
        slot=None,
    )
