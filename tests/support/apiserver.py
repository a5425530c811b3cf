"""A real kube-apiserver with our CRDs, for tests that need no pods: one per session, started when the first test asks.

Its controllers run too: owned objects are collected and namespaces go away. Tests share the server, so each makes
namespaces and cluster-scoped objects of names of its own.
"""

import json
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import kubernetes
import pytest
import yaml

from syntera_dev.cluster.control_plane import ControlPlane, control_plane

Manifest = dict[str, Any]

CRD_FOLDER = Path(__file__).parents[2] / "crds"
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_FIELD_MANAGER = "syntera-tests"
_DEADLINE_SECONDS = 30


class ApiRefused(Exception):
    """The API server answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        # A path that nothing serves is answered in plain text.
        body: Manifest = json.loads(text) if text.startswith("{") else {"message": text}
        super().__init__(body["message"])
        self.status = status
        causes = body.get("details", {}).get("causes", [])
        self.causes: list[tuple[str, str]] = [(cause.get("field", ""), cause.get("message", "")) for cause in causes]
        """Field and message of everything that is wrong with an object."""


@dataclass(frozen=True, slots=True)
class RunningApiServer:
    """The session's API server, as its administrator sees it."""

    plane: ControlPlane
    client: kubernetes.client.ApiClient
    """The official client, logged in as administrator."""

    @property
    def url(self) -> str:
        """Where it answers: https://address:port."""
        return self.plane.server

    @property
    def ca_file(self) -> Path:
        """The authority that signed its certificate."""
        return self.plane.ca

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.plane.kubeconfig

    def kubeconfig_for(self, user: str, *groups: str) -> Path:
        """The kubeconfig of a user of any name and groups, who may do what RBAC grants them."""
        file = self.plane.kubeconfig.with_name(f"kubeconfig-{secrets.token_hex(4)}")
        file.write_text(self.plane.client_kubeconfig(user, groups))
        return file

    def send(
        self,
        method: str,
        path: str,
        body: Manifest | None = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Manifest:
        """One request.

        Raises:
            ApiRefused: the server answered with an error.
        """
        url = f"{self.url}{path}?{urlencode(query or {})}"
        # The client writes JSON itself, and leaves any other content to its callers.
        content = body if content_type.endswith("json") else json.dumps(body)
        headers = {"Accept": accept, "Content-Type": content_type}
        response = self.client.call_api(method, url, headers, content, _request_timeout=_DEADLINE_SECONDS)
        text = response.read().decode()  # type: ignore[no-untyped-call]  # its author left it untyped
        if response.status >= 400:
            raise ApiRefused(response.status, text)
        answer: Manifest = json.loads(text)
        return answer

    def apply(self, path: str, manifest: Manifest) -> Manifest:
        """Create or change the object at a path by server-side apply.

        Raises:
            ApiRefused: the server answered with an error.
        """
        query = {"fieldManager": _FIELD_MANAGER, "force": "true", "fieldValidation": "Strict"}
        return self.send("PATCH", path, manifest, query=query, content_type="application/apply-patch+yaml")

    def create_namespace(self, prefix: str = "test", *, labels: Mapping[str, str] | None = None) -> str:
        """A new namespace; returns its name."""
        name = unique_name(prefix)
        metadata = {"name": name, "labels": dict(labels or {})}
        self.send("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        return name

    def install_crds(self, folder: Path = CRD_FOLDER) -> None:
        """Apply the CRDs of a folder and wait until the server serves them.

        Raises:
            ApiRefused: the server does not take one of them.
        """
        crds = [yaml.safe_load(file.read_text()) for file in sorted(folder.glob("*.yaml"))]
        for crd in crds:
            self.apply(f"{_CRDS}/{crd['metadata']['name']}", crd)
        for crd in crds:
            self._wait_until_served(crd)

    def _wait_until_served(self, crd: Manifest) -> None:
        """Established is said a moment before every handler knows; only a list tells."""
        spec = crd["spec"]
        path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while True:
            try:
                self.send("GET", path, query={"limit": "1"})
                return
            except ApiRefused:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


def unique_name(prefix: str = "test") -> str:
    """A name that no other test has."""
    return f"{prefix}-{secrets.token_hex(4)}"


@pytest.fixture(scope="session")
def api_server() -> Iterator[RunningApiServer]:
    """A kube-apiserver with our CRDs, shared by the session. Mark the tests that use it with `api`."""
    # A short path: the store's socket stands in it, and the kernel bounds the length of those.
    folder = Path(tempfile.mkdtemp(prefix="syntera-api-"))
    with control_plane(folder) as plane:
        client = kubernetes.config.new_client_from_config(  # type: ignore[no-untyped-call]  # its author left it untyped
            config_file=str(plane.kubeconfig)
        )
        with client:
            server = RunningApiServer(plane, client)
            server.install_crds()
            yield server
