import io
import json
import tarfile
from pathlib import Path

import pytest

from syntera_dev.cluster.archives import image_references
from syntera_dev.cluster.pause_image import build_archive
from syntera_dev.errors import DevError


def test_references_of_the_pause_image(tmp_path: Path) -> None:
    archive = tmp_path / "pause.tar"
    archive.write_bytes(build_archive(b"program", "localhost/syntera/pause:1"))
    assert image_references(archive) == {"localhost/syntera/pause:1"}


def test_the_pause_image_holds_the_program_and_names_it_by_digest() -> None:
    with tarfile.open(fileobj=io.BytesIO(build_archive(b"program", "a/b:1"))) as archive:
        blobs = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]  # all are files
    manifest = json.loads(blobs[blob_of(json.loads(blobs["index.json"])["manifests"][0])])
    with tarfile.open(fileobj=io.BytesIO(blobs[blob_of(manifest["layers"][0])])) as layer:
        member = layer.getmember("pause")
        assert (member.mode, member.size) == (0o755, len(b"program"))
    assert json.loads(blobs[blob_of(manifest["config"])])["config"]["Entrypoint"] == ["/pause"]


def blob_of(descriptor: dict[str, str]) -> str:
    return "blobs/" + descriptor["digest"].replace(":", "/")


def test_the_pause_image_is_the_same_each_time() -> None:
    assert build_archive(b"program", "a/b:1") == build_archive(b"program", "a/b:1")


@pytest.mark.parametrize("content", [b"", b"not a tar file"])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DevError, match="is not an OCI archive"):
        image_references(tmp_path / "file")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DevError, match="is not an OCI archive"):
        image_references(tmp_path / "absent")
