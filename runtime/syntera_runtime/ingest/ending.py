"""How the process ends: a status that tells Kubernetes whether trying again makes sense, and a sentence for people.

The sentence goes where the kubelet looks for it (`terminationMessagePath`) and thereby into the status of the pod. It holds nothing of
documents.
"""

from contextlib import suppress
from enum import IntEnum
from pathlib import Path

from ..models.knowledge import Sync
from .failures import SyncFailed

MOST_BYTES = 4096
"""The kubelet keeps no more."""


class Status(IntEnum):
    """Of the process."""

    DONE = 0
    """The sync came to its end, with or without documents that failed; or there was none to run."""
    TRY_AGAIN = 1
    FINAL = 2
    """Trying again ends the same way as long as nobody changes anything."""


def status_of(failure: SyncFailed) -> Status:
    """The status for a failure."""
    return Status.FINAL if failure.is_final else Status.TRY_AGAIN


def describe(sync: Sync) -> str:
    """A sentence about a sync that came to its end."""
    counts = sync.counts
    return (
        f"complete: {counts.documents} documents ({counts.added} added, {counts.changed} changed, {counts.removed} removed,"
        f" {counts.failed} failed), {counts.embedded_tokens} tokens embedded."
    )


def leave_message(file: Path, message: str) -> None:
    """Write the last words, where somebody looks for them."""
    with suppress(OSError):
        if file.exists():
            file.write_bytes(message.encode()[:MOST_BYTES])
