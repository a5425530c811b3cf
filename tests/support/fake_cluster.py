"""A stand-in for `Cluster` that keeps objects in memory, for tests of what a reconcile decides.

It follows the rules of the real one that a reconcile depends on: whose objects may be written, what counts as a
difference, that a write is seen at once. Like an API server without controllers it collects no garbage and starts no
pods; tests do both by hand. Whether the real one follows them too is tested where that one is.
"""

import base64
import copy
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from syntera_crds.contract import names
from syntera_kube import resources as kube
from syntera_kube.errors import Conflict, NotFound
from syntera_kube.resources import Resource
from syntera_operator.causes import namespace_of_tenant
from syntera_operator.cluster import Cluster, ObjectRef, Owner, Reference, SecretView
from syntera_operator.cluster.compare import complete, is_subset
from syntera_operator.errors import NameTaken
from syntera_operator.manifest import (
    AGENTS,
    KNOWLEDGE_BASES,
    TENANTS,
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
from syntera_operator.queue import Key

CREATED = "2026-01-01T00:00:00Z"
Verb = Literal["apply", "delete", "status", "finalizers"]


class Write(NamedTuple):
    """One write that reached the cluster."""

    verb: Verb
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Told:
    """One Event."""

    about: str
    type: str
    reason: str
    message: str


class FakeCluster(Cluster):
    """Objects in memory, the writes to them, and the Events."""

    def __init__(self, *objects: Manifest) -> None:
        self.writes: list[Write] = []
        self.events: list[Told] = []
        self.references: dict[Key, set[Reference]] = {}
        self.failures: dict[tuple[Verb, str], Exception] = {}
        """What to raise instead of writing, by verb and kind."""
        self.api_server: list[tuple[str, int]] = [("10.0.0.10", 6443)]
        self._objects: dict[ObjectRef, Manifest] = {}
        self._shared: dict[ObjectRef, Manifest] = {}
        self._versions = itertools.count(100)
        for item in objects:
            self.put(item)

    # For tests -------------------------------------------------------------------------------------------------------

    def put(self, item: Manifest) -> None:
        """Have an object, as somebody else made it."""
        stored = copy.deepcopy(item)
        metadata = stored["metadata"]
        metadata.setdefault("uid", f"uid-{resource_of(stored).kind}-{metadata['name']}")
        metadata["resourceVersion"] = str(next(self._versions))
        self._objects[_ref_of(stored)] = stored

    def put_namespace(
        self, name: str, *, labels: Mapping[str, str] | None = None, annotations: Mapping[str, str] | None = None
    ) -> None:
        """Have a namespace that somebody else made."""
        metadata = {"name": name, "labels": dict(labels or {}), "annotations": dict(annotations or {})}
        self.put({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})

    def put_secret(self, namespace: str, name: str, *keys: str, usable: str | None = "true") -> None:
        """Have a Secret of a user's; `usable` is the value of its label, None: it has no such label."""
        labels = {} if usable is None else {names.USABLE_LABEL: usable}
        data = {key: base64.b64encode(b"secret").decode() for key in keys}
        metadata = {"name": name, "namespace": namespace, "labels": labels}
        self.put({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})

    def put_config_map(self, namespace: str, name: str, **data: str) -> None:
        """Have a ConfigMap of a user's; a `_` in a key stands for a dot."""
        metadata = {"name": name, "namespace": namespace}
        entries = {key.replace("_", "."): value for key, value in data.items()}
        self.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": entries})

    def put_pod(self, namespace: str, name: str, *, ip: str = "10.9.0.1", ready: bool = True) -> None:
        """Have a pod of the runtime."""
        labels = {names.MANAGED_BY_LABEL: names.MANAGED_BY, names.COMPONENT_LABEL: names.RUNTIME_COMPONENT}
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        self.put(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": namespace, "labels": labels},
                "status": {"podIP": ip, "conditions": conditions},
            }
        )

    def finish_rollout(self, namespace: str) -> None:
        """Do what the Deployment's controller and kubelets would: all pods of the newest kind are there and ready."""
        live = self.get(kube.DEPLOYMENTS, namespace, names.RUNTIME)
        count = live["spec"].get("replicas", 1)
        live["status"] = {"observedGeneration": live["metadata"]["generation"], "replicas": count}
        live["status"] |= {"updatedReplicas": count, "availableReplicas": count}

    def finish_job(
        self, namespace: str, name: str, *, failure: str | None = None, message: str = "It ended.", at: str = CREATED
    ) -> None:
        """Do what the Job's controller would when its pods have ended."""
        type_ = "Complete" if failure is None else "Failed"
        condition = {"type": type_, "status": "True", "reason": failure or "CompletionsReached", "message": message}
        self.get(kube.JOBS, namespace, name)["status"] = {"conditions": [condition | {"lastTransitionTime": at}]}

    def get(self, resource: Resource, namespace: str | None, name: str) -> Manifest:
        """An object that must be there; it may be changed in place, as by somebody else."""
        return self._objects[ObjectRef(resource, namespace, name)]

    def remove(self, resource: Resource, namespace: str | None, name: str) -> None:
        """Take an object away, as by somebody else."""
        del self._objects[ObjectRef(resource, namespace, name)]

    def list_names(self, resource: Resource, namespace: str | None = None) -> list[str]:
        """Names of all objects of a kind, in a namespace."""
        return sorted(ref.name for ref in self._objects if ref.resource == resource and ref.namespace == namespace)

    def forget_writes(self) -> None:
        """Begin to count anew."""
        self.writes.clear()
        self.events.clear()

    # Views -----------------------------------------------------------------------------------------------------------

    def tenant(self, name: str) -> Manifest | None:
        return self._objects.get(ObjectRef(TENANTS, None, name))

    def tenants(self) -> Iterable[Manifest]:
        return [item for ref, item in self._objects.items() if ref.resource == TENANTS]

    def agent(self, namespace: str, name: str) -> Manifest | None:
        return self._objects.get(ObjectRef(AGENTS, namespace, name))

    def agents(self, namespace: str) -> list[Manifest]:
        return list(self._list(AGENTS, namespace))

    def knowledge_base(self, namespace: str, name: str) -> Manifest | None:
        return self._objects.get(ObjectRef(KNOWLEDGE_BASES, namespace, name))

    def knowledge_bases(self, namespace: str) -> list[Manifest]:
        return list(self._list(KNOWLEDGE_BASES, namespace))

    def jobs(self, namespace: str) -> list[Manifest]:
        found = self._list(kube.JOBS, namespace)
        return [job for job in found if labels_of(job).get(names.MANAGED_BY_LABEL) == names.MANAGED_BY]

    def config_map_version(self, namespace: str, name: str) -> str | None:
        found = self._objects.get(ObjectRef(kube.CONFIG_MAPS, namespace, name))
        return None if found is None else f"{uid_of(found)}.{found['metadata']['resourceVersion']}"

    def namespace(self, name: str) -> Manifest | None:
        found = self._objects.get(ObjectRef(kube.NAMESPACES, None, name))
        return found if found is not None and names.TENANT_LABEL in labels_of(found) else None

    def runtime_pods(self, namespace: str) -> list[Manifest]:
        return list(self._list(kube.PODS, namespace))

    def child(self, resource: Resource, namespace: str | None, name: str) -> Manifest | None:
        found = self._objects.get(ObjectRef(resource, namespace, name))
        is_managed = found is not None and labels_of(found).get(names.MANAGED_BY_LABEL) == names.MANAGED_BY
        return found if is_managed else None

    # Reads -----------------------------------------------------------------------------------------------------------

    async def read_namespace(self, name: str) -> Manifest | None:
        return self._objects.get(ObjectRef(kube.NAMESPACES, None, name))

    async def config_map_data(self, namespace: str, name: str) -> dict[str, str] | None:
        found = self._objects.get(ObjectRef(kube.CONFIG_MAPS, namespace, name))
        return None if found is None else dict(found.get("data") or {})

    async def usable_secret_keys(self, namespace: str, name: str) -> SecretView | None:
        found = self._objects.get(ObjectRef(kube.SECRETS, namespace, name))
        if found is None:
            return None
        usable = labels_of(found).get(names.USABLE_LABEL) == "true"
        return SecretView(usable=usable, keys=frozenset(found.get("data") or ()) if usable else frozenset())

    async def own_secret(self, namespace: str, name: str) -> dict[str, str] | None:
        found = self._objects.get(ObjectRef(kube.SECRETS, namespace, name))
        if found is None:
            return None
        if names.TENANT_FIELD_MANAGER not in managers(found):
            raise NameTaken(f"Secret {name!r} exists already and belongs to somebody else; rename or delete it")
        holder = self.namespace(namespace)
        if holder is not None and labels_of(holder)[names.TENANT_LABEL] != labels_of(found).get(names.TENANT_LABEL):
            return None
        return self.secret(namespace, name)

    def secret(self, namespace: str, name: str) -> dict[str, str]:
        """The decoded entries of a Secret, whoever made it."""
        data = self.get(kube.SECRETS, namespace, name).get("data") or {}
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def api_server_addresses(self) -> list[tuple[str, int]]:
        return list(self.api_server)

    def set_references(self, key: Key, references: set[Reference]) -> None:
        self.references[key] = set(references)

    # Writes ----------------------------------------------------------------------------------------------------------

    async def apply(self, desired: Manifest, *, owner: Owner | None, manager: str, adopt: bool = False) -> bool:
        self._fail("apply", desired["kind"])
        ref, wanted = _ref_of(desired), complete(desired, owner)
        live = self._objects.get(ref)
        if live is not None:
            is_ours = manager in managers(live) or (owner is not None and owner.uid in owner_uids(live))
            if not adopt and not is_ours:
                raise NameTaken(f"{ref.resource.kind} {ref.name!r} exists already and belongs to somebody else")
            before = next(self._earlier_tenants(live), None)
            if before is not None and owner is not None and owner.uid not in owner_uids(live):
                raise NameTaken(f"{ref.resource.kind} {ref.name!r} belongs to Tenant {name_of(before)!r}")
            if is_being_deleted(live) or is_subset(wanted, live):
                return False
        self._objects[ref] = self._merge(live, wanted, manager)
        self.writes.append(Write("apply", ref.resource.kind, ref.name))
        return True

    async def share(self, partial: Manifest, *, manager: str) -> None:
        live = self._objects[_ref_of(partial)]
        live["spec"] |= partial["spec"]
        live["metadata"]["managedFields"].append({"manager": manager})
        self._shared.setdefault(_ref_of(partial), {}).update(partial["spec"])
        self._wrote("apply", live)

    async def delete_child(self, resource: Resource, namespace: str | None, name: str, *, owner: Owner) -> bool:
        live = self._objects.get(ObjectRef(resource, namespace, name))
        if live is None or owner.uid not in owner_uids(live):
            return False
        return await self.delete(resource, namespace, name, uid=uid_of(live))

    async def prune(self, owner: Owner, manager: str, keep: set[ObjectRef], *, namespace: str) -> list[ObjectRef]:
        unwanted = [
            ref
            for ref, item in self._objects.items()
            if ref not in keep
            and ref.namespace == namespace
            and owner.uid in owner_uids(item)
            and manager in managers(item)
        ]
        for ref in unwanted:
            await self.delete(ref.resource, ref.namespace, ref.name, uid=uid_of(self._objects[ref]))
        return unwanted

    async def patch_status(self, obj: Manifest, status: Mapping[str, Any]) -> bool:
        self._fail("status", obj["kind"])
        live = self._live(obj)
        if live.get("status") == status:
            return False
        live["status"] = copy.deepcopy(dict(status))
        self._wrote("status", live)
        return True

    async def set_finalizers(self, obj: Manifest, finalizers: Sequence[str]) -> bool:
        live = self._live(obj)
        live["metadata"]["finalizers"] = list(finalizers)
        self._wrote("finalizers", live)
        if is_being_deleted(live) and not finalizers:
            del self._objects[_ref_of(live)]
        return True

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str,
        propagation: Literal["Background", "Foreground"] = "Background",
    ) -> bool:
        self._fail("delete", resource.kind)
        ref = ObjectRef(resource, namespace, name)
        live = self._objects.get(ref)
        if live is None or uid_of(live) != uid:
            return False
        self._wrote("delete", live)
        if resource == kube.NAMESPACES or propagation == "Foreground":
            # Its contents, or what it owns, go first, which takes a while.
            live["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z"
        else:
            del self._objects[ref]
        return True

    async def event(self, obj: Manifest, *, type: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        self.events.append(Told(name_of(obj), type, str(reason), message))

    # ------------------------------------------------------------------------------------------------------------------

    def _earlier_tenants(self, live: Manifest) -> Iterator[Manifest]:
        for ref, tenant in self._objects.items():
            is_owner = ref.resource == TENANTS and uid_of(tenant) in owner_uids(live)
            if is_owner and namespace_of_tenant(tenant) == namespace_of(live):
                yield tenant

    def _list(self, resource: Resource, namespace: str) -> Iterator[Manifest]:
        return (item for ref, item in self._objects.items() if ref[:2] == (resource, namespace))

    def _fail(self, verb: Verb, kind: str) -> None:
        if error := self.failures.get((verb, kind)):
            raise error

    def _live(self, obj: Manifest) -> Manifest:
        live = self._objects.get(_ref_of(obj))
        if live is None:
            raise NotFound(f"{name_of(obj)!r} is gone")
        if uid_of(live) != uid_of(obj):
            raise Conflict(f"{name_of(obj)!r} is another one")
        return live

    def _wrote(self, verb: Verb, live: Manifest) -> None:
        live["metadata"]["resourceVersion"] = str(next(self._versions))
        self.writes.append(Write(verb, live["kind"], name_of(live)))

    def _merge(self, live: Manifest | None, wanted: Manifest, manager: str) -> Manifest:
        """The object after a server-side apply by one manager that owned all that `live` has."""
        uid = f"uid-{wanted['kind']}-{next(self._versions)}"
        before = live or {"metadata": {"uid": uid, "generation": 0, "creationTimestamp": CREATED}}
        metadata = {**before["metadata"], **wanted["metadata"]}
        for part in ("labels", "annotations"):
            merged = {**(before["metadata"].get(part) or {}), **(wanted["metadata"].get(part) or {})}
            metadata[part] = merged
        if before.get("spec") != wanted.get("spec"):
            metadata["generation"] = before["metadata"].get("generation", 0) + 1
        metadata["resourceVersion"] = str(next(self._versions))
        known = {"manager": manager}
        metadata["managedFields"] = [
            *(one for one in before["metadata"].get("managedFields", ()) if one != known),
            known,
        ]
        kept = {"status": before["status"]} if "status" in before else {}
        merged = {**kept, **wanted, "metadata": metadata}
        if shared := self._shared.get(_ref_of(wanted)):
            merged["spec"] = {**shared, **wanted["spec"]}
        return copy.deepcopy(merged)


def _ref_of(manifest: Manifest) -> ObjectRef:
    return ObjectRef(resource_of(manifest), namespace_of(manifest), name_of(manifest))
