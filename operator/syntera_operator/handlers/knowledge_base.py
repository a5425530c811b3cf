"""Events of KnowledgeBases."""

import kopf

from ..manifest import KNOWLEDGE_BASES
from .observe import Observe, register_observer


def register(registry: kopf.OperatorRegistry, observe: Observe) -> None:
    """Have them handed on."""
    register_observer(registry, KNOWLEDGE_BASES, observe)
