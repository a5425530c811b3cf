"""Builds everything that a sync consists of, and closes it in reverse order. The only place in a sync that knows adapters."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from functools import partial

from syntera_crds.contract import names
from syntera_crds.contract.knowledge_config import KnowledgeBaseConfig

from ..adapters.guarded_http import GuardedHttp
from ..adapters.mounted_files import MountedSecrets, MountedTenant, read_knowledge_base
from ..adapters.openai_embeddings import OpenAIEmbedder
from ..adapters.pinecone_clients import PineconeClients
from ..adapters.postgresql.blobs import PostgresqlBlobs
from ..adapters.postgresql.files import PostgresqlFiles
from ..adapters.postgresql.knowledge_editor import PostgresqlKnowledgeEditor
from ..adapters.postgresql.knowledge_writer import PostgresqlKnowledgeWriter
from ..adapters.postgresql.pool import Pool
from ..adapters.s3_blobs import S3Blobs, build_store
from ..adapters.vector_places import find_vectors
from ..egress.tenant_egress import TenantEgress
from ..errors import ConfigurationError
from ..models.files import Storage
from .extraction.pool import VERSION, ExtractorPool
from .settings import IngestSettings
from .sources.build import SourceTools
from .sync import SyncTools
from .work import name_reader

EXTRACTIONS_AT_ONCE = 2
"""Processes that read documents, each with a document's worth of memory."""


@asynccontextmanager
async def open_tools(settings: IngestSettings, *, stop: asyncio.Event) -> AsyncIterator[SyncTools]:
    """Everything, connected to the stores. Waits for none of them: what is away shows when it is used."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(
            Pool(
                settings.stores_dir / names.POSTGRESQL_URL_KEY,
                connections=settings.postgresql_connections,
                seconds=settings.postgresql_seconds,
                application=f"{names.INGESTION}/{settings.pod_name}",
            )
        )
        secrets = MountedSecrets(settings.secrets_dir)
        tenant = MountedTenant(settings.config_dir)
        egress = TenantEgress(tenant)

        def open_http(urls: Iterable[str]) -> AbstractAsyncContextManager[GuardedHttp]:
            named = tuple(urls)
            return aclosing(GuardedHttp(lambda: egress.policy().for_reading(named)))

        sources = SourceTools(
            settings.owner,
            settings.config_maps_dir,
            PostgresqlFiles(pool),
            {Storage.POSTGRESQL: PostgresqlBlobs(pool), Storage.S3: S3Blobs(tenant, secrets)},
            secrets,
            open_http,
            build_store,
        )
        pinecone = await stack.enter_async_context(aclosing(PineconeClients(secrets)))

        yield SyncTools(
            tenant_id=settings.owner,
            store=PostgresqlKnowledgeWriter(pool),
            history=PostgresqlKnowledgeEditor(pool),
            vectors_of=partial(find_vectors, pool, pinecone),
            embedder=await stack.enter_async_context(aclosing(OpenAIEmbedder(secrets, tries=1))),
            extractor=await stack.enter_async_context(ExtractorPool(children=EXTRACTIONS_AT_ONCE)),
            reader=name_reader(VERSION),
            build_source=sources.build,
            stop=stop,
        )


def read_config(settings: IngestSettings) -> KnowledgeBaseConfig:
    """What the operator published for the knowledge base.

    Raises:
        ConfigurationError: It is not there, or cannot be read.
    """
    return read_knowledge_base(settings.config_dir, name=settings.knowledge_base)


def find_config(settings: IngestSettings) -> KnowledgeBaseConfig | None:
    """The same for whoever can do without."""
    try:
        return read_config(settings)
    except ConfigurationError:
        return None
