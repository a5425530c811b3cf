"""Links that hand out one file without credentials, for some minutes: for `<img src>` and downloads by browsers.

A link names the file, when it ends, and whether it is shown or saved; an HMAC over all of them, by a key derived from the
tenant's signing key, makes each of them unchangeable.
"""

import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from ..errors import LinkExpired, LinkRefused
from ..models.ids import FileId, TenantId

LIFETIME = timedelta(minutes=15)


class Disposition(StrEnum):
    """What a browser does with a file."""

    INLINE = "inline"
    """Shows it."""
    ATTACHMENT = "attachment"
    """Saves it."""


@dataclass(frozen=True, slots=True)
class Link:
    """What a link says."""

    file_id: FileId
    disposition: Disposition
    expires: int
    """Seconds since 1970."""
    signature: str

    @property
    def expires_at(self) -> datetime:
        """When it ends."""
        return datetime.fromtimestamp(self.expires, UTC)


class FileLinks:
    """Makes and checks the links of one tenant."""

    def __init__(self, tenant_id: TenantId, key: Callable[[], bytes], *, now: Callable[[], float] = time.time) -> None:
        """`key` gives what they are signed with, or raises SigningKeyMissing."""
        self.tenant_id = tenant_id
        self._key = key
        self._now = now

    def make(self, file_id: FileId, disposition: Disposition, *, lifetime: timedelta = LIFETIME) -> Link:
        """A link that begins now.

        Raises:
            SigningKeyMissing: Nothing can be signed.
        """
        expires = int(self._now() + lifetime.total_seconds())
        return Link(file_id, disposition, expires, self._sign(file_id, disposition, expires))

    def check(self, link: Link) -> None:
        """Return if the link may be followed.

        Raises:
            LinkRefused: It is none of ours.
            LinkExpired: It has ended.
            SigningKeyMissing: Nothing can be verified.
        """
        expected = self._sign(link.file_id, link.disposition, link.expires)
        if not hmac.compare_digest(expected.encode(), link.signature.encode()):
            raise LinkRefused
        if link.expires <= self._now():
            raise LinkExpired

    def _sign(self, file_id: FileId, disposition: Disposition, expires: int) -> str:
        said = f"{file_id}\n{disposition}\n{expires}".encode()
        return hmac.new(self._key(), said, hashlib.sha256).hexdigest()
