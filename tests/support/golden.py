"""Expected outputs as files: compared as text, rewritten by `pytest --update-data`, reviewed as diffs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True, slots=True)
class Golden:
    """The folder of expected outputs."""

    folder: Path
    update: bool

    def check_text(self, name: str, actual: str) -> None:
        """Fail, with pytest's diff, unless the file `name` holds exactly `actual`."""
        file = self.folder / name
        if self.update:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(actual)
        assert file.exists(), f"{file} does not exist: run pytest with --update-data and review what it writes"
        assert actual == file.read_text()

    def check_manifests(self, name: str, *manifests: dict[str, Any]) -> None:
        """The same for manifests, as YAML documents in the given order."""
        self.check_text(name, yaml.safe_dump_all(manifests, sort_keys=False, width=120))
