"""Small values that the client takes and gives."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Manifest = dict[str, Any]
"""A Kubernetes object as JSON."""


class ObjectList(NamedTuple):
    """All objects of a list at one moment."""

    items: list[Manifest]
    resource_version: str


class WatchEvent(NamedTuple):
    """One line of a watch. A bookmark's object holds nothing but the resourceVersion reached."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: Manifest


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a kind to list or watch; all of it is evaluated by the server."""

    namespace: str | None = None
    """None: all namespaces."""
    label_selector: str | None = None
    field_selector: str | None = None
    metadata_only: bool = False
    """Ask for metadata alone (PartialObjectMetadata)."""

    def params(self) -> dict[str, str]:
        """As query parameters."""
        pairs = {"labelSelector": self.label_selector, "fieldSelector": self.field_selector}
        return {key: value for key, value in pairs.items() if value is not None}


EVERYTHING = Selection()
"""All objects of a kind."""


class ServiceAccountToken(NamedTuple):
    """A token of a ServiceAccount and for how many seconds from now it is valid."""

    token: str
    expires_in_seconds: float
