from pathlib import Path

import pytest

from syntera_dev.cluster import control_groups
from syntera_dev.cluster.control_groups import make_control_group, remove_control_group


@pytest.fixture
def hierarchies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """One hierarchy of version 1 and one of version 2, as folders."""
    first, second = tmp_path / "memory", tmp_path / "unified"
    first.mkdir()
    second.mkdir()
    (second / "cgroup.controllers").write_text("cpu memory\n")
    (second / "cgroup.subtree_control").write_text("memory\n")
    monkeypatch.setattr(control_groups, "_hierarchies", lambda: [first, second])
    return first, second


def test_group_is_made_in_every_hierarchy(hierarchies: tuple[Path, Path]) -> None:
    make_control_group("ours")
    make_control_group("ours")
    assert all((hierarchy / "ours").is_dir() for hierarchy in hierarchies)


def test_controllers_that_nobody_asked_for_are_handed_down(hierarchies: tuple[Path, Path]) -> None:
    make_control_group("ours")
    assert (hierarchies[1] / "cgroup.subtree_control").read_text() == "+cpu"


def test_group_is_removed_with_all_below_it_and_nothing_else(hierarchies: tuple[Path, Path]) -> None:
    make_control_group("ours")
    make_control_group("theirs")
    (hierarchies[0] / "ours" / "kubepods" / "pod1").mkdir(parents=True)
    remove_control_group("ours")
    remove_control_group("ours")
    assert not any((hierarchy / "ours").exists() for hierarchy in hierarchies)
    assert all((hierarchy / "theirs").exists() for hierarchy in hierarchies)
