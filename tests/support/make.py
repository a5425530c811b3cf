"""Objects of our kinds for tests: every field has a default, a test names only what it is about."""

from collections.abc import Mapping
from typing import Any

from syntera_crds.contract import names
from syntera_crds.v1alpha1 import Agent, KnowledgeBase, Tenant

Json = dict[str, Any]

CREATED = "2026-01-01T00:00:00Z"


def make_tenant_manifest(
    name: str = "acme",
    *,
    uid: str | None = None,
    generation: int = 1,
    created: str = CREATED,
    deleted: str | None = None,
    finalizers: tuple[str, ...] = (),
    annotations: Mapping[str, str] | None = None,
    status: Json | None = None,
    **spec: Any,
) -> Json:
    """A Tenant as the API server gives it; `spec` are fields of its spec, spelled as in YAML."""
    metadata = _metadata(name, uid=uid or f"uid-{name}", generation=generation, created=created)
    metadata |= {"finalizers": list(finalizers), "annotations": dict(annotations or {})}
    if deleted is not None:
        metadata["deletionTimestamp"] = deleted
    spec = {"namespace": name, "models": [make_endpoint()], **spec}
    return _object("Tenant", metadata, {key: value for key, value in spec.items() if value is not None}, status)


def make_agent_manifest(
    name: str = "travel",
    *,
    namespace: str = "acme",
    uid: str | None = None,
    generation: int = 1,
    status: Json | None = None,
    **spec: Any,
) -> Json:
    """An Agent as the API server gives it; `spec` are fields of its spec, spelled as in YAML."""
    metadata = _metadata(name, uid=uid or f"uid-{name}", generation=generation, created=CREATED)
    spec = {"instructions": "You help customers of {{tenant.displayName}}.", **spec}
    spec = {key: value for key, value in spec.items() if value is not None}
    return _object("Agent", metadata | {"namespace": namespace}, spec, status)


def make_knowledge_base_manifest(
    name: str = "handbook",
    *,
    namespace: str = "acme",
    uid: str | None = None,
    generation: int = 1,
    deleted: str | None = None,
    finalizers: tuple[str, ...] = (),
    annotations: Mapping[str, str] | None = None,
    status: Json | None = None,
    **spec: Any,
) -> Json:
    """A KnowledgeBase as the API server gives it; `spec` are fields of its spec, spelled as in YAML."""
    metadata = _metadata(name, uid=uid or f"uid-{name}", generation=generation, created=CREATED)
    metadata |= {"namespace": namespace, "finalizers": list(finalizers), "annotations": dict(annotations or {})}
    if deleted is not None:
        metadata["deletionTimestamp"] = deleted
    spec = {"sources": [make_source()], **spec}
    return _object("KnowledgeBase", metadata, {key: value for key, value in spec.items() if value is not None}, status)


def make_source(name: str = "faq", **kind: Any) -> Json:
    """A source of a KnowledgeBase; of `kind` one field, or a text where there is none."""
    return {"name": name, **(kind or {"inline": {"title": "FAQ", "text": "We open at nine."}})}


def make_embedding(**fields: Any) -> Json:
    """The embedding model of an endpoint."""
    return {"model": "embed-small", "dimensions": 384, **fields}


def make_endpoint(name: str = "main", **fields: Any) -> Json:
    """A model endpoint of a Tenant."""
    return {"name": name, "baseURL": "https://models.example/v1", "chat": "chat-small", **fields}


def make_issuer(issuer: str = "https://login.example", **fields: Any) -> Json:
    """An issuer whom a Tenant believes."""
    return {"issuer": issuer, "audiences": ["acme"], "jwksURL": f"{issuer}/jwks.json", **fields}


def make_challenge(**fields: Any) -> Json:
    """A challenge that a Tenant has its new visitors solve."""
    ref = {"name": "turnstile", "key": "secret"}
    return {"verifyURL": "https://challenge.example/siteverify", "secretKeyRef": ref, **fields}


def make_tenant(name: str = "acme", **fields: Any) -> Tenant:
    """The same as a model."""
    return Tenant.model_validate(make_tenant_manifest(name, **fields))


def make_agent(name: str = "travel", **fields: Any) -> Agent:
    """The same as a model."""
    return Agent.model_validate(make_agent_manifest(name, **fields))


def make_knowledge_base(name: str = "handbook", **fields: Any) -> KnowledgeBase:
    """The same as a model."""
    return KnowledgeBase.model_validate(make_knowledge_base_manifest(name, **fields))


def _metadata(name: str, *, uid: str, generation: int, created: str) -> Json:
    return {
        "name": name,
        "uid": uid,
        "generation": generation,
        "resourceVersion": "1",
        "creationTimestamp": created,
    }


def _object(kind: str, metadata: Json, spec: Json, status: Json | None) -> Json:
    made = {"apiVersion": names.API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
    # What the schema's default gives a new object.
    condition = {"type": "Ready", "status": "Unknown", "reason": "NotObserved", "message": "Not looked at yet."}
    made["status"] = status or {"conditions": [condition | {"lastTransitionTime": CREATED}]}
    return made
