"""Complete objects: between them they set every field of every kind, so that each bound can be tried in its place."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from .constraints import Json, Steps

_KEY = {"name": "some-object", "key": "some.key"}
_CONDITION = {
    "type": "Ready",
    "status": "True",
    "observedGeneration": 3,
    "lastTransitionTime": "2026-01-01T00:00:00Z",
    "reason": "Serving",
    "message": "It serves.",
}
_STATUS = {"observedGeneration": 3, "conditions": [_CONDITION]}
_ENDPOINT = {
    "name": "main",
    "baseURL": "https://models.example/v1",
    "apiKeySecretRef": _KEY,
    "chat": "small",
    "embedding": {
        "model": "embed",
        "dimensions": 1024,
        "queryPrefix": "query: ",
        "documentPrefix": "passage: ",
        "sendsDimensions": True,
    },
    "imageModels": ["small"],
    "timeoutSeconds": 30,
    "maxTokensParameter": "max_tokens",
    "headers": [{"name": "X-Team", "value": "travel"}],
    "caBundleConfigMapRef": _KEY,
    "proxyURL": "http://proxy.example:3128",
    "prices": [{"model": "small", "inputPerMillionTokens": "0.15", "outputPerMillionTokens": "0.6"}],
}

_ISSUER = {
    "issuer": "https://login.example",
    "audiences": ["acme"],
    "jwksURL": "https://login.example/jwks.json",
    "algorithms": ["ES256"],
    "roleClaim": "app_metadata.role",
    "caBundleConfigMapRef": _KEY,
}
_CHALLENGE = {
    "verifyURL": "https://challenge.example/siteverify",
    "secretKeyRef": _KEY,
    "hostnames": ["www.acme.example"],
}

_TENANTS: tuple[Json, ...] = (
    {
        "displayName": "Acme Travel",
        "namespace": "acme",
        "deletionPolicy": "Delete",
        "suspended": False,
        "models": [_ENDPOINT],
        "currency": "EUR",
        "auth": {"issuers": [_ISSUER], "allowedOrigins": ["https://www.acme.example"], "challenge": _CHALLENGE},
        "limits": {
            "requestsPerMinute": 600,
            "requestsPerMinutePerKey": 300,
            "requestsPerMinutePerAddress": 60,
            "messagesPerMinutePerUser": 20,
            "concurrentStreams": 200,
            "concurrentStreamsPerUser": 4,
            "tokensPerMonth": 5_000_000,
            "tokensPerUserPerDay": 20_000,
            "softLimitPercent": 75,
        },
        "stores": {
            "vectors": {"pinecone": {"indexHost": "https://docs.svc.pinecone.example", "apiKeySecretRef": _KEY}}
        },
        "egress": {"hosts": ["crm.tools.svc"], "networks": ["10.1.0.0/16"]},
        "retention": {"messagesDays": 365, "auditDays": 400},
        "runtime": {
            "replicas": 2,
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
        },
        "quota": {"pods": 50},
        "exposure": {
            "host": "acme.example",
            "ingressClassName": "nginx",
            "tlsSecretName": "acme-tls",
            "trustedProxies": ["10.0.0.0/8"],
        },
        "files": {
            "maxMegabytes": 25,
            "s3": {
                "endpointURL": "https://s3.example",
                "region": "eu-central-1",
                "bucket": "files",
                "prefix": "syntera/acme",
                "credentialsSecretRef": {"name": "bucket"},
            },
        },
    },
    {
        "namespace": "acme",
        "models": [{**_ENDPOINT, "headers": [{"name": "X-Team", "secretKeyRef": _KEY}]}],
        "currency": "USD",
        "runtime": {
            "autoscaling": {"min": 1, "max": 100, "cpuPercent": 60},
            "resources": {"limits": {"cpu": 2, "memory": "1Gi"}},
        },
        "exposure": {
            "host": "acme.example",
            "gatewayRef": {"name": "public", "namespace": "gateways", "sectionName": "https"},
        },
    },
)
_AGENTS: tuple[Json, ...] = (
    {
        "displayName": "Travel assistant",
        "description": "Answers questions.",
        "instructions": "You help.",
        "model": {
            "endpoint": "main",
            "name": "large",
            "temperature": 0.5,
            "topP": 0.5,
            "maxOutputTokens": 800,
            "parameters": {"reasoning_effort": "low"},
            "fallbacks": [{"endpoint": "backup", "name": "small"}],
        },
        "greeting": "Hello",
        "suggestions": ["Where is my booking?"],
        "memory": {"historyMessages": 10, "historyTokens": 4000},
        "knowledge": [{"name": "handbook", "topK": 5, "minScore": 0.25}],
        "retrieval": {
            "maxTokens": 2000,
            "onNothingFound": "Refuse",
            "onUnavailable": "Answer",
            "refusal": "I do not know.",
        },
        "guardrails": {"requireCitations": True},
        "limits": {
            "tokensPerConversation": 50_000,
            "turnsPerConversation": 40,
            "overSoftLimit": {"model": {"endpoint": "backup", "name": "small"}, "historyMessages": 6},
            "message": "Please come back tomorrow.",
        },
        "access": "Public",
    },
    {"instructionsFrom": {"configMapKeyRef": _KEY}},
)
_SOURCE = {"name": "main", "audience": ["public"], "tags": ["help"], "language": "en"}
_WEB = {
    "urls": ["https://www.acme.example/help"],
    "sitemap": "https://www.acme.example/sitemap.xml",
    "maxPages": 100,
    "maxDepth": 2,
    "include": ["/help/**"],
    "exclude": ["/help/old/**"],
    "requestsPerSecond": 1,
}
_GIT = {
    "url": "https://git.example/acme/docs.git",
    "ref": "main",
    "paths": ["docs/**/*.md"],
    "credentialsSecretRef": {"name": "git"},
}
_S3 = {
    "endpointURL": "https://s3.example",
    "region": "eu-central-1",
    "bucket": "documents",
    "prefix": "public",
    "include": ["**/*.pdf"],
    "credentialsSecretRef": {"name": "bucket"},
}
_KNOWLEDGE_BASES: tuple[Json, ...] = (
    {
        "displayName": "Handbook",
        "sources": [{**_SOURCE, "inline": {"title": "Opening hours", "text": "We open at nine."}}],
        "chunking": {"targetTokens": 300},
        "embedding": {
            "endpoint": "main",
            "model": "embed",
            "dimensions": 1024,
            "queryPrefix": "query: ",
            "documentPrefix": "passage: ",
        },
        "retrieval": {
            "mode": "Vector",
            "topK": 8,
            "minScore": 0.25,
            "neighbours": 2,
            "passageTokens": 800,
            "rerank": {"endpoint": "main", "model": "rerank", "candidates": 20},
        },
        "schedule": {"cron": "0 3 * * *", "timeZone": "Europe/Vienna", "suspend": False},
        "budget": {"maxTokensPerSync": 100_000},
        "rollbackHours": 48,
    },
    {
        "sources": [{**_SOURCE, "configMap": {"name": "policies"}}],
        "chunking": {"targetTokens": 2000, "overlapTokens": 40},
    },
    {"sources": [{**_SOURCE, "web": _WEB}]},
    {"sources": [{**_SOURCE, "git": _GIT}]},
    {"sources": [{**_SOURCE, "s3": _S3}]},
    {"sources": [{**_SOURCE, "upload": {"maxFileMegabytes": 50}}]},
)
_STATUSES: dict[str, Json] = {
    "Tenant": {
        **_STATUS,
        "namespace": "acme",
        "tenantID": "01890000-0000-7000-8000-000000000000",
        "endpoint": "https://acme.example",
        "agents": 3,
        "knowledgeBases": 2,
    },
    "Agent": {**_STATUS, "revision": 7, "digest": "d" * 32, "url": "https://acme.example/v1/agents/travel"},
    "KnowledgeBase": {
        **_STATUS,
        "revision": 7,
        "digest": "d" * 32,
        "syncedDigest": "d" * 32,
        "syncToken": "2026-01-01",
        "syncImage": "registry.example/syntera-ingestion:1",
        "documents": {"total": 212, "indexed": 210, "failed": 2},
        "chunks": 5210,
        "activeIndex": 3,
        "rebuild": {"index": 4, "estimatedTokens": 1_000_000, "documentsDone": 17},
        "lastSyncTime": "2026-01-01T03:00:00Z",
        "lastSyncDurationSeconds": 12,
        "nextSyncTime": "2026-01-02T03:00:00Z",
        "lastSync": {
            "trigger": "schedule",
            "added": 1,
            "changed": 2,
            "unchanged": 207,
            "removed": 3,
            "failed": 2,
            "fetchedBytes": 123_456,
            "embeddedChunks": 20,
            "embeddedTokens": 7_000,
        },
        "failures": [{"source": "main", "document": "/a.pdf", "reason": "NoText", "message": "Scan it."}],
        "moreFailures": 1,
    },
}

SPECS: dict[str, tuple[Json, ...]] = {"Tenant": _TENANTS, "Agent": _AGENTS, "KnowledgeBase": _KNOWLEDGE_BASES}


def make_manifest(kind: str, spec: Json, *, name: str = "acme") -> Json:
    """An object as its author writes it."""
    return {"apiVersion": "syntera.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": deepcopy(spec)}


def complete_manifests(kind: str) -> Iterator[Json]:
    """Objects that set all fields between them, those of the status too."""
    for spec in SPECS[kind]:
        yield {**make_manifest(kind, spec), "status": deepcopy(_STATUSES[kind])}


def manifest_with(kind: str, steps: Steps) -> Json:
    """A complete object that has a value at this place.

    Raises:
        LookupError: none has; set the field in one of them.
    """
    for manifest in complete_manifests(kind):
        try:
            get_at(manifest, steps)
        except LookupError:
            continue
        return manifest
    raise LookupError(f"no complete {kind} sets {'.'.join(steps)}")


def get_at(manifest: Json, steps: Steps) -> Any:
    """The value at a place; of lists and maps the first.

    Raises:
        LookupError: there is none.
    """
    value: Any = manifest
    for step in steps:
        value = value[_key(value, step)]
    return value


def replace_at(manifest: Json, steps: Steps, value: Any) -> Json:
    """The object with another value at that place; the whole of it where `steps` is empty."""
    if not steps:
        whole: Json = deepcopy(value)
        return whole
    changed = deepcopy(manifest)
    parent = get_at(changed, steps[:-1])
    parent[_key(parent, steps[-1])] = deepcopy(value)
    return changed


def path_of(manifest: Json, steps: Steps) -> str:
    """How an error names the place: `spec.models[0].name`."""
    text, value = "", manifest
    for step in steps:
        key = _key(value, step)
        text += f"[{key}]" if step == "[]" else f".{key}"
        value = value[key]
    return text.lstrip(".")


def _key(value: Any, step: str) -> Any:
    match step:
        case "[]":
            if not value:
                raise LookupError("the list is empty")
            return 0
        case "{}":
            return next(iter(value))
        case _:
            return step
