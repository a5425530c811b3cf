"""Use cases of conversations: start one, say something in it, stop the reply, read it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from syntera_crds.contract.agent_config import AgentConfig

from ..errors import (
    ConversationBusy,
    ConversationEnded,
    ConversationNotFound,
    CustomerRefused,
    IdempotencyKeyReused,
    RequestRepeated,
    StoreUnavailable,
    SynteraError,
)
from ..models.conversations import (
    Channel,
    Conversation,
    ConversationStart,
    ConversationState,
    Message,
    NewConversation,
    Role,
)
from ..models.exchange import ModelRequest, TextDelta
from ..models.identity import Principal
from ..models.ids import ContactId, ConversationId, FileId, MessageId, RequestKey, TenantId, TurnId
from ..models.live_events import TurnRecord
from ..models.tokens import estimate_prompt
from ..models.turns import BegunTurn, EndedTurn, Ending, TurnStart
from ..models.usage import LimitLevel
from ..ports.chat_models import ChatModels
from ..ports.configuration import AgentCatalogue
from ..ports.conversations import ConversationStore
from ..ports.live_events import EventLog
from ..ports.turns import TurnStore
from ..usage.budgets import Budgets, person_of, say_limited, soften
from .agents import agent_to_talk_to
from .attachments import AttachmentReader
from .changes import ChangeKind, Changes, ConversationChanged
from .event_writers import EventWriter, EventWriters
from .events import (
    ReplyCited,
    ReplyDelta,
    ReplyFailed,
    ReplyRetrieved,
    ReplyStarted,
    ReplyUsed,
    TurnEvent,
    ending_event,
)
from .feed import Feed
from .followers import Follower, Followers
from .generation import Generation, LimitedReply, News
from .grounding import Cited, Groundings, Retrieved
from .passages import estimate_passages
from .prompt import build_conversation_prompt, takes_images
from .runner import TurnRunner
from .sweeper import Sweeper
from .text import build_title, clean


class Conversations:
    """What can be done with conversations. For a customer there are none but their own."""

    def __init__(
        self,
        *,
        agents: AgentCatalogue,
        conversations: ConversationStore,
        turns: TurnStore,
        models: ChatModels,
        runner: TurnRunner,
        events: EventLog,
        writers: EventWriters,
        followers: Followers,
        sweeper: Sweeper,
        budgets: Budgets,
        groundings: Groundings,
        attachments: AttachmentReader,
        changes: Changes,
    ) -> None:
        self._budgets = budgets
        self._groundings = groundings
        self._attachments = attachments
        self._changes = changes
        self._followers = followers
        self._events = events
        self._writers = writers
        self._sweeper = sweeper
        self._agents = agents
        self._conversations = conversations
        self._turns = turns
        self._models = models
        self._runner = runner

    async def start(
        self,
        principal: Principal,
        *,
        agent: str,
        channel: Channel | None = None,
        title: str | None = None,
        metadata: Mapping[str, str] = {},
        request_key: RequestKey | None = None,
    ) -> NewConversation:
        """Begin a conversation with an agent, which speaks first if it has a greeting.

        The same request made again gives the conversation that it began, as it is now.

        Raises:
            AgentNotFound: There is no such agent.
            SignInNeeded: It does not talk to anonymous visitors.
            CustomerRefused: A customer wants to say what is the tenant's to say.
            StoreUnavailable: Nothing was stored.
        """
        if principal.contact_id is not None and (metadata or channel not in (None, Channel.CHAT)):
            raise CustomerRefused("Customers cannot set `metadata`, nor a `channel` other than `chat`.")
        config = agent_to_talk_to(self._agents, principal, agent)
        greeting = None if config.greeting is None else clean(config.greeting)
        start = ConversationStart(
            agent=config.name,
            greeting=greeting,
            channel=channel or (Channel.API if principal.contact_id is None else Channel.CHAT),
            title=title,
            metadata=metadata,
            request_key=request_key,
        )
        made = await self._conversations.add_conversation(principal.tenant_id, start, owner=principal.contact_id)
        if made.conversation.agent != agent:
            raise IdempotencyKeyReused
        self._changes.tell(ConversationChanged.of(made.conversation, ChangeKind.CREATED))
        return made

    async def get(self, principal: Principal, conversation_id: ConversationId) -> Conversation:
        """A conversation.

        Raises:
            ConversationNotFound: There is none with that id.
            StoreUnavailable: It cannot be read.
        """
        conversation = await self._conversations.find_conversation(
            principal.tenant_id, conversation_id, owner=principal.contact_id
        )
        if conversation is None:
            raise ConversationNotFound
        return conversation

    async def messages(
        self, principal: Principal, conversation_id: ConversationId, *, after: MessageId | None, limit: int
    ) -> Sequence[Message]:
        """The messages that follow `after`, or the first ones; oldest first.

        A question without a reply at the end may have lost the process that replied; then the reader is told.

        Raises:
            ConversationNotFound: There is no conversation with that id.
            StoreUnavailable: They cannot be read.
        """
        tenant_id, owner = principal.tenant_id, principal.contact_id
        read = partial(
            self._conversations.list_messages, tenant_id, conversation_id, owner=owner, after=after, limit=limit
        )
        messages = await read()
        if messages and messages[-1].role is Role.USER and await self._sweeper.sweep(tenant_id):
            messages = await read()
        if not messages:
            await self.get(principal, conversation_id)
        return messages

    async def send(
        self,
        principal: Principal,
        conversation_id: ConversationId,
        *,
        content: str,
        file_ids: Sequence[FileId] = (),
        request_key: RequestKey | None = None,
    ) -> Feed[TurnEvent]:
        """Store what the user says and let the agent reply. From here on the turn goes on by itself.

        Raises:
            ConversationNotFound: There is no conversation with that id.
            ConversationEnded: It is not active.
            AgentNotFound: Its agent is gone.
            SignInNeeded: It does not talk to anonymous visitors any more.
            ConversationBusy: The agent still replies to an earlier message.
            RequestRepeated: A request with that key was made before; see `send_once`.
            FileNotFound: A file is not there, or somebody else's.
            FileAttached: A file belongs to a message already.
            ShuttingDown: This process begins no turn any more.
            StoreUnavailable: Nothing was stored.
        """
        with self._runner.admission():
            conversation = await self.get(principal, conversation_id)
            if conversation.state is not ConversationState.ACTIVE:
                raise ConversationEnded
            agent = agent_to_talk_to(self._agents, principal, conversation.agent)
            begun = await self._begin(
                principal, conversation_id, agent, content=content, file_ids=file_ids, request_key=request_key
            )
            said = ConversationChanged.of(conversation, ChangeKind.MESSAGE)
            self._changes.tell(said)
            on_end = partial(self._changes.tell, said)
            return self._reply(principal, agent, begun, customer=conversation.contact_id, on_end=on_end)

    async def send_once(
        self,
        principal: Principal,
        conversation_id: ConversationId,
        *,
        content: str,
        file_ids: Sequence[FileId] = (),
        request_key: RequestKey | None,
    ) -> Feed[TurnEvent] | TurnRecord:
        """As `send`; where the same request was made before, the turn that it began, as far as that is.

        Raises:
            IdempotencyKeyReused: Another request had that key.
            Others: As `send`.
        """
        if request_key is None:
            return await self.send(principal, conversation_id, content=content, file_ids=file_ids)
        find = partial(
            self._find_repeated,
            principal.tenant_id,
            conversation_id,
            content=content,
            file_ids=file_ids,
            request_key=request_key,
        )
        if (repeated := await find()) is not None:
            return repeated
        try:
            return await self.send(
                principal, conversation_id, content=content, file_ids=file_ids, request_key=request_key
            )
        except (RequestRepeated, ConversationBusy):  # by the same request in this very moment, or by another
            if (repeated := await find()) is not None:
                return repeated
            raise

    async def _find_repeated(
        self,
        tenant_id: TenantId,
        conversation_id: ConversationId,
        *,
        content: str,
        file_ids: Sequence[FileId],
        request_key: RequestKey,
    ) -> TurnRecord | None:
        found = await self._turns.find_repeated(tenant_id, request_key)
        if found is None:
            return None
        attached = [file.id for file in found.user_message.attachments]
        said_before = (found.turn.conversation_id, found.user_message.content, attached)
        if said_before != (conversation_id, content, list(file_ids)):
            raise IdempotencyKeyReused
        return found

    async def follow(self, principal: Principal, conversation_id: ConversationId, *, after: int | None) -> Follower:
        """Read the events of whatever turns come, after an event or from now on; see `Followers.follow`.

        Raises:
            ConversationNotFound: There is no conversation with that id.
            ShuttingDown: This process takes no readers any more.
            StoreUnavailable: Nobody knows how far the conversation is.
        """
        return await self._followers.follow(principal, conversation_id, after=after)

    async def stop(
        self, principal: Principal, conversation_id: ConversationId, *, turn_id: TurnId | None = None
    ) -> TurnId | None:
        """Stop the turn that runs, wherever it does; what was said until then is kept.

        Returns:
            The turn that is going to end; None: none runs, or not `turn_id`.

        Raises:
            ConversationNotFound: There is no conversation with that id.
            StoreUnavailable: Nobody knows what runs.
        """
        tenant_id = principal.tenant_id
        await self.get(principal, conversation_id)
        stopped = await self._turns.request_stop(tenant_id, conversation_id, turn_id)
        if stopped is not None and not self._runner.stop(stopped):
            # Without the log, its process sees it when it renews the lease.
            with suppress(StoreUnavailable):
                await self._events.ask_stop(tenant_id, stopped)
        return stopped

    async def _begin(
        self,
        principal: Principal,
        conversation_id: ConversationId,
        agent: AgentConfig,
        *,
        content: str,
        file_ids: Sequence[FileId],
        request_key: RequestKey | None,
    ) -> BegunTurn:
        """Begin a turn; one that is in the way although its process is dead is ended first."""

        tenant_id = principal.tenant_id

        async def begin() -> BegunTurn:
            return await self._turns.begin_turn(
                tenant_id,
                conversation_id,
                owner=principal.contact_id,
                start=TurnStart(
                    agent.name,
                    agent.revision,
                    self._runner.limits.lease,
                    request_key=request_key,
                    title=build_title(content),
                    person=person_of(principal),
                    prompt_tokens=estimate_prompt((agent.instructions, content)) + estimate_passages(agent),
                    takes_images=takes_images(agent),
                ),
                content=content,
                history=agent.history_messages - 1,
                file_ids=file_ids,
            )

        try:
            return await begin()
        except ConversationBusy as busy:
            if not busy.is_expired or not await self._sweeper.sweep(tenant_id):
                raise
        return await begin()

    def _reply(
        self,
        principal: Principal,
        agent: AgentConfig,
        begun: BegunTurn,
        *,
        customer: ContactId | None,
        on_end: Callable[[], None],
    ) -> Feed[TurnEvent]:
        tenant_id = principal.tenant_id
        generation = self._generation(principal, agent, begun, customer=customer)
        writer = self._writers.open(
            tenant_id,
            begun,
            said=lambda: generation.said,
            is_held=lambda: self._runner.holds(begun.turn.id),
        )
        reply = _Reply(begun, generation, writer, on_end)
        self._runner.start(
            tenant_id,
            begun.turn,
            generation,
            on_news=reply.tell,
            store_end=lambda: self._turns.end_turn(tenant_id, begun, outcome=generation.outcome, ending=reply.ending()),
            on_end=reply.end,
        )
        return reply.feed

    def _generation(
        self, principal: Principal, agent: AgentConfig, begun: BegunTurn, *, customer: ContactId | None
    ) -> Generation:
        """What is going to make the reply, by what the limits leave."""
        limit = self._budgets.check(agent, begun.spent)
        if limit is not None and limit.level is LimitLevel.HARD:
            return LimitedReply(say_limited(agent, limit.budget), limit)
        asked = agent if limit is None else soften(agent)
        question = begun.user_message
        prompt = build_conversation_prompt(asked, begun.history, question.content, question.attachments)
        fill = partial(
            self._attachments.fill,
            principal.tenant_id,
            needed=[file.id for file in question.attachments],
            with_images=takes_images(asked),
        )
        said_before = [message.content for message in begun.history if message.role is Role.USER]
        return Generation(
            self._models,
            asked.models,
            ModelRequest(messages=prompt),
            grounding=self._groundings.open(principal, agent, said=(*said_before, question.content), customer=customer),
            prepare=fill,
            limit=limit,
        )


class _Reply:
    """Numbers the events of one turn and gives them to its reader and to the log."""

    def __init__(
        self, begun: BegunTurn, generation: Generation, writer: EventWriter, on_end: Callable[[], None]
    ) -> None:
        self._on_end = on_end
        self._begun = begun
        self._generation = generation
        self._writer = writer
        self._number = begun.last_event
        self.feed: Feed[TurnEvent] = Feed()
        self._publish(ReplyStarted(self._next_number(), begun.turn, begun.user_message, begun.reply_id))

    def tell(self, news: News) -> None:
        number, reply_id = self._next_number(), self._begun.reply_id
        match news:
            case TextDelta(text):
                self._publish(ReplyDelta(number, reply_id, text))
            case Retrieved(retrieval):
                self._publish(ReplyRetrieved(number, reply_id, retrieval))
            case Cited(citation):
                self._publish(ReplyCited(number, reply_id, citation))

    def ending(self) -> Ending:
        generation, said = self._generation, self._generation.said
        return Ending(
            text=said.text,
            last_event=self._number + (1 if generation.used is None else 2),
            citations=said.citations,
            refusal=generation.refusal,
            retrieval=said.retrieval,
        )

    def end(self, ended: EndedTurn | SynteraError) -> None:
        error, used = self._generation.error, self._generation.used
        if used is not None and not isinstance(ended, SynteraError):
            self._publish(ReplyUsed(self._next_number(), ended.turn.id, self._begun.reply_id, used))
        number = self._next_number()
        if isinstance(ended, SynteraError):
            # Not for the log: somebody else ends this turn, or has done so.
            self.feed.publish(ReplyFailed(number, None, error or ended))
        elif error is not None:
            self._publish(ReplyFailed(number, ended, error))
        else:
            self._publish(ending_event(number, ended))
        self.feed.end()
        self._writer.close(is_stored=not isinstance(ended, SynteraError))
        if not isinstance(ended, SynteraError):
            self._on_end()

    def _publish(self, event: TurnEvent) -> None:
        self.feed.publish(event)
        self._writer.publish(event)

    def _next_number(self) -> int:
        self._number += 1
        return self._number
