"""All that the operator asks of Kubernetes, for `reconcile`, in one place.

Views come from memory (`mirrors`), writes change only what differs and only what is ours (`writer`). Nothing here decides
what should be.
"""

import base64
import binascii
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from syntera_crds.contract import names
from syntera_kube import BeforeWrite, KubeClient
from syntera_kube.errors import NotFound
from syntera_kube.resources import CONFIG_MAPS, NAMESPACES, SECRETS, Resource

from ..causes import Wakeup
from ..errors import NameTaken
from ..events import Announcer
from ..manifest import AGENTS, KNOWLEDGE_BASES, TENANTS, Manifest, labels_of, managers, resource_of
from ..queue import Key
from .mirrors import Mirrors
from .model import ObjectRef, Owner, Reference, SecretView
from .writer import Propagation, Writer

_FIELD_MANAGERS = {
    TENANTS: names.TENANT_FIELD_MANAGER,
    AGENTS: names.AGENT_FIELD_MANAGER,
    KNOWLEDGE_BASES: names.KNOWLEDGE_BASE_FIELD_MANAGER,
}


class Cluster:
    """Views from memory, reads of what is not watched, and writes that change only what differs.

    A manifest from a view is shared: do not change it. Its `metadata.managedFields` holds the managers' names alone
    (`manifest.managers`), a Secret's entries hold no value.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        before_write: BeforeWrite,
        enqueue: Callable[[Wakeup], None],
        instance: str,
    ) -> None:
        """Prepare; nothing is watched before `running`.

        Args:
            client: for everything; whoever made it closes it.
            before_write: asked before each write, raises when this process does not lead.
            enqueue: told which objects to look at again.
            instance: this process, as Events name it.
        """
        guarded = client.guarded(before_write)
        self._client = client
        self._mirrors = Mirrors(client, enqueue)
        self._writer = Writer(guarded, self._mirrors)
        self._announcer = Announcer(guarded, instance=instance)

    # Running -----------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch until the block is left. Should a watch break, which is a bug, the block is cancelled and it raises."""
        async with self._mirrors.running():
            yield

    async def load(self) -> None:
        """Wait until everything that is watched is in memory.

        Raises:
            CustomResourcesMissing: the API server does not serve one of our kinds.
            KubeError: it refused to list them, or did not answer.
        """
        await self._mirrors.load()

    def observe(self, resource: Resource, obj: Manifest, *, deleted: bool, listed: bool = False) -> None:
        """Take over what a handler was told of an object of ours; `listed`: in a list of all, which tells no deletion."""
        self._mirrors.observe(resource, obj, deleted=deleted, listed=listed)

    def is_known(self, obj: Manifest) -> bool:
        """Whether an object of ours of which a handler would be told is known in that or a newer version."""
        return self._mirrors.is_known(obj)

    async def check(self) -> int:
        """Compare what is in memory with what the API server has; gives how many changes had been missed.

        Raises:
            KubeError: the API server did not answer, or refused.
        """
        return await self._mirrors.check()

    def all_keys(self) -> Iterator[Key]:
        """The keys of every object of our kinds."""
        return self._mirrors.all_keys()

    def all_objects(self) -> Iterator[Manifest]:
        """Every object of our kinds, as last seen."""
        return self._mirrors.all_objects()

    def silent_seconds(self) -> float:
        """For how long the most silent watch, of those that know of no trouble, has told nothing."""
        return self._mirrors.silent_seconds()

    def deaf_to(self) -> list[str]:
        """Kinds of ours whose watch delivers nothing although something happens, as the last `check` found."""
        return self._mirrors.deaf_to()

    def broken_watches(self) -> int:
        """How many watches know of trouble: what they show may be old."""
        return self._mirrors.broken()

    # Views: no I/O, fed by watches. ------------------------------------------------------------------------------

    def tenant(self, name: str) -> Manifest | None:
        """The Tenant of that name."""
        return self._view(TENANTS, None, name)

    def tenants(self) -> Iterable[Manifest]:
        """All Tenants."""
        return self._mirrors.tenants()

    def agent(self, namespace: str, name: str) -> Manifest | None:
        """The Agent of that name."""
        return self._view(AGENTS, namespace, name)

    def agents(self, namespace: str) -> list[Manifest]:
        """All Agents of a namespace."""
        return self._mirrors.agents(namespace)

    def knowledge_base(self, namespace: str, name: str) -> Manifest | None:
        """The KnowledgeBase of that name."""
        return self._view(KNOWLEDGE_BASES, namespace, name)

    def knowledge_bases(self, namespace: str) -> list[Manifest]:
        """All KnowledgeBases of a namespace."""
        return self._mirrors.knowledge_bases(namespace)

    def jobs(self, namespace: str) -> list[Manifest]:
        """All Jobs of a namespace that carry the operator's label, whoever owns them; of their pods they say nothing."""
        return self._mirrors.jobs(namespace)

    def config_map_version(self, namespace: str, name: str) -> str | None:
        """What changes with a ConfigMap, whoever made it; None if there is none."""
        return self._mirrors.config_map_version(namespace, name)

    def namespace(self, name: str) -> Manifest | None:
        """The Namespace, if it carries the label of a tenant; `read_namespace` finds any."""
        return self._mirrors.namespace(name)

    def runtime_pods(self, namespace: str) -> list[Manifest]:
        """The pods of a tenant's runtime: metadata and status only."""
        return self._mirrors.runtime_pods(namespace)

    def child(self, resource: Resource, namespace: str | None, name: str) -> Manifest | None:
        """An object of that name that carries the operator's label, whoever owns it."""
        return self._view(resource, namespace, name)

    def api_server_addresses(self) -> list[tuple[str, int]]:
        """Addresses and ports behind the Service `kubernetes`, for network policies."""
        return sorted(
            {
                (address, port["port"])
                for one in self._mirrors.api_server_endpoints()
                for endpoint in one.get("endpoints") or ()
                for address in endpoint.get("addresses") or ()
                for port in one.get("ports") or ()
                if port.get("port")
            }
        )

    # Reads: at most one request. ---------------------------------------------------------------------------------

    async def read_namespace(self, name: str) -> Manifest | None:
        """The Namespace as the API server has it now, None if there is none.

        Raises:
            KubeError: the API server did not answer, or refused.
        """
        try:
            return await self._client.get(NAMESPACES, name)
        except NotFound:
            return None

    async def config_map_data(self, namespace: str, name: str) -> dict[str, str] | None:
        """The text entries of a ConfigMap, None if there is none.

        Raises:
            KubeError: the API server did not answer, or refused.
        """
        if self._mirrors.config_map_version(namespace, name) is None:
            return None
        try:
            found = await self._client.get(CONFIG_MAPS, name, namespace=namespace)
        except NotFound:
            return None
        return dict(found.get("data") or {})

    async def usable_secret_keys(self, namespace: str, name: str) -> SecretView | None:
        """Whether a Secret may be referred to and which entries it has, None if there is none. Never reads a value.

        Raises:
            KubeError: the API server did not answer, or refused.
        """
        mirrored = self._mirrors.synced_secrets(namespace)
        found = mirrored.get(namespace, name) if mirrored is not None else None
        if found is None:
            try:
                # Metadata first: of a Secret that may not be used nobody looks at the entries.
                found = await self._client.get(SECRETS, name, namespace=namespace, metadata_only=True)
                if _is_usable(found):
                    found = await self._client.get(SECRETS, name, namespace=namespace)
            except NotFound:
                return None
        usable = _is_usable(found)
        return SecretView(usable=usable, keys=frozenset(found.get("data") or ()) if usable else frozenset())

    async def own_secret(self, namespace: str, name: str) -> dict[str, str] | None:
        """The decoded entries of a Secret that the operator itself made, None if there is none.

        One that was made for a Tenant that had the namespace before counts as none: its credentials are that one's.

        Raises:
            NameTaken: the Secret is somebody else's.
            KubeError: the API server did not answer, or refused.
        """
        try:
            found = await self._client.get(SECRETS, name, namespace=namespace)
        except NotFound:
            return None
        if names.TENANT_FIELD_MANAGER not in managers(found):
            raise NameTaken(f"Secret {name!r} exists already and belongs to somebody else; rename or delete it")
        holder = self.namespace(namespace)
        if holder is not None and labels_of(holder)[names.TENANT_LABEL] != labels_of(found).get(names.TENANT_LABEL):
            return None
        return _decoded(found.get("data") or {})

    # References ----------------------------------------------------------------------------------------------------

    def set_references(self, key: Key, references: set[Reference]) -> None:
        """Remember what an object refers to: a change of one of these re-queues `key`. An empty set forgets."""
        self._mirrors.references.set(key, references)

    # Writes: each asks first whether this process still leads. ----------------------------------------------------

    async def apply(self, desired: Manifest, *, owner: Owner | None, manager: str, adopt: bool = False) -> bool:
        """Make the object be as desired; True if something was written.

        Adds owner reference, label and hash annotation. An object of that name is ours if its owner reference or a field
        manager says so; `adopt` takes over one that is not, for a namespace that its owner handed over. What a Tenant left
        in a namespace that went to another stays that Tenant's while it lives.

        Raises:
            NameTaken: the object belongs to somebody else.
            KubeError: the API server did not answer, or refused (`Invalid`: the content).
            LeadershipLost: this process may write no more.
        """
        return await self._writer.apply(desired, owner=owner, manager=manager, adopt=adopt)

    async def share(self, partial: Manifest, *, manager: str) -> None:
        """Hold the fields of `partial` under the name of another manager too.

        A field that nobody applies any more falls back to its default at once. One that is to be left to somebody else is
        shared first, so that it keeps its value until that one changes it.

        Raises:
            KubeError: the API server did not answer, or refused.
            LeadershipLost: this process may write no more.
        """
        await self._writer.share(partial, manager=manager)

    async def delete_child(self, resource: Resource, namespace: str | None, name: str, *, owner: Owner) -> bool:
        """Delete a child if it exists and is `owner`'s; True if something was deleted.

        Raises:
            KubeError: the API server did not answer, or refused.
            LeadershipLost: this process may write no more.
        """
        return await self._writer.delete_child(ObjectRef(resource, namespace, name), owner=owner)

    async def prune(self, owner: Owner, manager: str, keep: set[ObjectRef], *, namespace: str) -> list[ObjectRef]:
        """Delete what this owner and manager made in the namespace and no longer want; gives what was deleted.

        Only objects with the owner's uid among their owner references and `manager` among their field managers are
        touched; a label alone proves nothing. Nor does all of it together in another namespace: whoever may write an
        object there may name any owner and any manager.

        Raises:
            KubeError: the API server did not answer, or refused.
            LeadershipLost: this process may write no more.
        """
        return await self._writer.prune(owner, manager, keep, namespace=namespace)

    async def patch_status(self, obj: Manifest, status: Mapping[str, Any]) -> bool:
        """Make the status of an object of ours be `status`; True if something was written.

        Raises:
            NotFound: the object is gone.
            Conflict: the object was deleted and made anew.
            KubeError: the API server did not answer, or refused.
            LeadershipLost: this process may write no more.
        """
        return await self._writer.patch_status(obj, status, manager=_FIELD_MANAGERS[resource_of(obj)])

    async def set_finalizers(self, obj: Manifest, finalizers: Sequence[str]) -> bool:
        """Make the finalizers of an object of ours be `finalizers`; True if something was written.

        Raises:
            NotFound: the object is gone.
            Conflict: the object changed meanwhile; look again.
            KubeError: the API server did not answer, or refused.
            LeadershipLost: this process may write no more.
        """
        return await self._writer.set_finalizers(obj, finalizers, manager=_FIELD_MANAGERS[resource_of(obj)])

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str,
        propagation: Propagation = "Background",
    ) -> bool:
        """Delete exactly the object with that uid; False if it is gone already. `Foreground`: it stays until what it owns, such
        as a Job's pods, is gone.

        Raises:
            KubeError: the API server did not answer, or refused.
            LeadershipLost: this process may write no more.
        """
        return await self._writer.delete(ObjectRef(resource, namespace, name), uid=uid, propagation=propagation)

    async def event(self, obj: Manifest, *, type: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """Tell people of a change of `obj` that they must see. Deduplicated; a failure to tell is only logged.

        Each new Event is a write of its own: nothing that happens to every object at every change belongs here.
        """
        await self._announcer.tell(obj, type=type, reason=reason, message=message)

    def _view(self, resource: Resource, namespace: str | None, name: str) -> Manifest | None:
        store = self._mirrors.store(resource, namespace)
        return store.get(namespace, name) if store is not None else None


def _is_usable(secret: Manifest) -> bool:
    return labels_of(secret).get(names.USABLE_LABEL) == "true"


def _decoded(data: Mapping[str, str]) -> dict[str, str]:
    decoded = {}
    for key, value in data.items():
        with contextlib.suppress(binascii.Error, UnicodeDecodeError):  # edited by hand: as good as absent
            decoded[key] = base64.b64decode(value, validate=True).decode()
    return decoded
