"""Sync Jobs as processes: the volumes of their pods are folders, their stores are real."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from syntera_crds.contract.knowledge_config import ConfigMapSource, EmbeddingModel, KnowledgeBaseConfig, Source
from syntera_crds.contract.tenant_config import TenantConfig
from tests.support.embedding_server import DIMENSIONS
from tests.support.postgresql import Database, TenantLogin
from tests.support.servers import bound_to_us

NAME = "handbook"

_CHUNKS = """
SELECT d.path, d.title, d.state, d.language, d.audience, d.tags, c.position, c.starts, c.ends, c.headings, c.content, c.hash, c.tokens
FROM syntera.knowledge_documents AS d
LEFT JOIN (
  syntera.knowledge_chunks AS c
  JOIN syntera.knowledge_indexes AS i ON i.tenant_id = c.tenant_id AND i.id = c.index_id AND i.state = 'active'
) ON c.tenant_id = d.tenant_id AND c.document_id = d.id
WHERE d.tenant_id = $1 ORDER BY d.path, c.position
"""

_VECTORS = """
SELECT v.hash, v.vector::text AS vector FROM syntera.knowledge_vectors AS v
JOIN syntera.knowledge_indexes AS i ON i.tenant_id = v.tenant_id AND i.id = v.index_id AND i.state = 'active'
WHERE v.tenant_id = $1 ORDER BY v.hash
"""

_WORDS = """
SELECT w.* FROM syntera.knowledge_words AS w
JOIN syntera.knowledge_indexes AS i ON i.tenant_id = w.tenant_id AND i.id = w.index_id AND i.state = 'active'
WHERE w.tenant_id = $1
"""


@dataclass(slots=True)
class SyncJobs:
    """The Jobs of one tenant's knowledge base, whose source is a ConfigMap."""

    database: Database
    login: TenantLogin
    folder: Path
    base_url: str
    config: KnowledgeBaseConfig = field(init=False)

    def __post_init__(self) -> None:
        for name in ("stores", "config", "config-maps", "secrets"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "stores" / "postgresql-url").write_text(self.login.dsn)
        tenant = TenantConfig(name=self.login.name, display_name=self.login.name)
        (self.folder / "config" / "tenant.json").write_text(tenant.to_json())
        (self.folder / "termination-log").touch()
        self.configure()

    def configure(self, **fields: Any) -> None:
        """Publish a configuration."""
        embedding = EmbeddingModel(
            endpoint="main", base_url=self.base_url, model="e-1", timeout_seconds=60, dimensions=DIMENSIONS
        )
        sources = [Source(name="docs", config_map=ConfigMapSource(name="docs"))]
        given = {"name": NAME, "uid": "u", "revision": 1, "sources": sources, "embedding": embedding, **fields}
        self.config = KnowledgeBaseConfig.model_validate(given)
        (self.folder / "config" / "knowledge-base.json").write_text(self.config.to_json())

    def mount(self, documents: Mapping[str, str]) -> None:
        """Have the ConfigMap hold these entries and no others."""
        folder = self.folder / "config-maps" / "docs"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for path, text in documents.items():
            (folder / path).write_text(text)

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """A Job's process; its log goes to a file."""
        environment = {
            "PATH": os.environ["PATH"],
            "SYNTERA_TENANT": self.login.name,
            "SYNTERA_TENANT_ID": str(self.login.tenant_id),
            "SYNTERA_KNOWLEDGE_BASE": NAME,
            "SYNTERA_STORES_DIR": str(self.folder / "stores"),
            "SYNTERA_CONFIG_DIR": str(self.folder / "config"),
            "SYNTERA_CONFIG_MAPS_DIR": str(self.folder / "config-maps"),
            "SYNTERA_SECRETS_DIR": str(self.folder / "secrets"),
            "SYNTERA_TERMINATION_LOG": str(self.folder / "termination-log"),
        }
        command = [sys.executable, "-m", "syntera_runtime.ingest", *(arguments or ("sync", "--trigger", "request"))]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(bound_to_us(command, signal="KILL"), stdout=log, stderr=log, env=environment)

    def run(self, *arguments: str) -> int:
        """The same to its end: the status."""
        return self.start(*arguments).wait(timeout=300)

    @property
    def message(self) -> str:
        """The last words of the last process."""
        return (self.folder / "termination-log").read_text()

    @property
    def log(self) -> str:
        """What all have logged."""
        return (self.folder / "log").read_text()

    async def contents(self) -> Mapping[str, object]:
        """All that a search finds something by, without ids and times."""
        connection = await self.database.connect()
        try:
            rows = {
                "chunks": await connection.fetch(_CHUNKS, self.login.tenant_id),
                "vectors": await connection.fetch(_VECTORS, self.login.tenant_id),
                "words": await connection.fetch(_WORDS, self.login.tenant_id),
            }
        finally:
            await connection.close()
        return {name: sorted(_plain(row) for row in found) for name, found in rows.items()}

    async def count(self, table: str) -> int:
        """Rows of the tenant."""
        connection = await self.database.connect()
        try:
            found = await connection.fetchval(
                f"SELECT count(*) FROM syntera.{table} WHERE tenant_id = $1", self.login.tenant_id
            )
        finally:
            await connection.close()
        return int(found)


def _plain(row: asyncpg.Record) -> str:
    return repr({name: value for name, value in row.items() if name not in ("tenant_id", "index_id")})
