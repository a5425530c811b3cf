"""The command lines of etcd, kube-apiserver, kube-controller-manager and kube-scheduler. Pure: paths and a plan in, words out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .plan import Plan

SERVICE_ACCOUNT_ISSUER = "https://kubernetes.default.svc.cluster.local"


@dataclass(frozen=True)
class Files:
    """Where a control plane finds its certificates and keeps its data."""

    folder: Path

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.folder / "pki"

    @property
    def etcd_socket(self) -> Path:
        """Where etcd listens: a socket in a folder that only the owner enters needs neither a port nor certificates."""
        return self.folder / "etcd.sock"

    def kubeconfig(self, user: str) -> Path:
        """The kubeconfig of one of the cluster's own programs."""
        return self.folder / "kubeconfigs" / user


def build_etcd_command(program: Path, files: Files) -> tuple[str, ...]:
    """Return etcd's command line: one member, durable against a killed process but not against a killed machine."""
    return (
        str(program),
        "--name=etcd",
        f"--data-dir={files.folder / 'etcd'}",
        f"--listen-client-urls=unix://{files.etcd_socket}",
        # etcd insists on host and port for what it tells others; a single member tells nobody.
        "--advertise-client-urls=http://127.0.0.1:1",
        "--listen-peer-urls=http://127.0.0.1:0",
        "--initial-cluster=etcd=http://localhost:2380",
        "--unsafe-no-fsync",
        "--log-level=warn",
    )


def build_api_server_command(program: Path, plan: Plan, files: Files, *, flags: Sequence[str] = ()) -> tuple[str, ...]:
    """Return kube-apiserver's command line; `flags` come last and so win over ours."""
    pki = files.pki
    command = [
        str(program),
        f"--etcd-servers=unix://{files.etcd_socket}",
        f"--bind-address={plan.address}",
        f"--advertise-address={plan.address}",
        f"--secure-port={plan.api_port}",
        f"--service-cluster-ip-range={plan.service_cidr}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--profiling=false",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--tls-cert-file={pki / 'kube-apiserver.crt'}",
        f"--tls-private-key-file={pki / 'kube-apiserver.key'}",
        f"--service-account-issuer={SERVICE_ACCOUNT_ISSUER}",
        f"--service-account-key-file={pki / 'service-accounts.pub'}",
        f"--service-account-signing-key-file={pki / 'service-accounts.key'}",
        f"--requestheader-client-ca-file={pki / 'front-proxy-ca.crt'}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={pki / 'front-proxy-client.crt'}",
        f"--proxy-client-key-file={pki / 'front-proxy-client.key'}",
    ]
    if plan.network is None:
        # The loopback address may not be published as the endpoint of the Service `kubernetes`.
        command.append("--endpoint-reconciler-type=none")
    else:
        command += [
            f"--kubelet-certificate-authority={pki / 'ca.crt'}",
            f"--kubelet-client-certificate={pki / 'kube-apiserver-kubelet-client.crt'}",
            f"--kubelet-client-key={pki / 'kube-apiserver-kubelet-client.key'}",
            # By default the node's name comes first, which nothing resolves.
            "--kubelet-preferred-address-types=InternalIP",
        ]
    if not plan.has_controllers:
        # Without controllers no namespace gets its default ServiceAccount, and every Pod would be refused.
        command.append("--disable-admission-plugins=ServiceAccount")
    return (*command, *flags)


def build_controller_manager_command(program: Path, plan: Plan, files: Files) -> tuple[str, ...]:
    """Return kube-controller-manager's command line."""
    pki, kubeconfig = files.pki, files.kubeconfig("kube-controller-manager")
    command = [
        str(program),
        *_delegating(kubeconfig),
        *_serving(plan, plan.controller_manager_port, pki),
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--root-ca-file={pki / 'ca.crt'}",
        f"--service-account-private-key-file={pki / 'service-accounts.key'}",
        f"--cluster-signing-cert-file={pki / 'ca.crt'}",
        f"--cluster-signing-key-file={pki / 'ca.key'}",
        f"--service-cluster-ip-range={plan.service_cidr}",
        # The defaults, 20 and 30, make a burst of test objects wait.
        "--kube-api-qps=100",
        "--kube-api-burst=200",
    ]
    if plan.network is not None:
        command += [
            "--allocate-node-cidrs=true",
            f"--cluster-cidr={plan.network.pod_cidr}",
            "--node-cidr-mask-size=24",
            "--enable-hostpath-provisioner=true",
        ]
    return tuple(command)


def build_scheduler_command(program: Path, plan: Plan, files: Files) -> tuple[str, ...]:
    """Return kube-scheduler's command line."""
    kubeconfig = files.kubeconfig("kube-scheduler")
    return (
        str(program),
        *_delegating(kubeconfig),
        *_serving(plan, plan.scheduler_port, files.pki),
        "--leader-elect=false",
    )


def _delegating(kubeconfig: Path) -> tuple[str, ...]:
    names = ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
    return tuple(f"--{name}={kubeconfig}" for name in names)


def _serving(plan: Plan, port: int, pki: Path) -> tuple[str, ...]:
    return (
        f"--bind-address={plan.address}",
        f"--secure-port={port}",
        # The API server's certificate holds this address too; these ports serve nothing but health and metrics.
        f"--tls-cert-file={pki / 'kube-apiserver.crt'}",
        f"--tls-private-key-file={pki / 'kube-apiserver.key'}",
        "--profiling=false",
    )
