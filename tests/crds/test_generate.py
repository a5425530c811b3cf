"""The generator: what it writes, what it calls out of date, and that the repository is not."""

import builtins
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from syntera_crds import generate
from syntera_crds.crd import build_crd
from syntera_crds.v1alpha1 import KINDS

FILES = [
    "charts/syntera/files/crds/agents.yaml",
    "charts/syntera/files/crds/knowledgebases.yaml",
    "charts/syntera/files/crds/tenants.yaml",
    "crds/agents.yaml",
    "crds/knowledgebases.yaml",
    "crds/tenants.yaml",
    "docs/reference/resources.md",
]


@pytest.fixture
def generated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with everything just generated."""
    assert generate.main([], repository=tmp_path) == 0
    assert sorted(capsys.readouterr().out.split()) == FILES
    return tmp_path


def test_repository_is_as_generated(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"]) == 0, capsys.readouterr().err


def test_writing_again_changes_nothing(generated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in generated.rglob("*")}
    assert generate.main([], repository=generated) == 0
    assert capsys.readouterr().out == ""
    assert {path: path.stat().st_mtime_ns for path in generated.rglob("*")} == before


@pytest.mark.parametrize("file", FILES)
def test_check_names_a_file_that_was_edited(file: str, generated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (generated / file).open("a") as opened:
        opened.write("# by hand\n")
    assert generate.main(["--check"], repository=generated) == 1
    assert capsys.readouterr().err == f"{file} is out of date: run `make generate`\n"
    assert (generated / file).read_text().endswith("# by hand\n"), "--check changes nothing"
    assert generate.main([], repository=generated) == 0
    assert generate.main(["--check"], repository=generated) == 0


def test_check_names_a_file_that_is_missing(generated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (generated / "crds/agents.yaml").unlink()
    assert generate.main(["--check"], repository=generated) == 1
    assert capsys.readouterr().err == "crds/agents.yaml is out of date: run `make generate`\n"


def test_files_of_a_kind_that_is_gone_are_named_and_removed(
    generated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leftover = generated / "charts/syntera/files/crds/workflows.yaml"
    shutil.copy(generated / "crds/agents.yaml", leftover)
    assert generate.main(["--check"], repository=generated) == 1
    assert "workflows.yaml is out of date" in capsys.readouterr().err
    assert generate.main([], repository=generated) == 0
    assert not leftover.exists()


@pytest.mark.parametrize("kind", KINDS.values())
def test_chart_and_folder_hold_the_definition_of_the_models(kind: Any) -> None:
    texts = [(generate.REPOSITORY / folder / f"{kind.info.plural}.yaml").read_text() for folder in
             (generate.CRD_FOLDER, generate.CHART_FOLDER)]  # fmt: skip
    assert texts[0] == texts[1]
    assert yaml.safe_load(texts[0]) == build_crd(kind)


def test_keys_that_other_readers_of_yaml_take_for_booleans_are_quoted() -> None:
    """kubectl and Helm read a bare `n` as false, and with it a field of that name would vanish."""
    text = (generate.REPOSITORY / "crds/agents.yaml").read_text()
    assert "'n':" in text
    assert " n:" not in text


def test_missing_development_dependency_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_yaml(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "yaml":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_yaml)
    with pytest.raises(SystemExit, match="PyYAML, a development dependency: run `make setup`"):
        generate.build_files()
