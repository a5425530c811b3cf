"""Budgets: which there are, which of them counts, and what follows."""

from datetime import datetime
from typing import Any

import pytest

from syntera_crds.contract.agent_config import AgentLimits
from syntera_crds.contract.tenant_config import Limits, TenantConfig
from syntera_runtime.metrics import Metrics
from syntera_runtime.models.identity import Principal
from syntera_runtime.models.ids import ContactId
from syntera_runtime.models.usage import Budget, LimitLevel, LimitMet, Spent
from syntera_runtime.usage.budgets import Budgets, find_limit, list_budgets, person_of, say_limited, soften
from tests.runtime.builders import CONVERSATION, NOON, TENANT, make_agent, make_candidate
from tests.runtime.fakes import FakeCatalogue

MONTH, DAY = Budget.TOKENS_PER_MONTH, Budget.TOKENS_PER_USER_PER_DAY
TOKENS, TURNS = Budget.TOKENS_PER_CONVERSATION, Budget.TURNS_PER_CONVERSATION
EVERY_LIMIT: dict[Budget, tuple[str, str]] = {
    MONTH: ("tokens_per_month", "month_tokens"),
    DAY: ("tokens_per_user_per_day", "person_tokens"),
    TOKENS: ("tokens_per_conversation", "conversation_tokens"),
    TURNS: ("turns_per_conversation", "conversation_turns"),
}
"""The field that sets it and the one that counts for it."""


def limit_met(spent: Spent, *, percent: int = 80, **limits: int) -> LimitMet | None:
    of_agent = {name: value for name, value in limits.items() if name.endswith("per_conversation")}
    of_tenant = {name: value for name, value in limits.items() if name not in of_agent}
    agent = make_agent(limits=AgentLimits(**of_agent))
    return find_limit(list_budgets(Limits(soft_limit_percent=percent, **of_tenant), agent, spent, now=NOON))


@pytest.mark.parametrize(
    ("used", "level"),
    [
        (0, None),
        (79, None),
        (80, LimitLevel.SOFT),
        (99, LimitLevel.SOFT),
        (100, LimitLevel.HARD),
        (500, LimitLevel.HARD),
    ],
)
@pytest.mark.parametrize("budget", Budget)
def test_limit_is_near_from_its_part_on_and_reached_at_its_size(
    budget: Budget, used: int, level: LimitLevel | None
) -> None:
    limit, count = EVERY_LIMIT[budget]
    met = limit_met(Spent(**{count: used}), **{limit: 100})
    assert met == (None if level is None else LimitMet(budget, level))


def test_there_is_no_limit_where_none_is_set() -> None:
    assert limit_met(Spent(10**12, 10**12, 10**12, 10**12)) is None


@pytest.mark.parametrize(
    ("percent", "used", "level"),
    [
        (100, 99, None),
        (1, 1, LimitLevel.SOFT),
        (1, 0, None),
        (50, 2, LimitLevel.SOFT),
        (66, 2, LimitLevel.SOFT),
        (66, 1, None),
    ],
)
def test_part_of_a_limit_is_rounded_up(percent: int, used: int, level: LimitLevel | None) -> None:
    most = 100 if percent in (100, 1) else 3
    met = limit_met(Spent(month_tokens=used), percent=percent, tokens_per_month=most)
    assert (met and met.level) == level


def test_limit_that_is_reached_counts_before_one_that_is_near() -> None:
    spent = Spent(month_tokens=90, conversation_turns=100)
    met = limit_met(spent, tokens_per_month=100, turns_per_conversation=100)
    assert met == LimitMet(TURNS, LimitLevel.HARD)


