"""Makes the reader of a configured source."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from syntera_crds.contract.knowledge_config import Source

from ...errors import ConfigurationError
from ...models.files import Storage
from ...models.ids import TenantId
from ...ports.configuration import Secrets
from ...ports.files import BlobStore, FileStore
from ..items import DocumentSource, SourceDocuments
from .config_map import ConfigMapFiles
from .git import GitFiles
from .inline import InlineText
from .s3 import OpenBucket, S3Objects
from .uploads import UploadedFiles
from .web import WebPages
from .web_http import OpenHttp


@dataclass(frozen=True, slots=True)
class SourceTools:
    """What sources read with."""

    tenant_id: TenantId
    config_maps_dir: Path
    """Where ConfigMaps are mounted, each in a folder of its name."""
    files: FileStore
    blobs: Mapping[Storage, BlobStore]
    secrets: Secrets
    open_http: OpenHttp
    open_bucket: OpenBucket

    def build(self, source: Source, documents: SourceDocuments) -> DocumentSource:
        """The reader of a source; nothing is read before it is asked to.

        Raises:
            ConfigurationError: The source is of no kind that this release knows.
        """
        if source.inline is not None:
            return InlineText(source.inline)
        if source.config_map is not None:
            name = source.config_map.name
            return ConfigMapFiles(self.config_maps_dir / name, name=name)
        if source.web is not None:
            return WebPages(source, self.open_http, documents)
        if source.git is not None:
            return GitFiles(source, self.open_http, self.secrets)
        if source.s3 is not None:
            return S3Objects(source, self.open_http, self.secrets, open_bucket=self.open_bucket)
        if source.upload is not None:
            return UploadedFiles(
                self.tenant_id, documents, self.files, self.blobs, max_megabytes=source.upload.max_file_megabytes
            )
        raise ConfigurationError(f"The source {source.name!r} is of no kind that this release reads.")
