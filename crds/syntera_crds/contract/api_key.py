"""API keys: how they look, how they are checked without a store, and what of them is kept.

A key is `syn_<kind>_<lookup><secret><checksum>`, all base 62:

* kind: `sk` (secret, for servers) or `pk` (publishable, may be seen by the world),
* lookup: 8 characters, stored in clear, finds the row,
* secret: 32 characters, about 190 bits; only the SHA-256 of the whole key is stored, so no slow hash is needed,
* checksum: 6 characters, CRC-32 of what stands before it; a mistyped key is refused without asking a store, and secret
  scanners can tell a real key from a look-alike.
"""

import hashlib
import hmac
import secrets
import string
import zlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_LOOKUP_LENGTH = 8
_SECRET_LENGTH = 32
_CHECKSUM_LENGTH = 6
_BODY_LENGTH = _LOOKUP_LENGTH + _SECRET_LENGTH + _CHECKSUM_LENGTH


class KeyKind(StrEnum):
    """Who may hold the key."""

    SECRET = "sk"
    PUBLISHABLE = "pk"


class Scope(StrEnum):
    """What a key, or a person by their role, may do."""

    AGENTS_READ = "agents:read"
    """List agents and read what they show to the public."""
    CHAT = "chat"
    """Talk to agents: completions, conversations and messages."""
    CONVERSATIONS_READ = "conversations:read"
    """List, search and export everybody's conversations."""
    CONVERSATIONS_WRITE = "conversations:write"
    """Rename, end, archive and delete everybody's conversations."""
    USAGE_READ = "usage:read"
    """Read what was used and what it cost."""
    KNOWLEDGE_READ = "knowledge:read"
    """List knowledge bases, their documents and syncs, read what they hold, and search them."""
    KNOWLEDGE_WRITE = "knowledge:write"
    """Upload, delete and re-ingest documents, and ask for syncs."""
    ADMIN = "admin"
    """Everything, every other scope included."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A well-formed key. Whether it is known, alive and allowed is for the store to say."""

    kind: KeyKind
    text: str
    """The whole key. Shown once to its owner, never stored or logged."""

    @classmethod
    def generate(cls, kind: KeyKind) -> Self:
        """A new random key."""
        body = "".join(secrets.choice(_ALPHABET) for _ in range(_LOOKUP_LENGTH + _SECRET_LENGTH))
        start = f"syn_{kind}_{body}"
        return cls(kind=kind, text=start + _checksum(start))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The key that `text` spells, or None if it is not a well-formed key."""
        prefix, _, rest = text.partition("_")
        kind, _, body = rest.partition("_")
        if prefix != "syn" or kind not in set(KeyKind) or len(body) != _BODY_LENGTH or not body.isascii():
            return None
        start, checksum = text[:-_CHECKSUM_LENGTH], text[-_CHECKSUM_LENGTH:]
        if not body.isalnum() or not hmac.compare_digest(_checksum(start), checksum):
            return None
        return cls(kind=KeyKind(kind), text=text)

    @property
    def lookup(self) -> str:
        """The part that finds the stored row; no secret."""
        return self.text[len("syn_sk_") :][:_LOOKUP_LENGTH]

    @property
    def hash(self) -> bytes:
        """SHA-256 of the whole key, 32 bytes: what is stored."""
        return hashlib.sha256(self.text.encode()).digest()

    def matches(self, stored_hash: bytes) -> bool:
        """Whether this key is the one whose hash was stored, compared in constant time."""
        return hmac.compare_digest(self.hash, stored_hash)

    def __repr__(self) -> str:
        """Without the secret, so that a logged key gives nothing away."""
        return f"ApiKey(kind={self.kind}, lookup={self.lookup!r})"


def _checksum(text: str) -> str:
    number = zlib.crc32(text.encode())
    digits = []
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
