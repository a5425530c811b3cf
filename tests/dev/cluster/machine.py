"""What a cluster could leave behind on a machine, read so that two moments can be compared."""

from pathlib import Path

from syntera_dev.cluster.node_init import PRIVATE_FOLDERS
from syntera_dev.commands import run

# The lock of iptables, which whoever calls it first makes.
_EVERYBODYS = {"/run/xtables.lock"}
_SETTINGS = (
    "net/ipv4/ip_forward",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
)


def traces() -> dict[str, set[str]]:
    """Return everything of the machine that a cluster touches, by subject."""
    return {
        "mounts": {line.split(" ", 1)[1] for line in Path("/proc/self/mountinfo").read_text().splitlines()},
        "links": {path.name for path in Path("/sys/class/net").iterdir()},
        "routes": set(run(["ip", "route", "show", "table", "all"]).splitlines()),
        "firewall rules": {line for line in run(["iptables-save"]).splitlines() if line.startswith("-A")},
        "network namespaces": set(run(["ip", "netns", "list"]).splitlines()),
        "control groups": {str(path) for path in Path("/sys/fs/cgroup").rglob("syntera-dev-*") if path.is_dir()},
        "folders": {
            str(path) for place in PRIVATE_FOLDERS for path in (Path(place), *Path(place).glob("*")) if path.exists()
        },
        "kernel settings": {f"{name}={Path('/proc/sys', name).read_text().strip()}" for name in _SETTINGS},
        "other files": {str(path) for folder in ("/run", "/opt") for path in Path(folder).iterdir()} - _EVERYBODYS,
    }


def processes_of(namespace: str) -> list[str]:
    """Return the processes in a process namespace."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and str((process / "ns" / "pid").readlink()) == namespace:
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found
