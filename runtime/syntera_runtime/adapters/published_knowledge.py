"""The knowledge bases as the operator published them, for `KubernetesConfig`, which watches.

A published configuration is taken at once: where a Secret that it names cannot be read yet, questions are not embedded and
words are still found, and each search says so.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import structlog
from pydantic import ValidationError

from syntera_crds.contract import names
from syntera_crds.contract.agent_config import SecretKey
from syntera_crds.contract.knowledge_config import KnowledgeBaseConfig
from syntera_kube import Manifest

_PREFIX = names.published_knowledge_base_name("")

log = structlog.get_logger(__name__)


def is_of_knowledge_base(config_map: str) -> bool:
    """Whether a published ConfigMap of that name is a knowledge base's."""
    return config_map.startswith(_PREFIX)


class PublishedKnowledge:
    """The port `KnowledgeBases`, filled by whoever watches."""

    def __init__(self) -> None:
        self._served: Mapping[str, KnowledgeBaseConfig] = MappingProxyType({})

    def knowledge_base(self, name: str) -> KnowledgeBaseConfig | None:
        """See `KnowledgeBases`."""
        return self._served.get(name)

    def all_knowledge_bases(self) -> Sequence[KnowledgeBaseConfig]:
        """See `KnowledgeBases`."""
        return [config for _, config in sorted(self._served.items())]

    def secrets(self) -> frozenset[SecretKey]:
        """Entries of Secrets that searches need."""
        return frozenset(key for config in self._served.values() for key in config.search_secret_keys())

    def take(self, config_map: Manifest) -> None:
        """Serve what a ConfigMap publishes; one that cannot be read changes nothing."""
        name = config_map["metadata"]["name"].removeprefix(_PREFIX)
        config = _read(config_map, name)
        if config is not None and config != self._served.get(name):
            self._served = MappingProxyType({**self._served, name: config})
            log.info("knowledge base loaded", knowledge_base=name, revision=config.revision)

    def leave(self, config_map: str) -> None:
        """Serve what the ConfigMap of that name published no more."""
        name = config_map.removeprefix(_PREFIX)
        if name in self._served:
            self._served = MappingProxyType({key: one for key, one in self._served.items() if key != name})
            log.info("knowledge base gone", knowledge_base=name)


def _read(config_map: Manifest, name: str) -> KnowledgeBaseConfig | None:
    data = config_map.get("data") or {}
    try:
        config = KnowledgeBaseConfig.model_validate_json(data.get(names.KNOWLEDGE_BASE_CONFIG_KEY, ""))
    except ValidationError as exc:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['type']}" for fault in exc.errors()]
        log.error("published knowledge base is not readable", knowledge_base=name, faults=faults)
        return None
    if config.name != name:
        log.error("published knowledge base is not readable", knowledge_base=name, faults=["name does not fit"])
        return None
    return config
