"""Writes to the cluster that change only what differs, and touch only what is ours.

Nothing is sent when the mirrored object carries the hash of what is desired and holds every desired value. Where the API
server keeps a value in another spelling than it was sent, the object would differ for ever; so what it made of our last
write is remembered, and is as good as what was desired until one of the two changes.
"""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import structlog

from syntera_crds.contract import names
from syntera_kube import KubeClient
from syntera_kube.errors import Conflict, NotFound
from syntera_kube.resources import CONFIG_MAPS, SECRETS

from ..causes import key_by_kind, key_of, namespace_of_tenant, tenant_key
from ..errors import NameTaken
from ..manifest import (
    Manifest,
    is_being_deleted,
    labels_of,
    managers,
    name_of,
    namespace_of,
    owner_uids,
    resource_of,
    uid_of,
)
from ..queue import Key
from .compare import applied_hash, complete, digest, is_subset, project
from .mirrors import Mirrors
from .model import ObjectRef, Owner
from .slim import digest_values

log = structlog.get_logger(__name__)

Propagation = Literal["Background", "Foreground"]
"""Whether what an object owns goes after it, or before it."""


class _Settled(NamedTuple):
    """What the API server made of a desired object."""

    desired_hash: str | None
    projection: str


class Writer:
    """Apply, prune, patch. The client must be guarded by leadership."""

    def __init__(self, client: KubeClient, mirrors: Mirrors) -> None:
        self._client = client
        self._mirrors = mirrors
        self._settled: dict[ObjectRef, _Settled] = {}

    async def apply(self, desired: Manifest, *, owner: Owner | None, manager: str, adopt: bool) -> bool:
        """See `Cluster.apply`."""
        resource = resource_of(desired)
        ref = ObjectRef(resource, namespace_of(desired), name_of(desired))
        wanted = complete(desired, owner)
        live = self._mirrored(ref)
        if live is None:
            live = await self._look(ref)
        if live is not None:
            if not adopt and not _is_ours(live, owner, manager):
                raise NameTaken(
                    f"{resource.kind} {ref.name!r} exists already and belongs to somebody else; rename or delete it"
                )
            if before := self._earlier_tenant(ref, live, owner):
                raise NameTaken(
                    f"{resource.kind} {ref.name!r} belongs to Tenant {before!r}, which had the namespace before and goes with it"
                )
            if is_being_deleted(live) or self._is_as_desired(ref, wanted, live):
                return False
        with self._mirrors.writing(ref, _writer_of(wanted, owner)) as answered:
            answer = await self._client.apply(resource, wanted, field_manager=manager)
            self._remember(ref, wanted, answer)
            answered(answer)
        changed = live is None or live["metadata"]["resourceVersion"] != answer["metadata"]["resourceVersion"]
        if changed:
            log.info("object applied", resource=str(resource), object_namespace=ref.namespace, object_name=ref.name)
        return changed

    async def share(self, partial: Manifest, *, manager: str) -> None:
        """See `Cluster.share`."""
        resource = resource_of(partial)
        with self._mirrors.writing(ObjectRef(resource, namespace_of(partial), name_of(partial)), None) as answered:
            answered(await self._client.apply(resource, partial, field_manager=manager))

    async def delete_child(self, ref: ObjectRef, *, owner: Owner) -> bool:
        """See `Cluster.delete_child`."""
        live = self._mirrored(ref)
        if live is None:
            live = await self._look(ref)
        if live is None or owner.uid not in owner_uids(live) or is_being_deleted(live):
            return False
        return await self.delete(ref, uid=uid_of(live))

    async def prune(self, owner: Owner, manager: str, keep: set[ObjectRef], *, namespace: str) -> list[ObjectRef]:
        """See `Cluster.prune`."""
        unwanted = []
        for resource, live in list(self._mirrors.children_of(owner, namespace)):
            ref = ObjectRef(resource, namespace_of(live), name_of(live))
            if ref not in keep and manager in managers(live) and not is_being_deleted(live):
                unwanted.append((ref, uid_of(live)))
        return [ref for ref, uid in unwanted if await self.delete(ref, uid=uid)]

    async def delete(self, ref: ObjectRef, *, uid: str, propagation: Propagation = "Background") -> bool:
        """See `Cluster.delete`."""
        self._settled.pop(ref, None)
        try:
            await self._client.delete(ref.resource, ref.name, namespace=ref.namespace, uid=uid, propagation=propagation)
        except NotFound:
            self._mirrors.forget_gone(ref.resource)
            return False
        except Conflict:
            if await self._is_there(ref, uid=uid):
                raise
            return False  # the object of that name is another one by now
        log.info("object deleted", resource=str(ref.resource), object_namespace=ref.namespace, object_name=ref.name)
        return True

    async def patch_status(self, item: Manifest, status: Mapping[str, Any], *, manager: str) -> bool:
        """See `Cluster.patch_status`."""
        resource = resource_of(item)
        ref = ObjectRef(resource, namespace_of(item), name_of(item))
        known = self._mirrored(ref)
        if known is None or uid_of(known) != uid_of(item):
            known = item
        if (known.get("status") or {}) == dict(status):
            return False
        wanted = {"metadata": item["metadata"], "status": dict(status)}
        await self._write_own(ref, item, self._client.patch_status(resource, wanted, field_manager=manager))
        return True

    async def set_finalizers(self, item: Manifest, finalizers: Sequence[str], *, manager: str) -> bool:
        """See `Cluster.set_finalizers`."""
        known = item["metadata"].get("finalizers") or []
        if list(known) == list(finalizers):
            return False
        resource = resource_of(item)
        ref = ObjectRef(resource, namespace_of(item), name_of(item))
        newest = self._mirrored(ref)
        # A status that was written meanwhile is no reason to refuse; another finalizer is.
        is_newer = newest is not None and (newest["metadata"].get("finalizers") or []) == known
        version = (newest if newest is not None and is_newer else item)["metadata"]["resourceVersion"]
        patch = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {
                "name": name_of(item),
                **({} if ref.namespace is None else {"namespace": ref.namespace}),
                "resourceVersion": version,
                "finalizers": list(finalizers),
            },
        }
        await self._write_own(ref, item, self._client.merge_patch(resource, patch, field_manager=manager))
        return True

    async def _write_own(self, ref: ObjectRef, item: Manifest, request: Awaitable[Manifest]) -> None:
        """Write to an object of ours. One that is not found was deleted unseen, and others may have been, too."""
        with self._mirrors.writing(ref, key_of(item)) as answered:
            try:
                answered(await request)
            except NotFound:
                self._mirrors.forget_gone(ref.resource)
                raise

    def _mirrored(self, ref: ObjectRef) -> Manifest | None:
        store = self._mirrors.store(ref.resource, ref.namespace)
        return store.get(ref.namespace, ref.name) if store is not None else None

    def _earlier_tenant(self, ref: ObjectRef, live: Manifest, owner: Owner | None) -> str | None:
        """The living Tenant, another than `owner`, that names the object's namespace as its own and owns the object."""
        uids = owner_uids(live)
        if owner is None or not uids or owner.uid in uids:
            return None
        others = (one for one in self._mirrors.tenants() if uid_of(one) in uids)
        return next((name_of(one) for one in others if namespace_of_tenant(one) == ref.namespace), None)

    async def _look(self, ref: ObjectRef) -> Manifest | None:
        """Whether there is an object of that name that the mirrors, which select by label, do not show."""
        if ref.resource == CONFIG_MAPS and self._mirrors.config_map_version(ref.namespace or "", ref.name) is None:
            return None  # of ConfigMaps all are known
        try:
            return await self._client.get(ref.resource, ref.name, namespace=ref.namespace, metadata_only=True)
        except NotFound:
            return None

    async def _is_there(self, ref: ObjectRef, *, uid: str) -> bool:
        """Whether exactly that object exists and nobody has asked for its deletion yet."""
        try:
            found = await self._client.get(ref.resource, ref.name, namespace=ref.namespace, metadata_only=True)
        except NotFound:
            return False
        return uid_of(found) == uid and not is_being_deleted(found)

    def _is_as_desired(self, ref: ObjectRef, wanted: Manifest, live: Manifest) -> bool:
        if applied_hash(live) != applied_hash(wanted):
            return False
        comparable = _comparable(wanted)
        if is_subset(comparable, live):
            return True
        settled = self._settled.get(ref)
        return settled == _Settled(applied_hash(wanted), digest(project(comparable, live)))

    def _remember(self, ref: ObjectRef, wanted: Manifest, answer: Manifest) -> None:
        if is_subset(wanted, answer):
            self._settled.pop(ref, None)
        else:
            projection = digest(project(_comparable(wanted), _comparable(answer)))
            self._settled[ref] = _Settled(applied_hash(wanted), projection)
            log.debug("values were normalised", resource=str(ref.resource), object_name=ref.name)


def _comparable(manifest: Manifest) -> Manifest:
    """Mirrors keep digests of the values of the operator's Secrets."""
    if resource_of(manifest) != SECRETS:
        return manifest
    return {**manifest, "data": digest_values(manifest.get("data") or {})}


def _is_ours(live: Manifest, owner: Owner | None, manager: str) -> bool:
    return manager in managers(live) or (owner is not None and owner.uid in owner_uids(live))


def _writer_of(wanted: Manifest, owner: Owner | None) -> Key | None:
    """Whose reconcile writes this: the owner's, or for a namespace, which has none, its Tenant's."""
    if owner is None:
        tenant = labels_of(wanted).get(names.TENANT_LABEL)
        return tenant_key(tenant) if tenant else None
    return key_by_kind(owner.kind, namespace_of(wanted), owner.name)
