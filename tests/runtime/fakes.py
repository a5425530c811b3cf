"""Stand-ins for the outside world of a runtime, each saying in its name that it is one."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from syntera_crds.contract.agent_config import AgentConfig, ModelCandidate
from syntera_crds.contract.internal_api import LoadedAgent
from syntera_crds.contract.knowledge_config import KnowledgeBaseConfig, SearchMode
from syntera_crds.contract.tenant_config import TenantConfig
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.adapters.memory_events import MemoryEventLog
from syntera_runtime.errors import (
    ChallengeUnavailable,
    IssuerUnavailable,
    SigningKeyMissing,
    StoreUnavailable,
    TokenRefused,
)
from syntera_runtime.models.exchange import (
    FinishReason,
    ModelEvent,
    ModelFinished,
    ModelRequest,
    ModelStarted,
    TextDelta,
)
from syntera_runtime.models.identity import ChallengeVerdict, Contact, StoredApiKey
from syntera_runtime.models.ids import TenantId, TurnId
from syntera_runtime.models.knowledge import SearchRequest, SearchResult
from syntera_runtime.models.live_events import EventPosition, TurnRecord
from syntera_runtime.models.turns import BegunCompletion, BegunTurn, EndedTurn, Turn, Usage


class FakeChatModels:
    """Plays scripts, one per request: a string is said, an exception raised, an event awaited, a usage reported."""

    def __init__(self) -> None:
        self.scripts: list[list[str | Exception | asyncio.Event | Usage]] = []
        self.finish_reason: FinishReason = "stop"
        self.asked: list[tuple[Sequence[ModelCandidate], ModelRequest]] = []
        self.closed = 0
        self.begun = asyncio.Event()
        """Set when a request arrives."""
        self.ended = asyncio.Event()
        """Set when an answer has ended, however it did."""

    @property
    def last_request(self) -> ModelRequest:
        """What was asked last."""
        return self.asked[-1][1]

    async def stream(
        self, candidates: Sequence[ModelCandidate], request: ModelRequest
    ) -> AsyncGenerator[ModelEvent, None]:
        """See `ChatModels`."""
        self.asked.append((candidates, request))
        self.begun.set()
        script = self.scripts.pop(0) if self.scripts else ["Hello", " world", Usage(7, 2)]
        usage: Usage | None = None
        has_started = False
        try:
            for step in script:
                match step:
                    case Exception():
                        raise step
                    case asyncio.Event():
                        await step.wait()
                    case Usage():
                        usage = step
                    case str():
                        if not has_started:
                            yield ModelStarted(candidates[0].endpoint, f"{candidates[0].model}-dated")
                            has_started = True
                        yield TextDelta(step)
            yield ModelFinished(self.finish_reason, usage)
        finally:
            self.closed += 1
            self.ended.set()


PLAIN_TENANT = TenantConfig(name="acme", display_name="Acme")
"""Trusts no issuer, limits nothing and has visitors solve no challenge."""


class FakeCatalogue:
    """Catalogues that tests fill by hand; they are also what the operator's questions are answered from."""

    def __init__(self, *agents: AgentConfig, tenant: TenantConfig | None = PLAIN_TENANT) -> None:
        self.agents = {agent.name: agent for agent in agents}
        self.knowledge_bases: dict[str, KnowledgeBaseConfig] = {}
        self.tenant_config = tenant
        self.is_loaded = True

    def tenant(self) -> TenantConfig | None:
        """See `TenantCatalogue`."""
        return self.tenant_config

    def put(self, agent: AgentConfig) -> None:
        """Add an agent or replace it."""
        self.agents[agent.name] = agent

    def get(self, name: str) -> AgentConfig | None:
        """See `AgentCatalogue`."""
        return self.agents.get(name)

    def all(self) -> Sequence[AgentConfig]:
        """See `AgentCatalogue`."""
        return [self.agents[name] for name in sorted(self.agents)]

    def knowledge_base(self, name: str) -> KnowledgeBaseConfig | None:
        """See `KnowledgeBases`."""
        return self.knowledge_bases.get(name)

    def all_knowledge_bases(self) -> Sequence[KnowledgeBaseConfig]:
        """See `KnowledgeBases`."""
        return [self.knowledge_bases[name] for name in sorted(self.knowledge_bases)]

    def loaded(self, agent: str) -> LoadedAgent | None:
        """See `LoadedAgents`."""
        config = self.agents.get(agent)
        return None if config is None else LoadedAgent(name=agent, revision=config.revision, digest=config.digest())

    async def wait_loaded(self, agent: str, *, digest: str, seconds: float) -> LoadedAgent | None:
        """See `LoadedAgents`; it does not wait."""
        return self.loaded(agent)


