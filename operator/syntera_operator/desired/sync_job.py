"""The Jobs that fill a KnowledgeBase and empty it again: pods without a token, that find mounted what they work by.

A Job's name follows from why it is made: the same reason, told twice, makes one Job.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from syntera_crds.contract import names
from syntera_crds.contract.agent_config import SecretKey

from ..manifest import Manifest
from .deployment import Image
from .hardening import build_container_security, build_pod_security
from .metadata import Scope, build_labels, build_object

CONTAINER = "ingestion"

Trigger = Literal["configuration", "request", "schedule"]

_EXIT_IN_VAIN = 2
"""A sync that ends with this code would end so again."""
_TRIES = 4
_SYNC_SECONDS = 24 * 3600
"""Long enough for whole archives; what was done by then is kept, and the next sync goes on there."""
_ERASE_SECONDS = 3600
_GRACE_SECONDS = 60
"""For the request and the transaction that are under way."""
_KEPT_SECONDS = 6 * 3600
_TMP_SIZE = "4Gi"
"""Clones of repositories and the files that are being read are there."""
_RESOURCES = {
    "requests": {"cpu": "100m", "memory": "256Mi", "ephemeral-storage": "256Mi"},
    "limits": {"memory": "1536Mi", "ephemeral-storage": "5Gi"},
}
_MAX_JOB_NAME = 52
"""Longest name of a CronJob, which adds 11 characters for its Jobs; a pod's label takes 63."""
_HASH_LENGTH = 10
_HISTORY = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncPods:
    """What the pods of one KnowledgeBase's Jobs need."""

    tenant_id: UUID
    knowledge_base: str
    image: Image
    config_maps: Sequence[str] = ()
    """Of its sources."""
    secrets: frozenset[SecretKey] = frozenset()


def build_sync_job(scope: Scope, pods: SyncPods, *, name: str, trigger: Trigger) -> Manifest:
    """A Job that syncs once, now."""
    job = _build_job(scope, pods, ["sync", "--trigger", trigger, "--when-busy", "wait"], seconds=_SYNC_SECONDS)
    return _label(build_object("batch/v1", "Job", name, scope, spec=job), pods)


def build_cron_job(scope: Scope, pods: SyncPods, *, cron: str, time_zone: str, is_suspended: bool) -> Manifest:
    """A CronJob that syncs by a schedule."""
    job = _build_job(scope, pods, ["sync", "--trigger", "schedule", "--when-busy", "skip"], seconds=_SYNC_SECONDS)
    spec = {
        "schedule": cron,
        # Without one it would come due by the clock of kube-controller-manager's host, which nobody can see.
        "timeZone": time_zone,
        "concurrencyPolicy": "Forbid",
        "suspend": is_suspended,
        "startingDeadlineSeconds": 600,
        "successfulJobsHistoryLimit": _HISTORY,
        "failedJobsHistoryLimit": _HISTORY,
        "jobTemplate": {"metadata": {"labels": build_sync_labels(scope, pods.knowledge_base)}, "spec": job},
    }
    return _label(build_object("batch/v1", "CronJob", cron_job_name(pods.knowledge_base), scope, spec=spec), pods)


def build_erase_job(scope: Scope, pods: SyncPods, *, name: str) -> Manifest:
    """A Job that erases everything that the stores hold of the KnowledgeBase."""
    job = _build_job(scope, pods, ["erase"], seconds=_ERASE_SECONDS)
    return _label(build_object("batch/v1", "Job", name, scope, spec=job), pods)


def build_sync_labels(scope: Scope, knowledge_base: str) -> dict[str, str]:
    """Labels of a KnowledgeBase's Jobs and of their pods."""
    return {
        **build_labels(scope),
        **build_ingestion_selector(scope),
        names.COMPONENT_LABEL: names.INGESTION,
        names.KNOWLEDGE_BASE_LABEL: knowledge_base,
    }


def build_ingestion_selector(scope: Scope) -> dict[str, str]:
    """Labels that tell the pods of sync Jobs from all others of the namespace."""
    return {names.NAME_LABEL: names.INGESTION, names.TENANT_LABEL: scope.tenant}


def sync_job_name(knowledge_base: str, reason: Sequence[str | int | None]) -> str:
    """The name of a Job that is made for that reason."""
    return _name(f"kb-{knowledge_base}", [knowledge_base, *reason])


def erase_job_name(knowledge_base: str, uid: str) -> str:
    """The name of the Job that erases a KnowledgeBase."""
    return _name(f"kb-erase-{knowledge_base}", [knowledge_base, uid])


def cron_job_name(knowledge_base: str) -> str:
    """The name of a KnowledgeBase's CronJob."""
    name = f"kb-{knowledge_base}"
    return name if len(name) <= _MAX_JOB_NAME else _name(name, [knowledge_base])


def _name(readable: str, distinct: Sequence[str | int | None]) -> str:
    """A name that people recognise as far as it is short, and that nothing else has."""
    digest = hashlib.sha256(json.dumps(distinct).encode()).hexdigest()[:_HASH_LENGTH]
    return f"{readable[: _MAX_JOB_NAME - 1 - _HASH_LENGTH].rstrip('-')}-{digest}"


