"""`syntera usage` against a tenant's real API."""

import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from syntera_cli.__main__ import app
from syntera_cli.usage import render_report
from syntera_runtime.client.usage_models import BudgetState, Cost, UsageCount, UsageItem, UsageReport
from tests.cli.conftest import RunningTenant


def run(tenant: RunningTenant, *arguments: str, key: str | None = None) -> Result:
    """The command with an administrator's key, or another one."""
    environment = {"SYNTERA_API_KEY": tenant.admin_key if key is None else key}
    return CliRunner().invoke(app, ["usage", *arguments, "--url", tenant.url], env=environment)


def ask(tenant: RunningTenant) -> None:
    chat = ["chat", "quiet", "--url", tenant.url, "-m", "Hi"]
    assert CliRunner().invoke(app, chat, env={"SYNTERA_API_KEY": tenant.key}).exit_code == 0


def make_report(group: str, *items: UsageItem) -> UsageReport:
    count = UsageCount(
        turns=1200,
        limited_turns=2,
        prompt_tokens=81_000,
        completion_tokens=9_300,
        total_tokens=90_300,
        unpriced_tokens=1_500,
        costs=[Cost(currency="EUR", amount=Decimal("0.01773"))],
    )
    budgets = [
        BudgetState(
            limit="tokensPerMonth",
            used=4_100_000,
            most=5_000_000,
            soft_at=4_000_000,
            level="soft",
            resets_at=datetime(2026, 12, 1, tzinfo=UTC),
        )
    ]
    return UsageReport(
        since=date(2026, 11, 1),
        until=date(2026, 11, 30),
        group_by=group,
        items=list(items),
        total=count,
        budgets=budgets,
    )


def rendered(report: UsageReport) -> list[list[str]]:
    told = io.StringIO()
    console = Console(file=told, width=160, highlight=False)
    for part in render_report(report):
        console.print(part)
    return [line.split() for line in told.getvalue().splitlines()]


def test_report_has_a_line_of_each_agent(tenant: RunningTenant) -> None:
    ask(tenant)
    result = run(tenant)
    assert result.exit_code == 0, result.stderr
    lines = {line.split()[0]: line.split() for line in result.stdout.splitlines() if line.strip()}
    assert lines["AGENT"] == ["AGENT", "TURNS", "LIMITED", "TOKENS", "IN", "TOKENS", "OUT", "TOKENS", "COST"]
    assert int(lines["quiet"][1]) >= 1
    assert int(lines["total"][1].replace(",", "")) >= int(lines["quiet"][1])


def test_report_for_scripts_is_the_apis_own(tenant: RunningTenant) -> None:
    since = f"{datetime.now(UTC):%Y-%m-%d}"
    ask(tenant)
    until = f"{datetime.now(UTC):%Y-%m-%d}"
    result = run(tenant, "--by", "model", "--from", since, "--to", until, "-o", "json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["groupBy"], report["from"], report["to"]) == ("model", since, until)
    assert sum(item["totalTokens"] for item in report["items"]) == report["total"]["totalTokens"] > 0


def test_costs_and_budgets_are_told() -> None:
    lines = rendered(make_report("agent"))
    assert lines[0] == ["From", "2026-11-01", "to", "2026-11-30", "(UTC)"]
    assert " ".join(lines[2]) == "total 1,200 2 81,000 9,300 90,300 0.01773 EUR, 1,500 tokens without a price"
    assert " ".join(lines[-1]) == "tokensPerMonth 4,100,000 5,000,000 nearly used up 2026-12-01"


@pytest.mark.parametrize(
    ("group", "fields", "name"),
    [
        ("model", {"endpoint": "openai", "model": "gpt-4.1-mini"}, ["openai/gpt-4.1-mini"]),
        ("model", {}, ["none,", "or", "unknown"]),
        ("day", {"day": date(2026, 11, 7)}, ["2026-11-07"]),
    ],
)
def test_each_line_says_what_it_is_about(group: str, fields: dict[str, object], name: list[str]) -> None:
    item = UsageItem.model_validate(
        {"turns": 1, "prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, **fields}
    )
    assert rendered(make_report(group, item))[2][: len(name)] == name


def test_days_in_the_wrong_order_are_refused(tenant: RunningTenant) -> None:
    result = run(tenant, "--from", "2026-11-30", "--to", "2026-11-01")
    assert (result.exit_code, result.stdout) == (1, "")


def test_key_that_may_not_is_told(tenant: RunningTenant) -> None:
    result = run(tenant, key=tenant.key)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "'usage:read'" in result.stderr


def test_wrong_usage(tenant: RunningTenant) -> None:
    assert run(tenant, "--by", "moon").exit_code == 2
    assert run(tenant, "--from", "yesterday").exit_code == 2
