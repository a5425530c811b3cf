"""What every pod of a tenant's is bound by: Pod Security `restricted`, and nothing that can be written but its volumes."""

from typing import Any

_USER = 65532
"""The images' own."""


def build_pod_security() -> dict[str, Any]:
    """A pod's `securityContext`."""
    return {
        "runAsNonRoot": True,
        "runAsUser": _USER,
        "runAsGroup": _USER,
        "fsGroup": _USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def build_container_security() -> dict[str, Any]:
    """A container's `securityContext`."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
