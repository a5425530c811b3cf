"""Turns that stand on knowledge: looked up for whoever asks, cited exactly, and by the agent's rule where there is none."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from syntera_crds.contract.agent_config import (
    AgentGuardrails,
    AgentKnowledge,
    AgentLimits,
    AgentRetrieval,
    FailureRule,
    ModelPrice,
)
from syntera_runtime.chat.events import (
    CompletionCited,
    CompletionDelta,
    CompletionEnded,
    ReplyCited,
    ReplyCompleted,
    ReplyDelta,
    ReplyFailed,
    ReplyRetrieved,
    ReplyStarted,
    ReplyStopped,
    ReplyUsed,
    TurnEvent,
)
from syntera_runtime.chat.passages import BEGINNING, NOTHING_FOUND, RULES, UNAVAILABLE
from syntera_runtime.chat.transcript import build_markdown
from syntera_runtime.errors import ModelUnavailable, StoreUnavailable
from syntera_runtime.identity.roles import Role, roles_of
from syntera_runtime.ids import new_id
from syntera_runtime.models.conversations import Message, MessageState
from syntera_runtime.models.exchange import ModelMessage, ModelRequest
from syntera_runtime.models.files import CitationPart, RetrievalPart, TextPart
from syntera_runtime.models.identity import Principal
from syntera_runtime.models.ids import ContactId, ConversationId
from syntera_runtime.models.knowledge import Citation, Refusal
from syntera_runtime.models.turns import Usage
from syntera_runtime.services import Services
from tests.runtime.builders import ASKER, TENANT, make_agent, make_candidate, make_services
from tests.runtime.fakes import FakeCatalogue, FakeChatModels, FakeFailingStore
from tests.runtime.knowledge.test_search import Failing
from tests.runtime.knowledge_fakes import KnowledgeSite, make_config, make_site

DESK = "The desk opens at nine every morning."
SKIS = "Skis cost forty euros on every flight."
SALARY = "The salary of a clerk is secret."


class Talk:
    """An agent with knowledge, and somebody who talks to it."""

    def __init__(self, site: KnowledgeSite, **options: Any) -> None:
        self.site = site
        self.store = FakeFailingStore()
        self.models = FakeChatModels()
        self.agents = FakeCatalogue()
        self.put_agent()
        self.services: Services = make_services(
            self.store, models=self.models, agents=self.agents, searcher=site.searcher, **options
        )

    def put_agent(self, **fields: Any) -> None:
        """Publish the agent anew."""
        knowledge = fields.pop("knowledge", [AgentKnowledge(name="handbook")])
        self.agents.put(make_agent(knowledge=knowledge, **fields))

    async def begin(self, who: Principal = ASKER) -> ConversationId:
        """A conversation."""
        return (await self.services.conversations.start(who, agent="travel")).conversation.id

    async def send(self, content: str, *, who: Principal = ASKER, to: ConversationId | None = None) -> list[TurnEvent]:
        """Say something, and hear all of the turn."""
        feed = await self.services.conversations.send(who, to or await self.begin(who), content=content)
        events = []
        async with asyncio.timeout(10):
            while (event := await feed.next()) is not None:
                events.append(event)
        return events

    def metric(self, name: str, **labels: str) -> float | None:
        """A metric's value."""
        return self.services.metrics.registry.get_sample_value(name, labels)

    @property
    def prompt(self) -> str:
        """What the model was told last."""
        return "\n---\n".join(message.content for message in self.models.last_request.messages)


@pytest.fixture
async def site() -> KnowledgeSite:
    """A handbook with three documents, one of them for administrators."""
    made = make_site(TENANT)
    await made.fill(make_config(), {"desk.md": [DESK], "skis.md": [SKIS]}, url="https://docs.example/guide")
    base = await made.stores.begin()
    assert base.active is not None
    await made.add(base.active, "salaries.md", SALARY, audience={"admin"})
    return made


@pytest.fixture
async def talk(site: KnowledgeSite) -> AsyncIterator[Talk]:
    """About the handbook."""
    made = Talk(site)
    yield made
    await made.services.runner.aclose()


