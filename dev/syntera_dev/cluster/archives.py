"""Reads the names of the images in an OCI archive."""

import json
import tarfile
from pathlib import Path

from syntera_dev.errors import DevError

_NAME_ANNOTATION = "org.opencontainers.image.ref.name"


def image_references(archive: Path) -> set[str]:
    """Return the references under which an archive's images will be known.

    Raises:
        DevError: the file is not an OCI archive.
    """
    try:
        with tarfile.open(archive) as file:
            member = file.extractfile("index.json")
            assert member is not None
            index = json.load(member)
    except (OSError, tarfile.TarError, KeyError, ValueError) as exc:
        raise DevError(f"{archive} is not an OCI archive: {exc}") from exc
    names = (manifest.get("annotations", {}).get(_NAME_ANNOTATION) for manifest in index.get("manifests", ()))
    return {name for name in names if name}
