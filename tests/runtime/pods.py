"""Pods of one tenant on real stores: the parts of a runtime process, without Kubernetes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from syntera_crds.contract import names
from syntera_runtime.adapters.postgresql.api_keys import PostgresqlApiKeys
from syntera_runtime.adapters.postgresql.audit import PostgresqlAuditLog
from syntera_runtime.adapters.postgresql.blobs import PostgresqlBlobs
from syntera_runtime.adapters.postgresql.contacts import PostgresqlContacts
from syntera_runtime.adapters.postgresql.conversations import PostgresqlConversations
from syntera_runtime.adapters.postgresql.deliveries import PostgresqlDeliveries
from syntera_runtime.adapters.postgresql.directory import PostgresqlDirectory
from syntera_runtime.adapters.postgresql.editor import PostgresqlEditor
from syntera_runtime.adapters.postgresql.files import PostgresqlFiles
from syntera_runtime.adapters.postgresql.knowledge_editor import PostgresqlKnowledgeEditor
from syntera_runtime.adapters.postgresql.knowledge_reader import PostgresqlKnowledgeReader
from syntera_runtime.adapters.postgresql.pool import Pool
from syntera_runtime.adapters.postgresql.turns import PostgresqlTurns
from syntera_runtime.adapters.postgresql.usage import PostgresqlUsage
from syntera_runtime.adapters.postgresql.webhooks import PostgresqlWebhooks
from syntera_runtime.adapters.redis.client import RedisClient
from syntera_runtime.adapters.redis.event_log import RedisEventLog
from syntera_runtime.adapters.redis.presence import RedisPresence
from syntera_runtime.adapters.redis.rate_limits import RedisRateLimits
from syntera_runtime.adapters.redis.socket_manager import RedisSocketManager
from syntera_runtime.adapters.redis.turn_register import RedisTurnRegister
from syntera_runtime.chat.events import ReplyCompleted, ReplyFailed, ReplyStopped, TurnEvent
from syntera_runtime.chat.feed import Feed
from syntera_runtime.chat.sweeper import Sweeper
from syntera_runtime.knowledge.search import Searcher
from syntera_runtime.models.conversations import Message
from syntera_runtime.models.files import Storage
from syntera_runtime.models.identity import Principal
from syntera_runtime.models.ids import ConversationId, TenantId
from syntera_runtime.ports.chat_models import ChatModels
from syntera_runtime.ports.identity import KeySets
from syntera_runtime.services import Services
from tests.runtime.builders import ASKER, make_services
from tests.runtime.fakes import FakeCatalogue, FakeChatModels
from tests.runtime.redis import ensure_user
from tests.support.postgresql import Database
from tests.support.redis_server import RedisServer


@dataclass(frozen=True, slots=True)
class Site:
    """A tenant, and the stores that its pods share."""

    tenant_id: TenantId
    stores_dir: Path
    database: Database
    redis_server: RedisServer


async def make_site(database: Database, redis_server: RedisServer, folder: Path) -> Site:
    """A new tenant in both stores; `folder` is what its pods find mounted."""
    login = await database.make_tenant()
    (folder / names.POSTGRESQL_URL_KEY).write_text(login.dsn)
    tenant_id = TenantId(login.tenant_id)
    await ensure_user(redis_server, tenant_id, folder / names.REDIS_URL_KEY)
    return Site(tenant_id, folder, database, redis_server)


@dataclass(frozen=True, slots=True)
class Pod:
    """What a process consists of."""

    tenant_id: TenantId
    services: Services
    sweeper: Sweeper
    redis: RedisClient

    @property
    def asker(self) -> Principal:
        """One of the tenant's own programs."""
        return replace(ASKER, tenant_id=self.tenant_id)

    async def start(self) -> ConversationId:
        """Begin a conversation."""
        return (await self.services.conversations.start(self.asker, agent="travel")).conversation.id

    async def send(self, conversation_id: ConversationId, content: str = "Hi") -> Feed[TurnEvent]:
        """Say something."""
        return await self.services.conversations.send(self.asker, conversation_id, content=content)

    async def follow(self, conversation_id: ConversationId, after: int | None = None) -> Feed[TurnEvent]:
        """Read a conversation's events."""
        return (await self.services.followers.follow(self.asker, conversation_id, after=after)).feed

    async def read(self, conversation_id: ConversationId) -> list[Message]:
        """What was said."""
        return list(await self.services.conversations.messages(self.asker, conversation_id, after=None, limit=100))


@asynccontextmanager
async def open_pod(
    tenant_id: TenantId,
    stores_dir: Path,
    *,
    models: ChatModels | None = None,
    agents: FakeCatalogue | None = None,
    key_sets: KeySets | None = None,
    lease_seconds: float = 15,
    build_searcher: Callable[[Pool], Searcher] | None = None,
) -> AsyncIterator[Pod]:
    """A pod, with its tasks running."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(
            Pool(stores_dir / names.POSTGRESQL_URL_KEY, connections=4, seconds=20, application="test")
        )
        redis = await stack.enter_async_context(
            RedisClient(stores_dir / names.REDIS_URL_KEY, connections=4, seconds=10, application="test")
        )
        turns, events, register = PostgresqlTurns(pool), RedisEventLog(redis), RedisTurnRegister(redis)
        services = make_services(
            tenant_id=tenant_id,
            keys=PostgresqlApiKeys(pool),
            contacts=PostgresqlContacts(pool),
            conversations=PostgresqlConversations(pool),
            directory=PostgresqlDirectory(pool),
            editor=PostgresqlEditor(pool),
            turns=turns,
            usage=PostgresqlUsage(pool),
            audit=PostgresqlAuditLog(pool),
            file_store=PostgresqlFiles(pool),
            blobs={Storage.POSTGRESQL: PostgresqlBlobs(pool)},
            knowledge_reader=PostgresqlKnowledgeReader(pool),
            knowledge_editor=PostgresqlKnowledgeEditor(pool),
            webhooks=PostgresqlWebhooks(pool),
            deliveries=PostgresqlDeliveries(pool),
            events=events,
            register=register,
            rate_limits=RedisRateLimits(redis),
            agents=agents,
            key_sets=key_sets,
            models=FakeChatModels() if models is None else models,
            lease_seconds=lease_seconds,
            searcher=None if build_searcher is None else build_searcher(pool),
            presence=RedisPresence(redis),
            open_socket_manager=partial(RedisSocketManager, redis, tenant_id),
        )
        sweeper = Sweeper(turns, register, events, metrics=services.metrics)
        async with asyncio.TaskGroup() as group:
            tasks = (services.followers.run(), sweeper.run(tenant_id), services.session_watch.run())
            running = [group.create_task(task) for task in tasks]
            yield Pod(tenant_id, services, sweeper, redis)
            await services.runner.aclose()
            await services.writers.aclose()
            for task in running:
                task.cancel()
        await services.followers.aclose()


async def next_event(feed: Feed[TurnEvent], *, seconds: float = 30) -> TurnEvent:
    """The next event, which must come in time."""
    async with asyncio.timeout(seconds):
        event = await feed.next()
    assert event is not None
    return event


async def read_turn(feed: Feed[TurnEvent], *, seconds: float = 30) -> list[TurnEvent]:
    """All events until the end of a turn."""
    events = [await next_event(feed, seconds=seconds)]
    while not isinstance(events[-1], ReplyCompleted | ReplyStopped | ReplyFailed):
        events.append(await next_event(feed, seconds=seconds))
    return events
