"""Where the API server is found and how to log in there."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from syntera_kube import ClusterConfig, ConfigError
from tests.support.apiserver import RunningApiServer

PEM = "-----BEGIN CERTIFICATE-----"


def write_kubeconfig(folder: Path, *, user: dict[str, Any], cluster: dict[str, Any] | None = None) -> Path:
    content = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "one", "user": "me", "namespace": "mine"}}],
        "clusters": [{"name": "one", "cluster": {"server": "https://api.example:6443/", **(cluster or {})}}],
        "users": [{"name": "me", "user": user}],
    }
    file = folder / "config"
    file.write_text(yaml.safe_dump(content))
    return file


def write_pod(folder: Path) -> Path:
    folder.mkdir()
    (folder / "token").write_text("secret")
    (folder / "ca.crt").write_text(PEM)
    (folder / "namespace").write_text("mine\n")
    return folder


def test_in_cluster_uses_what_is_mounted(tmp_path: Path) -> None:
    folder = write_pod(tmp_path / "account")
    environment = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}

    config = ClusterConfig.in_cluster(environment, folder=folder)

    assert (config.server, config.namespace, config.ca_data) == ("https://10.0.0.1:6443", "mine", PEM)
    assert config.token_file == folder / "token"


def test_in_cluster_brackets_an_ipv6_address(tmp_path: Path) -> None:
    config = ClusterConfig.in_cluster({"KUBERNETES_SERVICE_HOST": "fd00::1"}, folder=write_pod(tmp_path / "account"))

    assert config.server == "https://[fd00::1]:443"


def test_in_cluster_is_an_error_when_no_token_is_mounted(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mount one"):
        ClusterConfig.in_cluster({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, folder=tmp_path)


def test_kubeconfig_wins_over_the_pod(tmp_path: Path) -> None:
    file = write_kubeconfig(tmp_path, user={"token": "t"})

    config = ClusterConfig.from_environment({"KUBECONFIG": str(file), "KUBERNETES_SERVICE_HOST": "10.0.0.1"})

    assert (config.server, config.token, config.namespace) == ("https://api.example:6443", "t", "mine")


def test_nothing_at_all_is_an_error_that_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    with pytest.raises(ConfigError, match="KUBECONFIG"):
        ClusterConfig.from_environment({})


def test_kubeconfig_takes_data_and_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "client.crt").write_bytes(b"certificate")
    (tmp_path / "token").write_text("t")
    user = {
        "client-certificate": "client.crt",
        "client-key-data": base64.b64encode(b"key").decode(),
        "tokenFile": "token",
        "token": "old",
    }
    cluster = {"certificate-authority-data": base64.b64encode(PEM.encode()).decode()}

    config = ClusterConfig.from_kubeconfig(write_kubeconfig(tmp_path, user=user, cluster=cluster))

    assert (config.client_certificate, config.client_key, config.ca_data) == (b"certificate", b"key", PEM)
    assert (config.token_file, config.token) == (tmp_path / "token", None)


def test_kubeconfig_may_be_json(tmp_path: Path) -> None:
    file = write_kubeconfig(tmp_path, user={"token": "t"})
    file.write_text(json.dumps(yaml.safe_load(file.read_text())))

    assert ClusterConfig.from_kubeconfig(file).token == "t"


@pytest.mark.parametrize(
    ("user", "says"),
    [
        ({"exec": {"command": "aws"}}, "plugin"),
        ({"client-certificate": "none"}, "client-certificate"),
        ({"client-key-data": "%%%"}, "client-key"),
    ],
)
def test_kubeconfig_that_cannot_be_used_is_an_error(tmp_path: Path, user: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        ClusterConfig.from_kubeconfig(write_kubeconfig(tmp_path, user=user))


@pytest.mark.parametrize("text", ["[", "just words", "contexts: []"])
def test_file_that_is_no_kubeconfig_is_an_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)

    with pytest.raises(ConfigError):
        ClusterConfig.from_kubeconfig(file)


def test_malformed_certificate_is_an_error_without_its_content() -> None:
    with pytest.raises(ConfigError) as caught:
        ClusterConfig(server="https://api.example", ca_data="geheim").ssl_context()

    assert "geheim" not in str(caught.value)


def test_plain_http_needs_no_ssl_context() -> None:
    assert ClusterConfig(server="http://api.example").ssl_context() is None


def test_secrets_do_not_show() -> None:
    config = ClusterConfig(server="https://api.example", token="geheim", client_key=b"geheim")

    assert "geheim" not in repr(config)


@pytest.mark.api
def test_kubeconfig_of_a_real_cluster_makes_an_ssl_context(api_server: RunningApiServer) -> None:
    context = ClusterConfig.from_kubeconfig(api_server.kubeconfig).ssl_context()

    assert context is not None
    assert context.check_hostname
