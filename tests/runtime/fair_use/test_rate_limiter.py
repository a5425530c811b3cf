"""Which requests are refused, and what the others learn."""

from datetime import timedelta
from typing import Any

import pytest
import structlog

from syntera_crds.contract.tenant_config import Limits, TenantConfig
from syntera_runtime.fair_use.outages import QUIET_SECONDS
from syntera_runtime.fair_use.rate_limiter import Caller, RateLimiter, Verdict
from syntera_runtime.fair_use.windows import WINDOW_SECONDS
from syntera_runtime.metrics import Metrics
from syntera_runtime.models.limits import Limit
from tests.runtime.builders import TENANT
from tests.runtime.fair_use.clock import Clock
from tests.runtime.fair_use.fakes import FakeRateLimits
from tests.runtime.fakes import FakeCatalogue

LONG = timedelta(days=36_500)
"""A window that does not end while a test runs."""
VISITOR = Caller("192.0.2.1", key="publishable", user="contact:1")
SERVER = Caller("192.0.2.2", key="secret")


class Limited:
    """A limiter with all that it works with."""

    def __init__(self, **limits: int) -> None:
        self.counts = FakeRateLimits(window=LONG)
        self.tenants = FakeCatalogue(tenant=TenantConfig(name="acme", display_name="Acme", limits=Limits(**limits)))
        self.metrics = Metrics()
        self.clock = Clock()
        self.limiter = RateLimiter(self.counts, self.tenants, TENANT, metrics=self.metrics, monotonic=self.clock)

    async def ask(self, caller: Caller = VISITOR, *, is_message: bool = True, **options: Any) -> Verdict:
        """Ask for admission."""
        options = {"is_address_counted": False, **options}
        return await self.limiter.admit(caller, is_message=is_message, **options)

    def value(self, name: str, **labels: str) -> float | None:
        """A metric."""
        return self.metrics.registry.get_sample_value(name, labels)


ALL = {
    "requests_per_minute": 100,
    "requests_per_minute_per_key": 50,
    "requests_per_minute_per_address": 20,
    "messages_per_minute_per_user": 10,
}


# ---- what is counted ----


async def test_everything_passes_uncounted_when_the_tenant_sets_no_limit() -> None:
    made = Limited()
    assert await made.ask() == Verdict()
    assert made.counts.asked == []


async def test_everything_passes_when_no_tenant_is_published() -> None:
    made = Limited(**ALL)
    made.tenants.tenant_config = None
    assert await made.ask() == Verdict()
    assert await made.limiter.admit_address(VISITOR) == Verdict()
    assert list(made.limiter.trusted_proxies) == []


async def test_all_limits_are_asked_at_once() -> None:
    made = Limited(**ALL)
    await made.ask()
    [charges] = made.counts.asked
    assert {charge.limit: charge.subject for charge in charges} == {
        Limit.TENANT: "",
        Limit.KEY: "publishable",
        Limit.USER: "contact:1",
        Limit.ADDRESS: "192.0.2.1",
    }


async def test_only_messages_count_for_a_person() -> None:
    made = Limited(messages_per_minute_per_user=1)
    assert await made.ask(is_message=False) == Verdict()
    await made.ask()
    assert (await made.ask()).refusal
    assert not (await made.ask(is_message=False)).refusal


async def test_programs_are_no_person() -> None:
    made = Limited(messages_per_minute_per_user=1)
    for _ in range(3):
        assert await made.ask(SERVER) == Verdict()


async def test_address_is_counted_once_when_it_was_counted_before() -> None:
    made = Limited(**ALL)
    await made.limiter.admit_address(VISITOR)
    await made.ask(is_address_counted=True)
    assert [[charge.limit for charge in charges] for charges in made.counts.asked] == [
        [Limit.ADDRESS],
        [Limit.TENANT, Limit.KEY, Limit.USER],
    ]


async def test_caller_without_an_address_is_limited_by_everything_else() -> None:
    made = Limited(**ALL)
    await made.ask(Caller(None, key="k"))
    assert [charge.limit for charge in made.counts.asked[0]] == [Limit.TENANT, Limit.KEY]
    assert await made.limiter.admit_address(Caller(None)) == Verdict()


# ---- what is answered ----


