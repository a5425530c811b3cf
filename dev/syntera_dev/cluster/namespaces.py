"""The namespaces of a node: made by its first process, entered by every other, gone when that process is.

The machine's side is a handful of empty folders to mount over and one control group tree; both are made and removed here.
"""

import contextlib
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from syntera_dev.errors import ComponentFailed

from .components import find_program
from .control_groups import make_control_group, remove_control_group
from .node_init import PRIVATE_FOLDERS, READY_FILE
from .processes import ProcessRecord, only_child, plain_environment, spawn

_MARKER = ".made-by-syntera-dev"
_LEAVE_SECONDS = 10


@dataclass(frozen=True)
class NodeNamespaces:
    """The namespaces of the node whose cluster lives in `folder`."""

    folder: Path
    name: str

    @property
    def init(self) -> ProcessRecord | None:
        """The first process, None when it does not run."""
        record = ProcessRecord.load(self._record)
        return record if record is not None and record.is_running() else None

    @property
    def enter(self) -> tuple[str, ...]:
        """The command that runs its further arguments in the namespaces.

        Raises:
            ComponentFailed: the namespaces do not exist.
        """
        init = self.init
        if init is None:
            raise ComponentFailed(f"the node of cluster {self.name!r} does not run")
        return (find_program("nsenter"), f"--target={init.pid}", "--mount", "--pid", "--net", "--")

    @property
    def control_group(self) -> str:
        """The control group below which the kubelet makes those of the pods."""
        return f"syntera-dev-{self.name}"

    def start(self) -> None:
        """Make the namespaces unless they exist.

        Raises:
            ComponentFailed: the kernel or the machine's rules do not allow it.
        """
        if self.init is not None:
            return
        make_mount_points()
        make_control_group(self.control_group)
        (self.folder / READY_FILE).unlink(missing_ok=True)
        self._start_init()

    def stop(self) -> None:
        """End every process in the namespaces, with which they disappear, and remove their traces from the machine."""
        init = ProcessRecord.load(self._record)
        if init is not None:
            mounts = _mount_namespace(Path(f"/proc/{init.pid}"))
            # The kernel ends all processes of a process namespace before it reports the end of the first.
            init.end(grace_seconds=0)
            _wait_until_left(mounts)
        self._record.unlink(missing_ok=True)
        remove_control_group(self.control_group)
        remove_mount_points()

    @property
    def _record(self) -> Path:
        return self.folder / "node.json"

    def _start_init(self) -> None:
        unshare = [
            find_program("unshare"),
            "--fork",
            "--mount",
            "--pid",
            "--net",
            "--mount-proc",
            "--propagation=private",
        ]
        log = self.folder / "logs" / "node.log"
        environment = {**plain_environment(), "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        module = "syntera_dev.cluster.node_init"
        parent = spawn([*unshare, sys.executable, "-m", module, str(self.folder)], log=log, environment=environment)
        with contextlib.suppress(ProcessLookupError):
            record = ProcessRecord.of(only_child(parent))
            if record is not None:
                record.save(self._record)
        deadline = time.monotonic() + 30
        while not (self.folder / READY_FILE).exists():
            if self.init is None or time.monotonic() > deadline:
                raise ComponentFailed(f"the node's namespaces could not be made:\n{log.read_text()}")
            time.sleep(0.02)


def make_mount_points() -> None:
    """Make the folders that a node mounts over where the machine lacks them, marked as ours."""
    for place in map(Path, PRIVATE_FOLDERS):
        if not place.exists():
            place.mkdir()
            (place / _MARKER).touch()


def remove_mount_points() -> None:
    """Remove the folders that we made, unless another cluster's node has something mounted there (removing would unmount it)."""
    used = _mount_points_of_all_processes()
    for place in map(Path, PRIVATE_FOLDERS):
        marker = place / _MARKER
        if marker.exists() and str(place) not in used:
            marker.unlink()
            with contextlib.suppress(OSError):  # somebody else put something there, and so it is theirs
                place.rmdir()


def _wait_until_left(mounts: str | None) -> None:
    """Wait until nobody is in a namespace of mounts. Those who brought programs into a node stand with one foot outside of it:
    they end by themselves, a moment after their programs."""
    deadline = time.monotonic() + _LEAVE_SECONDS
    while mounts in _mount_namespaces() and time.monotonic() < deadline:
        time.sleep(0.02)


def _mount_points_of_all_processes() -> set[str]:
    points = set()
    for process in _mount_namespaces().values():
        with contextlib.suppress(OSError):
            points |= {line.split(" ")[4] for line in (process / "mountinfo").read_text().splitlines()}
    return points


def _mount_namespaces() -> dict[str, Path]:
    """All that processes are in, each with one of these."""
    processes = [process for process in Path("/proc").iterdir() if process.name.isdigit()]
    found = ((_mount_namespace(process), process) for process in processes)
    return {namespace: process for namespace, process in found if namespace is not None}


def _mount_namespace(process: Path) -> str | None:
    """None: the process has ended."""
    try:
        return str((process / "ns" / "mnt").readlink())
    except OSError:
        return None
