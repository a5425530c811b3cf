"""Start, login and end of kopf itself."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import kopf
import structlog

from syntera_crds.contract import names
from syntera_kube import ClusterConfig

log = structlog.get_logger(__name__)

_LOGIN_LIFE = timedelta(minutes=5)
"""The kubelet replaces a token long before it expires; kopf asks again after this time."""


def register(registry: kopf.OperatorRegistry, config: ClusterConfig) -> None:
    """Have kopf configured, logged in by `config`, and its end noted."""

    @kopf.on.startup(registry=registry)
    async def started(settings: kopf.OperatorSettings, **_: Any) -> None:
        configure(settings)

    @kopf.on.login(registry=registry)
    async def logged_in(**_: Any) -> kopf.ConnectionInfo:
        return build_login(config)

    @kopf.on.cleanup(registry=registry)
    async def ended(**_: Any) -> None:
        log.info("watching of own kinds ended")


def configure(settings: kopf.OperatorSettings) -> None:
    """kopf watches and does nothing else: no events, no scanning, no state, and no name of its own in the cluster."""
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.watching.server_timeout = 600
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 60
    settings.networking.error_backoffs = (0.5, 1, 2, 4, 8)
    settings.queueing.idle_timeout = 1.0
    settings.queueing.exit_timeout = 0.2
    # Never used with `on.event`; should that ever change, the names are ours.
    settings.persistence.finalizer = f"{names.GROUP}/operator"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=names.GROUP)
    settings.persistence.diffbase_storage = _NoDifferences()


class _NoDifferences(kopf.DiffBaseStorage):
    """kopf copies each object to compare it with the one before, although no handler asks for differences."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: Any) -> None:
        return None


def build_login(config: ClusterConfig) -> kopf.ConnectionInfo:
    """The same API server and identity that our own client uses."""
    return kopf.ConnectionInfo(
        server=config.server,
        ca_data=config.ca_data.encode() if config.ca_data else None,
        insecure=not config.verify,
        scheme="Bearer" if config.token or config.token_file else None,
        token=_read(config.token_file) if config.token_file else config.token,
        certificate_data=config.client_certificate,
        private_key_data=config.client_key,
        default_namespace=config.namespace,
        expiration=datetime.now(UTC) + _LOGIN_LIFE if config.token_file else None,
    )


def _read(token_file: Path) -> str:
    return token_file.read_text().strip()
