import os
from pathlib import Path

import pytest

from syntera_dev.build import BINARIES, Binary, ensure_binaries
from syntera_dev.build.binaries import content_key, linker_flags, version
from syntera_dev.errors import CommandFailed, DevError
from syntera_dev.paths import REPOSITORY

TOOL = Binary("tool", "things", "./tool", "example.org/lib", (("main.version", "{version} of {major}.{minor}"),))


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    folder = tmp_path / "things"
    (folder / "tool").mkdir(parents=True)
    (folder / "go.mod").write_text(
        "module x\n\nrequire (\n\texample.org/lib v1.36.3\n\texample.org/library v9.9.9 // indirect\n)\n"
    )
    (folder / "go.sum").write_text("sums\n")
    (folder / "tool" / "main.go").write_text("package main\n")
    return tmp_path


def test_version_is_the_one_that_go_mod_requires(modules: Path) -> None:
    assert version(TOOL, modules=modules) == "v1.36.3"


def test_version_when_go_mod_requires_something_else(modules: Path) -> None:
    with pytest.raises(DevError, match=r"does not require 'example\.org/other'"):
        version(Binary("other", "things", "example.org/other", "example.org/other"), modules=modules)


@pytest.mark.parametrize("binary", BINARIES.values(), ids=lambda binary: binary.name)
def test_every_program_has_a_pinned_version(binary: Binary) -> None:
    assert version(binary).startswith("v")


def test_linker_flags_hold_the_version(modules: Path) -> None:
    assert linker_flags(TOOL, modules=modules) == "-s -w -X main.version=v1.36.3 of 1.36"


def test_content_key_is_stable(modules: Path) -> None:
    assert content_key(TOOL, toolchain="go1.26.1", modules=modules) == content_key(
        TOOL, toolchain="go1.26.1", modules=modules
    )


@pytest.mark.parametrize("changed", ["go.mod", "go.sum", "tool/main.go"])
def test_content_key_changes_when_an_input_changes(modules: Path, changed: str) -> None:
    before = content_key(TOOL, toolchain="go1.26.1", modules=modules)
    file = modules / "things" / changed
    file.write_text(file.read_text() + "\n")
    assert content_key(TOOL, toolchain="go1.26.1", modules=modules) != before


def test_content_key_changes_when_the_toolchain_changes(modules: Path) -> None:
    keys = {content_key(TOOL, toolchain=toolchain, modules=modules) for toolchain in ("go1.26.1", "go1.26.2")}
    assert len(keys) == 2


def test_an_unknown_program_is_refused_by_name() -> None:
    with pytest.raises(DevError, match="no program named 'kubelett'; there are etcd, "):
        ensure_binaries(["etcd", "kubelett"])


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Go that notes its builds in a file, which is returned, and an empty cache."""
    go, calls = tmp_path / "bin" / "go", tmp_path / "calls"
    go.parent.mkdir()
    go.write_text(
        f"""#!/bin/sh
if [ "$1" = env ]; then echo go1.26.9; exit; fi
echo "$@" >> {calls} || exit 1
while [ "$1" != -o ]; do shift; done
echo program > "$2"
"""
    )
    go.chmod(0o755)
    monkeypatch.setenv("PATH", str(go.parent), prepend=os.pathsep)
    monkeypatch.setenv("SYNTERA_CACHE", str(tmp_path / "cache"))
    return calls


def test_a_program_is_compiled_into_the_cache_once(compiler: Path, tmp_path: Path) -> None:
    first = ensure_binaries(["pause", "etcd"])
    assert ensure_binaries(["pause", "etcd"]) == first
    assert len(compiler.read_text().splitlines()) == 2
    assert first["pause"].read_text() == "program\n"
    assert first["pause"].is_relative_to(tmp_path / "cache" / "bin")


def test_a_build_that_fails_leaves_nothing(compiler: Path, tmp_path: Path) -> None:
    compiler.mkdir()  # the compiler cannot write to it and fails
    with pytest.raises(CommandFailed, match="build"):
        ensure_binaries(["pause"])
    assert list((tmp_path / "cache" / "bin").iterdir()) == []


def test_all_kubernetes_modules_have_the_same_version() -> None:
    """Kubernetes' own libraries are replaced one by one: one left behind would mix two releases."""
    go_mod = (REPOSITORY / "dev" / "go" / "kubernetes" / "go.mod").read_text()
    replacements = [line.split()[-1] for line in go_mod.splitlines() if " => k8s.io/" in line]
    assert len(replacements) > 30
    assert set(replacements) == {version(BINARIES["kubelet"]).replace("v1.", "v0.")}
