from pathlib import Path

import pytest

from syntera_dev.errors import DevError
from syntera_dev.images import parts
from syntera_dev.images.parts import PARTS, Part, locked_requirement

LOCK = """\
first==1.0 \\
    --hash=sha256:aa
    # via something
second-first==3.0 ; python_version < '3.12' \\
    --hash=sha256:cc
second==2.0 \\
    --hash=sha256:bb \\
    --hash=sha256:cc
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "Containerfile").write_text("FROM scratch\n")
    (tmp_path / "code" / "__pycache__").mkdir(parents=True)
    (tmp_path / "code" / "a.py").write_text("a = 1\n")
    (tmp_path / "code" / "__pycache__" / "a.pyc").write_bytes(b"x")
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "dev.txt").write_text(LOCK)
    return tmp_path


PART = Part(
    "p", "Containerfile", inputs=("code",), files=("tools/run.sh",), requirement="second", arguments=(("PART", "p"),)
)


def test_context_holds_the_inputs_and_no_bytecode(root: Path) -> None:
    assert set(PART.context_files(root)) == {"code/a.py", "run.sh", "requirements.txt"}


def test_context_is_readable_by_any_user(root: Path, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (root / "code" / "a.py").chmod(0o600)
    PART.write_context(context, root)
    assert (context / "Containerfile").read_text() == "FROM scratch\n"
    assert {path.stat().st_mode & 0o777 for path in context.rglob("*.py")} == {0o644}


def test_missing_input_is_named(root: Path) -> None:
    with pytest.raises(DevError, match="absent does not exist"):
        Part("p", "Containerfile", inputs=("absent",)).context_files(root)


def test_reference_is_the_same_for_the_same_inputs(root: Path) -> None:
    assert PART.reference("base", root) == PART.reference("base", root)
    assert PART.reference("base", root).startswith("localhost/syntera/p:")


@pytest.mark.parametrize("changed", ["Containerfile", "code/a.py", "tools/run.sh", "locks/dev.txt"])
def test_reference_changes_with_every_input(root: Path, changed: str) -> None:
    before = PART.reference("base", root)
    file = root / changed
    file.write_text(file.read_text().replace("bb", "dd").replace("a = 1", "a = 2") + "\n")
    assert PART.reference("base", root) != before


def test_reference_changes_with_the_base_and_with_a_files_name(root: Path) -> None:
    references = {PART.reference("base", root), PART.reference("other", root)}
    (root / "code" / "a.py").rename(root / "code" / "b.py")
    assert len(references | {PART.reference("base", root)}) == 3


def test_reference_changes_with_the_version(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = PART.reference("base", root)
    monkeypatch.setattr(parts, "__version__", "99.0.0")
    assert PART.reference("base", root) != before


def test_reference_ignores_what_is_no_input(root: Path) -> None:
    before = PART.reference("base", root)
    (root / "code" / "__pycache__" / "b.pyc").write_bytes(b"y")
    (root / "locks" / "dev.txt").write_text(LOCK.replace("first==1.0", "first==1.1"))
    assert PART.reference("base", root) == before


def test_locked_requirement_is_the_packages_own_entry() -> None:
    assert locked_requirement(LOCK, "second") == "second==2.0 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n"


def test_locked_requirement_of_an_unknown_package() -> None:
    with pytest.raises(DevError, match="no package 'third'"):
        locked_requirement(LOCK, "third")


@pytest.mark.parametrize("part", PARTS.values(), ids=lambda part: part.name)
def test_every_image_can_be_named(part: Part) -> None:
    assert part.reference("base").startswith(f"localhost/syntera/{part.name}:")
