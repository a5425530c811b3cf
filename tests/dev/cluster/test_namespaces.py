from pathlib import Path

import pytest

from syntera_dev.cluster import namespaces
from syntera_dev.cluster.namespaces import NodeNamespaces, make_mount_points, remove_mount_points
from syntera_dev.cluster.processes import ProcessRecord, plain_environment, spawn
from syntera_dev.errors import ComponentFailed


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the machine that a node mounts over."""
    place = tmp_path / "var-lib-kubelet"
    monkeypatch.setattr(namespaces, "PRIVATE_FOLDERS", {str(place): "kubelet"})
    return place


def test_a_folder_that_we_made_is_removed(place: Path) -> None:
    make_mount_points()
    assert place.is_dir()
    remove_mount_points()
    assert not place.exists()


def test_a_folder_that_was_there_is_kept(place: Path) -> None:
    place.mkdir()
    make_mount_points()
    remove_mount_points()
    assert list(place.iterdir()) == []


def test_a_folder_that_another_node_mounts_over_is_kept_for_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_mount_points()
    make_mount_points()  # the second node's
    with monkeypatch.context() as other_node:
        other_node.setattr(namespaces, "_mount_points_of_all_processes", lambda: {str(place)})
        remove_mount_points()
    assert place.is_dir()
    remove_mount_points()
    assert not place.exists()


def test_a_folder_that_somebody_uses_since_is_theirs(place: Path) -> None:
    make_mount_points()
    (place / "file").touch()
    remove_mount_points()
    assert [path.name for path in place.iterdir()] == ["file"]


def test_namespaces_that_do_not_exist_cannot_be_entered(tmp_path: Path) -> None:
    with pytest.raises(ComponentFailed, match="the node of cluster 'one' does not run"):
        _ = NodeNamespaces(tmp_path, "one").enter


def test_stopping_waits_for_whoever_is_still_among_the_mounts(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who brought a program into the node ends a moment after it, and until then has the node's mounts."""
    make_mount_points()
    node = NodeNamespaces(tmp_path, "one")
    record = ProcessRecord.of(spawn(["sleep", "60"], log=tmp_path / "log", environment=plain_environment()))
    assert record is not None
    record.save(tmp_path / "node.json")
    there = [{"mnt:[7]": Path("/proc/7")}, {"mnt:[7]": Path("/proc/8")}, {}, {}]
    monkeypatch.setattr(namespaces, "_mount_namespace", lambda _: "mnt:[7]")
    monkeypatch.setattr(namespaces, "_mount_namespaces", lambda: there.pop(0))
    monkeypatch.setattr(namespaces, "remove_control_group", lambda _: None)
    node.stop()
    assert (there, place.exists(), record.is_running()) == ([], False, False)
