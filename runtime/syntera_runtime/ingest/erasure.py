"""Forgets a knowledge base: the vectors of each index before its rows, which lead to them; uploaded files are doomed with the rest."""

import structlog

from syntera_crds.contract.knowledge_config import KnowledgeBaseConfig
from syntera_crds.contract.names import pinecone_namespace

from ..errors import SecretMissing, StoreUnavailable, SynteraError
from ..models.knowledge import Index
from .failures import SyncFailed, explain
from .sync import SyncTools

log = structlog.get_logger(__name__)


async def erase(tools: SyncTools, config: KnowledgeBaseConfig | None, *, name: str) -> bool:
    """Forget everything of a knowledge base. Being killed leaves something to be forgotten by the next try.

    Args:
        tools: What it works with.
        config: The last configuration, which has the key to vectors in Pinecone. None: there is none any more.
        name: The knowledge base's.

    Returns:
        Whether it is gone; False: a sync runs.

    Raises:
        SyncFailed: Something is left.
    """
    try:
        async with tools.store.lock(tools.tenant_id, name) as knowledge_base:
            if knowledge_base is None:
                return False
            left: list[tuple[Index, SynteraError]] = []
            for index in await tools.store.list_indexes(tools.tenant_id, knowledge_base.id):
                if (fault := await _erase_index(tools, config, index)) is not None:
                    left.append((index, fault))
            if left:
                raise _describe(tools, config, left)
            while await tools.store.erase(tools.tenant_id, name):
                pass
    except StoreUnavailable as error:
        raise explain(error) from error
    log.info("knowledge base erased")
    return True


async def _erase_index(
    tools: SyncTools, config: KnowledgeBaseConfig | None, index: Index
) -> StoreUnavailable | SecretMissing | None:
    """Forget an index; gives why its vectors cannot be reached where that is Pinecone's fault, so that the others go all the same."""
    try:
        await tools.vectors_of(config, index).drop(tools.tenant_id, index)
    except (StoreUnavailable, SecretMissing) as error:
        if index.pinecone_host is None:
            raise
        return error
    await tools.store.drop_index(tools.tenant_id, index)
    return None


def _describe(
    tools: SyncTools, config: KnowledgeBaseConfig | None, left: list[tuple[Index, SynteraError]]
) -> SyncFailed:
    places = ", ".join(
        f"{pinecone_namespace(tools.tenant_id, index.knowledge_base_id, index.number)} at {index.pinecone_host}"
        for index, _ in left
    )
    failed = explain(left[0][1])
    has_no_key = config is None or config.pinecone is None
    message = f"{failed.message} Vectors are left in the namespaces: {places}."
    return SyncFailed(failed.code, message, is_final=failed.is_final or has_no_key)
