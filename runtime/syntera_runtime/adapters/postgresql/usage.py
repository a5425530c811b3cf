"""What was used. The counts are written by a trigger of the turns' table; here they are only read."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from asyncpg import Record

from ...models.ids import ConversationId, TenantId
from ...models.usage import Cost, Spent, UsageCount, UsageGroup, UsageLine
from .pool import Pool

_MONTH = "date_trunc('month', now() AT TIME ZONE 'UTC')::date"
_TODAY = "(now() AT TIME ZONE 'UTC')::date"

SPENT_BY_ALL = f"""(
  SELECT coalesce(sum(tokens), 0)::bigint FROM syntera.usage_totals
  WHERE tenant_id = $1 AND subject = '' AND since = {_MONTH}
) AS month_tokens"""  # noqa: S608  # constants
"""A column for statements whose `$1` is the tenant; few rows of the primary key, as the others below."""


def spent_by_person(person: str) -> str:
    """The same for a person of today; `person` is the parameter, which may be NULL."""
    return f"""(
  SELECT coalesce(sum(tokens), 0)::bigint FROM syntera.usage_totals
  WHERE tenant_id = $1 AND subject = {person} AND since = {_TODAY}
) AS person_tokens"""  # noqa: S608


def spent_in_conversation(conversation: str) -> str:
    """The same for a conversation, two columns."""
    counts = f"FROM syntera.usage_conversations WHERE tenant_id = $1 AND conversation_id = {conversation}"
    tokens = f"(SELECT coalesce(sum(prompt_tokens + completion_tokens), 0)::bigint {counts}) AS conversation_tokens"
    return f"{tokens}, (SELECT coalesce(sum(turns), 0)::bigint {counts}) AS conversation_turns"


def read_spent(row: Record) -> Spent:
    """A row with these columns."""
    return Spent(
        month_tokens=row["month_tokens"],
        person_tokens=row["person_tokens"],
        conversation_tokens=row["conversation_tokens"],
        conversation_turns=row["conversation_turns"],
    )


_SUMS = """
  currency, sum(turns)::bigint AS turns, sum(limited_turns)::bigint AS limited_turns,
  sum(prompt_tokens)::bigint AS prompt_tokens, sum(completion_tokens)::bigint AS completion_tokens,
  sum(estimated_tokens)::bigint AS estimated_tokens, sum(cost) AS cost
"""
_GROUPS = {UsageGroup.DAY: "day", UsageGroup.AGENT: "agent", UsageGroup.MODEL: "endpoint, model"}

# "C": in the order of the memory adapter, whatever the database's own.
_LIST = {
    group: f"""
SELECT {columns}, {_SUMS} FROM syntera.usage_days
WHERE tenant_id = $1 AND day BETWEEN $2 AND $3
GROUP BY {columns}, currency
ORDER BY {columns if group is UsageGroup.DAY else ", ".join(f'{name} COLLATE "C"' for name in columns.split(", "))}, currency
"""  # noqa: S608
    for group, columns in _GROUPS.items()
}

_MONTH_TOKENS = f"SELECT {SPENT_BY_ALL}"

_CONVERSATION = f"""
SELECT {_SUMS} FROM syntera.usage_conversations WHERE tenant_id = $1 AND conversation_id = $2
GROUP BY currency ORDER BY currency
"""  # noqa: S608


class PostgresqlUsage:
    """`UsageStore` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def list_usage(
        self, tenant_id: TenantId, *, since: date, until: date, group: UsageGroup
    ) -> Sequence[UsageLine]:
        """See `UsageStore`."""
        async with self._pool.connection("list_usage") as connection:
            rows = await connection.fetch(_LIST[group], tenant_id, since, until)
        lines: list[UsageLine] = []
        for row in rows:
            line = _read_line(row, group)
            last = lines[-1] if lines else None
            if last is not None and replace(last, count=line.count) == line:  # in another currency
                lines[-1] = replace(last, count=last.count + line.count)
            else:
                lines.append(line)
        return lines

    async def month_tokens(self, tenant_id: TenantId) -> int:
        """See `UsageStore`."""
        async with self._pool.connection("month_tokens") as connection:
            tokens: int = await connection.fetchval(_MONTH_TOKENS, tenant_id)
        return tokens

    async def conversation_usage(self, tenant_id: TenantId, conversation_id: ConversationId) -> UsageCount | None:
        """See `UsageStore`."""
        async with self._pool.connection("conversation_usage") as connection:
            rows = await connection.fetch(_CONVERSATION, tenant_id, conversation_id)
        return sum(map(_read_count, rows), UsageCount()) if rows else None


def _read_count(row: Record) -> UsageCount:
    currency, tokens = row["currency"], row["prompt_tokens"] + row["completion_tokens"]
    return UsageCount(
        turns=row["turns"],
        limited_turns=row["limited_turns"],
        prompt_tokens=row["prompt_tokens"],
        completion_tokens=row["completion_tokens"],
        estimated_tokens=row["estimated_tokens"],
        unpriced_tokens=0 if currency else tokens,
        costs=(Cost(int(row["cost"]), currency),) if currency else (),
    )


def _read_line(row: Record, group: UsageGroup) -> UsageLine:
    count = _read_count(row)
    match group:
        case UsageGroup.DAY:
            return UsageLine(count, day=row["day"])
        case UsageGroup.AGENT:
            return UsageLine(count, agent=row["agent"])
        case UsageGroup.MODEL:
            return UsageLine(count, endpoint=row["endpoint"] or None, model=row["model"] or None)
