"""Tokens of visitors: who holds one is a contact that came with a certain publishable key, for an hour.

A token is `syn_vt_` and a JWT that is signed with HMAC-SHA-256 by a key derived from the tenant's signing key. What its
holder may do is not written in it: that is asked of the publishable key each time, so that its revocation ends the token.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt

from ..errors import VisitorTokenExpired, VisitorTokenRefused
from ..models.ids import ApiKeyId, ContactId, TenantId
from .derived_keys import DerivedKeys

PREFIX = "syn_vt_"
LIFETIME = timedelta(hours=1)
REFRESH = timedelta(days=30)
"""How long after its end a token still buys another one for the same visitor."""
MAX_LENGTH = 1024
"""Ours have some 400 characters."""
_ALGORITHM = "HS256"
_ISSUER = "syntera"
_REQUIRED = ("iss", "aud", "sub", "exp", "iat", "key", "lookup")


@dataclass(frozen=True, slots=True)
class VisitorToken:
    """What a token says."""

    contact_id: ContactId
    key_id: ApiKeyId
    """The publishable key that bought it."""
    lookup: str
    """The part of that key that finds it; no secret."""
    expires_at: datetime
    proven_at: datetime | None = None
    """When somebody vouched for who the visitor is; None: nobody did."""
    is_nameless: bool = False
    """An issuer vouched for somebody who is anonymous there."""

    @property
    def is_anonymous(self) -> bool:
        """Nobody has said who the visitor is."""
        return self.proven_at is None or self.is_nameless


class VisitorTokens:
    """Writes and reads the tokens of one tenant."""

    def __init__(self, keys: DerivedKeys, tenant_id: TenantId, *, now: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._audience = f"visitors.{tenant_id}"
        self._now = now

    def now(self) -> datetime:
        """The time that tokens are written and read at."""
        return datetime.fromtimestamp(int(self._now()), UTC)

    def write(self, token: VisitorToken) -> str:
        """The text of a token that begins now.

        Raises:
            SigningKeyMissing: Nothing can be signed.
        """
        claims: dict[str, Any] = {
            "iss": _ISSUER,
            "aud": self._audience,
            "sub": str(token.contact_id),
            "iat": self.now(),
            "exp": token.expires_at,
            "key": str(token.key_id),
            "lookup": token.lookup,
        }
        if token.proven_at is not None:
            claims["proven"] = int(token.proven_at.timestamp())
        if token.is_nameless:
            claims["nameless"] = True
        return PREFIX + jwt.encode(claims, self._keys.of_visitor_tokens(), algorithm=_ALGORITHM)

    def read(self, text: str, *, grace: timedelta = timedelta()) -> VisitorToken:
        """What a token says that is alive, or ended at most `grace` ago.

        Raises:
            VisitorTokenRefused: It is none of ours.
            VisitorTokenExpired: It has ended.
            SigningKeyMissing: Nothing can be verified.
        """
        if not text.startswith(PREFIX) or len(text) > MAX_LENGTH:
            raise VisitorTokenRefused
        key = self._keys.of_visitor_tokens()
        try:
            claims = jwt.decode(
                text.removeprefix(PREFIX),
                key,
                algorithms=[_ALGORITHM],
                audience=self._audience,
                issuer=_ISSUER,
                # The times are compared below, with our clock: they are ours, once the signature is.
                options={"require": list(_REQUIRED), "verify_exp": False, "verify_iat": False},
            )
            token = _read_claims(claims)
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise VisitorTokenRefused from None
        if token.expires_at + grace <= self.now():
            raise VisitorTokenExpired
        return token


def _read_claims(claims: dict[str, Any]) -> VisitorToken:
    proven = claims.get("proven")
    return VisitorToken(
        contact_id=ContactId(UUID(str(claims["sub"]))),
        key_id=ApiKeyId(UUID(str(claims["key"]))),
        lookup=str(claims["lookup"]),
        expires_at=datetime.fromtimestamp(claims["exp"], UTC),
        proven_at=None if proven is None else datetime.fromtimestamp(proven, UTC),
        is_nameless=bool(claims.get("nameless", False)),
    )
