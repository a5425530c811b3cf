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
_STATUSES: dict[str, Json] = {
    "Tenant": {
        **_STATUS,
        "namespace": "acme",
        "tenantID": "01890000-0000-7000-8000-000000000000",
        "endpoint": "https://acme.example",
        "agents": 3,
    },
    "Agent": {**_STATUS, "revision": 7, "digest": "d" * 32, "url": "https://acme.example/v1/agents/travel"},
}

SPECS: dict[str, tuple[Json, ...]] = {"Tenant": _TENANTS, "Agent": _AGENTS}


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
