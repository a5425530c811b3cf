"""Stand-ins for the outside world of a runtime, each saying in its name that it is one."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from syntera_crds.contract.agent_config import AgentConfig, ModelCandidate
from syntera_crds.contract.internal_api import LoadedAgent
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.errors import TokenRefused
from syntera_runtime.models import (
    BegunTurn,
    EndedTurn,
    FinishReason,
    ModelEvent,
    ModelFinished,
    ModelRequest,
    ModelStarted,
    StoredApiKey,
    TextDelta,
    Turn,
    Usage,
)


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


class FakeCatalogue:
    """A catalogue that tests fill by hand; it is also what the operator's questions are answered from."""

    def __init__(self, *agents: AgentConfig) -> None:
        self.agents = {agent.name: agent for agent in agents}
        self.is_loaded = True

    def put(self, agent: AgentConfig) -> None:
        """Add an agent or replace it."""
        self.agents[agent.name] = agent

    def get(self, name: str) -> AgentConfig | None:
        """See `AgentCatalogue`."""
        return self.agents.get(name)

    def all(self) -> Sequence[AgentConfig]:
        """See `AgentCatalogue`."""
        return [self.agents[name] for name in sorted(self.agents)]

    def loaded(self, agent: str) -> LoadedAgent | None:
        """See `LoadedAgents`."""
        config = self.agents.get(agent)
        return None if config is None else LoadedAgent(name=agent, revision=config.revision, digest=config.digest())

    def all_loaded(self) -> Sequence[LoadedAgent]:
        """See `LoadedAgents`."""
        return [loaded for name in sorted(self.agents) if (loaded := self.loaded(name))]

    async def wait_loaded(self, agent: str, *, digest: str, seconds: float) -> LoadedAgent | None:
        """See `LoadedAgents`; it does not wait."""
        return self.loaded(agent)


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

    def fail(self, method: str, *errors: Exception) -> None:
        """Let the next calls of a method raise these."""
        self.failures.setdefault(method, []).extend(errors)

    async def wait_for_call(self, method: str) -> None:
        """Return when a method is called, or was called and not waited for yet; calls of others are skipped."""
        async with asyncio.timeout(5):
            while await self._calls.get() != method:
                pass

    async def begin_turn(self, *args: Any, **options: Any) -> BegunTurn:
        """See `TurnStore`."""
        self._maybe_fail("begin_turn")
        return await super().begin_turn(*args, **options)

    async def begin_completion(self, *args: Any, **options: Any) -> Turn:
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

    async def renew_lease(self, *args: Any, **options: Any) -> None:
        """See `TurnStore`."""
        self._maybe_fail("renew_lease")
        await super().renew_lease(*args, **options)

    async def find_api_key(self, *args: Any, **options: Any) -> StoredApiKey | None:
        """See `ApiKeyStore`."""
        self._maybe_fail("find_api_key")
        return await super().find_api_key(*args, **options)

    def _maybe_fail(self, method: str) -> None:
        self._calls.put_nowait(method)
        if waiting := self.failures.get(method):
            raise waiting.pop(0)