class FakeSearcher:
    """Finds what tests tell it to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, SearchRequest]] = []
        self.result: SearchResult | Exception = SearchResult([], [], SearchMode.HYBRID)

    async def search(self, tenant_id: TenantId, knowledge_base: str, request: SearchRequest) -> SearchResult:
        """See `Searches`."""
        self.asked.append((knowledge_base, request))
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


class FakeSigningKey:
    """A signing key that tests take away, and change."""

    def __init__(self) -> None:
        self.value: bytes | None = b"a signing key of thirty-two bytes"

    def secret(self) -> bytes:
        """See `SigningKey`."""
        if self.value is None:
            raise SigningKeyMissing
        return self.value


class FakeKeySets:
    """Key sets by their address; those that are missing cannot be had."""

    def __init__(self) -> None:
        self.published: dict[str, bytes] = {}
        self.asked: list[str] = []
        self._asking = asyncio.Condition()
        self.answering = asyncio.Event()
        """Cleared: the issuers do not answer for now."""
        self.answering.set()

    async def fetch(self, url: str, *, ca_bundle: str | None) -> bytes:
        """See `KeySets`."""
        async with self._asking:
            self.asked.append(url)
            self._asking.notify_all()
        await self.answering.wait()
        if url not in self.published:
            raise IssuerUnavailable
        return self.published[url]

    async def wait_until_asked(self, times: int) -> None:
        """Return when so many questions have come in all."""
        async with asyncio.timeout(30), self._asking:
            await self._asking.wait_for(lambda: len(self.asked) >= times)


class FakeChallenges:
    """A provider of challenges that takes one response, as often as it comes; None: it is away."""

    def __init__(self) -> None:
        self.right: str | None = "solved"

    async def verify(self, url: str, *, secret: str, response: str, address: str | None) -> ChallengeVerdict:
        """See `ChallengeVerifier`."""
        if self.right is None:
            raise ChallengeUnavailable
        return ChallengeVerdict(is_solved=response == self.right)


class FakeOperatorTokens:
    """Knows one token."""

    async def verify(self, token: str) -> None:
        """See `OperatorTokens`."""
        if token != "operator":
            raise TokenRefused


class FakeUnfinishedModels(FakeChatModels):
    """Ends its answers without saying so, as a proxy that cuts a connection does."""

    async def stream(
        self, candidates: Sequence[ModelCandidate], request: ModelRequest
    ) -> AsyncGenerator[ModelEvent, None]:
        """See `ChatModels`."""
        async for event in super().stream(candidates, request):
            if not isinstance(event, ModelFinished):
                yield event


class FakeFailingStore(MemoryStore):
    """A store in memory whose calls fail for as long as a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: dict[str, list[Exception]] = {}
        """By the method's name: what its next calls raise."""
        self._calls: asyncio.Queue[str] = asyncio.Queue()
        self._counts: Counter[str] = Counter()
        self._held: dict[str, asyncio.Event] = {}

    def fail(self, method: str, *errors: Exception) -> None:
        """Let the next calls of a method raise these."""
        self.failures.setdefault(method, []).extend(errors)

    async def wait_for_call(self, method: str) -> None:
        """Return when a method is called, or was called and not waited for yet; calls of others are skipped."""
        async with asyncio.timeout(30):
            while await self._calls.get() != method:
                pass

    async def begin_turn(self, *args: Any, **options: Any) -> BegunTurn:
        """See `TurnStore`."""
        self._maybe_fail("begin_turn")
        return await super().begin_turn(*args, **options)

    async def begin_completion(self, *args: Any, **options: Any) -> BegunCompletion:
        """See `TurnStore`."""
        self._maybe_fail("begin_completion")
        return await super().begin_completion(*args, **options)

    async def end_turn(self, *args: Any, **options: Any) -> EndedTurn:
        """See `TurnStore`."""
        self._maybe_fail("end_turn")
        return await super().end_turn(*args, **options)

    async def end_completion(self, *args: Any, **options: Any) -> Turn:
        """See `TurnStore`."""
        self._maybe_fail("end_completion")
        return await super().end_completion(*args, **options)

    async def renew_leases(self, *args: Any, **options: Any) -> Mapping[TurnId, bool]:
        """See `TurnStore`."""
        self._maybe_fail("renew_leases")
        return await super().renew_leases(*args, **options)

    async def turns_since(self, *args: Any, **options: Any) -> Sequence[TurnRecord]:
        """See `TurnStore`."""
        self._maybe_fail("turns_since")
        return await super().turns_since(*args, **options)

    async def request_stop(self, *args: Any, **options: Any) -> TurnId | None:
        """See `TurnStore`."""
        self._maybe_fail("request_stop")
        return await super().request_stop(*args, **options)

    async def find_position(self, *args: Any, **options: Any) -> EventPosition | None:
        """See `ConversationStore`."""
        self._maybe_fail("find_position")
        return await super().find_position(*args, **options)

    async def find_api_key(self, *args: Any, **options: Any) -> StoredApiKey | None:
        """See `ApiKeyStore`."""
        self._maybe_fail("find_api_key")
        return await super().find_api_key(*args, **options)

    async def note_used(self, *args: Any, **options: Any) -> None:
        """See `KeyRegister`."""
        self._maybe_fail("note_used")
        await super().note_used(*args, **options)

    async def list_origins(self, *args: Any, **options: Any) -> frozenset[str]:
        """See `KeyRegister`."""
        self._maybe_fail("list_origins")
        await self._released("list_origins")
        return await super().list_origins(*args, **options)

    async def identify_contact(self, *args: Any, **options: Any) -> Contact:
        """See `ContactStore`."""
        self._maybe_fail("identify_contact")
        return await super().identify_contact(*args, **options)

    def hold(self, method: str) -> None:
        """Let calls of a method wait until `release`."""
        self._held[method] = asyncio.Event()

    def release(self, method: str) -> None:
        """Let them go on."""
        self._held.pop(method).set()

    async def _released(self, method: str) -> None:
        if method in self._held:
            await self._held[method].wait()

    def calls_of(self, method: str) -> int:
        """How often a method was called."""
        return self._counts[method]

    def _maybe_fail(self, method: str) -> None:
        self._calls.put_nowait(method)
        self._counts[method] += 1
        if waiting := self.failures.get(method):
            raise waiting.pop(0)


class FakeAbsentEventLog(MemoryEventLog):
    """A log in memory that takes nothing for as long as a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[Exception] = []
        """What the next writes raise."""

    def fail(self, times: int) -> None:
        """Let the next writes find it away."""
        self.errors.extend(StoreUnavailable(store="Redis") for _ in range(times))

    async def append(self, *args: Any, **options: Any) -> bool:
        """See `EventLog`."""
        if self.errors:
            raise self.errors.pop(0)
        return await super().append(*args, **options)
