"""The Python client against the real API on real stores: what it can ask."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest

from syntera_crds.contract.api_key import Scope
from syntera_crds.contract.tenant_config import ChallengeConfig, TenantConfig
from syntera_runtime.client import (
    AgentNotFound,
    ApiError,
    Client,
    ConversationBusy,
    ConversationEnded,
    ConversationNotFound,
    Forbidden,
    InvalidRequest,
    MessageCompleted,
    MessageDelta,
    MessageFailed,
    MessageNotFound,
    MessageStarted,
    NotFound,
    ReplyFailed,
    RevisionMismatch,
    TurnUsage,
    Unauthenticated,
)
from syntera_runtime.errors import ModelUnavailable
from syntera_runtime.ids import new_id
from syntera_runtime.models.conversations import Channel, ConversationOrder, ConversationState, MessageState, Rating
from syntera_runtime.models.turns import TurnState
from tests.runtime.adapters.fixed_secrets import KEY

from .conftest import Api


async def test_agents_are_described(client: Client) -> None:
    (agent,) = await client.agents()
    assert (agent.name, agent.greeting, agent.suggestions) == (
        "travel",
        "Hello, how can I help?",
        ["Where is my booking?"],
    )
    assert await client.agent("travel") == agent
    assert [model.id for model in await client.models()] == ["travel"]
    assert (await client.model("travel")).id == "travel"


async def test_unknown_agent(client: Client) -> None:
    with pytest.raises(AgentNotFound) as caught:
        await client.agent("nobody")
    assert (caught.value.status, caught.value.code, caught.value.retryable) == (404, "agent-not-found", False)
    assert caught.value.request_id


@pytest.mark.parametrize("name", ["../conversations", "a/b", "a?b", "ä"])
async def test_name_is_no_path(client: Client, name: str) -> None:
    with pytest.raises(NotFound):
        await client.agent(name)


async def test_unknown_model_has_the_code_of_openais_protocol(client: Client) -> None:
    with pytest.raises(NotFound) as caught:
        await client.model("nobody")
    assert caught.value.code == "model_not_found"


async def test_conversation_from_its_beginning_to_its_end(client: Client) -> None:
    started = await client.start("travel", channel=Channel.EMAIL, title="Bags", metadata={"order": "7"})
    assert [message.content for message in started.messages] == ["Hello, how can I help?"]
    reply = await client.ask(started.id, "How many?")
    assert (reply.message.content, reply.turn.state) == ("Hello world", TurnState.COMPLETE)
    assert reply.turn.usage is not None
    assert reply.turn.usage.total_tokens == 9

    found = await client.conversation(started.id)
    assert (found.title, found.metadata, found.channel) == ("Bags", {"order": "7"}, Channel.EMAIL)
    changed = await client.change_conversation(started.id, title="Two bags", revision=found.revision)
    assert changed.title == "Two bags"
    with pytest.raises(RevisionMismatch):
        await client.change_conversation(started.id, title="Three bags", revision=found.revision)

    marks = await client.mark(started.id, read=reply.message.id)
    assert marks.read_message_id == marks.delivered_message_id == reply.message.id
    said = await client.put_feedback(started.id, reply.message.id, Rating.UP, comment="Thanks")
    assert (said.rating, said.comment) == (Rating.UP, "Thanks")

    transcript = await client.export(started.id)
    assert [message.content for message in transcript.messages] == [
        "Hello, how can I help?",
        "How many?",
        "Hello world",
    ]
    assert transcript.feedback == [said]
    assert "Hello world" in await client.export_markdown(started.id)
    await client.delete_feedback(started.id, reply.message.id)
    assert (await client.export(started.id)).feedback == []

    await client.change_conversation(started.id, state=ConversationState.ENDED)
    with pytest.raises(ConversationEnded):
        await client.ask(started.id, "Still there?")
    await client.delete_conversation(started.id)
    with pytest.raises(ConversationNotFound):
        await client.conversation(started.id)


async def test_same_key_begins_the_same_conversation(client: Client) -> None:
    one, other = [await client.start("travel", idempotency_key="once") for _ in range(2)]
    assert one.id == other.id
    assert (await client.start("travel")).id != one.id


async def test_lists_are_read_page_by_page(client: Client) -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    begun = [(await client.start("travel", title=f"number {number}")).id for number in range(5)]
    listed = [item.id async for item in client.conversations(page_size=2, created_from=before)]
    assert listed == begun[::-1]
    by_words = [item.title async for item in client.conversations(words="number -3", page_size=2)]
    assert by_words == ["number 4", "number 2", "number 1", "number 0"]
    await client.ask(begun[0], "Hi")
    (first, *_) = [item async for item in client.conversations(order=ConversationOrder.ACTIVITY)]
    assert first.id == begun[0]
    assert first.last_message is not None
    assert first.last_message.content == "Hello world"
    contents = [message.content async for message in client.messages(begun[0], page_size=1)]
    assert contents == ["Hello, how can I help?", "Hi", "Hello world"]
    nothing = [item async for item in client.conversations(states=[ConversationState.ARCHIVED])]
    assert nothing == []


async def test_events_of_a_reply(client: Client) -> None:
    conversation = (await client.start("travel")).id
    events = [event async for event in client.send(conversation, "Hi")]
    started, *deltas, used, completed = events
    assert isinstance(started, MessageStarted)
    assert started.user_message.content == "Hi"
    text = "".join(event.text for event in deltas if isinstance(event, MessageDelta))
    assert isinstance(used, TurnUsage)
    assert isinstance(completed, MessageCompleted)
    assert used.usage == completed.turn.usage
    assert text == completed.message.content == "Hello world"
    assert completed.message.id == started.message_id
    numbers = [event.number for event in events]
    assert numbers == sorted(set(numbers))


async def test_failed_reply(api: Api, client: Client) -> None:
    conversation = (await client.start("travel")).id
    api.models.scripts = [
        ["Hel", ModelUnavailable(endpoint="stand-in")],
        ["Hel", ModelUnavailable(endpoint="stand-in")],
    ]
    *_, last = [event async for event in client.send(conversation, "Hi")]
    assert isinstance(last, MessageFailed)
    with pytest.raises(ReplyFailed, match="broke off") as caught:
        await client.ask(conversation, "Hi")
    assert (caught.value.code, caught.value.retryable) == ("model-unavailable", True)
    assert caught.value.message is not None
    assert (caught.value.message.state, caught.value.message.content) == (MessageState.FAILED, "Hel")


async def test_busy_conversation_names_the_turn_and_can_be_stopped(api: Api, client: Client) -> None:
    conversation = (await client.start("travel")).id
    api.models.scripts = [["Hel", asyncio.Event()]]
    async with aclosing(client.send(conversation, "Hi")) as events:
        started = await anext(events)
        assert isinstance(started, MessageStarted)
        with pytest.raises(ConversationBusy) as caught:
            await client.ask(conversation, "And?")
        assert caught.value.turn_id == started.turn.id
        stopped = await client.stop(conversation, turn_id=started.turn.id)
        assert stopped.turn_id == started.turn.id
        rest = [event async for event in events]
    assert type(rest[-1]).__name__ == "MessageStopped"
    assert (await client.stop(conversation)).turn_id is None


async def test_followers_hear_every_turn(api: Api, client: Client) -> None:
    conversation = (await client.start("travel")).id
    async with aclosing(client.follow(conversation, after=0)) as followed:
        first = asyncio.create_task(anext(followed))
        await api.open_streams(0, count=1)
        sent = [event async for event in client.send(conversation, "Hi")]
        assert [await first, *[await anext(followed) for _ in sent[1:]]] == sent
        sent = [event async for event in client.send(conversation, "Hi again")]
        assert [await anext(followed) for _ in sent] == sent


async def test_question_of_which_nothing_is_kept(api: Api, client: Client) -> None:
    assert "".join([piece async for piece in client.completions.stream("travel", "Hi")]) == "Hello world"
    assert [item async for item in client.conversations()] == []
    api.models.scripts = [["Hel", ModelUnavailable(endpoint="stand-in")]]
    pieces = client.completions.stream("travel", "Hi")
    assert await anext(pieces) == "Hel"
    with pytest.raises(ApiError) as caught:
        await anext(pieces)
    assert caught.value.code == "model_unavailable"


async def test_keys_are_made_listed_and_revoked(administrator: Client, api: Api) -> None:
    made = await administrator.api_keys.create_secret("the shop", [Scope.CHAT])
    page = await administrator.api_keys.create_publishable(
        "website",
        ["travel"],
        allowed_origins=["https://acme.example"],
        expires_at=datetime.now(UTC) + timedelta(days=1),
    )
    listed = {key.id: key async for key in administrator.api_keys.list(page_size=1)}
    assert listed[made.id].scopes == ["chat"]
    assert (listed[page.id].agents, listed[page.id].allowed_origins) == (["travel"], ["https://acme.example"])
    assert len(await administrator.api_keys.identity_secret(page.id)) > 30
    async with Client(api.url, made.key) as shop:
        assert await shop.agents()
        with pytest.raises(Forbidden) as caught:
            await shop.api_keys.create_secret("another", [Scope.CHAT])
        assert caught.value.code == "scope-missing"
    await administrator.api_keys.revoke(made.id)
    assert {key.id: key async for key in administrator.api_keys.list()}[made.id].revoked_at is not None
    with pytest.raises(NotFound):
        await administrator.api_keys.revoke(new_id())


async def test_visitor_talks_with_a_token_that_is_asked_for_each_time(api: Api) -> None:
    given = []
    async with Client(api.url, await api.publishable_key()) as page:
        bought = await page.create_visitor_token()
        again = await page.create_visitor_token(visitor_token=bought.visitor_token)
        assert again.contact_id == bought.contact_id
        assert not again.is_identified

        async def current() -> str:
            given.append(1)
            return again.visitor_token

        async with Client(api.url, current) as visitor:
            conversation = await visitor.start("travel")
            assert conversation.contact_id == bought.contact_id
            assert (await visitor.ask(conversation.id, "Hi")).message.content == "Hello world"
    assert len(given) == 2


async def test_visitor_is_new_with_the_response_to_the_challenge(api: Api) -> None:
    challenge = ChallengeConfig(verify_url="https://challenge.example/siteverify", secret=KEY)
    api.agents.tenant_config = TenantConfig(name="acme", display_name="Acme", challenge=challenge)
    async with Client(api.url, await api.publishable_key()) as page:
        with pytest.raises(Forbidden) as refused:
            await page.create_visitor_token()
        assert refused.value.code == "challenge-needed"
        assert (await page.create_visitor_token(challenge_response="solved")).visitor_token


async def test_refusals_have_their_classes(client: Client, api: Api) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await client.start("travel", title="two\nlines")
    assert [fault.path for fault in caught.value.faults] == ["body.title"]
    conversation = (await client.start("travel")).id
    with pytest.raises(MessageNotFound):
        await client.put_feedback(conversation, new_id(), Rating.DOWN)
    async with Client(api.url, "syn_sk_nonsense") as stranger:
        with pytest.raises(Unauthenticated) as refused:
            await stranger.agents()
    assert refused.value.code == "credentials-malformed"
