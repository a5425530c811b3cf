"""The runtime's Deployment: one kind of pod that serves all agents of a tenant, hardened for Pod Security `restricted`.

Nothing that an Agent or a model endpoint changes is part of the pod: such an edit must not restart it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from syntera_crds.contract import names
from syntera_crds.v1alpha1.tenant import Resources

from ..manifest import Manifest
from .hardening import build_container_security, build_pod_security
from .metadata import Scope, build_object, build_runtime_labels, build_runtime_selector
from .quantities import canonical_quantity, larger_quantity, smaller_quantity
from .service import INTERNAL_PORT_NAME, PUBLIC_PORT_NAME

CONTAINER = "runtime"

_DRAIN_SECONDS = 5
"""Requests are accepted for this long after SIGTERM: until every proxy has heard that the pod leaves."""
_FINISH_SECONDS = 600
"""The longest that a model endpoint may take for an answer: no rollout cuts one. An idle pod leaves at once."""
_GRACE_SECONDS = _DRAIN_SECONDS + _FINISH_SECONDS + 15
_TOKEN_DIR = "/var/run/secrets/kubernetes.io/serviceaccount"
_TOKEN_SECONDS = 3600
_DEFAULT_CPU_REQUEST = "100m"
_DEFAULT_MEMORY_REQUEST = "192Mi"
_DEFAULT_MEMORY_LIMIT = "512Mi"


@dataclass(frozen=True, slots=True)
class Image:
    """What the runtime's container is started from."""

    name: str
    pull_policy: str
    pull_secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RuntimePods:
    """What tells one tenant's runtime from another's."""

    tenant_id: UUID
    image: Image
    operator_subject: str
    """The only caller that the internal port serves."""
    replicas: int | None
    """None: an autoscaler owns the number, and the manifest says nothing of it."""
    resources: Resources
    tracing: Mapping[str, str] = field(default_factory=dict)
    """OpenTelemetry's variables; empty: no traces."""


def build_deployment(scope: Scope, pods: RuntimePods) -> Manifest:
    """The Deployment. A rollout takes no pod away before its successor is ready."""
    return build_object(
        "apps/v1",
        "Deployment",
        names.RUNTIME,
        scope,
        spec={
            **({} if pods.replicas is None else {"replicas": pods.replicas}),
            "revisionHistoryLimit": 2,
            "progressDeadlineSeconds": 300,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": build_runtime_selector(scope)},
            "template": {
                "metadata": {
                    "labels": build_runtime_labels(scope),
                    "annotations": {"kubectl.kubernetes.io/default-container": CONTAINER},
                },
                "spec": _build_pod(scope, pods),
            },
        },
    )


