"""Tokens (JWT) of the issuers that the Tenant names: OpenID Connect providers, Supabase and the like.

Everything that a token says of itself is a claim until its signature holds: `alg`, `kid` and `iss` only choose among what
the Tenant configured. What tells where a key is (`jku`, `x5u`) or brings one along (`jwk`, `x5c`) is never looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import structlog

from syntera_crds.contract.tenant_config import TokenIssuer

from ..errors import (
    IdentityRefused,
    TokenAlgorithmRefused,
    TokenAudienceRefused,
    TokenClaimMissing,
    TokenExpired,
    TokenIssuerUnknown,
    TokenMalformed,
    TokenNotYetValid,
    TokenSignatureInvalid,
    TokenTooLarge,
)
from ..ports.configuration import TenantCatalogue
from .issuer_keys import KEY_TYPES, IssuerKeys
from .roles import Role, read_role

MAX_LENGTH = 8192
LEEWAY_SECONDS = 30.0
"""How far the clocks of an issuer and this process may be apart."""
MAX_SUBJECT_LENGTH = 255
"""OpenID Connect's own bound."""
MAX_TEXT_LENGTH = 320
"""Of a name or an address that is taken over; longer ones are left out."""
_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
_REQUIRED = ("iss", "aud", "sub", "exp")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class User:
    """Somebody whom an issuer knows."""

    issuer: str
    subject: str
    role: Role | None
    """None: a customer."""
    name: str | None
    email: str | None
    is_anonymous: bool
    """The issuer lets people in without knowing them, as Supabase's anonymous sign-in does."""
    expires_at: datetime
    """When the token is taken no more, the tolerance for clocks included."""

    @property
    def external_id(self) -> str:
        """What the person is known by among all issuers."""
        return f"{self.issuer}|{self.subject}"


class UserTokens:
    """Reads the tokens that one tenant trusts."""

    def __init__(self, catalogue: TenantCatalogue, keys: IssuerKeys) -> None:
        self._catalogue = catalogue
        self._keys = keys

    async def read(self, token: str) -> User:
        """Whose token this is.

        Raises:
            TokenTooLarge, TokenMalformed, TokenIssuerUnknown, TokenAlgorithmRefused, TokenKeyUnknown,
            TokenSignatureInvalid, TokenClaimMissing, TokenAudienceRefused, TokenExpired, TokenNotYetValid: It is refused.
            IssuerUnavailable: Its issuer's keys cannot be had.
        """
        if len(token) > MAX_LENGTH:
            raise TokenTooLarge
        header, claimed = _read_unverified(token)
        issuer = self._issuer(claimed.get("iss"))
        algorithm = header.get("alg")
        if algorithm not in KEY_TYPES or algorithm not in issuer.algorithms:
            raise TokenAlgorithmRefused
        key = await self._keys.find(issuer, key_id=header.get("kid"), algorithm=algorithm)
        claims = _verify(token, key, algorithm, issuer)
        return User(
            issuer=issuer.issuer,
            subject=_check_subject(claims["sub"]),
            role=read_role(claims, issuer.role_claim),
            name=_text(claims.get("name")),
            email=_text(claims.get("email")) if claims.get("email_verified", True) is True else None,
            is_anonymous=claims.get("is_anonymous") is True,
            expires_at=_read_end(claims["exp"]),
        )

    def check_issuer(self, name: str) -> None:
        """Return if tokens of the issuer are taken.

        Raises:
            TokenIssuerUnknown: The tenant does not trust it, or not any more.
        """
        self._issuer(name)

    def refuse_of_issuers(self, external_id: str) -> None:
        """Keep the ids of people whom an issuer knows for that issuer.

        Raises:
            IdentityRefused: It is one.
        """
        tenant = self._catalogue.tenant()
        if tenant is not None and any(external_id.startswith(f"{one.issuer}|") for one in tenant.issuers):
            raise IdentityRefused("People whom an issuer of tokens knows are identified by its token alone.")

    def _issuer(self, name: Any) -> TokenIssuer:
        tenant = self._catalogue.tenant()
        if name is None:
            raise TokenClaimMissing
        for issuer in tenant.issuers if tenant is not None else ():
            if issuer.issuer == name:
                return issuer
        raise TokenIssuerUnknown


def _read_unverified(token: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Header and claims as the token has them.

    Raises:
        TokenMalformed: It is no JWT, or not of a kind that is taken here.
    """
    try:
        # Without a signature to check, nothing of it is believed here.
        read = jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise TokenMalformed from None
    header, claims = read["header"], read["payload"]
    kind, key_id = header.get("typ", "JWT"), header.get("kid")
    is_sane = (
        isinstance(header.get("alg"), str)
        and isinstance(kind, str)
        and kind.lower() in _TYPES
        and (key_id is None or isinstance(key_id, str))
        and "crit" not in header  # what must be understood, and is not
    )
    if not is_sane:
        raise TokenMalformed
    return header, claims


def _verify(token: str, key: jwt.PyJWK, algorithm: str, issuer: TokenIssuer) -> dict[str, Any]:
    refusals: dict[type[Exception], type[Exception]] = {
        jwt.MissingRequiredClaimError: TokenClaimMissing,
        jwt.ExpiredSignatureError: TokenExpired,
        jwt.ImmatureSignatureError: TokenNotYetValid,
        jwt.InvalidAudienceError: TokenAudienceRefused,
        jwt.InvalidAlgorithmError: TokenAlgorithmRefused,
        jwt.InvalidKeyError: TokenAlgorithmRefused,
        jwt.InvalidSignatureError: TokenSignatureInvalid,
    }
    try:
        return jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            issuer=issuer.issuer,
            audience=issuer.audiences,
            leeway=LEEWAY_SECONDS,
            options={"require": list(_REQUIRED)},
        )
    except jwt.PyJWTError as error:
        refusal = next((ours for theirs, ours in refusals.items() if isinstance(error, theirs)), TokenMalformed)
        log.info("token refused", issuer=issuer.issuer, reason=type(error).__name__)
        raise refusal from None
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        log.info("token refused", issuer=issuer.issuer, reason=type(error).__name__)
        raise TokenMalformed from None


def _read_end(seconds: float) -> datetime:
    """When a token ends that has not ended yet. What no calendar has is as good as never."""
    try:
        return datetime.fromtimestamp(seconds, UTC) + timedelta(seconds=LEEWAY_SECONDS)
    except (OverflowError, ValueError, OSError):
        return datetime.max.replace(tzinfo=UTC)


def _check_subject(subject: Any) -> str:
    if not isinstance(subject, str) or not subject.isprintable() or not 0 < len(subject) <= MAX_SUBJECT_LENGTH:
        raise TokenMalformed("The token's `sub` is empty, too long, or no plain text.")
    return subject


def _text(value: Any) -> str | None:
    """A claim that is taken over where it is plain text."""
    is_plain = isinstance(value, str) and value.isprintable() and 0 < len(value) <= MAX_TEXT_LENGTH
    return value if is_plain else None