def reply_of(events: list[TurnEvent]) -> Message:
    """The stored reply."""
    ended = events[-1]
    assert isinstance(ended, ReplyCompleted | ReplyStopped | ReplyFailed)
    assert ended.ended is not None
    return ended.ended.reply


def retrieved_in(events: list[TurnEvent]) -> ReplyRetrieved:
    """What was looked up."""
    (found,) = [event for event in events if isinstance(event, ReplyRetrieved)]
    return found


def cited_in(events: list[TurnEvent]) -> list[Citation]:
    """What was cited while the text came."""
    return [event.citation for event in events if isinstance(event, ReplyCited)]


# ---- answers ----


async def test_answer_cites_what_the_model_was_given(talk: Talk) -> None:
    talk.models.scripts = [["At nine [", "1]", ". Ask there.", Usage(90, 9)]]
    events = await talk.send("When does the desk open every morning?")
    assert [type(event) for event in events] == [
        ReplyStarted,
        ReplyRetrieved,
        ReplyDelta,
        ReplyDelta,
        ReplyCited,
        ReplyDelta,
        ReplyUsed,
        ReplyCompleted,
    ]
    assert [event.number for event in events] == list(range(1, 9))
    (citation,) = cited_in(events)
    assert (citation.number, citation.path, citation.quote) == (1, "desk.md", DESK)
    assert (citation.start, citation.end, citation.url) == (0, len(DESK), "https://docs.example/guide")
    reply = reply_of(events)
    retrieval = retrieved_in(events).retrieval
    assert reply.parts == (TextPart("At nine [1]. Ask there."), CitationPart(citation), RetrievalPart(retrieval))
    assert (reply.content, reply.citations, reply.refused) == ("At nine [1]. Ask there.", (citation,), None)
    assert f"[1]\n> desk.md\n>\n> {DESK}" in talk.prompt
    assert RULES in talk.models.last_request.messages[0].content


async def test_turn_tells_what_was_looked_up(talk: Talk) -> None:
    events = await talk.send("When does the desk open every morning?")
    retrieval = retrieved_in(events).retrieval
    (search,) = retrieval.searches
    assert (search.knowledge_base, search.passages, search.failure) == ("handbook", retrieval.passages, None)
    assert retrieval.passages > 0
    assert (retrieval.failure, retrieval.seconds > 0) == (None, True)
    assert talk.metric("syntera_knowledge_retrievals_total", agent="travel", outcome="found") == 1
    assert talk.metric("syntera_knowledge_passages_given_total", agent="travel") == retrieval.passages
    assert talk.metric("syntera_knowledge_replies_total", agent="travel", outcome="uncited") == 1


async def test_numbers_that_were_not_given_are_no_citations(talk: Talk) -> None:
    talk.models.scripts = [["At nine [7], says [0] and [1] [1]."]]
    events = await talk.send("When does the desk open every morning?")
    assert [citation.number for citation in cited_in(events)] == [1]
    assert reply_of(events).content == "At nine [7], says [0] and [1] [1]."


async def test_agent_without_knowledge_looks_nothing_up(talk: Talk) -> None:
    talk.put_agent(knowledge=[])
    talk.models.scripts = [["Hello [1]"]]
    events = await talk.send("Hi")
    assert [type(event) for event in events] == [ReplyStarted, ReplyDelta, ReplyUsed, ReplyCompleted]
    assert reply_of(events).parts == ()
    assert talk.site.embedder.asked == []


async def test_passages_count_for_the_usage_that_is_estimated(talk: Talk) -> None:
    talk.models.scripts = [["At nine [1]."]]
    with_passages = reply_usage(await talk.send("When does the desk open every morning?"))
    talk.put_agent(knowledge=[])
    talk.models.scripts = [["At nine [1]."]]
    without = reply_usage(await talk.send("When does the desk open every morning?"))
    assert with_passages.prompt_tokens > without.prompt_tokens + 100


def reply_usage(events: list[TurnEvent]) -> Usage:
    (used,) = [event.usage for event in events if isinstance(event, ReplyUsed)]
    return used


async def test_passages_keep_to_the_agents_budget(talk: Talk) -> None:
    talk.put_agent(retrieval=AgentRetrieval(max_tokens=30))
    events = await talk.send("Does the desk sell skis every morning?")
    assert retrieved_in(events).retrieval.passages == 1
    assert talk.prompt.count("\n> ") < 5


