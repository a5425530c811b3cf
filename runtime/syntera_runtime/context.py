"""Builds everything that the process consists of, and closes it in reverse order. The only place that knows adapters."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from datetime import timedelta
from functools import partial

from syntera_crds import __version__
from syntera_crds.contract import names
from syntera_kube import ClusterConfig, ConfigError, KubeClient, Transport

from .adapters.cluster_tokens import ClusterTokens
from .adapters.guarded_http import GuardedHttp
from .adapters.http_challenges import HttpChallenges
from .adapters.http_rerank import HttpReranker
from .adapters.http_webhooks import HttpWebhooks
from .adapters.key_sets import HttpKeySets
from .adapters.kubernetes_config import KubernetesConfig
from .adapters.openai_embeddings import OpenAIEmbedder
from .adapters.openai_models import OpenAIChatModels
from .adapters.pinecone_clients import PineconeClients
from .adapters.postgresql.api_keys import PostgresqlApiKeys
from .adapters.postgresql.audit import PostgresqlAuditLog
from .adapters.postgresql.blobs import PostgresqlBlobs
from .adapters.postgresql.contacts import PostgresqlContacts
from .adapters.postgresql.conversations import PostgresqlConversations
from .adapters.postgresql.deliveries import PostgresqlDeliveries
from .adapters.postgresql.directory import PostgresqlDirectory
from .adapters.postgresql.editor import PostgresqlEditor
from .adapters.postgresql.event_subjects import PostgresqlEventSubjects
from .adapters.postgresql.files import PostgresqlFiles
from .adapters.postgresql.knowledge_editor import PostgresqlKnowledgeEditor
from .adapters.postgresql.knowledge_reader import PostgresqlKnowledgeReader
from .adapters.postgresql.outbox import PostgresqlOutbox
from .adapters.postgresql.pool import Pool
from .adapters.postgresql.turns import PostgresqlTurns
from .adapters.postgresql.usage import PostgresqlUsage
from .adapters.postgresql.webhooks import PostgresqlWebhooks
from .adapters.redis.client import RedisClient
from .adapters.redis.event_log import RedisEventLog
from .adapters.redis.presence import RedisPresence
from .adapters.redis.rate_limits import RedisRateLimits
from .adapters.redis.socket_manager import RedisSocketManager
from .adapters.redis.turn_register import RedisTurnRegister
from .adapters.s3_blobs import S3Blobs
from .adapters.signing_key import SigningKeyFile
from .adapters.vector_places import find_vectors
from .chat.attachments import AttachmentReader
from .chat.changes import Changes
from .chat.completions import Completions
from .chat.conversations import Conversations
from .chat.event_writers import EventWriters
from .chat.followers import Followers
from .chat.grounding import Groundings
from .chat.management import ConversationManagement
from .chat.runner import TurnLimits, TurnRunner
from .chat.sweeper import Sweeper
from .config import Settings
from .egress.tenant_egress import TenantEgress
from .errors import ConfigurationError
from .fair_use.rate_limiter import RateLimiter
from .fair_use.stream_slots import StreamSlots
from .files.links import FileLinks
from .files.service import Files
from .files.sweeper import FileSweeper
from .identity.parts import build_identity
from .identity.session_watch import SessionWatch
from .knowledge.holdings import Holdings
from .knowledge.lookup import Lookup
from .knowledge.management import KnowledgeManagement
from .knowledge.search import Searcher
from .knowledge.uploads import DocumentUploads
from .metrics import Metrics
from .models.files import Storage
from .services import ApiLimits, Lifecycle, Services
from .tracing import tracing
from .usage.budgets import Budgets
from .usage.reports import UsageReports
from .webhooks.deliverer import Deliverer
from .webhooks.dispatcher import Dispatcher
from .webhooks.management import WebhookManagement
from .webhooks.payloads import Payloads

COMPONENT = names.RUNTIME
"""How the process names itself to the API server and to the stores."""


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Everything, connected to the cluster and the stores. Waits for none of them: what is away shows when it is used.

    If the watches of the configuration break for good, the block is cancelled and the process ends.

    Raises:
        ConfigurationError: There is no way to the Kubernetes API.
    """
    async with AsyncExitStack() as stack:
        metrics = Metrics()
        tracer = await stack.enter_async_context(tracing(_describe_process(settings)))
        transport = await stack.enter_async_context(
            Transport(_cluster(), component=COMPONENT, observer=metrics.asked_kubernetes)
        )
        pool = await stack.enter_async_context(
            Pool(
                settings.stores_dir / names.POSTGRESQL_URL_KEY,
                connections=settings.postgresql_connections,
                seconds=settings.postgresql_seconds,
                application=f"{COMPONENT}/{settings.pod_name}",
                metrics=metrics,
                tracer=tracer,
            )
        )
        redis = await stack.enter_async_context(
            RedisClient(
                settings.stores_dir / names.REDIS_URL_KEY,
                connections=settings.redis_connections,
                seconds=settings.redis_seconds,
                application=f"{COMPONENT}/{settings.pod_name}",
                metrics=metrics,
                tracer=tracer,
            )
        )
        config = KubernetesConfig(KubeClient(transport), namespace=settings.namespace)
        metrics.watch(agents=lambda: len(config.all()), connections=lambda: pool.size, idle=lambda: pool.idle)
        models = await stack.enter_async_context(
            aclosing(OpenAIChatModels(config.secrets, metrics=metrics, tracer=tracer))
        )
        conversations, turns = PostgresqlConversations(pool), PostgresqlTurns(pool)
        events, register = RedisEventLog(redis), RedisTurnRegister(redis)
        sweeper = Sweeper(turns, register, events, metrics=metrics)
        writers = await stack.enter_async_context(aclosing(EventWriters(events)))
        limits = TurnLimits(turn_seconds=settings.turn_seconds, lease=timedelta(seconds=settings.lease_seconds))
        runner = await stack.enter_async_context(
            aclosing(TurnRunner(turns, register, limits=limits, metrics=metrics, tracer=tracer))
        )
        followers = await stack.enter_async_context(
            aclosing(
                Followers(settings.owner, events=events, conversations=conversations, turns=turns, on_stop=runner.stop)
            )
        )
        api_keys = PostgresqlApiKeys(pool)
        identity = build_identity(
            settings.owner,
            catalogue=config,
            keys=api_keys,
            register=api_keys,
            contacts=PostgresqlContacts(pool),
            signing_key=SigningKeyFile(settings.signing_dir / names.SIGNING_KEY_KEY),
            key_sets=HttpKeySets(),
            secrets=config.secrets,
            challenge_verifier=await stack.enter_async_context(aclosing(HttpChallenges())),
            metrics=metrics,
        )
        embedder = await stack.enter_async_context(
            aclosing(OpenAIEmbedder(config.secrets, metrics=metrics, tracer=tracer))
        )
        knowledge_reader, knowledge_editor = PostgresqlKnowledgeReader(pool), PostgresqlKnowledgeEditor(pool)
        holdings = Holdings(config.knowledge, knowledge_reader)
        pinecone = await stack.enter_async_context(aclosing(PineconeClients(config.secrets)))
        searcher = Searcher(
            config.knowledge,
            knowledge_reader,
            tenants=config,
            vectors_of=partial(find_vectors, pool, pinecone),
            embedder=embedder,
            reranker=await stack.enter_async_context(
                aclosing(HttpReranker(config.secrets, metrics=metrics, tracer=tracer))
            ),
            metrics=metrics,
            tracer=tracer,
        )
        groundings = Groundings(Lookup(searcher), metrics=metrics)
        budgets = Budgets(config, metrics=metrics)
        stored_files = PostgresqlFiles(pool)
        files = Files(
            stored_files,
            {
                Storage.POSTGRESQL: PostgresqlBlobs(pool),
                Storage.S3: S3Blobs(config, config.secrets, metrics=metrics, tracer=tracer),
            },
            config,
        )
        egress = TenantEgress(config)
        http = await stack.enter_async_context(aclosing(GuardedHttp(egress.policy)))
        webhooks, deliveries = PostgresqlWebhooks(pool), PostgresqlDeliveries(pool)
        dispatcher = Dispatcher(
            outbox=PostgresqlOutbox(pool),
            webhooks=webhooks,
            deliveries=deliveries,
            deliverer=Deliverer(
                deliveries,
                Payloads(PostgresqlEventSubjects(pool)),
                identity.derived_keys,
                HttpWebhooks(http),
                metrics=metrics,
            ),
            quiet_seconds=lambda: pool.quiet_seconds,
            metrics=metrics,
        )
        session_watch, changes = SessionWatch(identity.authenticator), Changes()
        counts = RedisRateLimits(redis)
        slots = await stack.enter_async_context(aclosing(StreamSlots(counts, config, settings.owner, metrics=metrics)))
        services = Services(
            agents=config,
            loaded_agents=config,
            operator_tokens=ClusterTokens(
                transport, audience=settings.internal_audience, subject=settings.operator_subject
            ),
            authenticator=identity.authenticator,
            session_watch=session_watch,
            key_management=identity.key_management,
            audit=PostgresqlAuditLog(pool),
            visitors=identity.visitors,
            origins=identity.origins,
            changes=changes,
            conversations=Conversations(
                agents=config,
                conversations=conversations,
                turns=turns,
                models=models,
                runner=runner,
                events=events,
                writers=writers,
                followers=followers,
                sweeper=sweeper,
                budgets=budgets,
                groundings=groundings,
                attachments=AttachmentReader(stored_files, files),
                changes=changes,
            ),
            management=ConversationManagement(
                conversations=conversations,
                directory=PostgresqlDirectory(pool),
                editor=PostgresqlEditor(pool),
                sweeper=sweeper,
                events=events,
                changes=changes,
            ),
            completions=Completions(
                agents=config, turns=turns, models=models, runner=runner, budgets=budgets, groundings=groundings
            ),
            usage=UsageReports(PostgresqlUsage(pool), conversations, agents=config, budgets=budgets),
            files=files,
            file_links=FileLinks(settings.owner, identity.derived_keys.of_file_links),
            knowledge=KnowledgeManagement(holdings, knowledge_editor, searcher),
            knowledge_uploads=DocumentUploads(holdings, knowledge_editor, files),
            runner=runner,
            writers=writers,
            followers=followers,
            rate_limiter=RateLimiter(counts, config, settings.owner, metrics=metrics),
            stream_slots=slots,
            webhooks=WebhookManagement(webhooks, deliveries, identity.derived_keys, policy=egress.policy),
            presence=RedisPresence(redis),
            open_socket_manager=partial(RedisSocketManager, redis, settings.owner),
            metrics=metrics,
            limits=ApiLimits(
                body_bytes=settings.max_body_bytes,
                body_seconds=settings.body_seconds,
                ping_seconds=settings.ping_seconds,
            ),
            lifecycle=Lifecycle(),
            tracer=tracer,
        )
        async with asyncio.TaskGroup() as group:
            running = (
                config.run(),
                followers.run(),
                sweeper.run(settings.owner),
                FileSweeper(files, stored_files).run(settings.owner),
                slots.run(),
                identity.key_use.run(),
                dispatcher.run(settings.owner),
                session_watch.run(),
            )
            tasks = [group.create_task(task) for task in running]
            yield services
            await identity.key_use.write()
            for task in tasks:
                task.cancel()


def _describe_process(settings: Settings) -> dict[str, str]:
    """What tells its traces from those of others."""
    return {
        "service.name": COMPONENT,
        "service.version": __version__,
        "service.instance.id": settings.pod_name,
        "k8s.pod.name": settings.pod_name,
        "k8s.namespace.name": settings.namespace,
        "syntera.tenant": settings.tenant,
    }


def _cluster() -> ClusterConfig:
    try:
        return ClusterConfig.from_environment()
    except ConfigError as error:
        raise ConfigurationError(f"the Kubernetes API cannot be reached: {error}") from error
