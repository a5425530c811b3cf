"""Names that more than one part of Syntera must spell alike: labels, annotations, objects, ports, keys and paths.

A name that only one module uses stays in that module.
"""

import hashlib
from uuid import UUID

GROUP = "syntera.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "syntera-operator"
COMPONENT_LABEL = "app.kubernetes.io/component"
NAME_LABEL = "app.kubernetes.io/name"
PART_OF_LABEL = "app.kubernetes.io/part-of"

TENANT_LABEL = f"{GROUP}/tenant"
"""On a tenant's namespace and on everything the operator makes in it; the value is the Tenant's name."""
PUBLISHED_LABEL = f"{GROUP}/published"
"""On published ConfigMaps; the value is the kind in lower case, for example `agent`. Runtimes serve no others."""
USABLE_LABEL = f"{GROUP}/usable"
"""On Secrets: `"true"` lets Tenants and Agents of the namespace refer to it; `"false"` marks the operator's own."""

APPLIED_HASH_ANNOTATION = f"{GROUP}/applied-hash"
"""On everything the operator applies: the hash of the desired object, so that an unchanged one is not written again."""
ABANDON_STORES_ANNOTATION = f"{GROUP}/abandon-stores"
"""On a Tenant that is being deleted: `"true"` releases the finalizer although a store could not be cleaned."""
ABANDON_KNOWLEDGE_ANNOTATION = f"{GROUP}/abandon-knowledge"
"""On a KnowledgeBase that is being deleted: `"true"` releases the finalizer although not everything could be erased."""
ABANDON_VECTORS_ANNOTATION = f"{GROUP}/abandon-vectors"
"""On a KnowledgeBase: a host of Pinecone where vectors of replaced indexes are left that cannot be erased, and need not be."""
TENANT_FINALIZER = f"{GROUP}/tenant"

TENANT_FIELD_MANAGER = "syntera-tenant"
AGENT_FIELD_MANAGER = "syntera-agent"
KNOWLEDGE_BASE_FIELD_MANAGER = "syntera-knowledgebase"
KNOWLEDGE_BASE_FINALIZER = f"{GROUP}/knowledge-base"
KNOWLEDGE_BASE_LABEL = f"{GROUP}/knowledge-base"
"""On everything that the operator makes for a KnowledgeBase; the value is its name."""
SYNC_ANNOTATION = f"{GROUP}/sync"
"""On a KnowledgeBase: a token that somebody sets to have it synced at once; the status echoes it."""

LEASE_NAME = f"operator.{GROUP}"

RUNTIME = "syntera-runtime"
"""Name of a tenant's runtime ServiceAccount, Role, RoleBinding, Deployment, Service, autoscaler and disruption budget."""
RUNTIME_COMPONENT = "runtime"
OPERATOR_BINDING = "syntera-operator"
"""Name of the RoleBinding that gives the operator its rights in a tenant's namespace."""
EXPOSURE = "syntera"
"""Name of a tenant's Ingress or HTTPRoute."""
QUOTA = "syntera"
"""Name of a tenant's ResourceQuota and LimitRange."""

STORES_SECRET = "syntera-stores"
POSTGRESQL_URL_KEY = "postgresql-url"
REDIS_URL_KEY = "redis-url"
SIGNING_SECRET = "syntera-signing"
SIGNING_KEY_KEY = "signing-key"
"""Entry of the Secret with 32 random bytes, in base64: the runtime's pods sign visitors' tokens with it."""
ADMIN_SECRET = "syntera-admin"
ADMIN_API_KEY_KEY = "api-key"

SIGNING_DIR = "/var/run/syntera/signing"
"""Where the Secret of the signing key is mounted in a tenant's runtime pods."""
STORES_DIR = "/var/run/syntera/stores"
"""Where the Secret of the stores is mounted in a tenant's pods, one file per key."""

INGESTION = "syntera-ingestion"
"""Name of the ServiceAccount and NetworkPolicy of sync Jobs, and of their component."""
SYNC_CONFIG_DIR = "/var/run/syntera/knowledge"
"""Where a sync Job finds the published configurations: `knowledge-base.json` and `tenant.json`."""
SYNC_CONFIG_MAPS_DIR = "/var/run/syntera/config-maps"
"""Where it finds the ConfigMaps of its sources: `<name>/<key>`."""
SYNC_SECRETS_DIR = "/var/run/syntera/secrets"
"""Where it finds the Secrets that it refers to: `<name>/<key>`."""

PUBLIC_PORT = 8080
INTERNAL_PORT = 8081

AGENT_CONFIG_KEY = "agent.json"
"""Entry of a published ConfigMap that holds the `AgentConfig`."""
TENANT_CONFIG = "tenant"
"""Name of the ConfigMap that holds the Tenant's published configuration."""
TENANT_CONFIG_KEY = "tenant.json"
"""Its entry that holds the `TenantConfig`."""
KNOWLEDGE_BASE_CONFIG_KEY = "knowledge-base.json"
"""Entry of a published ConfigMap that holds the `KnowledgeBaseConfig`."""
DIGEST_KEY = "digest"
"""Entry of a published ConfigMap that holds the configuration's digest."""
OWN_VECTORS_PREFIX = "knowledge_vectors_"
"""What tables of PostgreSQL that hold the vectors of one large index each begin with."""


def published_agent_name(agent: str) -> str:
    """The name of the ConfigMap that holds the published configuration of an Agent."""
    return f"agent-{agent}"


def published_knowledge_base_name(knowledge_base: str) -> str:
    """The name of the ConfigMap that holds the published configuration of a KnowledgeBase."""
    return f"knowledge-{knowledge_base}"


def internal_audience(tenant_id: UUID) -> str:
    """The audience of the operator's tokens for one tenant's internal API; another tenant refuses them."""
    return f"runtime.{tenant_id}.{GROUP}"


def tenant_login(tenant_id: UUID) -> str:
    """The tenant's login in PostgreSQL and Redis; opaque, because role names are visible to every tenant."""
    return f"t_{tenant_id.hex}"


def redis_key_prefix(tenant_id: UUID) -> str:
    """What every key and channel of the tenant in Redis begins with."""
    return f"t:{tenant_id.hex}:"


def own_vectors_table(tenant_id: UUID, index_id: UUID) -> str:
    """What the table of a large index's vectors is called in PostgreSQL. Derived, never read: no tenant can name another's."""
    return f"{OWN_VECTORS_PREFIX}{hashlib.sha256(f'{tenant_id}/{index_id}'.encode()).hexdigest()[:32]}"


def pinecone_namespace(tenant_id: UUID, knowledge_base_id: UUID, number: int) -> str:
    """Where the vectors of a knowledge base's index of that number are in Pinecone: nobody else's are there."""
    return f"{tenant_id}.{knowledge_base_id}.{number}"
