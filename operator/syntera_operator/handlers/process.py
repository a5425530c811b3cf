"""Start, login and end of kopf itself."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from typing import Any

import kopf
import structlog

from syntera_crds.contract import names
from syntera_kube import ClusterConfig

from .session import IsKnown, open_session

log = structlog.get_logger(__name__)

_LOGIN_LIFE = timedelta(minutes=5)
"""The kubelet replaces a token long before it expires; kopf asks again after this time."""


def register(registry: kopf.OperatorRegistry, config: ClusterConfig, *, is_known: IsKnown) -> None:
    """Have kopf configured, logged in by `config`, and its end noted; changes that are known are kept from it."""

    @kopf.on.startup(registry=registry)
    async def started(settings: kopf.OperatorSettings, **_: Any) -> None:
        configure(settings)

    @kopf.on.login(registry=registry)
    async def logged_in(**_: Any) -> kopf.AiohttpSession:
        return build_login(config, is_known=is_known)

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
    settings.networking.error_backoffs = _Backoffs()
    settings.queueing.idle_timeout = 1.0
    settings.queueing.exit_timeout = 0.2
    # Never used with `on.event`; should that ever change, the names are ours.
    settings.persistence.finalizer = f"{names.GROUP}/operator"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=names.GROUP)
    settings.persistence.diffbase_storage = _NoDifferences()


class _Backoffs:
    """kopf pauses between its tries of a request by these, and ends, the process with it, when there are no more.

    There always are: an API server that answers with errors for minutes is no reason to end all replicas, which the kubelet
    would start again later and later.
    """

    def __iter__(self) -> Iterator[float]:
        return chain((0.5, 1.0, 2.0, 4.0), repeat(8.0))


class _NoDifferences(kopf.DiffBaseStorage):
    """kopf copies each object to compare it with the one before, although no handler asks for differences."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: Any) -> None:
        return None


def build_login(config: ClusterConfig, *, is_known: IsKnown) -> kopf.AiohttpSession:
    """The same API server and identity that our own client uses. Call it in a running event loop; kopf ends the session."""
    return kopf.AiohttpSession(
        server=config.server,
        aiohttp_session=open_session(config, is_known=is_known),
        default_namespace=config.namespace,
        expiration=datetime.now(UTC) + _LOGIN_LIFE if config.token_file else None,
    )
