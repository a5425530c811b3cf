"""What a pod without a way to the API server knows of the cluster: ConfigMaps and Secrets mounted as files.

The kubelet swaps all files of a volume at once when the object changes. They are small and in memory or the page cache, so the
loop does not wait for a disk.
"""

from pathlib import Path

import structlog
from pydantic import ValidationError

from syntera_crds.contract import names
from syntera_crds.contract.agent_config import SecretKey
from syntera_crds.contract.knowledge_config import KnowledgeBaseConfig
from syntera_crds.contract.tenant_config import TenantConfig

from ..errors import ConfigurationError, SecretMissing

log = structlog.get_logger(__name__)


class MountedSecrets:
    """The port `Secrets`: `<folder>/<name>/<key>`, read at every use, so a rotated key needs no new process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def value(self, ref: SecretKey) -> str:
        """See `Secrets`."""
        try:
            return _inside(self._folder, ref.name, ref.key).read_text()
        except UnicodeDecodeError:
            raise SecretMissing(f"The entry {ref.key!r} of the Secret {ref.name!r} is no text.") from None
        except (OSError, ValueError):
            raise SecretMissing(
                f"The Secret {ref.name!r} is not mounted, or has no entry {ref.key!r}. Create it."
            ) from None


class MountedTenant:
    """The port `TenantCatalogue`: what the operator published for the Tenant."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / names.TENANT_CONFIG_KEY

    def tenant(self) -> TenantConfig | None:
        """See `TenantCatalogue`. None, with a log entry, where the file cannot be read."""
        try:
            return TenantConfig.model_validate_json(self._file.read_bytes())
        except (OSError, ValidationError) as error:
            log.error("published tenant configuration is not readable", cause=type(error).__name__)
            return None


def read_knowledge_base(folder: Path, *, name: str) -> KnowledgeBaseConfig:
    """What the operator published for a KnowledgeBase.

    Raises:
        ConfigurationError: It is not there, cannot be read, or is another one's.
    """
    file = folder / names.KNOWLEDGE_BASE_CONFIG_KEY
    try:
        config = KnowledgeBaseConfig.model_validate_json(file.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"The configuration of the knowledge base, {str(file)!r}, is not there.") from error
    except ValidationError:
        # `from None`: the fault quotes what stands there.
        raise ConfigurationError(f"The configuration of the knowledge base, {str(file)!r}, is not readable.") from None
    if config.name != name:
        raise ConfigurationError(f"{str(file)!r} is the configuration of {config.name!r}, not of {name!r}.")
    return config


def _inside(folder: Path, *parts: str) -> Path:
    """A file below a folder.

    Raises:
        ValueError: The parts lead out of it.
    """
    if any(part in ("", ".", "..") or "/" in part or "\0" in part for part in parts):
        raise ValueError("not a name")
    return folder.joinpath(*parts)
