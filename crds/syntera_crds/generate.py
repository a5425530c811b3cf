"""Writes everything that is generated from the models, or with `--check` says which of it is out of date.

    python -m syntera_crds.generate [--check]

For a checkout of the repository only: the files stand beside this package.
"""

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .crd import build_crd
from .reference import build_reference
from .v1alpha1 import KINDS

REPOSITORY = Path(__file__).resolve().parents[2]
CRD_FOLDER = Path("crds")
CHART_FOLDER = Path("charts/syntera/files/crds")
REFERENCE = Path("docs/reference/resources.md")

_HEADER = "# Generated from the models in crds/syntera_crds by `make generate`; do not edit.\n"


def build_files() -> dict[Path, str]:
    """Every generated file: its path in the repository and its content.

    Raises:
        SystemExit: PyYAML, a development dependency, is not installed.
        UnsupportedSchema: a model uses something that a structural schema cannot say.
    """
    files: dict[Path, str] = {}
    for kind in KINDS.values():
        text = _HEADER + _to_yaml(build_crd(kind))
        name = f"{kind.info.plural}.yaml"
        files |= {CRD_FOLDER / name: text, CHART_FOLDER / name: text}
    files[REFERENCE] = build_reference(KINDS.values())
    return files


def find_drift(files: Mapping[Path, str], repository: Path) -> list[str]:
    """What of the repository is not as generated: files that differ or are missing, and files of kinds that are gone."""
    drifted = [str(path) for path, text in files.items() if _read(repository / path) != text]
    return sorted([*drifted, *(str(path) for path in find_leftovers(files, repository))])


def find_leftovers(files: Mapping[Path, str], repository: Path) -> list[Path]:
    """Files that stand where only generated ones do, and that nothing generates any more."""
    standing = [path for folder in (CRD_FOLDER, CHART_FOLDER) for path in (repository / folder).glob("*.yaml")]
    return sorted(path for path in (path.relative_to(repository) for path in standing) if path not in files)


def write(files: Mapping[Path, str], repository: Path) -> list[str]:
    """Bring the repository in line, touching only what differs, and return what was changed."""
    changed = find_drift(files, repository)
    for leftover in find_leftovers(files, repository):
        (repository / leftover).unlink()
    for path, text in files.items():
        if _read(repository / path) != text:
            (repository / path).parent.mkdir(parents=True, exist_ok=True)
            (repository / path).write_text(text, encoding="utf-8")
    return changed


def main(arguments: list[str] | None = None, *, repository: Path = REPOSITORY) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m syntera_crds.generate", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--check", action="store_true", help="change nothing; fail and name the files that are out of date"
    )
    files = build_files()
    if parser.parse_args(arguments).check:
        drift = find_drift(files, repository)
        for path in drift:
            print(f"{path} is out of date: run `make generate`", file=sys.stderr)  # noqa: T201 - a command's output
        return 1 if drift else 0
    for path in write(files, repository):
        print(path)  # noqa: T201 - a command's output
    return 0


def _to_yaml(manifest: dict[str, Any]) -> str:
    try:
        import yaml  # noqa: PLC0415 - only this command needs it; the operator and the runtime install without
    except ImportError as exc:
        raise SystemExit("generating needs PyYAML, a development dependency: run `make setup`") from exc

    class Dumper(yaml.SafeDumper):
        """Quotes `n` and `y` too: kubectl and Helm read them as booleans, as YAML 1.1 has it, PyYAML does not."""

    Dumper.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^[yYnN]$"), list("yYnN"))
    text: str = yaml.dump(manifest, Dumper=Dumper, sort_keys=False, width=120, allow_unicode=True)
    return text


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
