"""The kinds of `syntera.io/v1alpha1`."""

from .agent import Agent, AgentSpec, AgentStatus
from .common import Condition, ConditionStatus, ConditionType, Reason
from .tenant import Tenant, TenantSpec, TenantStatus

__all__ = [
    "Agent",
    "AgentSpec",
    "AgentStatus",
    "Condition",
    "ConditionStatus",
    "ConditionType",
    "Reason",
    "Tenant",
    "TenantSpec",
    "TenantStatus",
]
