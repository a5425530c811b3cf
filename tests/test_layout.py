"""The rules of the layout that no other tool checks."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(page for folder in ("charts", "dev", "docs", "manifests") for page in (ROOT / folder).rglob("*.md")),
    ]
)
FOLDERS = sorted(entry.name for entry in ROOT.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def test_operator_folder_is_no_package() -> None:
    """`operator/__init__.py` would shadow the standard library's `operator` for whatever starts in the root."""
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_every_test_folder_is_a_package() -> None:
    """Else two test modules of one name collide, and `tests/operator` shadows the standard library."""
    folders = {file.parent for file in (ROOT / "tests").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    links = {page.parent / link for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)}
    named = {ROOT / path for path in re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]*)`", text)}

    # CONTRIBUTING names this one to say that it must not be there.
    missing = {path for path in links | named if not path.exists()} - {ROOT / "operator" / "__init__.py"}

    assert sorted(str(path.relative_to(ROOT)) for path in missing) == []
