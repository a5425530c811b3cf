"""All that the operator asks of Kubernetes.

Signatures first; the bodies follow in the next commits.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from syntera_kube.resources import Resource

from ..manifest import Manifest
from ..queue import Key
from .model import ObjectRef, Owner, Reference, SecretView


class Cluster:
    """Views from memory, reads of what is not watched, and writes that change only what differs.

    A manifest from a view is shared: do not change it. Its `metadata.managedFields` holds the managers' names alone
    (`manifest.managers`), a Secret's entries hold no value.
    """

    # Views: no I/O, fed by watches. ------------------------------------------------------------------------------

    def tenant(self, name: str) -> Manifest | None:
        """The Tenant of that name."""
        raise NotImplementedError

    def tenants(self) -> Iterable[Manifest]:
        """All Tenants."""
        raise NotImplementedError

    def agent(self, namespace: str, name: str) -> Manifest | None:
        """The Agent of that name."""
        raise NotImplementedError

    def agents(self, namespace: str) -> list[Manifest]:
        """All Agents of a namespace."""
        raise NotImplementedError

    def namespace(self, name: str) -> Manifest | None:
        """The Namespace, if it carries the label of a tenant; `read_namespace` finds any."""
        raise NotImplementedError

    def runtime_pods(self, namespace: str) -> list[Manifest]:
        """The pods of a tenant's runtime: metadata and status only."""
        raise NotImplementedError

    def published(self, namespace: str, agent: str) -> Manifest | None:
        """The ConfigMap that is published for an Agent, whoever made it."""
        raise NotImplementedError

    def child(self, resource: Resource, namespace: str | None, name: str) -> Manifest | None:
        """An object of that name that carries the operator's label, whoever owns it."""
        raise NotImplementedError

    # Reads: at most one request. ---------------------------------------------------------------------------------

    async def read_namespace(self, name: str) -> Manifest | None:
        """The Namespace as the API server has it now, None if there is none.

        Raises:
            KubeError: the API server did not answer, or refused.
        """
        raise NotImplementedError

    async def config_map_data(self, namespace: str, name: str) -> dict[str, str] | None:
        """The text entries of a ConfigMap, None if there is none.

        Raises:
            KubeError: the API server did not answer, or refused.
        """
        raise NotImplementedError

    async def usable_secret_keys(self, namespace: str, name: str) -> SecretView | None:
        """Whether a Secret may be referred to and which entries it has, None if there is none. Never reads a value.

        Raises:
            KubeError: the API server did not answer, or refused.
        """
        raise NotImplementedError

    async def own_secret(self, namespace: str, name: str) -> dict[str, str] | None:
        """The decoded entries of a Secret that the operator itself made, None if there is none.

        Raises:
            NameTaken: the Secret is somebody else's.
            KubeError: the API server did not answer, or refused.
        """
        raise NotImplementedError

    async def api_server_addresses(self) -> list[tuple[str, int]]:
        """Addresses and ports behind the Service `kubernetes`, for network policies.

        Raises:
            KubeError: the API server did not answer, or refused.
        """
        raise NotImplementedError

    # References ----------------------------------------------------------------------------------------------------

    def set_references(self, key: Key, references: set[Reference]) -> None:
        """Remember what an object refers to: a change of one of these re-queues `key`. An empty set forgets."""
        raise NotImplementedError

    # Writes: each asks first whether this process still leads. ----------------------------------------------------

    async def apply(self, desired: Manifest, *, owner: Owner | None, manager: str, adopt: bool = False) -> bool:
        """Make the object be as desired; True if something was written.

        Adds owner reference, label and hash annotation. An object of that name is ours if its owner reference or a field
        manager says so; `adopt` takes over one that is not, for a namespace that its owner handed over.

        Raises:
            NameTaken: the object belongs to somebody else.
            KubeError: the API server did not answer, or refused (`Invalid`: the content).
            LeadershipLost: this process may write no more.
        """
        raise NotImplementedError

    async def delete_child(self, resource: Resource, namespace: str | None, name: str, *, owner: Owner) -> bool:
        """Delete a child if it exists and is `owner`'s; True if something was deleted.

        Raises:
            KubeError: the API server did not answer, or refused.
            LeadershipLost: this process may write no more.
        """
        raise NotImplementedError

    async def prune(self, owner: Owner, manager: str, keep: set[ObjectRef]) -> list[ObjectRef]:
        """Delete what this owner and manager made and no longer want; gives what was deleted.

        Only objects with the owner's uid among their owner references and `manager` among their field managers are
        touched; a label alone proves nothing.

        Raises:
            KubeError: the API server did not answer, or refused.
            LeadershipLost: this process may write no more.
        """
        raise NotImplementedError

    async def patch_status(self, obj: Manifest, status: Mapping[str, Any]) -> bool:
        """Make the status of a Tenant or Agent be `status`; True if something was written.

        Raises:
            NotFound: the object is gone.
            Conflict: the object was deleted and made anew.
            KubeError: the API server did not answer, or refused.
            LeadershipLost: this process may write no more.
        """
        raise NotImplementedError

    async def set_finalizers(self, obj: Manifest, finalizers: Sequence[str]) -> bool:
        """Make the finalizers of a Tenant be `finalizers`; True if something was written.

        Raises:
            NotFound: the object is gone.
            Conflict: the object changed meanwhile; look again.
            KubeError: the API server did not answer, or refused.
            LeadershipLost: this process may write no more.
        """
        raise NotImplementedError

    async def delete(self, resource: Resource, namespace: str | None, name: str, *, uid: str) -> bool:
        """Delete exactly the object with that uid; False if it is gone already.

        Raises:
            KubeError: the API server did not answer, or refused.
            LeadershipLost: this process may write no more.
        """
        raise NotImplementedError

    async def event(self, obj: Manifest, *, type: Literal["Normal", "Warning"], reason: str, message: str) -> None:  # noqa: A002 - Kubernetes' own word
        """Tell people of a change of `obj` that they must see. Deduplicated; a failure to tell is only logged.

        Each new Event is a write of its own: nothing that happens to every object at every change belongs here.
        """
        raise NotImplementedError
