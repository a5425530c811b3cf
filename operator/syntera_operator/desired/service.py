"""The Service in front of the runtime's public port, and how many of its pods may be away on purpose."""

from syntera_crds.contract import names

from ..manifest import Manifest
from .metadata import Scope, build_object, build_runtime_selector

SERVICE_PORT = 80
PUBLIC_PORT_NAME = "http"
INTERNAL_PORT_NAME = "internal"


def build_service(scope: Scope) -> Manifest:
    """Reaches the public port only: the internal one is asked pod by pod."""
    return build_object(
        "v1",
        "Service",
        names.RUNTIME,
        scope,
        spec={
            "type": "ClusterIP",
            "selector": build_runtime_selector(scope),
            "ports": [
                {
                    "name": PUBLIC_PORT_NAME,
                    "port": SERVICE_PORT,
                    "targetPort": PUBLIC_PORT_NAME,
                    "protocol": "TCP",
                    "appProtocol": "http",
                }
            ],
        },
    )


def build_disruption_budget(scope: Scope) -> Manifest:
    """At most one pod at a time is drained; a pod that is not ready anyway does not hold a drain up."""
    return build_object(
        "policy/v1",
        "PodDisruptionBudget",
        names.RUNTIME,
        scope,
        spec={
            "maxUnavailable": 1,
            "selector": {"matchLabels": build_runtime_selector(scope)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    )
