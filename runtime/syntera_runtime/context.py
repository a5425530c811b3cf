"""Builds everything that the process consists of, and closes it in reverse order. The only place that knows adapters."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from datetime import timedelta

from syntera_crds.contract import names
from syntera_kube import ClusterConfig, ConfigError, KubeClient, Transport

from .adapters.cluster_tokens import ClusterTokens
from .adapters.kubernetes_config import KubernetesConfig
from .adapters.openai_models import OpenAIChatModels
from .adapters.postgresql.api_keys import PostgresqlApiKeys
from .adapters.postgresql.conversations import PostgresqlConversations
from .adapters.postgresql.pool import Pool
from .adapters.postgresql.turns import PostgresqlTurns
from .chat.completions import Completions
from .chat.conversations import Conversations
from .chat.runner import TurnLimits, TurnRunner
from .config import Settings
from .errors import ConfigurationError
from .identity import Authenticator
from .metrics import Metrics
from .services import ApiLimits, Lifecycle, Services

COMPONENT = names.RUNTIME
"""How the process names itself to the API server and to PostgreSQL."""


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Everything, connected to the cluster and the stores. Waits for none of them: what is away shows when it is used.

    If the watches of the configuration break for good, the block is cancelled and the process ends.

    Raises:
        ConfigurationError: There is no way to the Kubernetes API.
    """
    async with AsyncExitStack() as stack:
        transport = await stack.enter_async_context(Transport(_cluster(), component=COMPONENT))
        pool = await stack.enter_async_context(
            Pool(
                settings.stores_dir / names.POSTGRESQL_URL_KEY,
                connections=settings.postgresql_connections,
                seconds=settings.postgresql_seconds,
                application=f"{COMPONENT}/{settings.pod_name}",
            )
        )
        config = KubernetesConfig(KubeClient(transport), namespace=settings.namespace)
        models = await stack.enter_async_context(aclosing(OpenAIChatModels(config.secrets)))
        metrics = Metrics()
        turns = PostgresqlTurns(pool)
        limits = TurnLimits(turn_seconds=settings.turn_seconds, lease=timedelta(seconds=settings.lease_seconds))
        runner = await stack.enter_async_context(aclosing(TurnRunner(turns, limits=limits, metrics=metrics)))
        services = Services(
            agents=config,
            loaded_agents=config,
            operator_tokens=ClusterTokens(
                transport, audience=settings.internal_audience, subject=settings.operator_subject
            ),
            authenticator=Authenticator(PostgresqlApiKeys(pool), settings.owner),
            conversations=Conversations(
                agents=config,
                conversations=PostgresqlConversations(pool),
                turns=turns,
                models=models,
                runner=runner,
            ),
            completions=Completions(agents=config, turns=turns, models=models, runner=runner),
            runner=runner,
            metrics=metrics,
            limits=ApiLimits(
                body_bytes=settings.max_body_bytes,
                body_seconds=settings.body_seconds,
                ping_seconds=settings.ping_seconds,
            ),
            lifecycle=Lifecycle(),
        )
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(config.run())
            yield services
            watching.cancel()


def _cluster() -> ClusterConfig:
    try:
        return ClusterConfig.from_environment()
    except ConfigError as error:
        raise ConfigurationError(f"the Kubernetes API cannot be reached: {error}") from error