@pytest.mark.parametrize(
    ("now", "month_ends", "day_ends"),
    [
        ("2026-11-01T12:00:00+00:00", "2026-12-01", "2026-11-02"),
        ("2026-12-31T23:59:59+00:00", "2027-01-01", "2027-01-01"),
        ("2028-02-29T00:00:00+00:00", "2028-03-01", "2028-03-01"),
        ("2026-11-01T01:00:00+02:00", "2026-11-01", "2026-11-01"),  # still October in UTC
    ],
)
def test_counting_begins_anew_at_midnight_utc(now: str, month_ends: str, day_ends: str) -> None:
    limits = Limits(tokens_per_month=1, tokens_per_user_per_day=1)
    agent = make_agent(limits=AgentLimits(turns_per_conversation=1))
    states = list_budgets(limits, agent, Spent(), now=datetime.fromisoformat(now))
    assert [state.resets_at for state in states] == [
        datetime.fromisoformat(f"{month_ends}T00:00:00+00:00"),
        datetime.fromisoformat(f"{day_ends}T00:00:00+00:00"),
        None,
    ]


def test_agent_near_a_limit_has_the_cheaper_model_and_the_shorter_history() -> None:
    cheap = make_candidate(model="cheap")
    agent = make_agent(limits=AgentLimits(soft_models=[cheap], soft_history_messages=4))
    softened = soften(agent)
    assert (softened.models, softened.history_messages) == ([cheap], 4)
    assert (softened.instructions, softened.limits) == (agent.instructions, agent.limits)


@pytest.mark.parametrize("limits", [AgentLimits(), AgentLimits(soft_history_messages=500)])
def test_agent_near_a_limit_is_as_ever_where_nothing_else_is_wanted(limits: AgentLimits) -> None:
    agent = make_agent(limits=limits)
    assert soften(agent) == agent


def test_words_at_a_limit_are_the_agents_or_our_own() -> None:
    assert say_limited(make_agent(limits=AgentLimits(message="Closed.")), MONTH) == "Closed."
    assert {say_limited(make_agent(), budget) for budget in (MONTH, DAY, TURNS)} == {
        "I cannot answer at the moment. Please try again later.",
        "You have asked me a lot today. Please come back tomorrow.",
        "This conversation has become too long for me. Please begin another one.",
    }


def make_principal(**fields: Any) -> Principal:
    return Principal(**{"tenant_id": TENANT, "scopes": frozenset(), "subject": "user:https://id.example|bob", **fields})


def test_person_is_whose_tokens_are_used() -> None:
    assert person_of(make_principal()) == "user:https://id.example|bob"
    assert person_of(make_principal(contact_id=ContactId(CONVERSATION))) == f"contact:{CONVERSATION}"
    assert person_of(make_principal(key_id=CONVERSATION)) is None


def test_person_with_a_long_name_fits_into_the_store_and_stays_apart_from_others() -> None:
    one, other = (person_of(make_principal(subject=f"user:{'x' * 5000}{end}")) for end in "ab")
    assert one is not None
    assert other is not None
    assert len(one) <= 256
    assert one != other


def test_check_counts_turns_and_shows_the_month() -> None:
    metrics = Metrics()
    tenant = TenantConfig(name="acme", display_name="Acme", limits=Limits(tokens_per_month=100))
    budgets = Budgets(FakeCatalogue(tenant=tenant), metrics=metrics)
    for used in (10, 85, 90, 120):
        budgets.check(make_agent(), Spent(month_tokens=used))
    sample = metrics.registry.get_sample_value
    labels = {"agent": "travel", "limit": "tokensPerMonth"}
    assert sample("syntera_turns_limited_total", {**labels, "level": "soft"}) == 2
    assert sample("syntera_turns_limited_total", {**labels, "level": "hard"}) == 1
    assert (sample("syntera_month_tokens_used"), sample("syntera_month_tokens_limit")) == (120, 100)


def test_refusal_says_when_to_come_back() -> None:
    tenant = TenantConfig(name="acme", display_name="Acme", limits=Limits(tokens_per_user_per_day=100))
    budgets = Budgets(FakeCatalogue(tenant=tenant), metrics=Metrics())
    refusal = budgets.refusal(make_agent(), DAY, Spent(person_tokens=100))
    assert refusal.retry_after_seconds is not None
    assert 0 < refusal.retry_after_seconds <= 24 * 3600
    assert "T00:00:00Z" in refusal.message


def test_there_is_no_limit_of_the_tenants_while_nothing_is_published() -> None:
    assert Budgets(FakeCatalogue(), metrics=Metrics()).check(make_agent(), Spent(month_tokens=10**9)) is None
