"""Asks the Kubernetes API as the user may: single objects and lists, as plain JSON. It only reads.

What the user may not look at is an answer too (`Hidden`), and so is what does not exist; only an API server that cannot be
asked at all raises.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import kubernetes
import urllib3

from ..cluster import REQUEST_SECONDS, Kubeconfig
from ..errors import ClusterUnusable
from .manifests import Hidden, Seen, SeenAll

_PAGE = 500
"""Objects in one answer, as kubectl asks for."""


class Lookout:
    """The API server, seen with the user's own rights."""

    def __init__(self, kubeconfig: Kubeconfig) -> None:
        """Nothing is asked yet."""
        self._client = kubeconfig.client
        self._host = kubeconfig.host
        self._ahead = timedelta()

    def now(self) -> datetime:
        """The API server's time, as its last answer told: ages are measured by its clock, not by this machine's."""
        return datetime.now(UTC) + self._ahead

    def get(self, path: str, action: str) -> Seen:
        """One object. `action` says what is being done, for the case that it is not allowed: "read the Lease".

        Raises:
            ClusterUnusable: The API server cannot be asked.
        """
        return self._send(path, action, {})

    def list(self, path: str, action: str, *, labels: str = "", fields: str = "") -> SeenAll:
        """All objects of a kind, or those that selectors choose; none where the cluster has no such kind.

        Raises:
            ClusterUnusable: The API server cannot be asked.
        """
        query = {"limit": str(_PAGE), "labelSelector": labels, "fieldSelector": fields}
        found: list[Mapping[str, Any]] = []
        while True:
            page = self._send(path, action, {name: value for name, value in query.items() if value})
            if page is None or isinstance(page, Hidden):
                return found if page is None else page
            found += page["items"]
            query["continue"] = (page.get("metadata") or {}).get("continue") or ""
            if not query["continue"]:
                return found

    def _send(self, path: str, action: str, query: Mapping[str, str]) -> Seen:
        """One request.

        Raises:
            ClusterUnusable: The API server cannot be asked.
        """
        try:
            request = self._client.param_serialize(
                "GET",
                path,
                query_params=list(query.items()),
                header_params={"Accept": "application/json"},
                auth_settings=["BearerToken"],
            )
            answer = self._client.call_api(*request, _request_timeout=REQUEST_SECONDS)
            body: bytes = answer.read()  # type: ignore[no-untyped-call]  # its author left it so
        except (urllib3.exceptions.HTTPError, kubernetes.client.ApiException) as exc:
            raise ClusterUnusable(
                f"The cluster {self._host} does not answer ({_kind_of(exc)}); is it up, and is the kubeconfig right?"
            ) from None
        self._set_clock(answer.getheader("Date"))  # type: ignore[no-untyped-call]
        return self._read(answer.status, body, action)

    def _read(self, status: int, body: bytes, action: str) -> Seen:
        if status == 404:
            return None
        if status == 403:
            return Hidden(action)
        if status == 401:
            raise ClusterUnusable(f"The cluster {self._host} does not accept your credentials; log in again.")
        try:
            found: Mapping[str, Any] = json.loads(body)
        except ValueError:
            found = {}
        if status >= 400 or not found:
            raise ClusterUnusable(f"The cluster {self._host} answered HTTP {status} to: {action}. Try again later.")
        return found

    def _set_clock(self, date: str | None) -> None:
        if date:
            self._ahead = parsedate_to_datetime(date) - datetime.now(UTC)


def path_of(group_version: str, plural: str, *, namespace: str = "", name: str = "") -> str:
    """The path of an object, of the objects in a namespace, or of all."""
    root = f"/api/{group_version}" if "/" not in group_version else f"/apis/{group_version}"
    inside = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    return f"{root}{inside}/{plural}" + (f"/{quote(name, safe='')}" if name else "")


def _kind_of(exc: Exception) -> str:
    reason = getattr(exc, "reason", None)
    return type(reason if isinstance(reason, Exception) else exc).__name__
