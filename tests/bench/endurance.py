"""Two thousand turns while runtimes are killed at random and both stores are restarted once: what was accepted, and what became of it?

A client sends each message under an Idempotency-Key until it gets a turn's end, at whichever replica answers. A message counts as
accepted once a stream has begun with its `message.started`.
"""

import asyncio
import contextlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import aiohttp
import asyncpg
import uvloop

from tests.support.postgresql import PostgresqlServer
from tests.support.redis_server import RedisServer

from .chat_load import Messages
from .chat_site import ChatSite, Served, open_chat_site
from .figures import Figure

_TURNS = 2000
_CLIENTS = 16
_PAUSE_SECONDS = 0.2
_KILL_SECONDS = (3.0, 7.0)
"""Between two kills."""
_ENDS = {"message.completed", "message.failed", "message.stopped"}
_GIVE_UP_SECONDS = 120.0
_SETTLE_SECONDS = 60.0
_LOST = (aiohttp.ClientError, ConnectionError, TimeoutError)

_STORED = """
SELECT m.content AS key, count(*) AS times, count(*) FILTER (WHERE t.state IN ('complete', 'failed')) AS ended,
  count(*) FILTER (WHERE t.state = 'complete' AND t.completion_tokens IS NULL) AS uncounted
FROM syntera.messages AS m JOIN syntera.turns AS t ON t.tenant_id = m.tenant_id AND t.id = m.turn_id
WHERE m.tenant_id = $1 AND m.role = 'user' GROUP BY m.content
"""
_RUNNING = "SELECT count(*) FROM syntera.turns WHERE tenant_id = $1 AND state = 'running'"
_REPLIES = """
SELECT count(*) FROM (
  SELECT turn_id FROM syntera.messages WHERE tenant_id = $1 AND role = 'assistant' GROUP BY turn_id HAVING count(*) > 1
) AS doubled
"""


@dataclass(slots=True)
class _Course:
    """What the clients saw."""

    left: int
    """Turns that nobody has begun yet."""
    accepted: list[str] = field(default_factory=list)
    ends: dict[str, str] = field(default_factory=dict)
    """By message: the event that ended its turn."""
    tries: int = 0


def measure() -> list[Figure]:
    """Everything."""
    with open_chat_site() as site, contextlib.ExitStack() as stack:
        replicas = [site.runtime("bench-0"), site.runtime("bench-1")]
        for each in replicas:
            stack.enter_context(each.running())
        site.provider.behave(delaySeconds=0.1, wordDelaySeconds=0.01)
        return uvloop.run(_measure(site, replicas))


async def _measure(site: ChatSite, replicas: Sequence[Served]) -> list[Figure]:
    course = _Course(_TURNS)
    connector, timeout = aiohttp.TCPConnector(limit=0, force_close=True), aiohttp.ClientTimeout(total=90)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        paths = [(await Messages(replicas[0].url, site.key).start(session)) for _ in range(_CLIENTS)]
        harm = asyncio.create_task(_harm(site, replicas, course))
        try:
            async with asyncio.TaskGroup() as clients:
                for path in paths:
                    messages = path.removeprefix(replicas[0].url)
                    clients.create_task(_chat(site, session, replicas, messages, course))
        finally:
            harm.cancel()
            kills, restarts = await harm
    return await _judge(site, course, kills=kills, restarts=restarts)


async def _chat(
    site: ChatSite, session: aiohttp.ClientSession, replicas: Sequence[Served], messages: str, course: _Course
) -> None:
    while course.left > 0:
        course.left -= 1
        content = str(uuid4())
        async with asyncio.timeout(_GIVE_UP_SECONDS):
            while content not in course.ends:
                course.tries += 1
                with contextlib.suppress(*_LOST):
                    await _send(site, session, random.choice(replicas).url + messages, content, course)
                if content not in course.ends:
                    await asyncio.sleep(_PAUSE_SECONDS)


async def _send(site: ChatSite, session: aiohttp.ClientSession, url: str, content: str, course: _Course) -> None:
    headers = {**site.headers, "Accept": "text/event-stream", "Idempotency-Key": content}
    async with session.post(url, json={"content": content}, headers=headers) as response:
        if response.status != 200:
            return
        name = ""
        async for line in response.content:
            if line.startswith(b"event: "):
                name = line.removeprefix(b"event: ").decode().strip()
            elif line.startswith(b"data: ") and name == "message.started" and content not in course.accepted:
                course.accepted.append(content)
            elif line.startswith(b"data: ") and name in _ENDS:
                assert json.loads(line.removeprefix(b"data: "))
                course.ends[content] = name
                return


async def _harm(site: ChatSite, replicas: Sequence[Served], course: _Course) -> tuple[int, int]:
    """Kill and restart until cancelled; how many of each there were."""
    kills, restarts = 0, 0
    waiting: list[tuple[float, RedisServer | PostgresqlServer]] = [(0.6, site.redis), (0.3, site.postgresql)]
    try:
        while True:
            await asyncio.sleep(random.uniform(*_KILL_SECONDS))
            if waiting and course.left < _TURNS * waiting[0][0]:
                store = waiting.pop(0)[1]
                await asyncio.to_thread(store.restart)
                restarts += 1
                continue
            victim = random.choice(replicas)
            victim.kill()
            kills += 1
            await asyncio.to_thread(victim.start)
    except asyncio.CancelledError:
        return kills, restarts


async def _judge(site: ChatSite, course: _Course, *, kills: int, restarts: int) -> list[Figure]:
    connection = await asyncpg.connect(site.database.superuser_dsn)
    try:
        async with asyncio.timeout(_SETTLE_SECONDS):
            while await connection.fetchval(_RUNNING, site.tenant_id):  # noqa: ASYNC110 - another process ends them
                await asyncio.sleep(0.5)
        stored = {row["key"]: row for row in await connection.fetch(_STORED, site.tenant_id)}
        doubled = await connection.fetchval(_REPLIES, site.tenant_id)
    finally:
        await connection.close()
    lost = [key for key in course.accepted if key not in stored]
    twice = [key for key, row in stored.items() if row["times"] != 1]
    endless = [key for key, row in stored.items() if row["ended"] != row["times"]]
    uncounted = sum(row["uncounted"] for row in stored.values())
    what = f"{_TURNS:,} turns, {kills} kills, {restarts} stores restarted"
    failed = sum(end == "message.failed" for end in course.ends.values())
    return [
        Figure(f"{what}: turns whose end the client was told", len(course.ends), "", at_most=_TURNS, at_least=_TURNS),
        Figure(f"{what}: of these failed, as their pods died", failed, ""),
        Figure(f"{what}: accepted messages that are not stored", len(lost), "", at_most=0, at_least=0),
        Figure(f"{what}: messages that are stored more than once", len(twice), "", at_most=0, at_least=0),
        Figure(f"{what}: turns that are neither complete nor failed", len(endless), "", at_most=0, at_least=0),
        Figure(f"{what}: turns with more than one reply", doubled, "", at_most=0, at_least=0),
        Figure(f"{what}: complete turns without a usage", uncounted, "", at_most=0, at_least=0),
    ]
