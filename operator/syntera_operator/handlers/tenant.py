"""Events of Tenants."""

import kopf

from ..manifest import TENANTS
from .observe import Observe, register_observer


def register(registry: kopf.OperatorRegistry, observe: Observe) -> None:
    """Have them handed on."""
    register_observer(registry, TENANTS, observe)
