"""The tenant, its agents and its knowledge bases as the operator published them, kept up to date by watches; swapped agent by agent.

A published configuration takes over as soon as every Secret entry that it names can be read. Until then the one before
goes on serving, as long as it can; where there is none, the new one is shown at once, and its requests fail with the name
of the missing Secret. To the operator an agent counts as loaded only while it can be served.

A ConfigMap that cannot be read changes nothing. One that is deleted is followed after `GRACE_SECONDS`, because
the operator writes a published ConfigMap anew that somebody deleted by hand, and no request should fail meanwhile.
Revision and digest are what the ConfigMap says; nothing here computes them.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import structlog
from pydantic import ValidationError

from syntera_crds.contract import names
from syntera_crds.contract.agent_config import AgentConfig, SecretKey
from syntera_crds.contract.internal_api import LoadedAgent
from syntera_crds.contract.tenant_config import TenantConfig
from syntera_kube import Change, KubeClient, Manifest, Reflector, Selection
from syntera_kube.resources import CONFIG_MAPS

from .kubernetes_secrets import WatchedSecrets
from .published_knowledge import PublishedKnowledge, is_of_knowledge_base

GRACE_SECONDS = 3.0
START_SECONDS = 5.0
"""How long the process waits for Secrets before it calls itself ready: one broken agent must not stop the others."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Published:
    """One published configuration."""

    config: AgentConfig
    digest: str
    needs: frozenset[SecretKey]

    def loaded(self) -> LoadedAgent:
        """How the operator is told about it."""
        return LoadedAgent(name=self.config.name, revision=self.config.revision, digest=self.digest)