async def test_short_message_is_looked_up_with_the_one_before(talk: Talk) -> None:
    conversation_id = await talk.begin()
    await talk.send("When does the desk open every morning?", to=conversation_id)
    await talk.send("And on Sundays?", to=conversation_id)
    assert talk.site.embedder.asked[-1][1] == ["When does the desk open every morning? And on Sundays?"]


async def test_several_knowledge_bases_are_looked_up_together(talk: Talk) -> None:
    await talk.site.fill(make_config("prices"), {"fees.md": ["The fee for skis is forty euros."]})
    talk.put_agent(knowledge=[AgentKnowledge(name="handbook", top_k=1), AgentKnowledge(name="prices")])
    events = await talk.send("What do skis cost on every flight?")
    retrieval = retrieved_in(events).retrieval
    assert [(one.knowledge_base, one.passages) for one in retrieval.searches] == [("handbook", 1), ("prices", 1)]
    assert SKIS in talk.prompt
    assert "The fee for skis" in talk.prompt


async def test_knowledge_base_that_fails_takes_nothing_from_the_others(talk: Talk) -> None:
    talk.put_agent(knowledge=[AgentKnowledge(name="gone"), AgentKnowledge(name="handbook")])
    events = await talk.send("What do skis cost on every flight?")
    retrieval = retrieved_in(events).retrieval
    assert [one.failure for one in retrieval.searches] == ["knowledge-base-not-found", None]
    assert (retrieval.failure, retrieval.passages > 0) == (None, True)


# ---- who may know what ----

CUSTOMER = Principal(
    tenant_id=TENANT,
    subject="contact:1",
    scopes=frozenset({"chat"}),
    contact_id=ContactId(new_id()),
    is_anonymous=False,
)
VISITOR = Principal(
    tenant_id=TENANT, subject="contact:2", scopes=frozenset({"chat"}), contact_id=ContactId(new_id()), is_anonymous=True
)
MEMBER = Principal(tenant_id=TENANT, subject="user:m", scopes=frozenset({"chat"}), roles=roles_of(Role.MEMBER))
OWNER = Principal(tenant_id=TENANT, subject="user:o", scopes=frozenset({"chat"}), roles=roles_of(Role.OWNER))


@pytest.mark.parametrize(
    ("who", "audiences"),
    [
        (VISITOR, {"public"}),
        (CUSTOMER, {"public", "authenticated"}),
        (ASKER, {"public"}),
        (MEMBER, {"public", "authenticated", "member"}),
        (OWNER, {"public", "authenticated", "member", "admin", "owner"}),
    ],
)
async def test_documents_are_looked_up_for_who_asks(talk: Talk, who: Principal, audiences: set[str]) -> None:
    everybody = {"public", "authenticated", "member", "admin", "owner"}
    words = {name: f"The {name} secret word is {name}-xyz." for name in everybody}
    site = make_site(TENANT)
    await site.fill(make_config(), {})
    base = await site.stores.begin()
    assert base.active is not None
    for name, text in words.items():
        await site.add(base.active, f"{name}.md", text, audience={name})
    talk = Talk(site)
    talk.put_agent(access="Public", knowledge=[AgentKnowledge(name="handbook", top_k=10)])
    await talk.send("What is the secret word of all?", who=who)
    assert {name for name, text in words.items() if text in talk.prompt} == audiences
    request = ModelRequest(messages=(ModelMessage("user", "What is the secret word of all?"),))
    completion = await talk.services.completions.start(who, agent="travel", request=request)
    while await completion.feed.next() is not None:
        pass
    assert {name for name, text in words.items() if text in talk.prompt} == audiences
    await talk.services.runner.aclose()


@pytest.mark.parametrize("who", [MEMBER, OWNER])
async def test_nobody_has_a_customer_told_what_is_not_for_customers(talk: Talk, who: Principal) -> None:
    talk.put_agent(access="Public", knowledge=[AgentKnowledge(name="handbook", top_k=10)])
    theirs = await talk.begin(VISITOR)
    await talk.send("What does the administrator earn every year?", who=who, to=theirs)
    assert SALARY not in talk.prompt
    assert DESK in talk.prompt
    await talk.send("What does the administrator earn every year?", who=OWNER)
    assert SALARY in talk.prompt


