"""Events of Agents."""

import kopf

from ..manifest import AGENTS
from .observe import Observe, register_observer


def register(registry: kopf.OperatorRegistry, observe: Observe) -> None:
    """Have them handed on."""
    register_observer(registry, AGENTS, observe)
