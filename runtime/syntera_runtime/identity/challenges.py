"""Whether a new visitor's browser has solved the challenge that the Tenant asks for.

It fails closed: while the provider or its secret is away, or nobody knows what the Tenant asks for, there are no new
visitors. That a response is good for one time is the provider's to see to: it refuses the second use.
"""

from dataclasses import dataclass

import structlog

from syntera_crds.contract.tenant_config import ChallengeConfig

from ..errors import ChallengeFailed, ChallengeNeeded, ChallengeUnavailable, SecretMissing, SynteraError
from ..metrics import Metrics
from ..ports.configuration import Secrets, TenantCatalogue
from ..ports.identity import ChallengeVerifier

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a visitor's browser comes with."""

    response: str | None = None
    """What the provider gave the browser. None: nothing."""
    address: str | None = None
    """Where the browser is. None: not known."""


NOTHING_SOLVED = Attempt()


class Challenges:
    """Keeps programs from becoming visitors of one tenant."""

    def __init__(
        self, catalogue: TenantCatalogue, secrets: Secrets, verifier: ChallengeVerifier, *, metrics: Metrics
    ) -> None:
        self._catalogue = catalogue
        self._secrets = secrets
        self._verifier = verifier
        self._metrics = metrics

    async def check(self, attempt: Attempt) -> None:
        """Return if the Tenant asks for no challenge, or it is solved.

        Raises:
            ChallengeNeeded: There is no response.
            ChallengeFailed: The response is not right, or from elsewhere.
            ChallengeUnavailable: Nobody can say.
        """
        tenant = self._catalogue.tenant()
        if tenant is not None and tenant.challenge is None:
            return
        try:
            if tenant is None or tenant.challenge is None:
                raise ChallengeUnavailable
            await self._verify(tenant.challenge, attempt)
        except SynteraError as error:
            self._metrics.challenges.labels(error.code).inc()
            raise
        self._metrics.challenges.labels("success").inc()

    async def _verify(self, challenge: ChallengeConfig, attempt: Attempt) -> None:
        if attempt.response is None:
            raise ChallengeNeeded
        verdict = await self._verifier.verify(
            challenge.verify_url,
            secret=self._secret(challenge),
            response=attempt.response,
            address=attempt.address,
        )
        if not verdict.is_solved:
            raise ChallengeFailed
        if challenge.hostnames and (verdict.hostname or "").lower() not in challenge.hostnames:
            raise ChallengeFailed("The challenge was solved on another page. Solve the one of this page.")

    def _secret(self, challenge: ChallengeConfig) -> str:
        try:
            secret = self._secrets.value(challenge.secret).strip()
        except SecretMissing:
            secret = ""
        if not secret:
            log.warning("challenge has no secret", secret=challenge.secret.name, key=challenge.secret.key)
            raise ChallengeUnavailable
        return secret