def _label(manifest: Manifest, pods: SyncPods) -> Manifest:
    manifest["metadata"]["labels"] |= {
        names.COMPONENT_LABEL: names.INGESTION,
        names.KNOWLEDGE_BASE_LABEL: pods.knowledge_base,
    }
    return manifest


def _build_job(scope: Scope, pods: SyncPods, arguments: Sequence[str], *, seconds: int) -> dict[str, Any]:
    return {
        "backoffLimit": _TRIES,
        "activeDeadlineSeconds": seconds,
        "ttlSecondsAfterFinished": _KEPT_SECONDS,
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": [_EXIT_IN_VAIN]},
                },
                # A drained node is no failure of the sync.
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]
        },
        "template": {
            "metadata": {
                "labels": build_sync_labels(scope, pods.knowledge_base),
                "annotations": {"kubectl.kubernetes.io/default-container": CONTAINER},
            },
            "spec": _build_pod(scope, pods, arguments),
        },
    }


def _build_pod(scope: Scope, pods: SyncPods, arguments: Sequence[str]) -> dict[str, Any]:
    pull_secrets = [{"name": name} for name in pods.image.pull_secrets]
    return {
        "serviceAccountName": names.INGESTION,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        **({"imagePullSecrets": pull_secrets} if pull_secrets else {}),
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "securityContext": build_pod_security(),
        "containers": [
            {
                "name": CONTAINER,
                "image": pods.image.name,
                "imagePullPolicy": pods.image.pull_policy,
                "command": ["python", "-m", "syntera_runtime.ingest", *arguments],
                "env": _build_environment(scope, pods),
                "resources": _RESOURCES,
                "securityContext": build_container_security(),
                "volumeMounts": [
                    {"name": "stores", "mountPath": names.STORES_DIR, "readOnly": True},
                    {"name": "config", "mountPath": names.SYNC_CONFIG_DIR, "readOnly": True},
                    *(
                        {
                            "name": f"config-map-{index}",
                            "mountPath": f"{names.SYNC_CONFIG_MAPS_DIR}/{name}",
                            "readOnly": True,
                        }
                        for index, name in enumerate(pods.config_maps)
                    ),
                    *(
                        [{"name": "secrets", "mountPath": names.SYNC_SECRETS_DIR, "readOnly": True}]
                        if pods.secrets
                        else []
                    ),
                    {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own, and its only writable place
                ],
            }
        ],
        "volumes": _build_volumes(pods),
    }


def _build_environment(scope: Scope, pods: SyncPods) -> list[dict[str, Any]]:
    values = {
        "SYNTERA_TENANT": scope.tenant,
        "SYNTERA_TENANT_ID": str(pods.tenant_id),
        "SYNTERA_KNOWLEDGE_BASE": pods.knowledge_base,
        "SYNTERA_STORES_DIR": names.STORES_DIR,
        "SYNTERA_CONFIG_DIR": names.SYNC_CONFIG_DIR,
        "SYNTERA_CONFIG_MAPS_DIR": names.SYNC_CONFIG_MAPS_DIR,
        "SYNTERA_SECRETS_DIR": names.SYNC_SECRETS_DIR,
    }
    return [
        *({"name": name, "value": value} for name, value in values.items()),
        {"name": "SYNTERA_POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]


def _build_volumes(pods: SyncPods) -> list[dict[str, Any]]:
    published = (
        (names.published_knowledge_base_name(pods.knowledge_base), names.KNOWLEDGE_BASE_CONFIG_KEY),
        (names.TENANT_CONFIG, names.TENANT_CONFIG_KEY),
    )
    return [
        # Of the stores a sync uses PostgreSQL alone.
        {
            "name": "stores",
            "secret": {
                "secretName": names.STORES_SECRET,
                "defaultMode": 0o440,
                "items": [{"key": names.POSTGRESQL_URL_KEY, "path": names.POSTGRESQL_URL_KEY}],
            },
        },
        {
            "name": "config",
            "projected": {
                "defaultMode": 0o440,
                "sources": [
                    {"configMap": {"name": name, "items": [{"key": key, "path": key}]}} for name, key in published
                ],
            },
        },
        # Optional: one that was deleted is told by the sync, which goes through the other sources.
        *(
            {"name": f"config-map-{index}", "configMap": {"name": name, "defaultMode": 0o440, "optional": True}}
            for index, name in enumerate(pods.config_maps)
        ),
        *([{"name": "secrets", "projected": _build_secrets(pods.secrets)}] if pods.secrets else []),
        {"name": "tmp", "emptyDir": {"sizeLimit": _TMP_SIZE}},
    ]


def _build_secrets(keys: Iterable[SecretKey]) -> dict[str, Any]:
    """The entries as files `<name>/<key>`. Optional like ConfigMaps, for the same reason."""
    by_name: dict[str, list[str]] = {}
    for secret in keys:
        by_name.setdefault(secret.name, []).append(secret.key)
    return {
        "defaultMode": 0o440,
        "sources": [
            {
                "secret": {
                    "name": name,
                    "optional": True,
                    "items": [{"key": key, "path": f"{name}/{key}"} for key in sorted(by_name[name])],
                }
            }
            for name in sorted(by_name)
        ],
    }
