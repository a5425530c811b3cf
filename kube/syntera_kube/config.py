"""How to reach the API server: from inside a pod, or by a kubeconfig.

Of a kubeconfig, client certificates and tokens are understood; exec and auth-provider plugins are not, because they run
programs. Nothing here talks to the network.
"""

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson

_SERVICE_ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class ConfigError(Exception):
    """The configuration for the API server is missing or cannot be used."""


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """Where the API server is and who we are to it."""

    server: str
    """Base URL, without a trailing slash."""
    ca_data: str | None = None
    """PEM certificates to trust; None: the system's."""
    verify: bool = True
    """False: the server's certificate is not checked. For development only."""
    tls_server_name: str | None = None
    """Name to expect in the server's certificate, if it is not the host of `server`."""
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    """File with a bearer token that is replaced before it expires; read anew now and then."""
    client_certificate: bytes | None = field(default=None, repr=False)
    """PEM certificate chain to log in with."""
    client_key: bytes | None = field(default=None, repr=False)
    namespace: str | None = None
    """Namespace of the pod or of the kubeconfig's context."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """As kubectl and client-go choose: `KUBECONFIG`, else the pod's ServiceAccount, else `~/.kube/config`.

        Raises:
            ConfigError: there is none of these, or it cannot be used.
        """
        if named := environment.get("KUBECONFIG"):
            return cls.from_kubeconfig(Path(named.partition(os.pathsep)[0]))
        if environment.get("KUBERNETES_SERVICE_HOST"):
            return cls.in_cluster(environment)
        default = Path.home() / ".kube" / "config"
        if default.is_file():
            return cls.from_kubeconfig(default)
        raise ConfigError("no API server: set KUBECONFIG, or run inside a pod with a ServiceAccount token")

    @classmethod
    def in_cluster(cls, environment: Mapping[str, str] = os.environ, *, folder: Path = _SERVICE_ACCOUNT_DIR) -> Self:
        """The configuration of a pod: its ServiceAccount's token, CA and namespace, mounted in `folder`.

        Raises:
            ConfigError: this is no pod, or it has no token mounted.
        """
        host = environment.get("KUBERNETES_SERVICE_HOST")
        port = environment.get("KUBERNETES_SERVICE_PORT", "443")
        if not host:
            raise ConfigError("KUBERNETES_SERVICE_HOST is not set: this is no pod")
        ca_file, namespace_file = folder / "ca.crt", folder / "namespace"
        if not (folder / "token").is_file() or not ca_file.is_file():
            raise ConfigError(f"no ServiceAccount token in {str(folder)!r}: mount one into the pod")
        return cls(
            server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
            ca_data=ca_file.read_text(),
            token_file=folder / "token",
            namespace=namespace_file.read_text().strip() if namespace_file.is_file() else None,
        )

    @classmethod
    def from_kubeconfig(cls, file: Path, *, context: str | None = None) -> Self:
        """One context of a kubeconfig, by default the current one.

        Raises:
            ConfigError: the file or the context is missing, or logs in by a plugin.
        """
        content = _load(file)
        chosen = context or content.get("current-context")
        entry = _named(content, "contexts", chosen, file).get("context") or {}
        cluster = _named(content, "clusters", entry.get("cluster"), file).get("cluster") or {}
        user = _named(content, "users", entry.get("user"), file).get("user") or {}
        if "exec" in user or "auth-provider" in user:
            raise ConfigError(
                f"the user of context {chosen!r} in {str(file)!r} logs in by a plugin: use a token instead"
            )
        ca = _data(cluster, "certificate-authority", file)
        token_file = user.get("tokenFile")
        return cls(
            server=str(cluster.get("server", "")).rstrip("/"),
            ca_data=ca.decode() if ca is not None else None,
            verify=not cluster.get("insecure-skip-tls-verify", False),
            tls_server_name=cluster.get("tls-server-name"),
            token=None if token_file else user.get("token"),
            token_file=file.parent / token_file if token_file else None,
            client_certificate=_data(user, "client-certificate", file),
            client_key=_data(user, "client-key", file),
            namespace=entry.get("namespace"),
        )

    def ssl_context(self) -> ssl.SSLContext | None:
        """What to verify the server by and to log in with; None for plain HTTP.

        Raises:
            ConfigError: a certificate or key is malformed.
        """
        if not self.server.startswith("https:"):
            return None
        try:
            context = ssl.create_default_context(cadata=self.ca_data)
            if not self.verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self.client_certificate and self.client_key:
                _load_cert_chain(context, self.client_certificate, self.client_key)
        except ssl.SSLError as exc:
            raise ConfigError(f"a certificate or key for {self.server!r} is malformed: {exc}") from None
        return context


def _load_cert_chain(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """The ssl module takes files only; this one is readable by us alone and gone at once."""
    with tempfile.NamedTemporaryFile(prefix="syntera-") as file:
        file.write(certificate + b"\n" + key)
        file.flush()
        context.load_cert_chain(file.name)


def _load(file: Path) -> dict[str, Any]:
    try:
        text = file.read_bytes()
    except OSError as exc:
        raise ConfigError(f"cannot read kubeconfig {str(file)!r}: {exc.strerror}") from exc
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError:
        content = _load_yaml(text, file)
    if not isinstance(content, dict):
        raise ConfigError(f"{str(file)!r} is no kubeconfig")
    return content


def _load_yaml(text: bytes, file: Path) -> Any:
    """YAML is for development alone: in a pod nothing of it is loaded."""
    try:
        import yaml  # noqa: PLC0415 - a parser that no pod needs
    except ImportError as exc:
        raise ConfigError(f"{str(file)!r} is YAML: install PyYAML, or convert it to JSON") from exc
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise ConfigError(f"{str(file)!r} is not valid YAML") from exc


def _named(content: dict[str, Any], section: str, name: str | None, file: Path) -> dict[str, Any]:
    for entry in content.get(section) or ():
        if entry.get("name") == name:
            return dict(entry)
    raise ConfigError(f"kubeconfig {str(file)!r} has no {name!r} among its {section}")


def _data(entry: dict[str, Any], key: str, file: Path) -> bytes | None:
    """A value that stands in the kubeconfig itself (`<key>-data`, base64) or in a file beside it."""
    try:
        if encoded := entry.get(f"{key}-data"):
            return base64.b64decode(encoded, validate=True)
        return (file.parent / entry[key]).read_bytes() if entry.get(key) else None
    except (OSError, binascii.Error) as exc:
        raise ConfigError(f"cannot read {key} of kubeconfig {str(file)!r}: {exc}") from exc