# ---- nothing found, or nobody can look ----


async def test_model_is_told_when_nothing_is_found(talk: Talk) -> None:
    talk.put_agent(knowledge=[AgentKnowledge(name="handbook", min_score=0.99)])
    events = await talk.send("How deep is the sea?")
    assert (retrieved_in(events).retrieval.passages, retrieved_in(events).retrieval.failure) == (0, None)
    assert NOTHING_FOUND in talk.models.last_request.messages[0].content
    assert BEGINNING not in talk.prompt
    assert reply_of(events).refused is None


async def test_model_is_told_nothing_where_nothing_was_asked_in_words(talk: Talk) -> None:
    events = await talk.send("")
    assert retrieved_in(events).retrieval.passages == 0
    assert talk.models.last_request.messages[0].content == "You help travellers."
    talk.put_agent(retrieval=AgentRetrieval(on_nothing_found=FailureRule.REFUSE))
    assert reply_of(await talk.send("")).refused is Refusal.NOTHING_FOUND
    assert talk.site.embedder.asked == []


async def test_agent_refuses_without_a_model_when_nothing_is_found_and_its_rule_says_so(talk: Talk) -> None:
    talk.put_agent(
        knowledge=[AgentKnowledge(name="handbook", min_score=0.99)],
        retrieval=AgentRetrieval(on_nothing_found=FailureRule.REFUSE, refusal="Ask the desk."),
    )
    events = await talk.send("How deep is the sea?")
    assert [type(event) for event in events] == [ReplyStarted, ReplyRetrieved, ReplyDelta, ReplyCompleted]
    reply = reply_of(events)
    assert (reply.content, reply.refused, reply.state) == (
        "Ask the desk.",
        Refusal.NOTHING_FOUND,
        MessageState.COMPLETE,
    )
    assert reply.all_parts == (TextPart("Ask the desk."),)
    assert talk.models.asked == []
    ended = events[-1]
    assert isinstance(ended, ReplyCompleted)
    assert ended.ended.turn.usage is None
    assert talk.metric("syntera_knowledge_replies_total", agent="travel", outcome="nothing-found") == 1


async def away(**failures: Exception | None) -> Talk:
    """A handbook whose store fails, or never answers."""
    site = make_site(TENANT, reader=lambda store: Failing(store, **failures))
    await site.fill(make_config(), {"desk.md": [DESK]})
    return Talk(site, search_seconds=0.05)


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (StoreUnavailable(store="PostgreSQL"), "store-unavailable"),
        (None, "search-timed-out"),
        (ValueError("x"), "internal-error"),
    ],
)
async def test_agent_refuses_when_nobody_can_look(failure: Exception | None, code: str) -> None:
    talk = await away(search_words=failure)
    events = await talk.send("When does the desk open every morning?")
    retrieval = retrieved_in(events).retrieval
    assert (retrieval.failure, retrieval.searches[0].failure, retrieval.passages) == (code, code, 0)
    assert reply_of(events).refused is Refusal.KNOWLEDGE_UNAVAILABLE
    assert talk.models.asked == []
    assert talk.metric("syntera_knowledge_retrievals_total", agent="travel", outcome=code) == 1


async def test_model_is_told_that_nobody_can_look_when_the_rule_says_so() -> None:
    talk = await away(search_words=StoreUnavailable(store="PostgreSQL"))
    talk.put_agent(retrieval=AgentRetrieval(on_unavailable=FailureRule.ANSWER))
    await talk.send("When does the desk open every morning?")
    assert UNAVAILABLE in talk.models.last_request.messages[0].content


async def test_reply_keeps_that_nobody_could_look_though_it_answers() -> None:
    talk = await away(search_words=StoreUnavailable(store="PostgreSQL"))
    talk.put_agent(retrieval=AgentRetrieval(on_unavailable=FailureRule.ANSWER))
    events = await talk.send("When does the desk open every morning?")
    reply = reply_of(events)
    assert reply.retrieval == retrieved_in(events).retrieval
    assert reply.retrieval is not None
    assert (reply.retrieval.failure, reply.refused) == ("store-unavailable", None)