class KubernetesConfig:
    """The ports `AgentCatalogue`, `TenantCatalogue` and `LoadedAgents`; `secrets` is the port `Secrets`, `knowledge` is
    `KnowledgeBases`.

    Somebody must `run` it.
    """

    def __init__(self, client: KubeClient, *, namespace: str) -> None:
        """Prepare for one tenant's namespace; nothing is asked before `run`."""
        self.secrets = WatchedSecrets(client, namespace=namespace, on_change=self._look_again)
        self.knowledge = PublishedKnowledge()
        selector = f"{names.PUBLISHED_LABEL} in (agent,tenant,knowledgebase)"
        selection = Selection(namespace=namespace, label_selector=selector)
        self._config_maps = Reflector(client, CONFIG_MAPS, selection, on_change=self._take)
        self._tenant: TenantConfig | None = None
        self._published: dict[str, _Published] = {}
        self._served: Mapping[str, _Published] = MappingProxyType({})
        self._departures: dict[str, asyncio.Task[None]] = {}
        """By the name of the ConfigMap that was deleted."""
        self._changed = asyncio.Event()
        self._is_loaded = False
        self._looks_again = False
        self._group: asyncio.TaskGroup

    # What is served --------------------------------------------------------------------------------------------------

    @property
    def is_loaded(self) -> bool:
        """Whether everything was read once and all agents can be served, or waiting for their Secrets took too long."""
        return self._is_loaded

    def get(self, name: str) -> AgentConfig | None:
        """The agent of that name, or None if there is none."""
        served = self._served.get(name)
        return served.config if served else None

    def all(self) -> Sequence[AgentConfig]:
        """All agents, by name."""
        return [served.config for _, served in sorted(self._served.items())]

    def tenant(self) -> TenantConfig | None:
        """The tenant's configuration, or None while there is none."""
        return self._tenant

    def loaded(self, agent: str) -> LoadedAgent | None:
        """What is served for an agent now; None also while a Secret that it needs is missing."""
        served = self._served.get(agent)
        return served.loaded() if served and self._is_usable(served) else None

    async def wait_loaded(self, agent: str, *, digest: str, seconds: float) -> LoadedAgent | None:
        """What is served for an agent as soon as it is `digest`, else what is served after that many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while (now := self.loaded(agent)) is None or now.digest != digest:
                    await self._changed.wait()
        return self.loaded(agent)

    # Keeping up ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as self._group:
            self._group.create_task(self._config_maps.run(), name="published config maps")
            await self._config_maps.synced.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(START_SECONDS):
                    while unusable := self._unusable():
                        await self._changed.wait()
            for name, missing in unusable.items():
                log.warning("agent lacks secrets", agent=name, missing=[f"{ref.name}/{ref.key}" for ref in missing])
            self._is_loaded = True
            log.info("configuration loaded", agents=len(self._served))

    def _take(self, change: Change) -> None:
        """Note what became of a published ConfigMap."""
        name = change.object["metadata"]["name"]
        if change.new is None:
            self._departures[name] = self._group.create_task(self._leave_later(name), name=f"deleted config map {name}")
            return
        departure = self._departures.pop(name, None)
        if departure:
            departure.cancel()
        if name == names.TENANT_CONFIG:
            self._tenant = _read_tenant(change.new) or self._tenant
            self._look_again()
            return
        if is_of_knowledge_base(name):
            self.knowledge.take(change.new)
            self._look_again()
            return
        agent = _agent_name(name)
        published = _read(change.new, agent)
        if published:
            self._published[agent] = published
            self._look_again()

    async def _leave_later(self, name: str) -> None:
        await asyncio.sleep(GRACE_SECONDS)
        del self._departures[name]
        if name == names.TENANT_CONFIG:
            self._tenant = None
            self._look_again()
            log.info("tenant configuration gone")
            return
        if is_of_knowledge_base(name):
            self.knowledge.leave(name)
            self._look_again()
            return
        self._published.pop(_agent_name(name), None)
        self._look_again()

    def _look_again(self) -> None:
        """Have `_swap` run once, after everything that arrives together has arrived."""
        if not self._looks_again:
            self._looks_again = True
            asyncio.get_running_loop().call_soon(self._swap)

    def _swap(self) -> None:
        """Decide per agent what is served from now on, watch the Secrets of that and of what waits, tell who waits."""
        self._looks_again = False
        served = {name: self._choose(name, newest) for name, newest in self._published.items()}
        for name in served.keys() | self._served.keys():
            if served.get(name) is not self._served.get(name):
                _log_swap(name, served.get(name))
        self._served = MappingProxyType(served)
        needed = {ref.name for one in (*served.values(), *self._published.values()) for ref in one.needs}
        needed |= {ref.name for ref in (self._tenant.secret_keys() if self._tenant else ())}
        needed |= {ref.name for ref in self.knowledge.secrets()}
        self.secrets.keep(needed, group=self._group)
        self._changed.set()
        self._changed = asyncio.Event()

    def _choose(self, name: str, newest: _Published) -> _Published:
        before = self._served.get(name)
        must_wait = before is not None and self._is_usable(before) and not self._is_usable(newest)
        return before if before is not None and must_wait else newest

    def _is_usable(self, published: _Published) -> bool:
        return not self.secrets.missing(published.needs)

    def _unusable(self) -> dict[str, list[SecretKey]]:
        """Agents that lack Secret entries, with these."""
        needs = {name: self.secrets.missing(published.needs) for name, published in self._published.items()}
        return {name: missing for name, missing in needs.items() if missing}


def _agent_name(config_map: str) -> str:
    return config_map.removeprefix(names.published_agent_name(""))


def _read_tenant(config_map: Manifest) -> TenantConfig | None:
    """What a ConfigMap publishes, or None, with a log entry, where it is no tenant's configuration."""
    data = config_map.get("data") or {}
    try:
        config = TenantConfig.model_validate_json(data.get(names.TENANT_CONFIG_KEY, ""))
    except ValidationError as exc:
        log.error("published tenant configuration is not readable", faults=_list_faults(exc))
        return None
    log.info("tenant configuration loaded", issuers=len(config.issuers), origins=len(config.allowed_origins))
    return config


def _read(config_map: Manifest, name: str) -> _Published | None:
    """What a ConfigMap publishes, or None, with a log entry, where it is no agent's."""
    data = config_map.get("data") or {}
    try:
        config = AgentConfig.model_validate_json(data.get(names.AGENT_CONFIG_KEY, ""))
    except ValidationError as exc:
        log.error("published agent is not readable", agent=name, faults=_list_faults(exc))
        return None
    digest = data.get(names.DIGEST_KEY)
    if config.name != name or not digest or not config.models:
        log.error("published agent is not readable", agent=name, faults=["name, digest or models do not fit"])
        return None
    return _Published(config=config, digest=digest, needs=config.secret_keys())


def _list_faults(error: ValidationError) -> list[str]:
    """Places and kinds of faults only: the input holds instructions."""
    return [f"{'.'.join(map(str, fault['loc']))}: {fault['type']}" for fault in error.errors()]


def _log_swap(name: str, now: _Published | None) -> None:
    if now is None:
        log.info("agent gone", agent=name)
    else:
        log.info("agent loaded", agent=name, revision=now.config.revision, digest=now.digest)
