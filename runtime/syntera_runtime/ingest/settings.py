"""The settings of a sync Job, from environment variables that begin with `SYNTERA_`."""

from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from syntera_crds.contract import names

from ..config import EnvironmentSettings, read_settings
from ..models.ids import TenantId


class IngestSettings(EnvironmentSettings):
    """What a sync is told by its Job."""

    tenant: str
    """Name of the Tenant."""
    tenant_id: UUID
    """The tenant's UUID in the stores."""
    knowledge_base: str
    """Name of the KnowledgeBase."""
    pod_name: str = "ingestion"
    """Name of the pod, for logs."""

    stores_dir: Path = Path(names.STORES_DIR)
    """Where the Secret of the stores is mounted; its files are read again for every new connection."""
    config_dir: Path = Path(names.SYNC_CONFIG_DIR)
    """Where the published configurations of the KnowledgeBase and the Tenant are mounted."""
    config_maps_dir: Path = Path(names.SYNC_CONFIG_MAPS_DIR)
    """Where the ConfigMaps of sources are mounted, each in a folder of its name."""
    secrets_dir: Path = Path(names.SYNC_SECRETS_DIR)
    """Where Secrets are mounted, each in a folder of its name; their files are read again at every use."""
    termination_log: Path = Path("/dev/termination-log")
    """Where the kubelet looks for how the process ended. Nothing is written where there is no such file."""

    postgresql_connections: Annotated[int, Field(ge=2, le=100)] = 6
    """Most connections to PostgreSQL, that of the lock included."""
    postgresql_seconds: Annotated[float, Field(gt=0, le=600)] = 60
    """How long connecting, waiting for a free connection, and one statement may take each: a large document is written by one."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least level that is logged."""

    @property
    def owner(self) -> TenantId:
        """The tenant whose knowledge base it is."""
        return TenantId(self.tenant_id)


def load_settings() -> IngestSettings:
    """The settings of this process, from its environment.

    Raises:
        ConfigurationError: A variable is missing, unknown or not valid; the message names each.
    """
    return read_settings(IngestSettings)
