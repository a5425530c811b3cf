"""The rules of the layout that no other tool checks."""

from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_operator_folder_is_no_package() -> None:
    """`operator/__init__.py` would shadow the standard library's `operator` for whatever starts in the root."""
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_every_test_folder_is_a_package() -> None:
    """Else two test modules of one name collide, and `tests/operator` shadows the standard library."""
    folders = {file.parent for file in (ROOT / "tests").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []
