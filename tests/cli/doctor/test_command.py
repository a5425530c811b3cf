"""The command as scripts meet it where there is no cluster."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from syntera_cli.__main__ import app
from tests.cli.test_cluster import write_kubeconfig


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "config", server="http://127.0.0.1:1")))


def test_cluster_that_does_not_answer_ends_with_two(nowhere: None) -> None:
    told = CliRunner().invoke(app, ["doctor"])
    assert told.exit_code == 2
    assert "PROBLEM   The cluster http://127.0.0.1:1 does not answer" in told.stdout


def test_json_is_whole_where_the_cluster_does_not_answer(nowhere: None) -> None:
    told = CliRunner().invoke(app, ["doctor", "-o", "json"])
    document = json.loads(told.stdout)
    assert (told.exit_code, document["exitCode"]) == (2, 2)
    assert [finding["check"] for finding in document["findings"]] == ["cluster"]


def test_missing_kubeconfig_ends_with_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    told = CliRunner().invoke(app, ["doctor"])
    assert told.exit_code == 2
    assert "There is no usable kubeconfig" in told.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("--agent", "travel"),
        ("--url", "http://x"),
        ("--api-key-file", "x"),
        ("acme", "--operator", "x"),
        ("acme", "--operator", "a/b/c"),
        ("acme", "-o", "yaml"),
        ("acme", "--api-key-file", "does-not-exist"),
        ("acme", "--url", "acme.chat.example"),
    ],
)
def test_wrong_usage_ends_with_two(nowhere: None, arguments: tuple[str, ...]) -> None:
    told = CliRunner().invoke(app, ["doctor", *arguments])
    assert (told.exit_code, told.stdout) == (2, "")
    assert told.stderr
