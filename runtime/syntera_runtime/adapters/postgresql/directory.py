"""Lists of conversations: filtered, searched, in pages."""

from collections.abc import Iterator, Sequence
from typing import Any

from ...models.conversations import (
    MOST_UNREAD,
    ConversationFilter,
    ConversationOrder,
    ConversationSummary,
    ListPosition,
    Side,
)
from ...models.ids import ContactId, TenantId
from .conversation_rows import CONVERSATION_COLUMNS, read_conversation
from .pool import Pool
from .rows import MESSAGE_COLUMNS, read_message

_ORDERS = {ConversationOrder.CREATED: "c.id", ConversationOrder.ACTIVITY: "c.updated_at, c.id"}
_READ = {Side.CONTACT: ("contact_read_id", "assistant"), Side.STAFF: ("staff_read_id", "user")}
"""By side: the column of its mark, and whose messages are news to it."""

_HOLDS_WORDS = """
numnode(websearch_to_tsquery('simple', {words})) > 0 AND (
  syntera.search_terms(c.tenant_id, coalesce(c.title, '')) @@ websearch_to_tsquery('simple', {words})
  OR EXISTS (
    SELECT FROM syntera.messages AS m
    WHERE m.tenant_id = $1 AND m.conversation_id = c.id
      AND syntera.search_terms(m.tenant_id, m.content) @@ websearch_to_tsquery('simple', {words})
  )
)
"""

_LAST = f"""
SELECT last.*
FROM unnest($2::uuid[]) AS wanted (id)
CROSS JOIN LATERAL (
  SELECT {MESSAGE_COLUMNS}
  FROM syntera.messages AS m LEFT JOIN syntera.turns AS t ON t.tenant_id = m.tenant_id AND t.id = m.turn_id
  WHERE m.tenant_id = $1 AND m.conversation_id = wanted.id
  ORDER BY m.id DESC
  LIMIT 1
) AS last
"""  # noqa: S608  # the columns are a constant


class PostgresqlDirectory:
    """`ConversationDirectory` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def list_conversations(
        self,
        tenant_id: TenantId,
        wanted: ConversationFilter,
        *,
        owner: ContactId | None,
        order: ConversationOrder,
        side: Side,
        after: ListPosition | None,
        limit: int,
    ) -> Sequence[ConversationSummary]:
        """See `ConversationDirectory`."""
        values: list[Any] = [tenant_id]
        conditions = list(_conditions(wanted, owner, order, after, values))
        values.append(limit)
        statement = _statement(conditions, order, side, limit=len(values))
        async with self._pool.connection("list_conversations") as connection:
            rows = await connection.fetch(statement, *values)
            last = await connection.fetch(_LAST, tenant_id, [row["id"] for row in rows])
        messages = {row["conversation_id"]: read_message(row) for row in last}
        return [
            ConversationSummary(
                conversation=read_conversation(row), last_message=messages.get(row["id"]), unread=row["unread"]
            )
            for row in rows
        ]


def _conditions(
    wanted: ConversationFilter,
    owner: ContactId | None,
    order: ConversationOrder,
    after: ListPosition | None,
    values: list[Any],
) -> Iterator[str]:
    """SQL for whatever is not left open; what it compares with goes to `values`."""

    def parameter(value: Any) -> str:
        values.append(value)
        return f"${len(values)}"

    for contact_id in (owner, wanted.contact_id):
        if contact_id is not None:
            yield f"c.contact_id = {parameter(contact_id)}"
    if wanted.words is not None and owner is not None:
        yield _HOLDS_WORDS.format(
            words=parameter(wanted.words)
        )  # among few, whose words nobody else's answer depends on
    elif wanted.words is not None:
        yield f"c.id IN (SELECT syntera.search_conversations({parameter(wanted.words)}))"
    yield f"c.state = ANY ({parameter(sorted(wanted.states))}::text[])"
    if wanted.agent is not None:
        yield f"c.agent = {parameter(wanted.agent)}"
    if wanted.channel is not None:
        yield f"c.channel = {parameter(wanted.channel)}"
    if wanted.created_from is not None:
        yield f"c.created_at >= {parameter(wanted.created_from)}"
    if wanted.created_before is not None:
        yield f"c.created_at < {parameter(wanted.created_before)}"
    if after is not None:
        place = [after.at, after.id] if order is ConversationOrder.ACTIVITY else [after.id]
        yield f"({_ORDERS[order]}) < ({', '.join(map(parameter, place))})"


def _statement(conditions: Sequence[str], order: ConversationOrder, side: Side, *, limit: int) -> str:
    mark, news = _READ[side]
    descending = ", ".join(f"{column} DESC" for column in _ORDERS[order].split(", "))
    return f"""
    SELECT {CONVERSATION_COLUMNS}, unread.number AS unread
    FROM (
      SELECT * FROM syntera.conversations AS c
      WHERE c.tenant_id = $1 AND {" AND ".join(conditions)}
      ORDER BY {descending}
      LIMIT ${limit}
    ) AS c
    CROSS JOIN LATERAL (
      SELECT count(*) AS number FROM (
        SELECT FROM syntera.messages AS m
        WHERE m.tenant_id = $1 AND m.conversation_id = c.id AND m.role = '{news}' AND (c.{mark} IS NULL OR m.id > c.{mark})
        LIMIT {MOST_UNREAD}
      ) AS unread
    ) AS unread
    ORDER BY {descending}
    """  # noqa: S608  # all parts are constants; values are parameters
