"""Builds images and keeps them as OCI archives in the cache, each under the hash of its inputs."""

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from syntera_dev.errors import DevError
from syntera_dev.packages import IMAGE_REQUIREMENTS, ensure_packages
from syntera_dev.paths import cache_folder, exclusive, new_folder
from syntera_dev.progress import step

from .base import base_key, ensure_base
from .buildah import Buildah
from .parts import PARTS, PREFIX, Part
from .pip_settings import read_pip_settings

_KEPT_PER_PART = 3


@dataclass(frozen=True)
class Image:
    """A built image: its name and its archive."""

    reference: str
    archive: Path


def ensure_images(parts: Iterable[str] = tuple(PARTS)) -> dict[str, Image]:
    """Return the images of parts, building what the cache lacks.

    Raises:
        DevError: there is no such part, or its build failed.
    """
    wanted = list(parts)
    unknown = [name for name in wanted if name not in PARTS]
    if unknown:
        raise DevError(f"no image named {unknown[0]!r}; there are {', '.join(PARTS)}")
    images = {name: _image(PARTS[name]) for name in wanted}
    if not all(image.archive.exists() for image in images.values()):
        ensure_packages(IMAGE_REQUIREMENTS)
        base = ensure_base()
        with exclusive(cache_folder() / "locks" / "images", "building images"):
            build_missing(images, base)
    return images


def _image(part: Part) -> Image:
    reference = part.reference(base_key())
    tag = reference.rpartition(":")[2]
    return Image(reference, cache_folder() / "images" / f"{part.name}-{tag}" / "image.tar")


def build_missing(images: Mapping[str, Image], base: Path) -> None:
    """Build the images whose archives are not in the cache.

    Raises:
        DevError: a build failed.
    """
    buildah = Buildah(cache_folder() / "buildah")
    for name, image in images.items():
        if image.archive.exists():
            continue
        with step(f"build image {image.reference}"):
            _build(buildah, PARTS[name], image, base=_import_base(buildah, base))
        buildah.remove_old(f"{PREFIX}/{name}", keep=image.reference)
        remove_old_archives(name)


def _import_base(buildah: Buildah, base: Path) -> str:
    """Bring the base into the storage, where every image shares its one layer."""
    reference = f"{PREFIX}/base:{base_key()}"
    if not buildah.has(reference):
        with tempfile.TemporaryDirectory(prefix="syntera-base-", dir=base.parent.parent) as folder:
            context = Path(folder)
            (context / "base.tar").hardlink_to(base)
            (context / "Containerfile").write_text("FROM scratch\nADD base.tar /\n")
            buildah.build(context, reference, arguments={}, layers=False)
    return reference


def _build(buildah: Buildah, part: Part, image: Image, *, base: str) -> None:
    with tempfile.TemporaryDirectory(prefix="syntera-context-") as folder:
        context = Path(folder)
        part.write_context(context)
        arguments = {**part.build_arguments(), "BASE_IMAGE": base}
        buildah.build(context, image.reference, arguments=arguments, pip_settings=read_pip_settings())
    with new_folder(image.archive.parent) as unfinished:
        buildah.save(image.reference, unfinished / image.archive.name)


def remove_old_archives(name: str) -> None:
    """Keep the newest few: switching between two branches should not build each time."""
    folders = sorted((cache_folder() / "images").glob(f"{name}-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for folder in folders[_KEPT_PER_PART:]:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
