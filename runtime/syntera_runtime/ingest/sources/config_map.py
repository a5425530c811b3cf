"""Entries of a ConfigMap, each a document; they are mounted as files, binary ones too."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

from ...models.knowledge import DocumentFacts, Failing
from ..items import Fetched, Item, Known, Missed


class ConfigMapFiles:
    """`DocumentSource` of a folder as the kubelet mounts it."""

    def __init__(self, folder: Path, *, name: str) -> None:
        """Prepare.

        Args:
            folder: Where the ConfigMap is mounted.
            name: That of the ConfigMap.
        """
        self._folder = folder
        self._name = name

    async def read(self, known: Mapping[str, Known]) -> AsyncGenerator[Item, None]:  # noqa: ARG002  # reading costs as little as asking
        """See `DocumentSource`."""
        keys = await asyncio.to_thread(_list_keys, self._folder)
        if not keys:
            # An optional volume is mounted without entries where there is no such ConfigMap, which is no reason to forget all.
            yield Missed(
                None,
                Failing.NOT_FOUND,
                f"The ConfigMap {self._name!r} is not there or has no entries. Create it, or take the source away.",
            )
        for key in keys:
            try:
                content = await asyncio.to_thread((self._folder / key).read_bytes)
            except OSError:
                yield Missed(
                    key, Failing.UNAVAILABLE, f"The entry {key!r} could not be read. The next sync tries again."
                )
            else:
                yield Fetched(key, content, DocumentFacts(title=key), name=key)


def _list_keys(folder: Path) -> list[str]:
    """Names of the entries; the kubelet's own files begin with two dots, as no key may."""
    try:
        return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("..") and entry.is_file())
    except OSError:
        return []
