"""Calls buildah, which builds from a Containerfile without a daemon. Its storage is in the cache, not the machine's own; only the
locks and notes for which it has fixed places stay in /run/containers and /var/lib/containers.

Each call has mounts of its own, which end with it: a killed build leaves none behind.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from syntera_dev.commands import run

from .pip_settings import certificate_folders

_PRIVATE_MOUNTS = ("unshare", "--mount", "--propagation=private", "--")


@dataclass(frozen=True)
class Buildah:
    """One storage of images and layers."""

    storage: Path

    def has(self, reference: str) -> bool:
        """Tell whether the storage has an image."""
        return reference in self._call("images", "--all", "--format", "{{.Name}}:{{.Tag}}").split()

    def build(
        self,
        context: Path,
        reference: str,
        *,
        arguments: Mapping[str, str],
        pip_settings: str = "",
        layers: bool = True,
    ) -> None:
        """Build `context/Containerfile`. Unchanged steps come from the storage when `layers` is set.

        Raises:
            CommandFailed: a step of the build failed.
        """
        with tempfile.TemporaryDirectory(prefix="syntera-build-") as folder:
            secret = Path(folder) / "pip.conf"
            secret.write_text(pip_settings)
            words = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
            # The machine's trusted certificates, its own authorities included, for package installs inside the build.
            words += [word for each in certificate_folders() for word in ("--volume", f"{each}:{each}:ro")]
            self._call(
                "build",
                "--isolation=chroot",  # needs no privileges that a virtual machine or container may lack
                f"--layers={'true' if layers else 'false'}",
                f"--secret=id=pip,src={secret}",
                *words,
                f"--tag={reference}",
                f"--file={context / 'Containerfile'}",
                str(context),
                timeout_seconds=1800,
            )

    def save(self, reference: str, archive: Path) -> None:
        """Write an image to an OCI archive under its own name.

        Raises:
            CommandFailed: the storage has no such image, or the file cannot be written.
        """
        self._call(
            "push", "--format=oci", "--quiet", reference, f"oci-archive:{archive}:{reference}", timeout_seconds=600
        )

    def remove_old(self, name: str, *, keep: str) -> None:
        """Remove all images of a name but one, and what killed builds left, with the layers that only they had.

        Raises:
            CommandFailed: the storage is damaged.
        """
        self._call("rm", "--all")
        references = self._call("images", "--format", "{{.Name}}:{{.Tag}}").split()
        old = [each for each in references if each.startswith(f"{name}:") and each != keep]
        if old:
            self._call("rmi", *old)

    def _call(self, *arguments: str, timeout_seconds: float = 120) -> str:
        with tempfile.TemporaryDirectory(prefix="syntera-buildah-") as run_root:
            storage = ("--root", str(self.storage), "--runroot", run_root)
            return run([*_PRIVATE_MOUNTS, "buildah", *storage, *arguments], timeout_seconds=timeout_seconds)
