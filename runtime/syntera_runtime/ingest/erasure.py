"""Forgets a knowledge base: its vectors first, because rows lead to them, then its rows; uploaded files are doomed with them."""

import structlog

from syntera_crds.contract.knowledge_config import KnowledgeBaseConfig

from ..errors import StoreUnavailable
from ..models.knowledge import IndexStorage
from .failures import SyncFailed, explain
from .sync import SyncTools

log = structlog.get_logger(__name__)


async def erase(tools: SyncTools, config: KnowledgeBaseConfig | None, *, name: str) -> bool:
    """Forget everything of a knowledge base. Being killed leaves something to be forgotten by the next try.

    Args:
        tools: What it works with.
        config: The last configuration, which says where vectors are. None: there is none any more.
        name: The knowledge base's.

    Returns:
        Whether it is gone; False: a sync runs.

    Raises:
        SyncFailed: Something is left.
    """
    vectors = tools.build_vectors(config)
    try:
        async with tools.store.lock(tools.tenant_id, name) as knowledge_base:
            if knowledge_base is None:
                return False
            indexes = await tools.store.list_indexes(tools.tenant_id, knowledge_base.id)
            for index in indexes:
                if index.storage is IndexStorage.PINECONE and index.storage not in vectors:
                    raise SyncFailed(
                        "configuration-error",
                        "The knowledge base has vectors in Pinecone, and its configuration does not say where. Restore the"
                        " Tenant's stores.vectors, or abandon them.",
                        is_final=True,
                    )
                await vectors[index.storage].drop(tools.tenant_id, index)
            while await tools.store.erase(tools.tenant_id, name):
                pass
    except StoreUnavailable as error:
        raise explain(error) from error
    log.info("knowledge base erased")
    return True
