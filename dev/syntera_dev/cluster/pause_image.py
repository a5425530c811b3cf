"""Makes the image whose single program holds a pod's namespaces: an OCI archive of one file, no builder needed."""

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path
from typing import Any

from syntera_dev.build import ensure_binary
from syntera_dev.paths import cache_folder, write_atomically

_NOBODY = "65535:65535"


def ensure_pause_image() -> tuple[str, Path]:
    """Return the image's reference and its archive, made on first use.

    Raises:
        DevError: the program does not compile.
    """
    program = ensure_binary("pause")
    reference = f"localhost/syntera/pause:{program.parent.name.removeprefix('pause-')}"
    archive = cache_folder() / "images" / f"{program.parent.name}.tar"
    if not archive.exists():
        write_atomically(archive, build_archive(program.read_bytes(), reference))
    return reference, archive


def build_archive(program: bytes, reference: str) -> bytes:
    """Return an OCI archive with one layer that holds `/pause`. The same program gives the same bytes."""
    layer = _tar({"pause": program}, mode=0o755)
    config = _json(
        {
            "architecture": _architecture(),
            "os": "linux",
            "config": {"User": _NOBODY, "Entrypoint": ["/pause"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
        }
    )
    named = _descriptor("application/vnd.oci.image.manifest.v1+json", manifest)
    named["annotations"] = {"org.opencontainers.image.ref.name": reference}
    index = _json({"schemaVersion": 2, "manifests": [named]})
    blobs = {f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}": blob for blob in (layer, config, manifest)}
    return _tar({"oci-layout": _json({"imageLayoutVersion": "1.0.0"}), "index.json": index, **blobs}, mode=0o644)


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _descriptor(media_type: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True).encode()


def _tar(files: dict[str, bytes], *, mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
