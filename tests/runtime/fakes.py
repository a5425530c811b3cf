"""Stand-ins for the outside world of a runtime, each saying in its name that it is one."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from syntera_crds.contract.agent_config import AgentConfig, ModelCandidate
from syntera_crds.contract.internal_api import LoadedAgent
from syntera_runtime.errors import TokenRefused
from syntera_runtime.models import FinishReason, ModelEvent, ModelFinished, ModelRequest, ModelStarted, TextDelta, Usage


class FakeChatModels:
    """Plays scripts, one per request: a string is said, an exception raised, an event awaited, a usage reported."""

    def __init__(self) -> None:
        self.scripts: list[list[str | Exception | asyncio.Event | Usage]] = []
        self.finish_reason: FinishReason = "stop"
        self.asked: list[tuple[Sequence[ModelCandidate], ModelRequest]] = []
        self.closed = 0

    @property
    def last_request(self) -> ModelRequest:
        """What was asked last."""
        return self.asked[-1][1]

    async def stream(
        self, candidates: Sequence[ModelCandidate], request: ModelRequest
    ) -> AsyncGenerator[ModelEvent, None]:
        """See `ChatModels`."""
        self.asked.append((candidates, request))
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
