"""The public keys of the issuers of tokens, kept for a while.

A key set is fetched when its first token comes, and again after `KEYS_SECONDS`. A token that names an unknown key has it
fetched anew, at most every `REFETCH_SECONDS` and once for all who wait, so that rotation is noticed and invented key ids
cost nothing. While an issuer is away, the keys that are known go on being trusted until they are `STALE_SECONDS` old.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from jwt import PyJWK, PyJWTError

from syntera_crds.contract.tenant_config import TokenIssuer

from ..errors import IssuerUnavailable, TokenAlgorithmRefused, TokenKeyUnknown
from ..ports.identity import KeySets

KEYS_SECONDS = 600.0
REFETCH_SECONDS = 30.0
RETRY_SECONDS = 10.0
"""Pause after a failed fetch."""
STALE_SECONDS = 3600.0
MAX_KEYS = 64
"""Keys of a set that are looked at."""
MAX_SETS = 32
"""Key sets that are kept; more than a Tenant has issuers."""

KEY_TYPES: Mapping[str, tuple[str, str | None]] = {
    **{f"{family}{bits}": ("RSA", None) for family in ("RS", "PS") for bits in (256, 384, 512)},
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""By algorithm: type and curve of the keys that it is used with. These algorithms are all that are ever taken."""

_PRIVATE_PARTS = frozenset({"d", "p", "q", "k"})
"""Parts of a key that nobody publishes on purpose. What has them is known to the world, or is no public key."""

Jwk = Mapping[str, Any]

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _KeySet:
    """What is known of one issuer's keys."""

    keys: Sequence[Jwk] = ()
    fetched_at: float | None = None
    """None: they have never been had."""
    asked_at: float | None = None
    has_failed: bool = False
    """The last fetch did."""
    fetching: asyncio.Lock = field(default_factory=asyncio.Lock)


class IssuerKeys:
    """The keys of all issuers of one tenant."""

    def __init__(self, source: KeySets, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._monotonic = monotonic
        self._sets: dict[tuple[str, str | None], _KeySet] = {}

    async def find(self, issuer: TokenIssuer, *, key_id: str | None, algorithm: str) -> PyJWK:
        """The key that a token of the issuer says it is signed with; without a key id, the only one that fits.

        Raises:
            TokenKeyUnknown: The issuer has no such key.
            TokenAlgorithmRefused: The key is not for this algorithm, or not for signatures.
            IssuerUnavailable: The issuer's keys cannot be had.
        """
        held = self._set_of(issuer)
        await self._refresh(held, issuer, key_id=key_id)
        keys = held.keys if self._age(held) < STALE_SECONDS else ()
        found = [key for key in keys if key_id is None or key.get("kid") == key_id]
        fitting = [key for key in found if _fits(key, algorithm)]
        if fitting and (key_id is not None or len(fitting) == 1):
            return _build(fitting[0], algorithm)
        if found and key_id is not None:
            raise TokenAlgorithmRefused
        if held.has_failed:
            raise IssuerUnavailable
        raise TokenKeyUnknown

    def _set_of(self, issuer: TokenIssuer) -> _KeySet:
        name = (issuer.jwks_url, issuer.ca_bundle)
        held = self._sets.get(name)
        if held is None:
            while len(self._sets) >= MAX_SETS:
                del self._sets[next(iter(self._sets))]
            held = self._sets[name] = _KeySet()
        return held

    async def _refresh(self, held: _KeySet, issuer: TokenIssuer, *, key_id: str | None) -> None:
        if held.fetching.locked():
            if _knows(held, key_id) and self._age(held) < STALE_SECONDS:
                return  # whoever fetches may have to wait for long; this one need not
        elif not self._wants_fetch(held, key_id):
            return
        async with held.fetching:
            if self._wants_fetch(held, key_id):
                await self._fetch(held, issuer)

    def _wants_fetch(self, held: _KeySet, key_id: str | None) -> bool:
        if held.asked_at is None:
            return True
        is_current = _knows(held, key_id) and self._age(held) < KEYS_SECONDS
        pause = RETRY_SECONDS if held.has_failed else REFETCH_SECONDS
        return not is_current and self._monotonic() - held.asked_at >= pause

    def _age(self, held: _KeySet) -> float:
        return float("inf") if held.fetched_at is None else self._monotonic() - held.fetched_at

    async def _fetch(self, held: _KeySet, issuer: TokenIssuer) -> None:
        """Replace the keys, or leave them as they are and note the failure."""
        held.asked_at = self._monotonic()
        held.has_failed = True  # until the end: whoever waits may be cancelled
        try:
            held.keys = _read_key_set(await self._source.fetch(issuer.jwks_url, ca_bundle=issuer.ca_bundle))
        except IssuerUnavailable as error:
            log.warning(
                "keys of an issuer not fetched", issuer=issuer.issuer, cause=type(error.__cause__ or error).__name__
            )
        else:
            held.fetched_at = held.asked_at
            held.has_failed = False


def _read_key_set(text: bytes) -> Sequence[Jwk]:
    """The public keys of a JSON Web Key Set.

    Raises:
        IssuerUnavailable: It is none.
    """
    try:
        key_set = json.loads(text)
        keys = key_set["keys"][:MAX_KEYS]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise IssuerUnavailable from error
    if not isinstance(keys, list):
        raise IssuerUnavailable
    return [
        key for key in keys if isinstance(key, dict) and key.get("kty") != "oct" and not _PRIVATE_PARTS & key.keys()
    ]


def _knows(held: _KeySet, key_id: str | None) -> bool:
    return bool(held.keys) if key_id is None else any(key.get("kid") == key_id for key in held.keys)


def _fits(key: Jwk, algorithm: str) -> bool:
    kind, curve = KEY_TYPES[algorithm]
    operations = key.get("key_ops", ["verify"])
    return (
        key.get("kty") == kind
        and (curve is None or key.get("crv") == curve)
        and key.get("alg", algorithm) == algorithm
        and key.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
    )


def _build(key: Jwk, algorithm: str) -> PyJWK:
    try:
        made = PyJWK(dict(key), algorithm)
    except (PyJWTError, ValueError, TypeError, AttributeError, KeyError):
        raise TokenKeyUnknown(
            "The key that the token is signed with is published in a form that cannot be read."
        ) from None
    if made.Algorithm.check_key_length(made.key):
        raise TokenAlgorithmRefused("The issuer's key is too short to be trusted.")
    return made