def build_replicas(scope: Scope, count: int) -> Manifest:
    """The part of the Deployment that an autoscaler is about to own."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": names.RUNTIME, "namespace": scope.namespace},
        "spec": {"replicas": count},
    }


def _build_pod(scope: Scope, pods: RuntimePods) -> dict[str, Any]:
    pull_secrets = [{"name": name} for name in pods.image.pull_secrets]
    return {
        "serviceAccountName": names.RUNTIME,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        **({"imagePullSecrets": pull_secrets} if pull_secrets else {}),
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "securityContext": build_pod_security(),
        "topologySpreadConstraints": [
            _build_spread(scope, "kubernetes.io/hostname"),
            _build_spread(scope, "topology.kubernetes.io/zone"),
        ],
        "containers": [_build_container(scope, pods)],
        "volumes": [
            {"name": "stores", "secret": {"secretName": names.STORES_SECRET, "defaultMode": 0o440}},
            # Optional, so that no pod waits for it: the operator makes it, and kubelets bring it to pods that run.
            {
                "name": "signing",
                "secret": {"secretName": names.SIGNING_SECRET, "defaultMode": 0o440, "optional": True},
            },
            {"name": "api-access", "projected": _build_api_access()},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        ],
    }


def _build_spread(scope: Scope, topology_key: str) -> dict[str, Any]:
    return {
        "topologyKey": topology_key,
        "maxSkew": 1,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": build_runtime_selector(scope)},
        # Pods that a rollout is about to replace do not count.
        "matchLabelKeys": ["pod-template-hash"],
    }


def _build_container(scope: Scope, pods: RuntimePods) -> dict[str, Any]:
    return {
        "name": CONTAINER,
        "image": pods.image.name,
        "imagePullPolicy": pods.image.pull_policy,
        "ports": [
            {"name": PUBLIC_PORT_NAME, "containerPort": names.PUBLIC_PORT, "protocol": "TCP"},
            {"name": INTERNAL_PORT_NAME, "containerPort": names.INTERNAL_PORT, "protocol": "TCP"},
        ],
        "env": _build_environment(scope, pods),
        "resources": build_resources(pods.resources),
        "securityContext": build_container_security(),
        "startupProbe": _build_probe("/healthz", period_seconds=1, failure_threshold=60),
        "livenessProbe": _build_probe("/healthz", period_seconds=10, failure_threshold=3),
        "readinessProbe": _build_probe("/readyz", period_seconds=2, failure_threshold=2),
        "volumeMounts": [
            {"name": "stores", "mountPath": names.STORES_DIR, "readOnly": True},
            {"name": "signing", "mountPath": names.SIGNING_DIR, "readOnly": True},
            {"name": "api-access", "mountPath": _TOKEN_DIR, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own, and its only writable place
        ],
    }


def _build_environment(scope: Scope, pods: RuntimePods) -> list[dict[str, Any]]:
    values = {
        "SYNTERA_TENANT": scope.tenant,
        "SYNTERA_TENANT_ID": str(pods.tenant_id),
        "SYNTERA_NAMESPACE": scope.namespace,
        "SYNTERA_STORES_DIR": names.STORES_DIR,
        "SYNTERA_INTERNAL_AUDIENCE": names.internal_audience(pods.tenant_id),
        "SYNTERA_OPERATOR_SUBJECT": pods.operator_subject,
        "SYNTERA_DRAIN_SECONDS": str(_DRAIN_SECONDS),
        "SYNTERA_FINISH_SECONDS": str(_FINISH_SECONDS),
        **pods.tracing,
    }
    return [
        *({"name": name, "value": value} for name, value in values.items()),
        {"name": "SYNTERA_POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]


def _build_probe(path: str, *, period_seconds: int, failure_threshold: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": INTERNAL_PORT_NAME, "scheme": "HTTP"},
        "periodSeconds": period_seconds,
        "timeoutSeconds": 3,
        "failureThreshold": failure_threshold,
    }


def _build_api_access() -> dict[str, Any]:
    """What Kubernetes mounts by itself where it may: a token that expires, the API server's CA, the namespace."""
    return {
        "defaultMode": 0o440,
        "sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": _TOKEN_SECONDS}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
        ],
    }


def build_resources(wanted: Resources) -> dict[str, dict[str, str]]:
    """The container's requests and limits: the Tenant's, completed by the documented defaults."""
    requests, limits = wanted.requests, wanted.limits
    memory_limit = limits.memory
    if memory_limit is None:
        memory_limit = larger_quantity(_DEFAULT_MEMORY_LIMIT, requests.memory or 0)
    memory_request = requests.memory
    if memory_request is None:
        memory_request = smaller_quantity(_DEFAULT_MEMORY_REQUEST, memory_limit)
    cpu_request = requests.cpu
    if cpu_request is None:
        cpu_request = _DEFAULT_CPU_REQUEST if limits.cpu is None else smaller_quantity(_DEFAULT_CPU_REQUEST, limits.cpu)
    return {
        "requests": {"cpu": canonical_quantity(cpu_request), "memory": canonical_quantity(memory_request)},
        "limits": {
            **({} if limits.cpu is None else {"cpu": canonical_quantity(limits.cpu)}),
            "memory": canonical_quantity(memory_limit),
        },
    }
