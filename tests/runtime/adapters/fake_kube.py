"""An API server in memory, as far as a reflector needs one: list and watch, selectors, and Secrets that may not be read.

The real one is used where rights and selectors themselves are what is tested (`test_kubernetes_config_live.py`).
"""

import asyncio
import base64
import itertools
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from syntera_crds.contract import names
from syntera_crds.contract.agent_config import AgentConfig
from syntera_crds.contract.tenant_config import TenantConfig
from syntera_kube import KubeClient, Manifest, ObjectList, Resource, Selection, WatchEvent
from syntera_kube.errors import Forbidden
from syntera_kube.model import EVERYTHING

NAMESPACE = "acme"


class FakeKube(KubeClient):
    """ConfigMaps and Secrets of one namespace."""

    def __init__(self) -> None:
        self.forbidden: set[str] = set()
        """Names of Secrets that may not be listed or watched."""
        self.watching: set[str] = set()
        """Selectors of the watches that are open."""
        self._objects: dict[tuple[str, str], Manifest] = {}
        self._versions = itertools.count(1)
        self._streams: dict[asyncio.Queue[WatchEvent], tuple[Resource, Selection]] = {}

    async def list(self, resource: Resource, selection: Selection = EVERYTHING, *, page_size: int = 500) -> ObjectList:
        self._check(selection)
        found = [item for item in self._objects.values() if _is_selected(item, resource, selection)]
        return ObjectList(found, str(next(self._versions)))

    async def watch(
        self,
        resource: Resource,
        selection: Selection = EVERYTHING,
        *,
        resource_version: str,
        inactivity_seconds: float = 60.0,
    ) -> AsyncGenerator[WatchEvent, None]:
        self._check(selection)
        queue: asyncio.Queue[WatchEvent] = asyncio.Queue()
        self._streams[queue] = (resource, selection)
        selector = selection.field_selector or selection.label_selector or ""
        self.watching.add(selector)
        try:
            while True:
                yield await queue.get()
        finally:
            self.watching.discard(selector)
            del self._streams[queue]

    def put(self, kind: str, name: str, *, labels: Mapping[str, str] | None = None, **content: Any) -> None:
        """Create or replace an object."""
        known = self._objects.get((kind, name))
        version = str(next(self._versions))
        uid = known["metadata"]["uid"] if known else f"uid-{version}"
        metadata = {"namespace": NAMESPACE, "name": name, "uid": uid, "resourceVersion": version}
        item = {"kind": kind, "metadata": {**metadata, "labels": dict(labels or {})}, **content}
        self._objects[kind, name] = item
        self._tell(WatchEvent("MODIFIED" if known else "ADDED", item))

    def remove(self, kind: str, name: str) -> None:
        """Delete an object."""
        item = self._objects.pop((kind, name))
        item = {**item, "metadata": {**item["metadata"], "resourceVersion": str(next(self._versions))}}
        self._tell(WatchEvent("DELETED", item))

    def put_secret(self, name: str, **values: str | bytes) -> None:
        """Create or replace a Secret."""
        raw = {key: value.encode() if isinstance(value, str) else value for key, value in values.items()}
        self.put("Secret", name, data={key: base64.b64encode(value).decode() for key, value in raw.items()})

    def publish(self, config: AgentConfig, *, digest: str | None = None) -> None:
        """Publish an agent as the operator does."""
        data = {names.AGENT_CONFIG_KEY: config.to_json(), names.DIGEST_KEY: digest or config.digest()}
        self.publish_data(config.name, data)

    def publish_data(self, agent: str, data: Mapping[str, str]) -> None:
        """Publish something in an agent's place."""
        name = names.published_agent_name(agent)
        self.put("ConfigMap", name, labels={names.PUBLISHED_LABEL: "agent"}, data=dict(data))

    def publish_tenant(self, config: TenantConfig) -> None:
        """Publish the tenant's configuration as the operator does."""
        self.publish_tenant_data({names.TENANT_CONFIG_KEY: config.to_json()})

    def publish_tenant_data(self, data: Mapping[str, str]) -> None:
        """Publish something in its place."""
        self.put("ConfigMap", names.TENANT_CONFIG, labels={names.PUBLISHED_LABEL: "tenant"}, data=dict(data))

    def _check(self, selection: Selection) -> None:
        if (selection.field_selector or "").removeprefix("metadata.name=") in self.forbidden:
            raise Forbidden("no right to read this Secret", status=403)

    def _tell(self, event: WatchEvent) -> None:
        for queue, (resource, selection) in self._streams.items():
            if _is_selected(event.object, resource, selection):
                queue.put_nowait(event)


def _is_selected(item: Manifest, resource: Resource, selection: Selection) -> bool:
    if item["kind"] != resource.kind or selection.namespace != NAMESPACE:
        return False
    if selection.label_selector and not _has_label(item, selection.label_selector):
        return False
    return selection.field_selector in {None, f"metadata.name={item['metadata']['name']}"}


def _has_label(item: Manifest, selector: str) -> bool:
    """Whether it is selected by `label in (value,...)`."""
    label, _, values = selector.partition(" in ")
    return item["metadata"]["labels"].get(label) in values.strip("()").split(",")
