"""Where kopf calls us: one module a kind, and one for the process. No handler holds logic; what they are told goes on to
whoever gave them `observe`.
"""

import kopf

from syntera_kube import ClusterConfig

from . import agent, process, tenant
from .observe import Observe

__all__ = ["Observe", "build_registry"]


def build_registry(config: ClusterConfig, observe: Observe) -> kopf.OperatorRegistry:
    """All handlers, in a registry of their own."""
    registry = kopf.OperatorRegistry()
    process.register(registry, config)
    tenant.register(registry, observe)
    agent.register(registry, observe)
    return registry
