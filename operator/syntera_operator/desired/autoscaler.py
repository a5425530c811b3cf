"""The autoscaler of the runtime, which then owns the number of its pods."""

from syntera_crds.contract import names
from syntera_crds.v1alpha1.tenant import Autoscaling

from ..manifest import Manifest
from .metadata import Scope, build_object


def build_autoscaler(scope: Scope, autoscaling: Autoscaling) -> Manifest:
    """Follows the CPU use of the runtime's pods."""
    return build_object(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        names.RUNTIME,
        scope,
        spec={
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": names.RUNTIME},
            "minReplicas": autoscaling.min,
            "maxReplicas": autoscaling.max,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": autoscaling.cpu_percent},
                    },
                }
            ],
        },
    )
