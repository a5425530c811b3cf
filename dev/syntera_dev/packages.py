"""Installs the Debian packages whose programs a machine lacks. What is there, from whatever source, is used as it is."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from syntera_dev.commands import run, with_administrator_path
from syntera_dev.errors import CommandFailed, MissingTool
from syntera_dev.paths import cache_folder, exclusive
from syntera_dev.progress import step


@dataclass(frozen=True)
class Requirement:
    """Something the machine must have: any of the programs or files, or else the package is installed."""

    package: str
    any_of: tuple[str, ...]

    def is_met(self) -> bool:
        """Tell whether the machine has it."""
        path = with_administrator_path(os.environ)["PATH"]
        return any(Path(each).exists() if "/" in each else shutil.which(each, path=path) for each in self.any_of)


CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
"""Where network plugins are: Debian's place and everybody else's."""

CLUSTER_REQUIREMENTS = (
    Requirement("containerd", ("containerd",)),
    Requirement("runc", ("runc",)),
    Requirement("containernetworking-plugins", tuple(str(folder / "bridge") for folder in CNI_FOLDERS)),
    Requirement("iptables", ("iptables",)),
    Requirement("iproute2", ("ip",)),
    Requirement("util-linux", ("nsenter",)),
)
IMAGE_REQUIREMENTS = (
    Requirement("buildah", ("buildah",)),
    Requirement("mmdebstrap", ("mmdebstrap",)),
    Requirement("debian-archive-keyring", ("/usr/share/keyrings/debian-archive-keyring.gpg",)),
)
BROWSER_REQUIREMENTS = (Requirement("chromium", ("chromium", "chromium-browser", "google-chrome")),)


def ensure_packages(requirements: Iterable[Requirement]) -> None:
    """Install the packages of all requirements that are not met.

    Raises:
        MissingTool: packages are missing and this is not root on a machine with apt, or apt failed.
    """
    wanted = tuple(requirements)
    if not _missing(wanted):
        return
    with exclusive(cache_folder() / "locks" / "packages", "installing packages"):
        packages = _missing(wanted)  # the run that was waited for may have installed them
        if packages:
            with step(f"install {' '.join(packages)}"):
                _install(packages)


def _missing(requirements: Iterable[Requirement]) -> list[str]:
    return [requirement.package for requirement in requirements if not requirement.is_met()]


def _install(packages: list[str]) -> None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise MissingTool(
            f"these packages are missing: {' '.join(packages)}; install them, or run this as root on Debian"
        )
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", *packages]
    try:
        run(["apt-get", "update"], environment=quiet, timeout_seconds=300)
        run(install, environment=quiet, timeout_seconds=900)
    except CommandFailed as exc:
        raise MissingTool(f"apt could not install {' '.join(packages)}: {exc}") from exc
