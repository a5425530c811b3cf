"""An older release of Syntera, built from its own sources by its own tools: what an upgrade begins with."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from syntera_dev.paths import REPOSITORY, cache_folder, exclusive, new_folder

FIRST = "d40dccc8a5027a27d0bf38fbdfe74512135461a8"
"""The first commit with a chart whose images run."""
_PARTS = ("operator", "runtime")
_BUILD_SECONDS = 900


@dataclass(frozen=True, slots=True)
class OldRelease:
    """A release as it lies in the cache."""

    chart: Path
    images: dict[str, str]
    """References of the operator's and the runtime's image."""
    archives: list[Path]


def ensure_old_release(commit: str = FIRST) -> OldRelease:
    """Build what the cache lacks of the release that was at `commit`.

    Raises:
        AssertionError: this checkout does not have the commit, or its build failed.
    """
    folder = cache_folder() / "old-releases" / commit[:12]
    with exclusive(cache_folder() / "locks" / "old-release", "building an older release"):
        if not folder.exists():
            with new_folder(folder) as unfinished:
                _build(commit, unfinished)
    images: dict[str, str] = json.loads((folder / "images.json").read_text())
    return OldRelease(folder / "source" / "charts" / "syntera", images, [folder / f"{part}.tar" for part in _PARTS])


def _build(commit: str, folder: Path) -> None:
    source = folder / "source"
    archived = subprocess.run(["git", "archive", commit], cwd=REPOSITORY, capture_output=True, check=False)
    assert archived.returncode == 0, f"get the whole history: git fetch --unshallow ({archived.stderr.decode()})"
    with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as archive:
        archive.extractall(source, filter="data")
    references, archives = _run(source), _run(source, "--archives")
    for part in _PARTS:
        shutil.copyfile(archives[part], folder / f"{part}.tar")
    (folder / "images.json").write_text(json.dumps(references))


def _run(source: Path, *options: str) -> dict[str, str]:
    parts = [word for part in _PARTS for word in ("--part", part)]
    ended = subprocess.run(
        [sys.executable, "-m", "syntera_dev.images", "build", *parts, *options],
        cwd=source,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(str(source / name) for name in ("dev", "crds", "kube"))},
        stdout=subprocess.PIPE,
        timeout=_BUILD_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, "the older release could not be built; its output is above"
    made: dict[str, str] = json.loads(ended.stdout)
    return made