async def test_search_that_lost_its_model_and_finds_nothing_is_no_search_that_found_nothing(talk: Talk) -> None:
    talk.site.embedder.failure = ModelUnavailable()
    events = await talk.send("Xylophones?")
    assert retrieved_in(events).retrieval.failure == "model-unavailable"
    assert reply_of(events).refused is Refusal.KNOWLEDGE_UNAVAILABLE


async def test_words_do_when_the_question_cannot_be_embedded(talk: Talk) -> None:
    talk.site.embedder.failure = ModelUnavailable()
    talk.models.scripts = [["At nine [1]."]]
    events = await talk.send("When does the desk open every morning?")
    retrieval = retrieved_in(events).retrieval
    assert (retrieval.failure, retrieval.searches[0].failure) == (None, "model-unavailable")
    assert len(cited_in(events)) == 1


async def test_knowledge_base_that_is_deleted_between_turns_is_missed(talk: Talk) -> None:
    conversation_id = await talk.begin()
    talk.models.scripts = [["At nine [1]."]]
    await talk.send("When does the desk open every morning?", to=conversation_id)
    del talk.site.configs.configs["handbook"]
    events = await talk.send("When does the desk open every morning?", to=conversation_id)
    assert retrieved_in(events).retrieval.failure == "knowledge-base-not-found"
    assert reply_of(events).refused is Refusal.KNOWLEDGE_UNAVAILABLE
    messages = await talk.services.conversations.messages(ASKER, conversation_id, after=None, limit=10)
    assert [len(message.citations) for message in messages] == [0, 1, 0, 0]


# ---- citations are required ----

REQUIRED = AgentGuardrails(require_citations=True)


async def test_answer_is_held_back_until_it_is_known_to_cite_something(talk: Talk) -> None:
    talk.put_agent(guardrails=REQUIRED)
    released = asyncio.Event()
    talk.models.scripts = [["At nine ", released, "[1].", Usage(90, 9)]]
    feed = await talk.services.conversations.send(
        ASKER, await talk.begin(), content="When does the desk open every morning?"
    )
    assert isinstance(await feed.next(), ReplyStarted)
    assert isinstance(await feed.next(), ReplyRetrieved)
    await talk.models.begun.wait()
    await asyncio.sleep(0)
    assert feed.take_ready(10) == []
    released.set()
    assert [type(await feed.next()) for _ in range(4)] == [ReplyDelta, ReplyCited, ReplyUsed, ReplyCompleted]


async def test_answer_without_a_citation_is_replaced_and_paid_for(talk: Talk) -> None:
    talk.put_agent(
        guardrails=REQUIRED,
        models=[
            make_candidate(
                price=ModelPrice(currency="EUR", input_per_million_tokens="1", output_per_million_tokens="1")
            )
        ],
    )
    talk.models.scripts = [["At nine, ", "I think [9].", Usage(90, 9)]]
    events = await talk.send("When does the desk open every morning?")
    assert [type(event) for event in events] == [ReplyStarted, ReplyRetrieved, ReplyDelta, ReplyUsed, ReplyCompleted]
    reply = reply_of(events)
    assert (reply.refused, "think" in reply.content, cited_in(events)) == (Refusal.NOT_CITED, False, [])
    ended = events[-1]
    assert isinstance(ended, ReplyCompleted)
    assert (ended.ended.turn.usage, ended.ended.turn.cost is not None) == (Usage(90, 9), True)
    assert talk.metric("syntera_knowledge_replies_total", agent="travel", outcome="not-cited") == 1


async def test_no_model_is_asked_for_an_answer_that_could_cite_nothing(talk: Talk) -> None:
    talk.put_agent(guardrails=REQUIRED, knowledge=[AgentKnowledge(name="handbook", min_score=0.99)])
    assert reply_of(await talk.send("How deep is the sea?")).refused is Refusal.NOTHING_FOUND
    talk.put_agent(guardrails=REQUIRED, knowledge=[])
    assert reply_of(await talk.send("How deep is the sea?")).refused is Refusal.NOTHING_FOUND
    assert talk.models.asked == []


