"""Ways to a tenant's API. kubectl is a script here that says what a test wants; the real one is used on the cluster."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from syntera_cli import connections
from syntera_cli.connections import FixedUrl, ForwardedPort
from syntera_cli.errors import RuntimeUnreachable

FORWARDS = "echo 'Forwarding from 127.0.0.1:4711 -> 8080'; echo 'Handling connection for 4711'; exec sleep 600"


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts a kubectl in front of all others that notes its process and arguments and then does what it is told."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def put(script: str) -> Path:
        notes = tmp_path / "notes"
        file = tmp_path / "kubectl"
        file.write_text(f'#!/bin/sh\necho "$$ $*" >> {notes}\n{script}\n')
        file.chmod(0o755)
        return notes

    return put


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def processes(notes: Path) -> list[int]:
    return [int(line.split()[0]) for line in notes.read_text().splitlines()]


def test_port_is_forwarded_until_the_block_is_left(kubectl: Callable[[str], Path]) -> None:
    notes = kubectl(FORWARDS)
    with ForwardedPort("acme", context="kind") as forwarded:
        assert forwarded.url() == forwarded.url() == "http://127.0.0.1:4711"
        (process,) = processes(notes)
        assert is_running(process)
    assert not is_running(process)
    assert notes.read_text().split(maxsplit=1)[1].strip() == (
        "port-forward --namespace=acme --address=127.0.0.1 --context=kind service/syntera-runtime :80"
    )


def test_nothing_is_started_when_nothing_is_asked(kubectl: Callable[[str], Path]) -> None:
    notes = kubectl(FORWARDS)
    with ForwardedPort("acme"):
        pass
    assert not notes.exists()


def test_forwarding_is_started_anew_when_it_has_ended(kubectl: Callable[[str], Path]) -> None:
    notes = kubectl(FORWARDS)
    with ForwardedPort("acme") as forwarded:
        forwarded.url()
        os.kill(processes(notes)[0], 9)
        deadline = time.monotonic() + 30
        while len(processes(notes)) < 2 and time.monotonic() < deadline:
            forwarded.url()
        assert len(processes(notes)) == 2


def test_renewed_forwarding_is_another_process(kubectl: Callable[[str], Path]) -> None:
    notes = kubectl(FORWARDS)
    with ForwardedPort("acme") as forwarded:
        forwarded.url()
        assert forwarded.renew()
        forwarded.url()
    first, second = processes(notes)
    assert not is_running(first)
    assert not is_running(second)


def test_what_kubectl_complains_about_is_told(kubectl: Callable[[str], Path]) -> None:
    kubectl("echo 'error: no pods are running' >&2; exit 1")
    with ForwardedPort("acme") as forwarded, pytest.raises(RuntimeUnreachable) as caught:
        forwarded.url()
    assert str(caught.value) == (
        "The runtime in namespace 'acme' cannot be reached: kubectl port-forward says: no pods are running"
    )


def test_silent_kubectl_is_given_up(kubectl: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "START_SECONDS", 3)  # the script has noted its process by then
    notes = kubectl("exec sleep 600")
    with ForwardedPort("acme") as forwarded, pytest.raises(RuntimeUnreachable, match="no answer within"):
        forwarded.url()
    assert not is_running(processes(notes)[0])


def test_missing_kubectl_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with ForwardedPort("acme") as forwarded, pytest.raises(RuntimeUnreachable, match="kubectl is not installed"):
        forwarded.url()


@pytest.mark.parametrize("url", ["http://localhost:8080", "http://localhost:8080/", "https://acme.example/base/"])
def test_url_is_taken_as_it_is_but_for_its_last_slash(url: str) -> None:
    fixed = FixedUrl(url)
    assert fixed.url() == url.rstrip("/")
    assert not fixed.renew()


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://x", "http://", "http://[::1", "/v1"])
def test_other_texts_are_no_urls(url: str) -> None:
    with pytest.raises(RuntimeUnreachable, match="is no URL of an API"):
        FixedUrl(url)
