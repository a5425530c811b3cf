"""Finds where the vectors of an index are: the index says it, whatever the configuration says by now. It connects to nothing."""

from syntera_crds.contract.knowledge_config import KnowledgeBaseConfig

from ..models.knowledge import Index, IndexStorage
from ..ports.knowledge import VectorIndex
from .pinecone_clients import PineconeClients
from .pinecone_vectors import PineconeVectors
from .postgresql.chunks_of_vectors import PostgresqlChunksOfVectors
from .postgresql.knowledge_vectors import PostgresqlVectors
from .postgresql.pool import Pool


def find_vectors(
    pool: Pool, pinecone: PineconeClients, config: KnowledgeBaseConfig | None, index: Index
) -> VectorIndex:
    """Where an index has its vectors; the knowledge base's configuration has the key."""
    if index.storage is IndexStorage.PINECONE:
        configured = None if config is None else config.pinecone
        return PineconeVectors(pinecone, configured, PostgresqlChunksOfVectors(pool))
    return PostgresqlVectors(pool)
