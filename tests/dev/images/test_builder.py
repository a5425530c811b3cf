import os
from pathlib import Path

import pytest

from syntera_dev.errors import DevError
from syntera_dev.images import builder
from syntera_dev.images.builder import ensure_images, remove_old_archives


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYNTERA_CACHE", str(tmp_path))
    return tmp_path / "images"


def make_archive(cache: Path, name: str, *, age: int) -> Path:
    folder = cache / name
    folder.mkdir(parents=True)
    (folder / "image.tar").touch()
    os.utime(folder, (1_000_000 - age, 1_000_000 - age))
    return folder


def test_an_unknown_part_is_refused_by_name(cache: Path) -> None:
    with pytest.raises(DevError, match="no image named 'opperator'; there are operator, runtime, "):
        ensure_images(["opperator"])


def test_an_image_that_is_there_is_not_built(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "ensure_packages", lambda _: None)
    monkeypatch.setattr(builder, "ensure_base", lambda: Path("base.tar"))
    built: list[str] = []

    def build_missing(images: dict[str, builder.Image], base: Path) -> None:
        for name, image in images.items():
            built.append(name)
            image.archive.parent.mkdir(parents=True)
            image.archive.touch()

    monkeypatch.setattr(builder, "build_missing", build_missing)
    first = ensure_images(["redis"])
    assert ensure_images(["redis"]) == first
    assert built == ["redis"]
    assert first["redis"].reference.startswith("localhost/syntera/redis:")


def test_only_the_newest_archives_of_a_part_are_kept(cache: Path) -> None:
    folders = [make_archive(cache, f"redis-{age}", age=age) for age in range(5)]
    other = make_archive(cache, "runtime-9", age=9)
    remove_old_archives("redis")
    assert [folder.exists() for folder in folders] == [True, True, True, False, False]
    assert other.exists()
