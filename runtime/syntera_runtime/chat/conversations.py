"""Use cases of conversations: start one, say something in it, read it."""

from collections.abc import Sequence

from syntera_crds.contract.agent_config import AgentConfig

from ..errors import AgentNotFound, ConversationNotFound, SynteraError
from ..models import (
    BegunTurn,
    Conversation,
    ConversationId,
    EndedTurn,
    Ending,
    Message,
    MessageId,
    ModelRequest,
    NewConversation,
    Role,
    TenantId,
    TurnStart,
)
from ..ports import AgentCatalogue, ChatModels, ConversationStore, TurnStore
from .events import ReplyCompleted, ReplyDelta, ReplyFailed, ReplyStarted, TurnEvent
from .feed import Feed
from .generation import Generation
from .prompt import build_conversation_prompt
from .runner import TurnRunner


class Conversations:
    """What can be done with conversations."""

    def __init__(
        self,
        *,
        agents: AgentCatalogue,
        conversations: ConversationStore,
        turns: TurnStore,
        models: ChatModels,
        runner: TurnRunner,
    ) -> None:
        self._agents = agents
        self._conversations = conversations
        self._turns = turns
        self._models = models
        self._runner = runner

    async def start(self, tenant_id: TenantId, *, agent: str) -> NewConversation:
        """Begin a conversation with an agent, which speaks first if it has a greeting.

        Raises:
            AgentNotFound: There is no such agent.
            StoreUnavailable: Nothing was stored.
        """
        config = self._agent(agent)
        return await self._conversations.add_conversation(tenant_id, agent=config.name, greeting=config.greeting)

    async def get(self, tenant_id: TenantId, conversation_id: ConversationId) -> Conversation:
        """A conversation.

        Raises:
            ConversationNotFound: There is none with that id.
            StoreUnavailable: It cannot be read.
        """
        conversation = await self._conversations.find_conversation(tenant_id, conversation_id)
        if conversation is None:
            raise ConversationNotFound
        return conversation

    async def messages(
        self, tenant_id: TenantId, conversation_id: ConversationId, *, after: MessageId | None, limit: int
    ) -> Sequence[Message]:
        """The messages that follow `after`, or the first ones; oldest first.

        A question without a reply at the end may have lost the process that replied; then the reader is told.

        Raises:
            ConversationNotFound: There is no conversation with that id.
            StoreUnavailable: They cannot be read.
        """
        messages = await self._conversations.list_messages(tenant_id, conversation_id, after=after, limit=limit)
        if messages and messages[-1].role is Role.USER and await self._turns.end_expired(tenant_id):
            messages = await self._conversations.list_messages(tenant_id, conversation_id, after=after, limit=limit)
        if not messages:
            await self.get(tenant_id, conversation_id)
        return messages

    async def send(self, tenant_id: TenantId, conversation_id: ConversationId, *, content: str) -> Feed[TurnEvent]:
        """Store what the user says and let the agent reply. From here on the turn goes on by itself.

        Raises:
            ConversationNotFound: There is no conversation with that id.
            AgentNotFound: Its agent is gone.
            ConversationBusy: The agent still replies to an earlier message.
            ShuttingDown: This process begins no turn any more.
            StoreUnavailable: Nothing was stored.
        """
        with self._runner.admission():
            conversation = await self.get(tenant_id, conversation_id)
            agent = self._agent(conversation.agent)
            begun = await self._turns.begin_turn(
                tenant_id,
                conversation_id,
                start=TurnStart(agent.name, agent.revision, self._runner.limits.lease),
                content=content,
                history=agent.history_messages - 1,
            )
            return self._reply(tenant_id, agent, begun)

    def _reply(self, tenant_id: TenantId, agent: AgentConfig, begun: BegunTurn) -> Feed[TurnEvent]:
        prompt = build_conversation_prompt(agent, begun.history, begun.user_message.content)
        generation = Generation(self._models, agent.models, ModelRequest(messages=prompt))
        reply = _Reply(begun, generation)
        self._runner.start(
            tenant_id,
            begun.turn,
            generation,
            on_text=reply.say,
            store_end=lambda: self._turns.end_turn(tenant_id, begun, outcome=generation.outcome, ending=reply.ending()),
            on_end=reply.end,
        )
        return reply.feed

    def _agent(self, name: str) -> AgentConfig:
        config = self._agents.get(name)
        if config is None:
            raise AgentNotFound(f"There is no agent {name!r}.")
        return config


class _Reply:
    """Numbers the events of one turn and feeds them to its reader."""

    def __init__(self, begun: BegunTurn, generation: Generation) -> None:
        self._begun = begun
        self._generation = generation
        self._number = begun.last_event
        self.feed: Feed[TurnEvent] = Feed()
        self.feed.publish(ReplyStarted(self._next_number(), begun))

    def say(self, text: str) -> None:
        self.feed.publish(ReplyDelta(self._next_number(), self._begun.reply_id, text))

    def ending(self) -> Ending:
        return Ending(text=self._generation.text, last_event=self._number + 1)

    def end(self, ended: EndedTurn | SynteraError) -> None:
        number = self._next_number()
        error = self._generation.error
        if isinstance(ended, SynteraError):
            self.feed.publish(ReplyFailed(number, self._begun, None, error or ended))
        elif error is not None:
            self.feed.publish(ReplyFailed(number, self._begun, ended, error))
        else:
            self.feed.publish(ReplyCompleted(number, ended))
        self.feed.end()

    def _next_number(self) -> int:
        self._number += 1
        return self._number
