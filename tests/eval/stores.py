"""A tenant's stores of knowledge in a real PostgreSQL of this run's own."""

import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from syntera_runtime.adapters.postgresql.knowledge_reader import PostgresqlKnowledgeReader
from syntera_runtime.adapters.postgresql.knowledge_vectors import PostgresqlVectors
from syntera_runtime.adapters.postgresql.knowledge_writer import PostgresqlKnowledgeWriter
from syntera_runtime.adapters.postgresql.pool import Pool
from syntera_runtime.models.ids import TenantId
from tests.support.postgresql import PostgresqlServer

from .indexing import Stores

_VERSION = 18
_SETTINGS = {"log_statement": "none", "shared_buffers": "256MB"}


@contextlib.asynccontextmanager
async def open_stores() -> AsyncIterator[Stores]:
    """A new tenant, reached by its own login, so that everything happens under row-level security."""
    server = PostgresqlServer.start(_VERSION, _SETTINGS)
    try:
        database = await server.create_ready_database()
        tenant = await database.make_tenant("eval")
        with tempfile.TemporaryDirectory(prefix="syntera-eval-") as folder:
            url_file = Path(folder) / "url"
            url_file.write_text(tenant.dsn)
            async with Pool(url_file, connections=4, seconds=120, application="eval") as pool:
                yield Stores(
                    TenantId(tenant.tenant_id),
                    PostgresqlKnowledgeReader(pool),
                    PostgresqlKnowledgeWriter(pool),
                    PostgresqlVectors(pool),
                    database,
                    url_file,
                )
    finally:
        server.stop()
