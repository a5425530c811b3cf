"""The configuration files of containerd, its network plugins, kubelet, kube-proxy and CoreDNS. Pure: a plan in, text out."""

import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .plan import Network

CLUSTER_DOMAIN = "cluster.local"
KUBELET_HEALTH_PORT = 10248
KUBE_PROXY_HEALTH_PORT = 10256
DNS_READY_PORT = 8181


@dataclass(frozen=True)
class NodeFiles:
    """Where the node's programs find their files: all below the cluster's folder, which the node sees as the machine does."""

    folder: Path

    @property
    def config(self) -> Path:
        """Configuration files."""
        return self.folder / "config"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.folder / "pki"

    def kubeconfig(self, user: str) -> Path:
        """The kubeconfig of one of the node's programs."""
        return self.folder / "kubeconfigs" / user


def render_containerd(files: NodeFiles, *, pause_image: str, cni_folder: Path) -> str:
    """Return containerd's configuration, in the version that releases 1.6 to 2.x read."""
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""\
version = 2

[plugins."io.containerd.internal.v1.opt"]
path = "{files.folder}/containerd-opt"

[{cri}]
sandbox_image = "{pause_image}"
# A container's score may not be lowered without CAP_SYS_RESOURCE, which virtual machines and containers often lack.
restrict_oom_score_adj = true
# A profile would be loaded into the machine's kernel and stay there.
disable_apparmor = true
tolerate_missing_hugetlb_controller = true
stream_server_address = "127.0.0.1"

[{cri}.cni]
bin_dir = "{cni_folder}"
conf_dir = "{files.config}/cni"

[{cri}.containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"

[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[{cri}.containerd.runtimes.runc.options]
SystemdCgroup = false
"""


def render_cni(network: Network) -> str:
    """Return the network of pods: a bridge, addresses from the node's range, and ports of the host where a pod asks for one."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": network.pod_cidr}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return _json({"cniVersion": "0.4.0", "name": "syntera", "plugins": [bridge, portmap]})


def render_kubelet(files: NodeFiles, network: Network, *, control_group: str) -> str:
    """Return the kubelet's configuration."""
    pki = files.pki
    return _json(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": network.node_address,
            "healthzBindAddress": network.node_address,
            "healthzPort": KUBELET_HEALTH_PORT,
            "tlsCertFile": str(pki / "kubelet-server.crt"),
            "tlsPrivateKeyFile": str(pki / "kubelet-server.key"),
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(pki / "ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "clusterDomain": CLUSTER_DOMAIN,
            "clusterDNS": [network.dns_address],
            "resolvConf": str(files.config / "resolv.conf"),
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": control_group,
            "failCgroupV1": False,
            "failSwapOn": False,
            "oomScoreAdj": 0,
            "volumePluginDir": str(files.folder / "volume-plugins"),
            "registerNode": True,
            "serializeImagePulls": False,
            # Loaded images come from no registry: one that is collected is gone.
            "imageGCHighThresholdPercent": 100,
            # The machine's disk is not the node's: only when it is all but full must pods go.
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        }
    )


def render_kube_proxy(files: NodeFiles, network: Network, *, node_name: str) -> str:
    """Return kube-proxy's configuration."""
    return _json(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clientConnection": {"kubeconfig": str(files.kubeconfig("kube-proxy"))},
            "hostnameOverride": node_name,
            "clusterCIDR": network.pod_cidr,
            "healthzBindAddress": f"{network.node_address}:{KUBE_PROXY_HEALTH_PORT}",
            "metricsBindAddress": "127.0.0.1:10249",
            "oomScoreAdj": 0,
            # Nothing: these limits belong to the whole machine and may not be set from a network namespace.
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            "iptables": {"localhostNodePorts": False},
        }
    )


def render_corefile(files: NodeFiles, network: Network, *, upstreams: Sequence[str]) -> str:
    """Return CoreDNS's configuration; without upstreams every name outside the cluster is unknown."""
    forward = f"    forward . {' '.join(upstreams)}\n" if upstreams else ""
    return f"""\
.:53 {{
    bind {network.node_address}
    ready {network.node_address}:{DNS_READY_PORT}
    errors
    # Names of the cluster are in memory already; a remembered answer would only be late.
    cache 30 {{
        disable success {CLUSTER_DOMAIN}
        disable denial {CLUSTER_DOMAIN}
    }}
    loadbalance
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {files.kubeconfig("coredns")}
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }}
{forward}}}
"""


def find_upstreams(*resolver_files: str) -> list[str]:
    """Return the name servers that a pod's query can be forwarded to, from the first file that has any.

    A stub resolver on the loopback address cannot be reached from the node, whose loopback is another.
    """
    for text in resolver_files:
        words = [line.split() for line in text.splitlines()]
        servers = [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]
        usable = [server for server in servers if _is_reachable(server)]
        if usable:
            return usable[:3]
    return []


def _is_reachable(server: str) -> bool:
    try:
        address = ipaddress.ip_address(server)
    except ValueError:
        return False
    return address.version == 4 and not address.is_loopback


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"
