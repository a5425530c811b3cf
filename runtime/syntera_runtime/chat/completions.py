"""The use case of chat completions: an agent answers messages that the client keeps itself.

Nothing of the text is stored, only the turn with its usage.
"""

from dataclasses import replace

from ..errors import AgentNotFound, ClientDisconnected, StoreUnavailable, SynteraError
from ..models import ModelRequest, TenantId, Turn, TurnStart
from ..ports import AgentCatalogue, ChatModels, TurnStore
from .events import CompletionDelta, CompletionEnded, CompletionEvent, CompletionFailed
from .feed import Feed
from .generation import Generation
from .prompt import build_completion_prompt
from .runner import TurnRunner


class Completion:
    """A running chat completion."""

    def __init__(self, turn: Turn, agent_revision: int, generation: Generation) -> None:
        self.turn = turn
        self.agent_revision = agent_revision
        self._generation = generation
        self.feed: Feed[CompletionEvent] = Feed()

    def abandon(self) -> None:
        """Stop it: its reader has left, and the text would be kept nowhere."""
        self.feed.leave()
        self._generation.stop(ClientDisconnected())

    def say(self, text: str) -> None:
        """Tell the reader the next piece of text."""
        self.feed.publish(CompletionDelta(text))

    def end(self, ended: Turn | SynteraError) -> None:
        """Tell the reader how it ended. A whole answer is the client's even if its usage could not be stored."""
        generation = self._generation
        if generation.error is not None:
            self.feed.publish(CompletionFailed(generation.error))
        elif isinstance(ended, SynteraError) and not isinstance(ended, StoreUnavailable):
            self.feed.publish(CompletionFailed(ended))
        else:
            turn = self.turn if isinstance(ended, SynteraError) else ended
            turn = replace(turn, usage=generation.usage)
            self.feed.publish(CompletionEnded(turn, generation.text, generation.finish_reason or "stop"))
        self.feed.end()


class Completions:
    """What can be done without a conversation."""

    def __init__(self, *, agents: AgentCatalogue, turns: TurnStore, models: ChatModels, runner: TurnRunner) -> None:
        self._agents = agents
        self._turns = turns
        self._models = models
        self._runner = runner

    async def start(self, tenant_id: TenantId, *, agent: str, request: ModelRequest) -> Completion:
        """Let an agent answer.

        Args:
            request: What the client asks for, with its own messages; the agent's instructions are put before them.

        Raises:
            AgentNotFound: There is no such agent.
            ShuttingDown: This process begins no turn any more.
            StoreUnavailable: The turn could not be stored, so nothing was asked.
        """
        config = self._agents.get(agent)
        if config is None:
            raise AgentNotFound(f"There is no agent {agent!r}.")
        prompt = build_completion_prompt(config, request.messages)
        generation = Generation(self._models, config.models, replace(request, messages=prompt))
        with self._runner.admission():
            turn = await self._turns.begin_completion(
                tenant_id, start=TurnStart(config.name, config.revision, self._runner.limits.lease)
            )
            completion = Completion(turn, config.revision, generation)
            self._runner.start(
                tenant_id,
                turn,
                generation,
                on_text=completion.say,
                store_end=lambda: self._turns.end_completion(tenant_id, turn.id, outcome=generation.outcome),
                on_end=completion.end,
            )
        return completion
