"""The first process of a node: it holds the node's namespaces, and with it everything in them ends.

It runs as process 1 of new mount, process and network namespaces. All that Kubernetes and containerd would write to fixed places of the
machine is given another place in the cluster's folder here, so the machine's own tree, mounts, interfaces and firewall stay untouched.
"""

import contextlib
import ctypes
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

PRIVATE_FOLDERS = {
    "/var/lib/kubelet": "kubelet",
    "/var/lib/containerd": "containerd",
    "/var/lib/cni": "cni",
    "/var/log/pods": "pod-logs",
    "/var/log/containers": "container-logs",
    # Where kube-controller-manager's provisioner puts volumes; the place is fixed in its source.
    "/tmp/hostpath_pv": "volumes",
}
"""Folders that the programs insist on, and what stands for them in the cluster's folder."""

_KUBELET_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""Kernel settings of the whole machine that the kubelet changes at its start unless it finds these values."""

_NETWORK_SETTINGS = {"net/ipv4/ip_forward": "1", "net/bridge/bridge-nf-call-iptables": "1"}
"""Settings of the node's own network namespace."""

READY_FILE = "node-ready"

_PROVISIONED_MODE = 0o750
_ENTRY_CREATED = 0x100  # IN_CREATE of <sys/inotify.h>


def main() -> None:
    """Arrange the namespaces, say so, and stay."""
    folder = Path(sys.argv[1])
    _arrange(folder)
    # Processes whose parents have ended become ours; without this they would stay as zombies.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    new_volumes = _watch(folder / PRIVATE_FOLDERS["/tmp/hostpath_pv"])
    (folder / READY_FILE).touch()
    while True:
        os.read(new_volumes, 4096)
        _open_to_all(folder / PRIVATE_FOLDERS["/tmp/hostpath_pv"])


def _arrange(folder: Path) -> None:
    # Shared within the node, for volumes with mount propagation; `unshare` has cut the tie to the machine.
    _call("mount", "--make-rshared", "/")
    # First, because `mount` itself keeps notes in /run.
    _call("mount", "-t", "tmpfs", "-o", "mode=755", "syntera-node", "/run")
    for place, name in PRIVATE_FOLDERS.items():
        (folder / name).mkdir(exist_ok=True)
        _call("mount", "--bind", str(folder / name), place)
    _pretend_settings(Path("/run/kubelet-settings"))
    for name, value in _NETWORK_SETTINGS.items():
        Path("/proc/sys", name).write_text(value)
    _call("ip", "link", "set", "lo", "up")


def _pretend_settings(folder: Path) -> None:
    for name, value in _KUBELET_SETTINGS.items():
        pretended = folder / name
        pretended.parent.mkdir(parents=True, exist_ok=True)
        pretended.write_text(value + "\n")
        _call("mount", "--bind", str(pretended), f"/proc/sys/{name}")


def _watch(folder: Path) -> int:
    """Return a descriptor that has something to read whenever the folder gets a new entry."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = int(libc.inotify_init1(os.O_CLOEXEC))
    if descriptor < 0 or libc.inotify_add_watch(descriptor, os.fsencode(folder), _ENTRY_CREATED) < 0:
        raise OSError(ctypes.get_errno(), f"cannot watch {folder}")
    return descriptor


def _open_to_all(volumes: Path) -> None:
    """Let any user write to volumes as they come from the provisioner, which makes them for root alone and ignores `fsGroup`."""
    for volume in volumes.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if stat.S_IMODE(volume.stat().st_mode) == _PROVISIONED_MODE:
                volume.chmod(0o777)


def _call(*arguments: str) -> None:
    subprocess.run(arguments, check=True)


if __name__ == "__main__":
    main()
