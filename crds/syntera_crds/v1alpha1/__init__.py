"""The kinds of `syntera.io/v1alpha1`."""

from .agent import Agent, AgentSpec, AgentStatus
from .common import Condition, ConditionStatus, ConditionType, Reason, Resource
from .knowledge_base import KnowledgeBase, KnowledgeBaseSpec, KnowledgeBaseStatus
from .tenant import Tenant, TenantSpec, TenantStatus

KINDS: dict[str, type[Resource]] = {kind.kind(): kind for kind in (Tenant, Agent, KnowledgeBase)}
"""Every kind by its name."""

__all__ = [
    "KINDS",
    "Agent",
    "AgentSpec",
    "AgentStatus",
    "Condition",
    "ConditionStatus",
    "ConditionType",
    "KnowledgeBase",
    "KnowledgeBaseSpec",
    "KnowledgeBaseStatus",
    "Reason",
    "Resource",
    "Tenant",
    "TenantSpec",
    "TenantStatus",
]
