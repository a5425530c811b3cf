"""What the operator keeps of the cluster in memory, and who hears of its changes.

Every watch but those of our own kinds, which the handlers feed (`observe`), is a `Reflector` of ours with a selector
that the server evaluates. All of them go into stores that never go backwards, so that the answer to a write of our own
(`wrote`) counts at once and its echo is no news.

Secrets are watched namespace by namespace, from when the operator is bound there: it has no right to read all.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog

from syntera_crds.contract import names
from syntera_kube import Change, KubeClient, ObjectStore, Reflector, Resource, Selection, find_missed
from syntera_kube.errors import Forbidden, KubeError, NotFound
from syntera_kube.model import EVERYTHING
from syntera_kube.resources import (
    CONFIG_MAPS,
    CRON_JOBS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    HORIZONTAL_POD_AUTOSCALERS,
    HTTP_ROUTES,
    INGRESSES,
    JOBS,
    LIMIT_RANGES,
    NAMESPACES,
    NETWORK_POLICIES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    RESOURCE_QUOTAS,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
)

from .. import causes
from ..causes import Wakeup
from ..errors import CustomResourcesMissing
from ..manifest import (
    AGENTS,
    KNOWLEDGE_BASES,
    OWN_KINDS,
    TENANTS,
    Manifest,
    is_being_deleted,
    name_of,
    namespace_of,
    resource_of,
    uid_of,
)
from ..queue import Key
from .model import ObjectRef, Owner
from .references import References
from .slim import slim, slim_job, slim_pod, slim_reference, slim_secret

log = structlog.get_logger(__name__)

CHILD_KINDS = (
    CONFIG_MAPS,
    CRON_JOBS,
    DEPLOYMENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    HTTP_ROUTES,
    INGRESSES,
    JOBS,
    LIMIT_RANGES,
    NETWORK_POLICIES,
    POD_DISRUPTION_BUDGETS,
    RESOURCE_QUOTAS,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    SERVICES,
)
"""What the operator makes in tenants' namespaces, Secrets apart: one watch each for all tenants."""
_OPTIONAL_KINDS = (HTTP_ROUTES,)
_TRANSFORMS = {JOBS: slim_job}
_MANAGED = Selection(label_selector=f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY}")
_TENANT_NAMESPACES = Selection(label_selector=names.TENANT_LABEL)
_RUNTIME_PODS = Selection(
    label_selector=f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY},{names.COMPONENT_LABEL}={names.RUNTIME_COMPONENT}"
)
_API_SERVER = Selection(namespace="default", label_selector="kubernetes.io/service-name=kubernetes")
_METADATA = Selection(metadata_only=True)
_RULES: dict[Resource, Callable[[Change, causes.Views], Iterable[Wakeup]]] = {
    TENANTS: causes.of_tenant,
    AGENTS: causes.of_agent,
    KNOWLEDGE_BASES: causes.of_knowledge_base,
    NAMESPACES: causes.of_namespace,
    PODS: causes.of_runtime_pod,
    JOBS: causes.of_job,
}
"""Who hears of a change; of all other kinds, whoever owns the object."""
_SECRETS_SYNC_SECONDS = 5.0
_SIGNS_SECONDS = 1.0
"""Signs of unseen deletions come in crowds: kopf tells the objects of a list one by one."""


@dataclass(slots=True)
class _Echo:
    """What was seen of an object while it was being written."""

    writer: Key | None
    versions: set[str | None] = field(default_factory=set)
    """ResourceVersions that came meanwhile; None for a deletion."""
    answered: str | None = ""
    """The resourceVersion of the answer; empty while there is none."""
    holds_more: bool = False
    """Whether one of these versions, and be it the answer, brought what somebody else had changed."""


