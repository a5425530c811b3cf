"""The ConfigMaps in which configurations are published, and which revision comes next."""

import json
from dataclasses import dataclass

from syntera_crds.contract import names
from syntera_crds.contract.agent_config import AgentConfig
from syntera_crds.contract.knowledge_config import KnowledgeBaseConfig
from syntera_crds.contract.tenant_config import TenantConfig

from ..manifest import Manifest
from .metadata import Scope, build_object

MAX_BYTES = 1024 * 1024 - 16 * 1024
"""The API server takes 1 MiB of data; the rest is a margin for keys and a longer revision."""
_MAX_LOST = 100
"""So many status writes are never lost in a row: a ConfigMap that is further ahead was edited by hand."""
_MAX_REVISION = 2**53
"""A larger number was never ours: somebody edited the ConfigMap."""


UNPUBLISHED = 0
"""Revision of a configuration that has none yet."""

Config = AgentConfig | KnowledgeBaseConfig
"""A configuration that has revisions."""


@dataclass(frozen=True, slots=True)
class Publication:
    """One published state of an object."""

    revision: int
    digest: str


@dataclass(frozen=True, slots=True)
class Form:
    """How configurations of a kind are published."""

    kind: str
    """Value of the label `published`."""
    key: str
    """Entry that holds the configuration."""


WITHDRAWN = "withdrawn"
"""Value of the label `published` in place of a kind."""
AGENT = Form("agent", names.AGENT_CONFIG_KEY)
KNOWLEDGE_BASE = Form("knowledgebase", names.KNOWLEDGE_BASE_CONFIG_KEY)


def build_published(scope: Scope, config: Config, *, digest: str) -> Manifest:
    """The ConfigMap of a compiled Agent or KnowledgeBase."""
    form = form_of(config)
    published = build_object(
        "v1",
        "ConfigMap",
        name_of_published(config),
        scope,
        data={form.key: config.to_json(), names.DIGEST_KEY: digest},
    )
    published["metadata"]["labels"][names.PUBLISHED_LABEL] = form.kind
    return published


def build_withdrawn(scope: Scope, config: Config, *, digest: str) -> Manifest:
    """The same where it is to be served no more and a Job works by it yet: runtimes do not look for this label."""
    withdrawn = build_published(scope, config, digest=digest)
    withdrawn["metadata"]["labels"][names.PUBLISHED_LABEL] = WITHDRAWN
    return withdrawn


def form_of(config: Config) -> Form:
    """How a configuration is published."""
    return AGENT if isinstance(config, AgentConfig) else KNOWLEDGE_BASE


def name_of_published(config: Config) -> str:
    """The name of the ConfigMap that holds a configuration."""
    if isinstance(config, AgentConfig):
        return names.published_agent_name(config.name)
    return names.published_knowledge_base_name(config.name)


def build_published_tenant(scope: Scope, config: TenantConfig) -> Manifest:
    """The ConfigMap of a compiled Tenant."""
    published = build_object(
        "v1", "ConfigMap", names.TENANT_CONFIG, scope, data={names.TENANT_CONFIG_KEY: config.to_json()}
    )
    published["metadata"]["labels"][names.PUBLISHED_LABEL] = "tenant"
    return published


def size_of_published(published: Manifest) -> int:
    """How many bytes the API server will count."""
    return sum(len(key) + len(value.encode()) for key, value in published["data"].items())


def read_publication(config_map: Manifest | None, form: Form) -> Publication | None:
    """What a ConfigMap says is published; None where nothing can be made of it, because it was edited by hand."""
    data = (config_map or {}).get("data") or {}
    try:
        revision = json.loads(data[form.key])["revision"]
        digest = data[names.DIGEST_KEY]
    except (KeyError, TypeError, ValueError):
        return None
    is_sound = type(revision) is int and 0 < revision < _MAX_REVISION and isinstance(digest, str)
    return Publication(revision, digest) if is_sound else None


def next_revision(digest: str, *, recorded: Publication | None, published: Publication | None) -> int:
    """The revision that a configuration gets: its old one where nothing changed, else the next.

    `recorded` is what the object's status says, `published` what its ConfigMap does. They differ where one of the writes
    was lost, or where the ConfigMap was deleted or edited; then the newer one counts, so that no number is used twice.
    """
    newest = recorded or published
    if newest is None:
        return 1
    if published is not None and newest.revision < published.revision <= newest.revision + _MAX_LOST:
        newest = published
    return newest.revision if newest.digest == digest else newest.revision + 1
