import json
import os
from pathlib import Path

import pytest

from syntera_dev.cluster.pause_image import build_archive
from syntera_dev.cluster.target import Target, load_images, resolve_cluster
from syntera_dev.errors import DevError


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "kubeconfig"
    context = {"name": "kind-play", "context": {"cluster": "c", "user": "u"}}
    file.write_text(
        json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "kind-play", "contexts": [context]})
    )
    monkeypatch.setenv("KUBECONFIG", str(file))
    monkeypatch.setenv("CLUSTER", "current")
    return file


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    file = tmp_path / "image.tar"
    file.write_bytes(build_archive(b"program", "localhost/syntera/pause:1"))
    return file


def test_current_cluster_is_the_kubeconfigs(kubeconfig: Path) -> None:
    assert resolve_cluster() == Target(str(kubeconfig), "kind-play", None)


def test_current_cluster_is_never_started(kubeconfig: Path) -> None:
    assert resolve_cluster(start=True).node is None


def test_current_cluster_without_a_context(kubeconfig: Path) -> None:
    kubeconfig.write_text("{}")
    with pytest.raises(DevError, match="names no current context"):
        resolve_cluster()


def test_another_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER", "mine")
    with pytest.raises(DevError, match="CLUSTER='mine'"):
        resolve_cluster()


def test_a_local_cluster_that_is_not_up_says_how_to_start_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CLUSTER", raising=False)
    monkeypatch.setenv("SYNTERA_STATE", str(tmp_path))
    with pytest.raises(DevError, match=r"start it with `python -m syntera_dev\.cluster up --name one`"):
        resolve_cluster("one")


def test_images_go_into_kind_by_its_own_command(tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = tmp_path / "bin" / "kind"
    kind.parent.mkdir()
    kind.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\n')
    kind.chmod(0o755)
    monkeypatch.setenv("PATH", str(kind.parent), prepend=os.pathsep)
    load_images(Target("kubeconfig", "kind-play", None), [archive])
    assert (tmp_path / "called").read_text() == f"load image-archive {archive} --name play\n"


def test_images_for_any_other_cluster_need_a_registry(archive: Path) -> None:
    with pytest.raises(DevError, match=r"copy .*image\.tar to a registry that it pulls from"):
        load_images(Target("kubeconfig", "production", None), [archive])
