"""Tells the operator's tokens from all others: ServiceAccount tokens, checked against the cluster's own signing keys.

Signature, issuer, lifetime, subject and audience must all be right; the audience must be this tenant's alone, so that a
token made for another tenant, or also for somebody else, is refused. The keys come from the API server. They are kept for
`KEYS_SECONDS`; a token signed by an unknown key has them fetched anew, at most every `REFETCH_SECONDS`, so that rotation
is noticed and invented key ids cost nothing. While the API server is away, known keys go on being trusted.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from jwt import (
    InvalidAlgorithmError,
    InvalidKeyError,
    PyJWK,
    PyJWKSet,
    PyJWTError,
    decode,
    get_unverified_header,
)

from syntera_kube import Transport
from syntera_kube.errors import KubeError
from syntera_kube.transport import Request

from ..errors import StoreUnavailable, TokenRefused

ALGORITHMS = ("RS256", "ES256")
KEYS_SECONDS = 600.0
REFETCH_SECONDS = 10.0
RETRY_SECONDS = 2.0
"""Pause after a failed fetch."""
LEEWAY_SECONDS = 10.0
"""How far the clocks of the API server and this pod may be apart."""
FETCH_SECONDS = 5.0

_REQUIRED = ("iss", "sub", "aud", "exp", "iat")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Keys:
    """What the cluster signs with."""

    issuer: str
    by_id: Mapping[str, PyJWK]


class ClusterTokens:
    """The port `OperatorTokens`."""

    def __init__(
        self,
        transport: Transport,
        *,
        audience: str,
        subject: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; keys are fetched when the first token comes.

        Args:
            transport: To the API server that signs the tokens.
            audience: What the token must be for: `names.internal_audience(tenant)`.
            subject: Whose it must be: `system:serviceaccount:<namespace>:<name>` of the operator.
            monotonic: The clock that ages the keys.
        """
        self._transport = transport
        self._audience = audience
        self._subject = subject
        self._monotonic = monotonic
        self._keys = _Keys(issuer="", by_id={})
        self._asked_at = -KEYS_SECONDS
        self._has_failed = False
        self._fetching = asyncio.Lock()

    async def verify(self, token: str) -> None:
        """Return if `token` is a valid token of the operator for this tenant's internal API.

        Raises:
            TokenRefused: It is not. The message does not say why; the log does.
            StoreUnavailable: The signing keys cannot be had from the API server.
        """
        try:
            key, issuer = await self._key_of(token)
            claims = decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=issuer,
                audience=self._audience,
                subject=self._subject,
                leeway=LEEWAY_SECONDS,
                options={"require": list(_REQUIRED)},
            )
        except PyJWTError as exc:
            log.info("internal token refused", reason=type(exc).__name__)
            raise TokenRefused from None
        if claims["aud"] not in (self._audience, [self._audience]):
            log.info("internal token refused", reason="other audiences too")
            raise TokenRefused

    async def _key_of(self, token: str) -> tuple[PyJWK, str]:
        """The key that the token says it is signed with, and who must have issued it."""
        header = get_unverified_header(token)
        if header.get("alg") not in ALGORITHMS:
            raise InvalidAlgorithmError
        key_id = header.get("kid", "")
        await self._refresh(key_id)
        key = self._keys.by_id.get(key_id)
        if key is None:
            raise InvalidKeyError
        return key, self._keys.issuer

    async def _refresh(self, key_id: str) -> None:
        """Fetch the keys if they are old, or if `key_id` is not among them and the last look was not just now."""
        async with self._fetching:
            pause = KEYS_SECONDS if key_id in self._keys.by_id else REFETCH_SECONDS
            if self._monotonic() - self._asked_at >= (RETRY_SECONDS if self._has_failed else pause):
                self._asked_at = self._monotonic()
                await self._fetch()
        if self._has_failed and key_id not in self._keys.by_id:
            raise StoreUnavailable(
                "The Kubernetes API server does not say what it signs with, so tokens cannot be checked. Try again later.",
                store="Kubernetes",
            )

    async def _fetch(self) -> None:
        """Replace issuer and keys, or leave both as they are and note the failure."""
        try:
            discovery = await self._get("/.well-known/openid-configuration")
            key_set = PyJWKSet.from_dict(await self._get("/openid/v1/jwks"))
            usable = {key.key_id: key for key in key_set.keys if key.key_id and key.algorithm_name in ALGORITHMS}
            self._keys = _Keys(issuer=discovery["issuer"], by_id=usable)
            self._has_failed = False
        except (KubeError, PyJWTError, KeyError, TypeError, AttributeError) as exc:
            log.warning("signing keys of the cluster could not be read", reason=type(exc).__name__)
            self._has_failed = True

    async def _get(self, path: str) -> dict[str, Any]:
        # The API server gives its keys in their own media type only.
        request = Request("GET", path, accept="application/jwk-set+json, application/json")
        answer: dict[str, Any] = await self._transport.send(request, timeout_seconds=FETCH_SECONDS)
        return answer
