"""Tells people of changes that they must see, as Kubernetes Events.

An Event is a write and is kept by the API server for an hour: it is for what a person would want to be told of, once, not
for what happens at every reconcile. The same news about the same object is told once in ten minutes. To fail to tell is
never a failure of the work itself.
"""

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

import structlog

from syntera_crds.contract import names
from syntera_kube import KubeClient
from syntera_kube.errors import KubeError
from syntera_kube.resources import EVENTS

from .manifest import Manifest, name_of, namespace_of, uid_of

log = structlog.get_logger(__name__)

_WINDOW_SECONDS = 600.0
_MAX_NOTE_BYTES = 1024
_MAX_NAME_LENGTH = 240
_CONTROLLER = f"{names.GROUP}/operator"
_CLUSTER_SCOPED_NAMESPACE = "default"
"""Where Kubernetes itself keeps Events about objects without a namespace."""


class Announcer:
    """Posts Events, each piece of news once in a while."""

    def __init__(self, client: KubeClient, *, instance: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._instance = instance
        self._clock = clock
        self._told: dict[tuple[str, str, str], float] = {}

    async def tell(self, item: Manifest, *, type: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """Post an Event about `item`; `reason` is one CamelCase word, `message` a sentence. Failures are only logged.

        Raises:
            LeadershipLost: this process may write no more.
        """
        news = (uid_of(item), reason, message)
        if not self._is_news(news):
            return
        try:
            await self._client.create(EVENTS, self._build(item, type=type, reason=reason, message=message))
        except KubeError as exc:
            self._told.pop(news, None)
            log.info("event could not be posted", reason=reason, about=name_of(item), error=str(exc))

    def _is_news(self, news: tuple[str, str, str]) -> bool:
        now = self._clock()
        for known, since in list(self._told.items()):
            if now - since < _WINDOW_SECONDS:
                break
            del self._told[known]
        if news in self._told:
            return False
        self._told[news] = now
        return True

    def _build(self, item: Manifest, *, type: Literal["Normal", "Warning"], reason: str, message: str) -> Manifest:
        namespace = namespace_of(item) or _CLUSTER_SCOPED_NAMESPACE
        name = f"{name_of(item)[:_MAX_NAME_LENGTH]}.{secrets.token_hex(6)}"
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": name, "namespace": namespace},
            "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": _CONTROLLER,
            "reportingInstance": self._instance,
            "action": "Reconcile",
            "type": type,
            "reason": reason,
            "note": message.encode()[:_MAX_NOTE_BYTES].decode(errors="ignore"),
            "regarding": {
                "apiVersion": item["apiVersion"],
                "kind": item["kind"],
                "name": name_of(item),
                "namespace": namespace_of(item) or "",
                "uid": uid_of(item),
                "resourceVersion": item["metadata"].get("resourceVersion", ""),
            },
        }
