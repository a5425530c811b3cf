"""The few calls that bringing up a cluster makes to its API server, over the standard library and one client certificate.

Not a client for programs or tests: those use `kubectl`, `syntera_kube` or the official client with the written kubeconfig.
"""

import http.client
import json
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from syntera_dev.errors import DevError

_FIELD_MANAGER = "syntera-dev-cluster"


class ApiServer:
    """One API server, reached as the holder of a client certificate; the environment's proxies are not asked."""

    def __init__(self, url: str, *, authority: Path, certificate: Path, key: Path) -> None:
        """Load the certificates; nothing is sent yet."""
        self.url = url
        self._context = ssl.create_default_context(cafile=str(authority))
        self._context.load_cert_chain(certificate, key)

    def is_healthy(self, path: str = "/readyz") -> bool:
        """Tell whether a health endpoint answers well; an unreachable server is not healthy."""
        try:
            return self._send("GET", path)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def get(self, path: str) -> Any:
        """Return an object or a list.

        Raises:
            DevError: the server refused, or could not be reached.
        """
        return self._json("GET", path)

    def apply(self, path: str, manifest: dict[str, Any]) -> None:
        """Create or change the object at a path by server-side apply.

        Raises:
            DevError: the server refused, or could not be reached.
        """
        self._json("PATCH", f"{path}?fieldManager={_FIELD_MANAGER}&force=true", manifest)

    def _json(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            status, text = self._send(method, path, body)
        except (OSError, http.client.HTTPException) as exc:
            raise DevError(f"{method} {path}: the API server at {self.url} cannot be reached: {exc}") from exc
        if not 200 <= status < 300:
            raise DevError(f"{method} {path}: the API server answered {status}: {text}")
        return json.loads(text)

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, str]:
        address = urlsplit(self.url)
        assert address.hostname is not None
        connection = http.client.HTTPSConnection(address.hostname, address.port, timeout=10, context=self._context)
        try:
            headers = {"Accept": "application/json", "Content-Type": "application/apply-patch+yaml"}
            connection.request(method, path, body=None if body is None else json.dumps(body), headers=headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()
