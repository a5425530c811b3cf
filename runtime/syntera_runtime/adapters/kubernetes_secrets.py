"""The Secrets that agents refer to, each watched by its name: the pod may read these and no others.

A Secret that cannot be read yet (the operator's Role is about to name it) is asked for again every few moments. One that
is deleted keeps its last value for `GRACE_SECONDS`, because `kubectl replace --force` and some tools that rotate keys
delete and create; after that it is gone, as its owner wants.
"""

import asyncio
import base64
import binascii
from collections.abc import Callable, Iterable
from typing import Any

import structlog

from syntera_crds.contract.agent_config import SecretKey
from syntera_kube import Change, KubeClient, Manifest, Reflector, Selection
from syntera_kube.resources import SECRETS

from ..errors import SecretMissing

GRACE_SECONDS = 3.0
MAX_RETRY_SECONDS = 3.0
"""Longest pause before an unreadable Secret is asked for again."""

log = structlog.get_logger(__name__)


class WatchedSecrets:
    """The port `Secrets`. Its watches run in the task group that `keep` is given."""

    def __init__(self, client: KubeClient, *, namespace: str, on_change: Callable[[], None]) -> None:
        """Prepare; nothing is watched before `keep`. `on_change` is called when a value came, changed or went."""
        self._client = client
        self._namespace = namespace
        self._on_change = on_change
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._departures: dict[str, asyncio.Task[None]] = {}
        self._data: dict[str, dict[str, str]] = {}

    def value(self, ref: SecretKey) -> str:
        """The entry's value as text.

        Raises:
            SecretMissing: The Secret or its entry is not there, or is no text.
        """
        data = self._data.get(ref.name)
        if data is None:
            raise SecretMissing(f"The Secret {ref.name!r} is not there, or may not be read yet.")
        if ref.key not in data:
            raise SecretMissing(f"The Secret {ref.name!r} has no entry {ref.key!r}.")
        try:
            return base64.b64decode(data[ref.key]).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise SecretMissing(f"The entry {ref.key!r} of the Secret {ref.name!r} is no text.") from None

    def missing(self, refs: Iterable[SecretKey]) -> list[SecretKey]:
        """Those of `refs` that have no entry."""
        return sorted(
            (ref for ref in refs if ref.key not in self._data.get(ref.name, {})), key=lambda ref: (ref.name, ref.key)
        )

    def keep(self, names: Iterable[str], *, group: asyncio.TaskGroup) -> None:
        """Watch exactly the Secrets of these names; what is no longer among them is forgotten."""
        wanted = set(names)
        for name in self._watches.keys() - wanted:
            self._watches.pop(name).cancel()
            self._stay(name)
            self._data.pop(name, None)
        for name in wanted - self._watches.keys():
            self._watches[name] = group.create_task(self._watch(name, group), name=f"secret {name}")

    async def _watch(self, name: str, group: asyncio.TaskGroup) -> None:
        def take(change: Change) -> None:
            if change.new is None:
                self._departures[name] = group.create_task(self._leave_later(name), name=f"deleted secret {name}")
                return
            self._stay(name)
            self._data[name] = change.new["data"]
            self._on_change()

        reflector = Reflector(
            self._client,
            SECRETS,
            Selection(namespace=self._namespace, field_selector=f"metadata.name={name}"),
            transform=_slim,
            on_change=take,
            max_delay_seconds=MAX_RETRY_SECONDS,
        )
        await reflector.run()

    def _stay(self, name: str) -> None:
        departure = self._departures.pop(name, None)
        if departure:
            departure.cancel()

    async def _leave_later(self, name: str) -> None:
        await asyncio.sleep(GRACE_SECONDS)
        del self._departures[name]
        self._data.pop(name, None)
        log.warning("secret was deleted", secret=name)
        self._on_change()


def _slim(secret: Manifest) -> Manifest:
    """Identity and values: labels, managed fields and kubectl's copy of the values are not kept."""
    metadata: dict[str, Any] = secret["metadata"]
    identity = {key: metadata[key] for key in ("namespace", "name", "uid", "resourceVersion")}
    return {"metadata": identity, "data": secret.get("data") or {}}