async def test_answer_that_breaks_off_while_it_is_held_back_is_not_shown(talk: Talk) -> None:
    talk.put_agent(guardrails=REQUIRED)
    talk.models.scripts = [["At nine [1], or", ModelUnavailable(endpoint="stand-in")]]
    events = await talk.send("When does the desk open every morning?")
    assert isinstance(events[-1], ReplyFailed)
    assert (reply_of(events).content, reply_of(events).citations) == ("", ())
    assert talk.metric("syntera_knowledge_replies_total", agent="travel", outcome="cited") is None


# ---- ends ----


async def test_turn_that_is_stopped_while_it_looks_things_up_used_nothing(talk: Talk) -> None:
    talk.site.embedder.released.clear()
    conversation_id = await talk.begin()
    feed = await talk.services.conversations.send(
        ASKER, conversation_id, content="When does the desk open every morning?"
    )
    while not talk.site.embedder.asked:  # noqa: ASYNC110  # it announces nothing
        await asyncio.sleep(0)
    await talk.services.conversations.stop(ASKER, conversation_id)
    events = []
    async with asyncio.timeout(10):
        while (event := await feed.next()) is not None:
            events.append(event)
    assert [type(event) for event in events] == [ReplyStarted, ReplyStopped]
    ended = events[-1]
    assert isinstance(ended, ReplyStopped)
    assert (ended.ended.turn.usage, ended.ended.reply.content, talk.models.asked) == (None, "", [])


async def test_stopped_answer_keeps_what_it_cited(talk: Talk) -> None:
    talk.models.scripts = [["At nine [1], or", asyncio.Event()]]
    conversation_id = await talk.begin()
    feed = await talk.services.conversations.send(
        ASKER, conversation_id, content="When does the desk open every morning?"
    )
    while not isinstance(await feed.next(), ReplyCited):
        pass
    await talk.services.conversations.stop(ASKER, conversation_id)
    messages = [event async for event in _rest(feed)]
    reply = reply_of(messages)
    assert (reply.state, reply.content, len(reply.citations)) == (MessageState.STOPPED, "At nine [1], or", 1)
    assert reply.retrieval is not None


async def _rest(feed: Any) -> AsyncIterator[Any]:
    async with asyncio.timeout(10):
        while (event := await feed.next()) is not None:
            yield event


async def test_limit_is_told_without_a_look_at_knowledge(talk: Talk) -> None:
    conversation_id = await talk.begin()
    talk.put_agent(limits=AgentLimits(turns_per_conversation=1))
    await talk.send("When does the desk open every morning?", to=conversation_id)
    events = await talk.send("What do skis cost on every flight?", to=conversation_id)
    assert not any(isinstance(event, ReplyRetrieved) for event in events)
    assert reply_of(events).limited_by is not None


async def test_transcript_tells_what_was_cited(talk: Talk) -> None:
    conversation_id = await talk.begin()
    talk.models.scripts = [["At nine [1]."]]
    await talk.send("When does the desk open every morning?", to=conversation_id)
    text = build_markdown(await talk.services.management.transcript(ASKER, conversation_id))
    assert f"- [1] desk.md, https://docs.example/guide (characters 0 to {len(DESK)})" in text


# ---- completions ----


async def test_completion_cites_and_refuses_as_conversations_do(talk: Talk) -> None:
    request = ModelRequest(messages=(ModelMessage("user", "When does the desk open every morning?"),))
    talk.models.scripts = [["At nine [1]", "."]]
    completion = await talk.services.completions.start(ASKER, agent="travel", request=request)
    events = [event async for event in _rest(completion.feed)]
    ended = events[-1]
    assert [type(event) for event in events] == [CompletionDelta, CompletionCited, CompletionDelta, CompletionEnded]
    assert isinstance(ended, CompletionEnded)
    assert [citation.path for citation in ended.citations] == ["desk.md"]
    talk.put_agent(guardrails=REQUIRED)
    talk.models.scripts = [["At nine."]]
    completion = await talk.services.completions.start(ASKER, agent="travel", request=request)
    refused = [event async for event in _rest(completion.feed)][-1]
    assert isinstance(refused, CompletionEnded)
    assert (refused.refusal, refused.finish_reason) == (Refusal.NOT_CITED, "stop")
