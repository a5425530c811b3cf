"""The tenant's signing key, from the file where its Secret is mounted; looked at again every few seconds."""

import base64
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from ..errors import SigningKeyMissing

RELOAD_SECONDS = 5.0
LENGTH = 32

log = structlog.get_logger(__name__)


class SigningKeyFile:
    """`SigningKey` in a file, as base64."""

    def __init__(self, file: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Nothing is read before the key is needed."""
        self._file = file
        self._monotonic = monotonic
        self._read_at = -RELOAD_SECONDS
        self._secret: bytes | None = None

    def secret(self) -> bytes:
        """See `SigningKey`."""
        if self._secret is None or self._monotonic() - self._read_at >= RELOAD_SECONDS:
            self._read_at = self._monotonic()
            self._secret = None
            self._secret = self._read()
        return self._secret

    def _read(self) -> bytes:
        # A few bytes in memory (Secrets are mounted on tmpfs), so the loop does not wait for a disk.
        try:
            secret = base64.b64decode(self._file.read_text().strip(), validate=True)
        except (OSError, ValueError) as error:
            log.error("signing key not readable", cause=type(error).__name__)
            raise SigningKeyMissing from None
        if len(secret) < LENGTH:
            log.error("signing key too short", length=len(secret))
            raise SigningKeyMissing
        return secret
