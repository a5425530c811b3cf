"""`syntera usage`: what a tenant's agents have used, what that cost, and how much of the budgets it is."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from syntera_runtime.client.usage_models import BudgetState, UsageCount, UsageItem, UsageReport

from .tenants import Context, KeyFile, Namespace, Tenant, Url, open_tenant
from .terminal import Output, show, told_failures

_LEVELS = {None: "room", "soft": "nearly used up", "hard": "used up"}


class Group(StrEnum):
    """What a line of the table is about."""

    AGENT = "agent"
    MODEL = "model"
    DAY = "day"


def usage(
    *,
    by: Annotated[Group, typer.Option(help="What a line of the table is about.")] = Group.AGENT,
    since: Annotated[
        datetime | None,
        typer.Option(
            "--from", formats=["%Y-%m-%d"], help="First day (UTC). Default: the first of the month.", show_default=False
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option("--to", formats=["%Y-%m-%d"], help="Last day (UTC). Default: today.", show_default=False),
    ] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="For people or for scripts.")] = Output.TEXT,
    namespace: Namespace = None,
    tenant: Tenant = None,
    context: Context = None,
    url: Url = None,
    api_key_file: KeyFile = None,
) -> None:
    """Tell what a tenant's agents have used, what that cost, and how much of its budgets is used now."""
    with told_failures(), open_tenant(namespace, tenant, context, url, api_key_file) as client:
        report = client.usage(
            by=by.value,
            since=None if since is None else since.date(),
            until=None if until is None else until.date(),
        )
    show(report, render_report(report), output)


def render_report(report: UsageReport) -> Iterator[RenderableType]:
    """The report for people."""
    yield Text(f"From {report.since} to {report.until} (UTC)")
    yield _table_of_items(report)
    if report.budgets:
        yield Text()
        yield _table_of_budgets(report.budgets)


def _table_of_items(report: UsageReport) -> Table:
    table = _table(str(report.group_by).upper())
    for title in ("TURNS", "LIMITED", "TOKENS IN", "TOKENS OUT", "TOKENS"):
        table.add_column(title, justify="right")
    table.add_column("COST", overflow="fold")
    for item in report.items:
        table.add_row(Text(_name(item, str(report.group_by))), *_cells(item))
    table.add_row(Text("total"), *_cells(report.total))
    return table


def _table_of_budgets(budgets: Sequence[BudgetState]) -> Table:
    table = _table("BUDGET")
    table.add_column("USED", justify="right")
    table.add_column("LIMIT", justify="right")
    for title in ("STATE", "BEGINS ANEW"):
        table.add_column(title)
    for budget in budgets:
        anew = "never" if budget.resets_at is None else f"{budget.resets_at:%Y-%m-%d}"
        state = _LEVELS.get(budget.level, str(budget.level))
        table.add_row(*map(Text, (str(budget.limit), f"{budget.used:,}", f"{budget.most:,}", state, anew)))
    return table


def _table(first: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first, overflow="fold")
    return table


def _name(item: UsageItem, group: str) -> str:
    match group:
        case "agent":
            return item.agent or "unknown"
        case "model":
            return "none, or unknown" if item.model is None else f"{item.endpoint}/{item.model}"
        case _:
            return str(item.day)


def _cells(count: UsageCount) -> list[Text]:
    numbers = (count.turns, count.limited_turns, count.prompt_tokens, count.completion_tokens, count.total_tokens)
    costs = [f"{cost.amount} {cost.currency}" for cost in count.costs]
    if count.unpriced_tokens:
        costs.append(f"{count.unpriced_tokens:,} tokens without a price")
    return [Text(f"{number:,}") for number in numbers] + [Text(", ".join(costs))]
