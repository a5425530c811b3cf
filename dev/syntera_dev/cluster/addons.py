"""The few objects that a cluster needs before it is of use: the DNS Service, CoreDNS's rights, a StorageClass. Pure."""

from typing import Any

from .plan import Network

_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_LABELS = {"k8s-app": "kube-dns", "app.kubernetes.io/managed-by": "syntera-dev"}
_DNS_PORTS = (("dns", "UDP"), ("dns-tcp", "TCP"))


def build_addons(network: Network) -> list[tuple[str, dict[str, Any]]]:
    """Return each object with the path at which it is applied."""
    return [
        (f"{_RBAC}/clusterroles/syntera-dev:coredns", _dns_role()),
        (f"{_RBAC}/clusterrolebindings/syntera-dev:coredns", _dns_binding()),
        ("/api/v1/namespaces/kube-system/services/kube-dns", _dns_service(network)),
        ("/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices/kube-dns", _dns_endpoints(network)),
        ("/apis/storage.k8s.io/v1/storageclasses/standard", _storage_class()),
    ]


def _dns_role() -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "syntera-dev:coredns", "labels": _LABELS},
        "rules": [
            {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
        ],
    }


def _dns_binding() -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "syntera-dev:coredns", "labels": _LABELS},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "syntera-dev:coredns"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "system:coredns"}],
    }


def _dns_service(network: Network) -> dict[str, Any]:
    """Return a Service without a selector: CoreDNS is a program of the node and not a pod."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": _LABELS},
        "spec": {
            "clusterIP": network.dns_address,
            "ports": [{"name": name, "port": 53, "protocol": protocol} for name, protocol in _DNS_PORTS],
        },
    }


def _dns_endpoints(network: Network) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kube-dns",
            "namespace": "kube-system",
            "labels": {**_LABELS, "kubernetes.io/service-name": "kube-dns"},
        },
        "addressType": "IPv4",
        "ports": [{"name": name, "port": 53, "protocol": protocol} for name, protocol in _DNS_PORTS],
        "endpoints": [{"addresses": [network.node_address], "conditions": {"ready": True}}],
    }


def _storage_class() -> dict[str, Any]:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": "standard",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        # Folders of the node, made by kube-controller-manager; they end with the cluster.
        "provisioner": "kubernetes.io/host-path",
        "volumeBindingMode": "Immediate",
        "reclaimPolicy": "Delete",
    }
