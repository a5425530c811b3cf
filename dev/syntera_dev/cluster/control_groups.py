"""The control group below which a node's kubelet makes those of its pods, in whichever version of control groups the kernel has."""

import contextlib
import os
import re
import time
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def make_control_group(name: str) -> None:
    """Make a group of that name in every hierarchy. The kubelet takes it only with all controllers that there are.

    Raises:
        OSError: the kernel does not allow it.
    """
    for hierarchy in _hierarchies():
        _hand_down_controllers(hierarchy)
        (hierarchy / name).mkdir(exist_ok=True)


def remove_control_group(name: str) -> None:
    """Remove a group and all below it, once its processes have ended.

    Raises:
        OSError: a process is still in it.
    """
    for hierarchy in _hierarchies():
        for path, _, _ in os.walk(hierarchy / name, topdown=False):
            _remove_one(Path(path))


def _hierarchies() -> list[Path]:
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [Path(line.split(" ")[4]) for line in mounts if re.search(r" - cgroup2? ", line)]
    return [point for point in points if point.is_relative_to(_ROOT)]


def _hand_down_controllers(hierarchy: Path) -> None:
    """Let children have every controller. Only version 2 asks for it, and there only for those that nobody has asked for yet."""
    available, handed_down = hierarchy / "cgroup.controllers", hierarchy / "cgroup.subtree_control"
    if not available.exists():
        return
    for controller in set(available.read_text().split()) - set(handed_down.read_text().split()):
        with contextlib.suppress(
            OSError
        ):  # some can only be had by real-time or root groups; the kubelet names what it lacks
            handed_down.write_text(f"+{controller}")


def _remove_one(group: Path) -> None:
    """Remove one group; its ended processes leave it a moment after their end is reported."""
    deadline = time.monotonic() + 5
    while True:
        try:
            group.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
