"""Decides whether a request fits the tenant's limits, with one question to Redis for all of them.

Who was refused is refused by memory until there may be room again, so that a flood costs little and leaves Redis alone. An
address whose credentials were refused is counted before its next ones are looked at; others are counted after, together
with everything else. While Redis is away nothing is refused.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import RateLimited, StoreUnavailable
from ..metrics import Metrics
from ..models.ids import TenantId
from ..models.limits import Charge, Limit
from ..ports.configuration import TenantCatalogue
from ..ports.limits import RateLimits
from .outages import Outages
from .remembered import Remembered
from .windows import WINDOW_SECONDS, remaining, seconds_until_room, seconds_until_whole

_REFUSALS = {
    Limit.TENANT: "There were too many requests to this tenant in the last minute.",
    Limit.KEY: "There were too many requests with this API key in the last minute.",
    Limit.USER: "You have sent too many messages in the last minute.",
    Limit.ADDRESS: "There were too many requests from your address in the last minute.",
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as far as limits tell callers apart."""

    address: str | None
    """See `client_address`."""
    key: str | None = None
    """Id of the API key that was presented."""
    user: str | None = None
    """The person whose messages are counted. None: a program."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of the limit that is nearest."""

    most: int
    remaining: int
    reset_seconds: float
    """Where something remains: when all of it is there again, if nothing more is asked. Else: when one request fits."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request fits."""

    allowance: Allowance | None = None
    """None: no limit was checked."""
    refusal: RateLimited | None = None


class RateLimiter:
    """Limits the requests of one tenant."""

    def __init__(
        self,
        limits: RateLimits,
        tenants: TenantCatalogue,
        tenant_id: TenantId,
        *,
        metrics: Metrics,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._tenants = tenants
        self._tenant_id = tenant_id
        self._metrics = metrics
        self._monotonic = monotonic
        self._outages = Outages(metrics, monotonic=monotonic)
        self._refused = Remembered(monotonic)
        self._suspects = Remembered(monotonic)

    @property
    def trusted_proxies(self) -> Sequence[str]:
        """Ranges of addresses of the proxies whose word on addresses is believed."""
        config = self._tenants.tenant()
        return () if config is None else config.trusted_proxies

    def is_suspect(self, caller: Caller) -> bool:
        """Whether credentials from the caller's address were refused lately, so that it is counted before the next are."""
        return self._suspects.seconds_left(caller.address) > 0

    def suspect(self, caller: Caller) -> None:
        """Credentials from the caller's address were refused."""
        if caller.address is not None:
            self._suspects.put(caller.address, seconds=WINDOW_SECONDS)

    async def admit_address(self, caller: Caller) -> Verdict:
        """Count a request for its address alone."""
        return await self._take(self._address_charges(caller))

    async def admit(self, caller: Caller, *, is_message: bool, is_address_counted: bool) -> Verdict:
        """Count a request for all limits that it meets, or for none if one of them is reached.

        Args:
            is_message: It asks a model something.
            is_address_counted: `admit_address` has done that already.
        """
        config = self._tenants.tenant()
        if config is None:
            return Verdict()
        limits = config.limits
        wanted = (
            (Limit.TENANT, "", limits.requests_per_minute),
            (Limit.KEY, caller.key, limits.requests_per_minute_per_key),
            (Limit.USER, caller.user if is_message else None, limits.messages_per_minute_per_user),
        )
        charges = [Charge(limit, subject, most) for limit, subject, most in wanted if subject is not None and most]
        return await self._take(charges if is_address_counted else charges + self._address_charges(caller))

    def _address_charges(self, caller: Caller) -> list[Charge]:
        config = self._tenants.tenant()
        most = None if config is None else config.limits.requests_per_minute_per_address
        return [] if most is None or caller.address is None else [Charge(Limit.ADDRESS, caller.address, most)]

    async def _take(self, charges: Sequence[Charge]) -> Verdict:
        if not charges:
            return Verdict()
        for charge in charges:
            if seconds := self._refused.seconds_left(charge):
                return self._refuse(charge, seconds=seconds)
        try:
            taken = await self._limits.take(self._tenant_id, charges)
        except StoreUnavailable as error:
            self._outages.passed_unchecked(error)
            return Verdict()
        counted = list(zip(charges, taken.counts, strict=True))
        if taken.is_taken:
            charge, count = min(counted, key=lambda one: remaining(one[1], one[0].most))
            return Verdict(Allowance(charge.most, remaining(count, charge.most), seconds_until_whole(count)))
        charge, count = max(counted, key=lambda one: seconds_until_room(one[1], one[0].most))
        seconds = seconds_until_room(count, charge.most)
        self._refused.put(charge, seconds=seconds)
        return self._refuse(charge, seconds=seconds)

    def _refuse(self, charge: Charge, *, seconds: float) -> Verdict:
        self._metrics.rate_limited.labels(charge.limit.value).inc()
        refusal = RateLimited(f"{_REFUSALS[charge.limit]} Try again later.", retry_after_seconds=seconds)
        return Verdict(Allowance(charge.most, 0, seconds), refusal)
