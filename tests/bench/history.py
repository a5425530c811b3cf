"""The last page of a conversation among a million messages of two hundred tenants, with row-level security and without."""

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence
from uuid import UUID

import aiohttp
import asyncpg
import uvloop

from syntera_crds.contract import names
from syntera_runtime.adapters.postgresql.conversations import PostgresqlConversations
from syntera_runtime.adapters.postgresql.pool import Pool
from syntera_runtime.api.pages import make_cursor
from syntera_runtime.models.ids import ConversationId, MessageId, TenantId

from .chat_load import session
from .chat_site import ChatSite, Served, open_chat_site
from .figures import Figure, percentile

_TENANTS = 200
_CONVERSATIONS = 50
"""Of each tenant."""
_TURNS = 50
"""Of each conversation; two messages each."""
_PAGE = 20
_READS = 200
"""In a slice."""
_SLICES = 4
_TABLES = ("messages", "turns", "conversations")

_SEED = """
WITH conversation AS (
  INSERT INTO syntera.conversations (tenant_id, id, agent)
  SELECT $1, uuidv7(), 'travel' FROM generate_series(1, $2)
  RETURNING id
), turn AS (
  INSERT INTO syntera.turns (tenant_id, id, conversation_id, agent, agent_revision, state, ended_at, first_event, last_event)
  SELECT $1, uuidv7(), conversation.id, 'travel', 1, 'complete', now(), number * 10, number * 10 + 9
  FROM conversation, generate_series(1, $3) AS number
  RETURNING id, conversation_id
)
INSERT INTO syntera.messages (tenant_id, id, conversation_id, turn_id, role, state, content)
SELECT $1, uuidv7(), turn.conversation_id, turn.id, role, 'complete', repeat('Where is my booking ' || random() || '? ', 5)
FROM turn, unnest(ARRAY['user', 'assistant']) AS role
"""

_PAGES = """
SELECT conversation_id, (array_agg(id ORDER BY id DESC))[$2] AS after
FROM syntera.messages WHERE tenant_id = $1 GROUP BY conversation_id
"""

_Page = tuple[UUID, UUID]
"""A conversation, and the message that its last page follows."""


def measure() -> list[Figure]:
    """Everything."""
    with open_chat_site() as site, contextlib.ExitStack() as stack:
        runtime = site.runtime("bench-0")
        stack.enter_context(runtime.running())
        return uvloop.run(_measure(site, runtime))


async def _measure(site: ChatSite, runtime: Served) -> list[Figure]:
    administrator = await site.database.connect()
    try:
        pages = await _seed(site, administrator)
        through_api: dict[bool, list[float]] = {True: [], False: []}
        queries: dict[bool, list[float]] = {True: [], False: []}
        pool = Pool(site.folder / "stores" / names.POSTGRESQL_URL_KEY, connections=1, seconds=30, application="bench")
        async with pool, session() as clients:
            for has_walls in (True, False) * _SLICES:
                await _set_walls(administrator, has_walls=has_walls)
                chosen = random.choices(pages, k=_READS)  # no secret
                through_api[has_walls] += (await _read(runtime, site, clients, chosen))[_READS // 10 :]
                queries[has_walls] += (await _query(PostgresqlConversations(pool), site, chosen))[_READS // 10 :]
        await _set_walls(administrator, has_walls=True)
        count = await administrator.fetchval("SELECT count(*) FROM syntera.messages")
    finally:
        await administrator.close()
    what = f"last page of a conversation among {count:,} messages of {_TENANTS} tenants"
    without = "without row-level security"
    return [
        Figure(
            f"{what}, through the API, p50",
            percentile(through_api[True], 50),
            "ms",
            at_most=percentile(through_api[False], 50) * 1.15,
            reference=percentile(through_api[False], 50),
            compared_with=without,
        ),
        Figure(
            f"{what}, the query alone, p95",
            percentile(queries[True], 95),
            "ms",
            at_most=5,
            reference=percentile(queries[False], 95),
            compared_with=without,
        ),
    ]


async def _seed(site: ChatSite, administrator: "asyncpg.Connection[asyncpg.Record]") -> Sequence[_Page]:
    others = [UUID(int=random.getrandbits(128)) for _ in range(_TENANTS - 1)]  # no secret
    for tenant_id in (*others[: _TENANTS // 2], site.tenant_id, *others[_TENANTS // 2 :]):
        await administrator.execute(_SEED, tenant_id, _CONVERSATIONS, _TURNS)
    await administrator.execute("VACUUM ANALYZE syntera.messages, syntera.turns, syntera.conversations")
    rows = await administrator.fetch(_PAGES, site.tenant_id, _PAGE + 1)
    return [(row["conversation_id"], row["after"]) for row in rows]


async def _set_walls(administrator: "asyncpg.Connection[asyncpg.Record]", *, has_walls: bool) -> None:
    for table in _TABLES:
        await administrator.execute(
            f"ALTER TABLE syntera.{table} {'ENABLE' if has_walls else 'DISABLE'} ROW LEVEL SECURITY"
        )


async def _read(runtime: Served, site: ChatSite, clients: aiohttp.ClientSession, pages: Sequence[_Page]) -> list[float]:
    seconds = []
    for conversation_id, after in pages:
        url = f"{runtime.url}/v1/conversations/{conversation_id}/messages?limit={_PAGE}&cursor={make_cursor(after)}"
        started = time.monotonic()
        async with clients.get(url, headers=site.headers) as response:
            page = await response.json()
        seconds.append((time.monotonic() - started) * 1000)
        assert len(page["items"]) == _PAGE, page
    return seconds


async def _query(store: PostgresqlConversations, site: ChatSite, pages: Sequence[_Page]) -> list[float]:
    seconds = []
    for conversation_id, after in pages:
        started = time.monotonic()
        found = await store.list_messages(
            TenantId(site.tenant_id), ConversationId(conversation_id), owner=None, after=MessageId(after), limit=_PAGE
        )
        seconds.append((time.monotonic() - started) * 1000)
        assert len(found) == _PAGE
        await asyncio.sleep(0)
    return seconds
