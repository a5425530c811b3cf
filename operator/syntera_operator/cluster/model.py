"""Small values that `Cluster` takes and gives."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

from syntera_kube.resources import Resource

from ..manifest import Manifest, name_of, uid_of

ReferenceKind = Literal["Secret", "ConfigMap", "KnowledgeBase"]


@dataclass(frozen=True, slots=True)
class Owner:
    """The object of ours that a child belongs to: it goes when its owner goes."""

    api_version: str
    kind: str
    name: str
    uid: str

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """The object itself as an owner."""
        return cls(manifest["apiVersion"], manifest["kind"], name_of(manifest), uid_of(manifest))


class ObjectRef(NamedTuple):
    """One object in the cluster."""

    resource: Resource
    namespace: str | None
    name: str


class Reference(NamedTuple):
    """An object that one of ours names in its spec."""

    kind: ReferenceKind
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class SecretView:
    """All that the operator knows of a user's Secret; never a value."""

    usable: bool
    """Whether its owner lets Tenants and Agents refer to it."""
    keys: frozenset[str]
    """Its entries; empty where it is not usable, because then nobody looked."""
