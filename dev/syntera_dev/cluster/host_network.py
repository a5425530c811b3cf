"""The cable between the machine and a node: a pair of interfaces, routes to pods and Services, and the way out for pods.

These are the only things that a cluster adds to the machine's own network; `disconnect` takes all of them away.
"""

import contextlib
import ipaddress
import json
import re
from dataclasses import dataclass
from pathlib import Path

from syntera_dev.commands import run, succeeds
from syntera_dev.errors import ClusterBusy, DevError
from syntera_dev.paths import write_atomically

from .plan import Network

SLOTS = range(8)
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
# /run is emptied by a restart of the machine, which resets the setting as well.
_FORMER_FORWARDING = Path("/run/syntera-dev-ip-forward")
_NODE_INTERFACE = "eth0"


@dataclass(frozen=True)
class HostNetwork:
    """The machine's side of one node's network."""

    network: Network

    @property
    def interface(self) -> str:
        """The machine's end of the cable."""
        return f"syntera{self.network.slot}"

    def connect(self, init_pid: int) -> None:
        """Lay the cable to the namespaces of a process, unless it is there.

        Raises:
            DevError: the kernel or the machine's rules do not allow it.
        """
        if self.interface not in interfaces():
            self._lay_cable(init_pid)
        self._allow_traffic()

    def disconnect(self) -> None:
        """Remove the cable, and with it the routes; the rules; and forwarding, if this was the last cluster and it was off before.

        Raises:
            DevError: the kernel or the machine's rules do not allow it.
        """
        # The kernel removes the cable with the node's namespace, a moment after its last process; this may be before or after.
        if not succeeds(["ip", "link", "delete", self.interface]) and self.interface in interfaces():
            raise DevError(
                f"the interface {self.interface} cannot be removed; `ip link delete {self.interface}` tells why"
            )
        for table, chain, rule in self._rules():
            while succeeds(["iptables", "--wait=10", "-t", table, "-C", chain, *rule]):
                run(["iptables", "--wait=10", "-t", table, "-D", chain, *rule])
        if _FORMER_FORWARDING.exists() and not any(re.fullmatch(r"syntera\d", name) for name in interfaces()):
            _FORWARDING.write_text(_FORMER_FORWARDING.read_text())
            _FORMER_FORWARDING.unlink()

    def _lay_cable(self, init_pid: int) -> None:
        node, host = self.network.node_address, self.network.host_address
        inside = ["nsenter", f"--target={init_pid}", "--net", "--", "ip"]
        run(
            [
                "ip",
                "link",
                "add",
                self.interface,
                "type",
                "veth",
                "peer",
                "name",
                _NODE_INTERFACE,
                "netns",
                str(init_pid),
            ]
        )
        run(["ip", "address", "add", host, "peer", node, "dev", self.interface])
        run(["ip", "link", "set", self.interface, "up"])
        run([*inside, "address", "add", node, "peer", host, "dev", _NODE_INTERFACE])
        run([*inside, "link", "set", _NODE_INTERFACE, "up"])
        run([*inside, "route", "add", "default", "via", host])
        for cidr in (self.network.service_cidr, self.network.pod_cidr):
            run(["ip", "route", "add", cidr, "via", node, "dev", self.interface])

    def _allow_traffic(self) -> None:
        if _FORWARDING.read_text().strip() != "1":
            write_atomically(_FORMER_FORWARDING, _FORWARDING.read_text())
            _FORWARDING.write_text("1")
        for table, chain, rule in self._rules():
            if not succeeds(["iptables", "--wait=10", "-t", table, "-C", chain, *rule]):
                # First in its chain: other software's last rule is often to drop everything.
                run(["iptables", "--wait=10", "-t", table, "-I", chain, "1", *rule])

    def _rules(self) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
        name = ("-m", "comment", "--comment", self.interface)
        out = ("-s", f"{self.network.node_address}/32", "!", "-o", self.interface, *name, "-j", "MASQUERADE")
        return (
            ("nat", "POSTROUTING", out),
            ("filter", "FORWARD", ("-i", self.interface, *name, "-j", "ACCEPT")),
            ("filter", "FORWARD", ("-o", self.interface, *name, "-j", "ACCEPT")),
        )


def choose_slot() -> int:
    """Return the first slot whose addresses nothing on the machine has or routes to more closely than the cluster would.

    Raises:
        ClusterBusy: all are taken.
    """
    taken = _addresses()
    for slot in SLOTS:
        network = Network(slot)
        wanted = [ipaddress.IPv4Network(cidr) for cidr in (network.pod_cidr, network.service_cidr)]
        wanted += [ipaddress.IPv4Network(address) for address in (network.node_address, network.host_address)]
        if not any(other.subnet_of(each) for each in wanted for other in taken):
            return slot
    raise ClusterBusy(f"all {len(SLOTS)} address ranges for clusters are in use; take a cluster down")


def interfaces() -> set[str]:
    """Return the names of the machine's network interfaces."""
    return {path.name for path in Path("/sys/class/net").iterdir()}


def _addresses() -> list[ipaddress.IPv4Network]:
    links = json.loads(run(["ip", "-json", "-4", "address", "show"]) or "[]")
    routes = json.loads(run(["ip", "-json", "-4", "route", "show"]) or "[]")
    found = [address["local"] for link in links for address in link.get("addr_info", ()) if "local" in address]
    found += [route["dst"] for route in routes if route.get("dst") != "default"]
    networks = []
    for text in found:
        with contextlib.suppress(ValueError):
            networks.append(ipaddress.IPv4Network(text, strict=False))
    return networks
