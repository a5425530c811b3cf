"""Compares objects in memory with what the API server has: a net under watches that lose events without noticing."""

import asyncio
from dataclasses import replace

from .client import KubeClient
from .errors import NotFound
from .model import Selection
from .resources import Resource
from .store import Change, ObjectStore

_DELIVERY_SECONDS = 2.0
"""How long a watch may take to deliver a change; what is under way is not missed."""


async def find_missed(
    client: KubeClient,
    resource: Resource,
    selection: Selection,
    store: ObjectStore,
    *,
    delivery_seconds: float = _DELIVERY_SECONDS,
) -> list[Change]:
    """What the watch of a selection should have delivered and did not; `store` has it afterwards.

    Raises:
        NotFound: the API server does not know the kind.
        KubeError: it refused, or did not answer.
    """
    listed = await client.list(resource, replace(selection, metadata_only=True))
    if all(map(store.has, listed.items)) and not store.find_gone(listed.items, listed.resource_version):
        return []
    await asyncio.sleep(delivery_seconds)
    missed = [item["metadata"] for item in listed.items if not store.has(item)]
    changes = store.retain(listed.items, listed.resource_version)
    for metadata in missed:
        try:
            found = await client.get(
                resource,
                metadata["name"],
                namespace=metadata.get("namespace"),
                metadata_only=selection.metadata_only,
            )
        except NotFound:
            continue
        if change := store.put(found):
            changes.append(change)
    return changes
