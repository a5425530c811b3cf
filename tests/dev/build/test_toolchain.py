import os
from pathlib import Path
from typing import Any

import pytest

from syntera_dev import commands
from syntera_dev.build import toolchain
from syntera_dev.build.toolchain import ensure_go
from syntera_dev.errors import CommandFailed, MissingTool


@pytest.fixture
def go_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    monkeypatch.setenv("PATH", str(go.parent), prepend=os.pathsep)
    monkeypatch.setenv("SYNTERA_CACHE", str(tmp_path / "cache"))
    return go


def write_go(path: Path, version: str) -> None:
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("version", ["go1.26.0", "go1.27.1", "go1.26rc1", "go2.0"])
def test_a_new_enough_go_on_path_is_used(go_on_path: Path, version: str) -> None:
    write_go(go_on_path, version)
    assert ensure_go() == go_on_path


@pytest.mark.parametrize("version", ["go1.25.9", "go1.3", "devel +4f1d3a1"])
def test_another_go_is_left_alone_and_one_installed_once(
    go_on_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    write_go(go_on_path, version)
    real_run, installs = commands.run, []

    def run(arguments: list[str | Path], **options: Any) -> str:
        if "pip" not in arguments:
            return real_run(arguments, **options)
        installs.append(arguments)
        program = Path(arguments[arguments.index("--target") + 1]) / "go" / "bin" / "go"
        program.parent.mkdir(parents=True)
        program.touch(mode=0o644)
        return ""

    monkeypatch.setattr(toolchain, "run", run)
    installed = ensure_go()
    assert ensure_go() == installed
    assert installed.is_relative_to(tmp_path / "cache")
    assert installed.stat().st_mode & 0o777 == 0o755
    assert len(installs) == 1


def test_a_go_that_cannot_be_installed_is_named(go_on_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_go(go_on_path, "go1.20")
    real_run = commands.run

    def run(arguments: list[str | Path], **options: Any) -> str:
        if "pip" in arguments:
            raise CommandFailed(["pip"], "ended with code 1", "no network")
        return real_run(arguments, **options)

    monkeypatch.setattr(toolchain, "run", run)
    with pytest.raises(MissingTool, match=r"(?s)Go 1\.26 or newer is needed.*no network"):
        ensure_go()