class Mirrors:
    """The stores, and the tasks that keep them current."""

    def __init__(self, client: KubeClient, enqueue: Callable[[Wakeup], None]) -> None:
        self.references = References()
        self._client = client
        self._enqueue = enqueue
        self._own = {kind: ObjectStore(transform=slim) for kind in OWN_KINDS}
        self._mirrors = {
            NAMESPACES: self._mirror(NAMESPACES, _TENANT_NAMESPACES),
            PODS: self._mirror(PODS, _RUNTIME_PODS, transform=slim_pod),
            **{
                kind: self._mirror(
                    kind, _MANAGED, transform=_TRANSFORMS.get(kind, slim), optional=kind in _OPTIONAL_KINDS
                )
                for kind in CHILD_KINDS
            },
        }
        self._all_config_maps = Reflector(
            client, CONFIG_MAPS, _METADATA, transform=slim_reference, on_change=self._reference_changed
        )
        self._api_server = Reflector(client, ENDPOINT_SLICES, _API_SERVER, on_change=self._api_server_changed)
        self._secrets: dict[str, tuple[Reflector, asyncio.Task[None]]] = {}
        self._heard: set[Resource] = set()
        """Of which own kinds the handlers were told something since they were last compared."""
        self._missed: set[Resource] = set()
        """Of which own kinds something had been missed when they were last compared."""
        self._deaf: set[Resource] = set()
        self._forgetting: dict[Resource, asyncio.Task[None]] = {}
        self._echoes: dict[ObjectRef, _Echo] = {}
        self._tasks: asyncio.TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Mirror until the block is left. Should a mirror break, which is a bug, the block is cancelled and it raises."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            started = [tasks.create_task(one.run(), name=f"mirror of {one.resource}") for one in self._reflectors()]
            try:
                yield
            finally:
                self._tasks = None
                for task in (*started, *self._forgetting.values()):
                    task.cancel()
                for namespace in list(self._secrets):
                    self._stop_secrets(namespace)

    async def load(self) -> None:
        """Wait until everything is mirrored; our own kinds are listed once, since their watch tells no end.

        Raises:
            CustomResourcesMissing: the API server does not serve one of our kinds.
            KubeError: it refused to list them, or did not answer.
        """
        for resource in self._own:
            await self._list_own(resource)
        for reflector in self._reflectors():
            await reflector.synced.wait()
        # A namespace where we are not bound any more must not hold up all others: what is not mirrored is asked for.
        waiting = [asyncio.ensure_future(reflector.synced.wait()) for reflector, _ in self._secrets.values()]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=_SECRETS_SYNC_SECONDS)
            for wait in late:
                wait.cancel()

    async def check(self) -> int:
        """Compare everything with what the API server has; gives how many changes had been missed.

        Raises:
            KubeError: the API server refused, or did not answer.
        """
        missed = 0
        for resource, store in self._own.items():
            changes = await find_missed(self._client, resource, EVERYTHING, store)
            self._judge(resource, has_missed=bool(changes))
            for change in changes:
                self._changed(resource, change)
            missed += len(changes)
        for reflector in self._reflectors():
            missed += await reflector.check()
        for reflector, _ in list(self._secrets.values()):
            # One without rights, because the binding was removed this moment, is no reason to leave the others out.
            with contextlib.suppress(Forbidden, NotFound):
                missed += await reflector.check()
        return missed

    def observe(self, resource: Resource, item: Manifest, *, deleted: bool, listed: bool = False) -> None:
        """Take over what a handler was told of an object of ours; `listed`: in a list of all."""
        store = self._own[resource]
        self._hear(resource)
        if listed:  # kopf lists when it starts, and when it lost its place; what was deleted before, it does not tell
            self.forget_gone(resource)
        if change := store.discard(item) if deleted else store.put(item):
            self._changed(resource, change)

    def is_known(self, item: Manifest) -> bool:
        """Whether an object of ours is known in that or a newer version, so that handlers need not be told."""
        resource = resource_of(item)
        if not self._own[resource].has(item):
            return False
        self._hear(resource)
        return True

    def forget_gone(self, resource: Resource) -> None:
        """Look soon which objects of ours are gone although nobody told: there is a sign that some are."""
        if self._tasks is not None and resource in self._own and resource not in self._forgetting:
            task = self._forgetting[resource] = self._tasks.create_task(self._forget_gone(resource))
            task.add_done_callback(lambda _: self._forgetting.pop(resource, None))

    @contextmanager
    def writing(self, ref: ObjectRef, writer: Key | None) -> Iterator[Callable[[Manifest], None]]:
        """Hold a write to `ref`; call what it gives with the API server's answer.

        The answer is taken over at once, and everybody but the writer hears of the change. Nor does the writer hear of
        it by the watch, which may well be faster than the answer. What somebody else changed just before is in the
        answer too, and its own event is too old to tell by then: of that the writer hears when the write is over.
        """
        echo = self._echoes[ref] = _Echo(writer)
        try:
            yield lambda answer: self._answered(ref, echo, answer)
        finally:
            del self._echoes[ref]
            if writer is not None and (echo.holds_more or echo.versions - {echo.answered}):
                self._enqueue(Wakeup(writer))

    def store(self, resource: Resource, namespace: str | None) -> ObjectStore | None:
        """Where objects of a kind are kept, None if they are not."""
        if resource == SECRETS:
            return self._secrets[namespace][0].store if namespace in self._secrets else None
        if resource in self._own:
            return self._own[resource]
        return self._mirrors[resource].store if resource in self._mirrors else None

    def synced_secrets(self, namespace: str) -> ObjectStore | None:
        """The Secrets of a namespace that carry the label `usable`, None while they are not mirrored."""
        found = self._secrets.get(namespace)
        return found[0].store if found is not None and found[0].synced.is_set() else None

    def children_of(self, owner: Owner, namespace: str) -> Iterator[tuple[Resource, Manifest]]:
        """Everything mirrored of a namespace that names `owner` among its owners."""
        for kind in (*CHILD_KINDS, SECRETS):
            if store := self.store(kind, namespace):
                yield from ((kind, item) for item in store.owned_by(owner.uid) if namespace_of(item) == namespace)

    def config_map_version(self, namespace: str, name: str) -> str | None:
        """What changes with a ConfigMap, whoever made it; None if there is none."""
        found = self._all_config_maps.store.get(namespace, name)
        return None if found is None else f"{uid_of(found)}.{found['metadata']['resourceVersion']}"

    def api_server_endpoints(self) -> Iterator[Manifest]:
        """The EndpointSlices of the API server."""
        return iter(self._api_server.store)

    def tenants(self) -> Iterator[Manifest]:
        """All Tenants."""
        return iter(self._own[TENANTS])

    def runtime_pods(self, namespace: str) -> list[Manifest]:
        """The runtime's pods of a namespace."""
        return self._mirrors[PODS].store.in_namespace(namespace)

    def agents(self, namespace: str) -> list[Manifest]:
        """All Agents of a namespace."""
        return self._own[AGENTS].in_namespace(namespace)

    def knowledge_bases(self, namespace: str) -> list[Manifest]:
        """All KnowledgeBases of a namespace."""
        return self._own[KNOWLEDGE_BASES].in_namespace(namespace)

    def jobs(self, namespace: str) -> list[Manifest]:
        """The operator's Jobs of a namespace."""
        return self._mirrors[JOBS].store.in_namespace(namespace)

    def namespace(self, name: str) -> Manifest | None:
        """The Namespace, if it carries the label of a tenant."""
        return self._mirrors[NAMESPACES].store.get(None, name)

    def all_objects(self) -> Iterator[Manifest]:
        """Every object of our kinds."""
        for store in self._own.values():
            yield from store

    def all_keys(self) -> Iterator[Key]:
        """The keys of every object of our kinds."""
        return map(causes.key_of, self.all_objects())

    def silent_seconds(self) -> float:
        """For how long the most silent watch, of those that know of no trouble, has told nothing."""
        now = time.monotonic()
        return max((now - one.last_event for one in self._reflectors() if one.last_error is None), default=0.0)

    def deaf_to(self) -> list[str]:
        """Own kinds of which changes are missed and nothing at all is heard, not even the echo of what repaired them."""
        return sorted(map(str, self._deaf))

    def _hear(self, resource: Resource) -> None:
        self._heard.add(resource)
        self._deaf.discard(resource)

    def _judge(self, resource: Resource, *, has_missed: bool) -> None:
        if resource not in self._heard and (has_missed or resource in self._missed):
            self._deaf.add(resource)
        self._heard.discard(resource)
        if has_missed:
            self._missed.add(resource)
        else:
            self._missed.discard(resource)

    def broken(self) -> int:
        """How many watches know of trouble. A kind that the cluster may do without, and does, is none."""
        reflectors = [*self._reflectors(), *(reflector for reflector, _ in self._secrets.values())]
        return sum(one.last_error is not None and not _is_left_out(one) for one in reflectors)

    async def _list_own(self, resource: Resource) -> None:
        try:
            listed = await self._client.list(resource)
            is_discoverable = await self._client.is_discoverable(resource)
        except NotFound as exc:
            raise CustomResourcesMissing(f"the API server does not serve {resource}: install the CRDs") from exc
        if not is_discoverable:  # kopf would find nothing to watch, and never look again
            raise CustomResourcesMissing(f"the API server does not tell of {resource} yet")
        for change in self._own[resource].replace(listed.items, listed.resource_version):
            self._changed(resource, change)

    async def _forget_gone(self, resource: Resource) -> None:
        # Not by what gave the sign: a kind that is not served for a moment has objects that are not found, too.
        pause = _SIGNS_SECONDS
        while True:
            await asyncio.sleep(pause)
            try:
                listed = await self._client.list(resource, _METADATA)
            except KubeError as exc:
                log.warning("deletions could not be looked for", resource=str(resource), error=str(exc))
                pause = max(_SIGNS_SECONDS, exc.retry_after or 0.0)
                continue
            for change in self._own[resource].retain(listed.items, listed.resource_version):
                self._changed(resource, change)
            return

    def _reflectors(self) -> list[Reflector]:
        return [*self._mirrors.values(), self._all_config_maps, self._api_server]

    def _mirror(
        self,
        resource: Resource,
        selection: Selection,
        *,
        transform: Callable[[Manifest], Manifest] = slim,
        optional: bool = False,
    ) -> Reflector:
        def on_change(change: Change) -> None:
            self._changed(resource, change)

        return Reflector(self._client, resource, selection, transform=transform, on_change=on_change, optional=optional)

    def _answered(self, ref: ObjectRef, echo: "_Echo", answer: Manifest) -> None:
        echo.answered = answer["metadata"]["resourceVersion"]
        store = self.store(ref.resource, ref.namespace)
        if store is not None and (change := store.put(answer)):
            self._changed(ref.resource, change)

    def _changed(self, resource: Resource, change: Change) -> None:
        echo = self._echoes.get(ObjectRef(resource, namespace_of(change.object), name_of(change.object)))
        if echo is not None and self._holds_more(resource, change):
            echo.holds_more = True
        for wakeup in self._wakeups(resource, change):
            if echo is not None and wakeup.key == echo.writer:
                echo.versions.add(change.new["metadata"]["resourceVersion"] if change.new is not None else None)
            else:
                self._enqueue(wakeup)
        if resource == NAMESPACES:
            self._start_or_stop_secrets(name_of(change.object))
        elif resource == ROLE_BINDINGS and name_of(change.object) == names.OPERATOR_BINDING:
            self._start_or_stop_secrets(namespace_of(change.object) or "")
        elif resource in self._own and change.new is None:
            self.references.set(causes.key_of(change.object), ())

    def _holds_more(self, resource: Resource, change: Change) -> bool:
        """Whether something changed that no write of ours changes."""
        if change.old is None or change.new is None:
            return False
        parts = _not_ours_of_own_kinds if resource in self._own else _not_ours_of_children
        return parts(change.old) != parts(change.new)

    def _wakeups(self, resource: Resource, change: Change) -> Iterable[Wakeup]:
        found = _RULES.get(resource, causes.of_child)(change, self)
        if resource == KNOWLEDGE_BASES:
            return [*found, *self._referring(change)]
        if resource == SECRETS:
            return [*found, *self.references.wakeups("Secret", change)]
        return found

    def _referring(self, change: Change) -> Iterator[Wakeup]:
        """The Agents that name a KnowledgeBase, where there is one more or less, or what is published of it."""
        if change.old is None or change.new is None or _publication(change.old) != _publication(change.new):
            yield from self.references.wakeups("KnowledgeBase", change)

    def _reference_changed(self, change: Change) -> None:
        for wakeup in self.references.wakeups("ConfigMap", change):
            self._enqueue(wakeup)

    def _api_server_changed(self, change: Change) -> None:
        for wakeup in causes.of_api_server(change, self):
            self._enqueue(wakeup)

    def _start_or_stop_secrets(self, namespace: str) -> None:
        found = self.namespace(namespace)
        is_bound = self._mirrors[ROLE_BINDINGS].store.get(namespace, names.OPERATOR_BINDING) is not None
        is_wanted = found is not None and not is_being_deleted(found) and is_bound
        if is_wanted and namespace not in self._secrets:
            self._start_secrets(namespace)
        elif not is_wanted and namespace in self._secrets:
            self._stop_secrets(namespace)

    def _start_secrets(self, namespace: str) -> None:
        if self._tasks is None:
            return
        selection = Selection(namespace=namespace, label_selector=names.USABLE_LABEL)
        reflector = self._mirror(SECRETS, selection, transform=slim_secret)
        task = self._tasks.create_task(reflector.run(), name=f"mirror of secrets in {namespace}")
        self._secrets[namespace] = (reflector, task)

    def _stop_secrets(self, namespace: str) -> None:
        _, task = self._secrets.pop(namespace)
        task.cancel()


def _publication(knowledge_base: Manifest) -> Any:
    return (knowledge_base.get("status") or {}).get("revision")


def _not_ours_of_own_kinds(item: Manifest) -> tuple[Any, ...]:
    """Of our own kinds we write status and finalizers."""
    return tuple(item["metadata"].get(part) for part in ("generation", "deletionTimestamp", "labels", "annotations"))


def _not_ours_of_children(item: Manifest) -> tuple[Any, ...]:
    """Of what we make we write everything but what controllers say of it."""
    return item.get("status"), item["metadata"].get("deletionTimestamp")


def _is_left_out(reflector: Reflector) -> bool:
    return reflector.resource in _OPTIONAL_KINDS and isinstance(reflector.last_error, NotFound)
