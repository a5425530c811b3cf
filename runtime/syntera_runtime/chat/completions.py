"""The use case of chat completions: an agent answers messages that the client keeps itself.

Nothing of the text is stored, only the turn with its usage.
"""

from dataclasses import replace

from syntera_crds.contract.agent_config import AgentConfig

from ..errors import BudgetExhausted, ClientDisconnected, ImagesNotTaken, StoreUnavailable, SynteraError
from ..models.conversations import Failure
from ..models.exchange import ModelRequest, TextDelta
from ..models.identity import Principal
from ..models.ids import TenantId
from ..models.tokens import estimate_messages
from ..models.turns import BegunCompletion, Turn, TurnOutcome, TurnStart
from ..models.usage import LimitLevel, LimitMet
from ..ports.chat_models import ChatModels
from ..ports.configuration import AgentCatalogue
from ..ports.turns import TurnStore
from ..usage.budgets import Budgets, person_of, soften
from .agents import agent_to_talk_to
from .events import CompletionCited, CompletionDelta, CompletionEnded, CompletionEvent, CompletionFailed
from .feed import Feed
from .generation import Generation, News
from .grounding import Cited, Groundings, Retrieved
from .passages import estimate_passages
from .prompt import build_completion_prompt, takes_images
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

    def tell(self, news: News) -> None:
        """Tell the reader what comes. What was looked up has no place in a completion before its first text."""
        match news:
            case TextDelta(text):
                self.feed.publish(CompletionDelta(text))
            case Cited(citation):
                self.feed.publish(CompletionCited(citation))
            case Retrieved():
                pass

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
            self.feed.publish(
                CompletionEnded(
                    turn,
                    generation.text,
                    generation.finish_reason or "stop",
                    citations=generation.citations,
                    refusal=generation.refusal,
                )
            )
        self.feed.end()


class Completions:
    """What can be done without a conversation."""

    def __init__(
        self,
        *,
        agents: AgentCatalogue,
        turns: TurnStore,
        models: ChatModels,
        runner: TurnRunner,
        budgets: Budgets,
        groundings: Groundings,
    ) -> None:
        self._groundings = groundings
        self._agents = agents
        self._turns = turns
        self._models = models
        self._runner = runner
        self._budgets = budgets

    def check_images(self, principal: Principal, *, agent: str) -> None:
        """Return if the agent may be shown images.

        Raises:
            AgentNotFound: There is no such agent.
            SignInNeeded: It does not talk to anonymous visitors.
            ImagesNotTaken: None of its models takes any.
        """
        _check_images(agent_to_talk_to(self._agents, principal, agent))

    async def start(self, principal: Principal, *, agent: str, request: ModelRequest) -> Completion:
        """Let an agent answer.

        Args:
            request: What the client asks for, with its own messages; the agent's instructions are put before them.

        Raises:
            AgentNotFound: There is no such agent.
            SignInNeeded: It does not talk to anonymous visitors.
            BudgetExhausted: A limit on tokens is reached.
            ImagesNotTaken: There are images in the request, and none of the agent's models takes any.
            ShuttingDown: This process begins no turn any more.
            StoreUnavailable: The turn could not be stored, so nothing was asked.
        """
        tenant_id = principal.tenant_id
        config = agent_to_talk_to(self._agents, principal, agent)
        if any(message.images for message in request.messages):
            _check_images(config)
        prompt = build_completion_prompt(config, request.messages)
        with self._runner.admission():
            begun = await self._turns.begin_completion(
                tenant_id,
                start=TurnStart(
                    config.name,
                    config.revision,
                    self._runner.limits.lease,
                    person=person_of(principal),
                    prompt_tokens=estimate_messages(prompt, with_images=takes_images(config))
                    + estimate_passages(config),
                ),
            )
            turn, limit = begun.turn, self._budgets.check(config, begun.spent)
            if limit is not None and limit.level is LimitLevel.HARD:
                raise await self._refuse(tenant_id, config, begun, limit)
            asked = config if limit is None else soften(config)
            said = [message.content for message in request.messages if message.role == "user"]
            generation = Generation(
                self._models,
                asked.models,
                replace(request, messages=prompt),
                grounding=self._groundings.open(principal, config, said=said, customer=principal.contact_id),
                limit=limit,
            )
            completion = Completion(turn, config.revision, generation)
            self._runner.start(
                tenant_id,
                turn,
                generation,
                on_news=completion.tell,
                store_end=lambda: self._turns.end_completion(tenant_id, turn.id, outcome=generation.outcome),
                on_end=completion.end,
            )
        return completion

    async def _refuse(
        self, tenant_id: TenantId, agent: AgentConfig, begun: BegunCompletion, limit: LimitMet
    ) -> BudgetExhausted:
        """End a turn whose limit is reached; the error to raise."""
        refusal = self._budgets.refusal(agent, limit.budget, begun.spent)
        outcome = TurnOutcome(failure=Failure(refusal.code, refusal.message), limit=limit)
        await self._turns.end_completion(tenant_id, begun.turn.id, outcome=outcome)
        return refusal


def _check_images(config: AgentConfig) -> None:
    if not takes_images(config):
        raise ImagesNotTaken
