"""Which model embeds a question so that its vector fits those of an index. Decides alone; asks nobody.

While an index is built with another model, the one before is searched with the model before. The row of an index names that
model and its endpoint; where the endpoint is and with which key it is asked comes from what the operator published: a row is
the tenant's login's to write, which reads documents that others wrote.
"""

from syntera_crds.contract.knowledge_config import EmbeddingModel, KnowledgeBaseConfig
from syntera_crds.contract.tenant_config import TenantConfig

from ..models.knowledge import Index, hash_server


def find_question_model(
    config: KnowledgeBaseConfig, index: Index, *, tenant: TenantConfig | None
) -> EmbeddingModel | None:
    """The model whose vectors of questions fit those of the index.

    None: nobody knows it any more, because the Tenant has no endpoint of that name or has it elsewhere by now.
    """
    own, before = config.embedding, index.embedding
    if before is None:
        return own if own.dimensions == index.dimensions else None
    made_by = (before.model, index.dimensions, before.document_prefix)
    if (own.model, own.dimensions, own.document_prefix) == made_by:
        return own
    for access in () if tenant is None else tenant.endpoints:
        if access.endpoint == before.endpoint and hash_server(access.base_url) == before.server:
            return EmbeddingModel(
                **dict(access),
                model=before.model,
                dimensions=index.dimensions,
                sends_dimensions=before.sends_dimensions,
                query_prefix=before.query_prefix,
                document_prefix=before.document_prefix,
            )
    return None
