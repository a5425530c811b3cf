"""The part of a Tenant that says which model of an endpoint makes vectors of texts, and where vectors are kept."""

from typing import Annotated

from pydantic import Field

from .common import HOST_LABEL, PORT, Model, SecretKeyRef
from .rules import matching

ModelName = Annotated[str, Field(min_length=1, max_length=256)]
Dimensions = Annotated[int, Field(ge=1, le=4000)]
Prefix = Annotated[str, Field(max_length=256)]

IndexHost = Annotated[
    str,
    Field(min_length=1, max_length=1024),
    matching(
        rf"^https://{HOST_LABEL}(\.{HOST_LABEL})*(:({PORT}))?$",
        "must be the index's host as Pinecone tells it, such as https://docs-abc123.svc.aped-4627-b74a.pinecone.io: https, a"
        " host, and at most a port",
    ),
]


class EmbeddingModel(Model):
    """The model that makes vectors for KnowledgeBases that name none."""

    model: ModelName
    """Name of the model, as the endpoint knows it."""
    dimensions: Dimensions
    """Numbers in a vector."""
    query_prefix: Prefix = ""
    """What the model wants before a text that is searched for, for example `query: `. Left out: nothing."""
    document_prefix: Prefix = ""
    """What the model wants before a text that is stored, for example `passage: `. Left out: nothing."""
    sends_dimensions: bool = False
    """True: requests ask for that many dimensions, as models with a choice of them, such as text-embedding-3-small, want it.
    Default false: the model always gives as many."""


class Pinecone(Model):
    """An index of Pinecone. The tenant's knowledge bases have namespaces of their own in it."""

    index_host: IndexHost
    """The index's host, with its scheme. The index needs the metric cosine and as many dimensions as the embedding model."""
    api_key_secret_ref: SecretKeyRef
    """The API key."""


class Vectors(Model):
    """Where the vectors of KnowledgeBases are."""

    pinecone: Pinecone | None = None
    """In Pinecone. Left out: in PostgreSQL. A change builds all indexes anew."""


class TenantStoresSpec(Model):
    """Where the tenant's data is, beside PostgreSQL and Redis."""

    vectors: Vectors = Vectors()
    """Where vectors are. Left out: in PostgreSQL."""
