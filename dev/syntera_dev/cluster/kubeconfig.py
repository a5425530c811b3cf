"""Writes kubeconfig files. They are JSON, which every reader of YAML reads, so that this needs no YAML library."""

import base64
import json
from dataclasses import dataclass

from .pki import KeyPair


@dataclass(frozen=True)
class ServerAddress:
    """Where an API server answers and which authority signed its certificate."""

    url: str
    authority: bytes


def render_kubeconfig(server: ServerAddress, *, context: str, user: str, credentials: KeyPair) -> str:
    """Return a kubeconfig with one cluster, one user and one context, all data embedded: it stays valid when moved."""
    cluster = {"server": server.url, "certificate-authority-data": _base64(server.authority)}
    login = {
        "client-certificate-data": _base64(credentials.certificate),
        "client-key-data": _base64(credentials.key),
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "clusters": [{"name": context, "cluster": cluster}],
        "users": [{"name": user, "user": login}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": user}}],
    }
    return json.dumps(document, indent=2) + "\n"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
