"""Knowledge bases that are published, and what the store has of them. One that is not published is not there."""

from collections.abc import Sequence

from syntera_crds.contract.knowledge_config import KnowledgeBaseConfig

from ..errors import KnowledgeBaseNotFound
from ..models.ids import TenantId
from ..models.knowledge import KnowledgeBase
from ..ports.knowledge import KnowledgeBases, KnowledgeReader


class Holdings:
    """The knowledge bases of this process."""

    def __init__(self, catalogue: KnowledgeBases, reader: KnowledgeReader) -> None:
        self._catalogue = catalogue
        self._reader = reader

    def all_configs(self) -> Sequence[KnowledgeBaseConfig]:
        """How all of them are configured, by name."""
        return self._catalogue.all_knowledge_bases()

    def config(self, name: str) -> KnowledgeBaseConfig:
        """How one of them is configured.

        Raises:
            KnowledgeBaseNotFound: There is none of that name.
        """
        config = self._catalogue.knowledge_base(name)
        if config is None:
            raise KnowledgeBaseNotFound
        return config

    async def find(self, tenant_id: TenantId, name: str) -> KnowledgeBase | None:
        """What the store has of one of them, without its counts. None: nothing yet.

        Raises:
            KnowledgeBaseNotFound: There is none of that name.
            StoreUnavailable: It cannot be read.
        """
        self.config(name)
        return await self._reader.find_knowledge_base(tenant_id, name)