async def test_allowance_is_that_of_the_limit_with_the_least_left() -> None:
    made = Limited(**ALL)
    allowance = (await made.ask()).allowance
    assert allowance
    assert (allowance.most, allowance.remaining) == (10, 9)
    allowance = (await made.ask(is_message=False)).allowance
    assert allowance
    assert (allowance.most, allowance.remaining) == (20, 18)
    assert 0 < allowance.reset_seconds <= 2 * WINDOW_SECONDS


@pytest.mark.parametrize("field", ALL)
async def test_refusal_names_the_limit_that_was_reached(field: str) -> None:
    made = Limited(**{**ALL, field: 1})
    assert not (await made.ask()).refusal
    verdict = await made.ask()
    assert verdict.refusal
    assert verdict.allowance
    assert (verdict.allowance.most, verdict.allowance.remaining) == (1, 0)
    assert verdict.allowance.reset_seconds == verdict.refusal.retry_after_seconds
    words = {
        "requests_per_minute": ("tenant", "this tenant"),
        "requests_per_minute_per_key": ("key", "API key"),
        "requests_per_minute_per_address": ("address", "your address"),
        "messages_per_minute_per_user": ("user", "messages"),
    }
    limit, word = words[field]
    assert word in verdict.refusal.message
    assert made.value("syntera_rate_limited_total", limit=limit) == 1


async def test_refused_messages_use_up_nothing_that_others_need() -> None:
    made = Limited(requests_per_minute=3, messages_per_minute_per_user=1)
    for _ in range(10):
        await made.ask()
    assert not (await made.ask(SERVER)).refusal
    assert not (await made.ask(SERVER)).refusal
    assert (await made.ask(SERVER)).refusal


async def test_refused_caller_is_refused_by_memory_until_there_may_be_room() -> None:
    made = Limited(requests_per_minute_per_address=1)
    await made.ask()
    first = (await made.ask()).refusal
    assert first
    assert first.retry_after_seconds
    made.clock.now += 5
    again = (await made.ask()).refusal
    assert again
    assert again.retry_after_seconds == pytest.approx(first.retry_after_seconds - 5)
    assert len(made.counts.asked) == 2
    assert made.value("syntera_rate_limited_total", limit="address") == 2
    made.clock.now += first.retry_after_seconds
    await made.ask()
    assert len(made.counts.asked) == 3


async def test_refusal_is_forgotten_when_the_limit_is_raised() -> None:
    made = Limited(requests_per_minute=1)
    await made.ask()
    assert (await made.ask()).refusal
    made.tenants.tenant_config = TenantConfig(name="acme", display_name="Acme", limits=Limits(requests_per_minute=2))
    assert not (await made.ask()).refusal


# ---- suspects ----


def test_address_is_suspect_for_a_while_when_its_credentials_were_refused() -> None:
    made = Limited(**ALL)
    assert not made.limiter.is_suspect(VISITOR)
    made.limiter.suspect(VISITOR)
    assert made.limiter.is_suspect(VISITOR)
    assert not made.limiter.is_suspect(SERVER)
    made.clock.now += WINDOW_SECONDS
    assert not made.limiter.is_suspect(VISITOR)


def test_nobody_is_suspect_for_having_no_address() -> None:
    made = Limited(**ALL)
    made.limiter.suspect(Caller(None))
    assert not made.limiter.is_suspect(Caller(None))


# ---- Redis is away ----


async def test_everything_passes_and_is_counted_when_redis_is_away() -> None:
    made = Limited(requests_per_minute=1)
    made.counts.is_away = True
    for _ in range(3):
        assert await made.ask() == Verdict()
    assert made.value("syntera_rate_limits_unchecked_total") == 3
    made.counts.is_away = False
    assert not (await made.ask()).refusal
    assert (await made.ask()).refusal


async def test_outage_is_logged_once_a_minute() -> None:
    made = Limited(requests_per_minute=1)
    made.counts.is_away = True
    with structlog.testing.capture_logs() as logs:
        for _ in range(5):
            await made.ask()
        made.clock.now += QUIET_SECONDS
        await made.ask()
    assert [entry["event"] for entry in logs] == ["limits not checked"] * 2
    assert {(entry["log_level"], entry["store"], entry["cause"]) for entry in logs} == {
        ("warning", "Redis", "ConnectionRefusedError")
    }
