"""Our kinds on the session's API server: where each is served, and the few calls that the tests make."""

from dataclasses import dataclass
from typing import Any

from tests.support.apiserver import RunningApiServer

from .constraints import Json, crds


@dataclass(frozen=True)
class Kinds:
    """Objects of our kinds, the namespaced ones in one namespace of this session's own."""

    server: RunningApiServer
    namespace: str

    def path(self, kind: str, name: str = "", subresource: str = "") -> str:
        """Where a kind, an object or a part of it is served."""
        spec = crds()[kind]["spec"]
        group = f"/apis/{spec['group']}/{spec['versions'][0]['name']}"
        place = f"/namespaces/{self.namespace}" if spec["scope"] == "Namespaced" else ""
        return "/".join(filter(None, [f"{group}{place}/{spec['names']['plural']}", name, subresource]))

    def create(self, manifest: Json, *, is_dry_run: bool = False) -> Json:
        """Create an object. As a dry run it is validated and not stored.

        Raises:
            ApiRefused: the server takes it not.
        """
        return self.server.send("POST", self.path(manifest["kind"]), manifest, query=_query(is_dry_run=is_dry_run))

    def update(self, manifest: Json, *, subresource: str = "", is_dry_run: bool = False) -> Json:
        """Replace an object, or its status; `manifest` holds the resource version that is replaced.

        Raises:
            ApiRefused: the server takes it not.
        """
        path = self.path(manifest["kind"], manifest["metadata"]["name"], subresource)
        return self.server.send("PUT", path, manifest, query=_query(is_dry_run=is_dry_run))

    def get(self, kind: str, name: str, **options: Any) -> Json:
        """An object as it is stored.

        Raises:
            ApiRefused: there is none.
        """
        return self.server.send("GET", self.path(kind, name), **options)

    def delete(self, kind: str, name: str) -> None:
        """Delete an object.

        Raises:
            ApiRefused: there is none.
        """
        self.server.send("DELETE", self.path(kind, name))


def _query(*, is_dry_run: bool) -> dict[str, str]:
    return {"fieldValidation": "Strict"} | ({"dryRun": "All"} if is_dry_run else {})
