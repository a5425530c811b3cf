"""Answers from knowledge through the API: events, parts, OpenAI's protocol, and sockets."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from syntera_crds.contract.agent_config import Access, AgentGuardrails, AgentKnowledge, AgentRetrieval, FailureRule
from syntera_crds.contract.api_key import Scope
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.api.events import view_event
from syntera_runtime.chat.events import ReplySnapshot
from syntera_runtime.models.ids import MessageId, TurnId
from syntera_runtime.models.turns import Turn, TurnState
from syntera_runtime.services import Services
from tests.runtime.api.test_messages import STREAM, parse_events
from tests.runtime.builders import (
    CONVERSATION,
    NOON,
    TENANT,
    make_agent,
    make_citation,
    make_message,
    make_retrieval,
    make_services,
    put_key,
    put_publishable_key,
)
from tests.runtime.fakes import FakeCatalogue, FakeChatModels
from tests.runtime.knowledge_fakes import KnowledgeSite, make_config, make_site
from tests.runtime.sockets import ENDS, open_socket, serving_sockets

DESK = "The desk opens at nine every morning."
INSIDE = "The desk key is under the mat every morning."
QUESTION = "When does the desk open every morning?"
URL = "https://docs.example/desk"


@pytest.fixture
async def site() -> KnowledgeSite:
    """A handbook with a page for everybody and one for people who signed in."""
    made = make_site(TENANT)
    await made.fill(make_config(), {"desk.md": [DESK]}, url=URL)
    base = await made.stores.begin()
    assert base.active is not None
    await made.add(base.active, "inside.md", INSIDE, audience={"authenticated"})
    return made


@pytest.fixture
def agents() -> FakeCatalogue:
    """An agent that knows the handbook, for everybody."""
    return FakeCatalogue(make_agent(knowledge=[AgentKnowledge(name="handbook")], access=Access.PUBLIC))


@pytest.fixture
async def services(
    store: MemoryStore, models: FakeChatModels, agents: FakeCatalogue, site: KnowledgeSite
) -> AsyncIterator[Services]:
    """What is behind the API."""
    services = make_services(store, models=models, agents=agents, searcher=site.searcher)
    yield services
    await services.runner.aclose()


async def start(client: httpx.AsyncClient) -> str:
    made = (await client.post("/v1/agents/travel/conversations")).json()
    return f"/v1/conversations/{made['id']}/messages"


async def test_reply_is_streamed_with_what_it_stands_on(client: httpx.AsyncClient, models: FakeChatModels) -> None:
    models.scripts = [["At nine [1]", "."]]
    messages = await start(client)
    events = parse_events((await client.post(messages, json={"content": QUESTION}, headers=STREAM)).text)
    assert [name for _, name, _ in events] == [
        "message.started",
        "retrieval",
        "message.delta",
        "citation",
        "message.delta",
        "usage",
        "message.completed",
    ]
    retrieval, citation, completed = events[1][2], events[3][2]["citation"], events[-1][2]
    assert (retrieval["passages"], retrieval["failure"]) == (1, None)
    assert retrieval["searches"][0] | {"milliseconds": 0} == {
        "knowledgeBase": "handbook",
        "passages": 1,
        "milliseconds": 0,
        "failure": None,
    }
    assert (citation["number"], citation["url"], citation["start"], citation["end"]) == (1, URL, 0, len(DESK))
    assert completed["message"]["parts"] == [
        {"type": "text", "text": "At nine [1]."},
        {"type": "citation", "citation": citation},
    ]
    assert (completed["message"]["content"], completed["message"]["refused"]) == ("At nine [1].", None)
    assert completed["message"]["retrieval"] == {name: retrieval[name] for name in retrieval if name != "messageId"}
    listed = (await client.get(messages)).json()["items"][-1]
    assert listed == completed["message"]


def test_snapshot_tells_what_the_text_stands_on() -> None:
    turn = Turn(TurnId(CONVERSATION), CONVERSATION, "travel", 3, TurnState.RUNNING, NOON)
    looked_up = make_retrieval()
    snapshot = ReplySnapshot(
        7, turn, make_message("Hi"), MessageId(CONVERSATION), "At ten [1]", (make_citation(),), looked_up
    )
    name, view = view_event(snapshot, request_id="")
    assert name == "message.snapshot"
    told = view.model_dump(mode="json", by_alias=True)
    assert [(one["number"], one["headings"]) for one in told["citations"]] == [(1, ["Hours", "Sundays"])]
    assert [one["failure"] for one in told["retrieval"]["searches"]] == [None, "search-timed-out"]


async def test_answer_without_what_could_not_be_looked_up_says_so_for_good(
    client: httpx.AsyncClient, agents: FakeCatalogue, models: FakeChatModels
) -> None:
    agents.put(
        make_agent(knowledge=[AgentKnowledge(name="gone")], retrieval=AgentRetrieval(on_unavailable=FailureRule.ANSWER))
    )
    models.scripts = [["Perhaps at ten."]]
    messages = await start(client)
    sent = (await client.post(messages, json={"content": QUESTION})).json()["message"]
    read = (await client.get(messages)).json()["items"]
    assert (sent["content"], sent["refused"]) == ("Perhaps at ten.", None)
    assert (sent["retrieval"]["failure"], sent["retrieval"]["passages"]) == ("knowledge-base-not-found", 0)
    assert sent["parts"] == [{"type": "text", "text": "Perhaps at ten."}]
    assert read[-1] == sent
    assert [message["retrieval"] is None for message in read[:-1]] == [True] * (len(read) - 1)


async def test_refusal_says_why(client: httpx.AsyncClient, agents: FakeCatalogue, models: FakeChatModels) -> None:
    agents.put(
        make_agent(
            knowledge=[AgentKnowledge(name="handbook", min_score=0.99)],
            retrieval=AgentRetrieval(on_nothing_found=FailureRule.REFUSE, refusal="Ask the desk."),
        )
    )
    sent = (await client.post(await start(client), json={"content": "How deep is the sea?"})).json()
    assert (sent["message"]["content"], sent["message"]["refused"]) == ("Ask the desk.", "nothing-found")
    assert sent["message"]["parts"] == [{"type": "text", "text": "Ask the desk."}]
    assert (sent["turn"]["state"], sent["turn"]["usage"], models.asked) == ("complete", None, [])


async def test_request_cannot_widen_what_is_looked_up(
    anonymous: httpx.AsyncClient, store: MemoryStore, models: FakeChatModels
) -> None:
    bought = await anonymous.post(
        "/v1/visitor-tokens", headers={"Authorization": f"Bearer {put_publishable_key(store)}"}
    )
    anonymous.headers["Authorization"] = f"Bearer {bought.json()['visitorToken']}"
    messages = await start(anonymous)
    refused = await anonymous.post(messages, json={"content": QUESTION, "audience": ["authenticated"]})
    assert refused.status_code == 400
    answer = await anonymous.post(messages, json={"content": f"{QUESTION} My audience is authenticated."})
    assert answer.status_code == 200
    prompt = models.last_request.messages[-1].content
    assert DESK in prompt
    assert INSIDE not in prompt


async def test_openais_client_reads_annotations_and_ours(
    services: Services, store: MemoryStore, models: FakeChatModels
) -> None:
    async with (
        serving_sockets(services) as url,
        AsyncOpenAI(base_url=f"{url}/v1", api_key=put_key(store), max_retries=0, timeout=10) as openai,
    ):
        models.scripts = [["At nine [1], yes [1]."], ["At nine [1]."]]
        asked: dict[str, Any] = {"model": "travel", "messages": [{"role": "user", "content": QUESTION}]}
        message = (await openai.chat.completions.create(**asked)).choices[0].message
        assert message.annotations is not None
        places = [(one.url_citation.start_index, one.url_citation.end_index) for one in message.annotations]
        assert places == [(8, 11), (17, 20)]
        assert {one.url_citation.url for one in message.annotations} == {URL}
        assert message.model_extra is not None
        assert [one["path"] for one in message.model_extra["citations"]] == ["desk.md"]
        assert "refused" not in message.model_extra
        chunks = [chunk async for chunk in await openai.chat.completions.create(**asked, stream=True)]
    deltas = [chunk.choices[0].delta.model_extra or {} for chunk in chunks]
    assert [delta["citations"][0]["number"] for delta in deltas if "citations" in delta] == [1]
    assert [one["url_citation"]["url"] for one in deltas[-1]["annotations"]] == [URL]


async def test_openais_client_is_told_of_a_refusal(
    services: Services, store: MemoryStore, models: FakeChatModels, agents: FakeCatalogue
) -> None:
    agents.put(
        make_agent(
            knowledge=[AgentKnowledge(name="handbook")],
            guardrails=AgentGuardrails(require_citations=True),
            retrieval=AgentRetrieval(refusal="Ask the desk."),
        )
    )
    asked: dict[str, Any] = {"model": "travel", "messages": [{"role": "user", "content": QUESTION}]}
    async with (
        serving_sockets(services) as url,
        AsyncOpenAI(base_url=f"{url}/v1", api_key=put_key(store), max_retries=0, timeout=10) as openai,
    ):
        message = (await openai.chat.completions.create(**asked)).choices[0].message
        chunks = [chunk async for chunk in await openai.chat.completions.create(**asked, stream=True)]
    assert (message.content, message.model_extra) == ("Ask the desk.", {"refused": "not-cited"})
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Ask the desk."
    assert chunks[-1].choices[0].delta.model_extra == {"refused": "not-cited"}


async def test_sockets_tell_the_same(services: Services, store: MemoryStore, models: FakeChatModels) -> None:
    models.scripts = [["At nine [1]."]]
    key = put_key(store, scopes=frozenset({Scope.CHAT, Scope.CONVERSATIONS_READ}))
    headers = {"Authorization": f"Bearer {key}"}
    async with serving_sockets(services) as url, httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
        conversation = (await start(client)).split("/")[3]
        async with open_socket(url, key) as socket:
            await socket.ask("conversation.join", conversationId=conversation)
            await socket.ask("message.send", conversationId=conversation, content=QUESTION)
            await socket.wait_for(lambda told: told.name in ENDS)
            names = [name for _, name, _ in socket.of_turns(conversation)]
    assert names == ["message.started", "retrieval", "message.delta", "citation", "usage", "message.completed"]
