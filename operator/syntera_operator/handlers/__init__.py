"""Where kopf calls us: one module a kind, and one for the process. No handler holds logic; what they are told goes on to
whoever gave them `observe`.
"""

import kopf

from syntera_kube import ClusterConfig

from . import agent, knowledge_base, process, tenant
from .observe import Observe
from .session import IsKnown

__all__ = ["IsKnown", "Observe", "build_registry"]


def build_registry(config: ClusterConfig, observe: Observe, *, is_known: IsKnown) -> kopf.OperatorRegistry:
    """All handlers, in a registry of their own. They are told of no change of an object that `is_known`."""
    registry = kopf.OperatorRegistry()
    process.register(registry, config, is_known=is_known)
    tenant.register(registry, observe)
    agent.register(registry, observe)
    knowledge_base.register(registry, observe)
    return registry
