"""Visitors of websites: what a publishable key buys, and how a visitor becomes somebody whom the site knows."""

import hmac
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from syntera_crds.contract.agent_config import Access
from syntera_crds.contract.api_key import ApiKey, KeyKind, Scope
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.api.app import build_public_app
from syntera_runtime.identity import visitors
from syntera_runtime.models.identity import KeyMaker, StoredApiKey
from tests.runtime.builders import TENANT, make_agent, make_publishable_key, make_services, put_key
from tests.runtime.fakes import FakeCatalogue, FakeKeySets, FakeSigningKey
from tests.runtime.identity.issuer import ISSUER, JWKS_URL, OTHER_RSA, key_set, make_tenant, sign

PAST = datetime(2020, 1, 1, tzinfo=UTC)
SITE = "https://www.acme.example"


class Site:
    """The API as pages of a website use it."""

    def __init__(self, http: httpx.AsyncClient, store: MemoryStore) -> None:
        self.http = http
        self._store = store
        self.key = ApiKey.generate(KeyKind.PUBLISHABLE)
        self.stored = make_publishable_key(self.key, agents=frozenset({"travel", "members"}))
        self.put(self.stored)
        self.admin = put_key(store, scopes=frozenset({Scope.ADMIN}))

    def put(self, stored: StoredApiKey) -> None:
        """Change what is stored of the site's key."""
        self._store.put_api_key(TENANT, stored, made_by=KeyMaker.TENANT)

    async def ask(self, method: str, path: str, text: str, **options: Any) -> httpx.Response:
        """Send a request with some credentials."""
        headers = {"Authorization": f"Bearer {text}", **options.pop("headers", {})}
        return await self.http.request(method, path, headers=headers, **options)

    async def buy(self, **body: Any) -> httpx.Response:
        """Ask for a visitor's token."""
        return await self.ask("POST", "/v1/visitor-tokens", self.key.text, json=body)

    async def visit(self, **body: Any) -> dict[str, Any]:
        """Get a visitor's token."""
        answer = await self.buy(**body)
        assert answer.status_code == 201, answer.text
        bought: dict[str, Any] = answer.json()
        return bought

    async def vouch(self, external_id: str) -> dict[str, str]:
        """What the site's server computes for a person."""
        path = f"/v1/api-keys/{self.stored.id}/identity-secret"
        secret = (await self.ask("GET", path, self.admin)).json()["secret"]
        return {
            "externalId": external_id,
            "hmac": hmac.new(secret.encode(), external_id.encode(), "sha256").hexdigest(),
        }

    async def start(self, visitor: dict[str, Any], agent: str = "travel") -> httpx.Response:
        """Begin a conversation."""
        return await self.ask("POST", f"/v1/agents/{agent}/conversations", visitor["visitorToken"])

    async def conversation(self, visitor: dict[str, Any]) -> str:
        """The path of a conversation that was just begun."""
        answer = await self.start(visitor)
        assert answer.status_code == 201, answer.text
        return f"/v1/conversations/{answer.json()['id']}"

    async def sees(self, visitor: dict[str, Any], path: str) -> bool:
        """Whether a conversation is there for a visitor."""
        answer = await self.ask("GET", path, visitor["visitorToken"])
        assert answer.status_code in (200, 404)
        return answer.status_code == 200


@pytest.fixture
def signing_key() -> FakeSigningKey:
    """The tenant's signing key."""
    return FakeSigningKey()


@pytest.fixture
def agents() -> FakeCatalogue:
    """Agents with every kind of access, and a tenant with an issuer and a website."""
    return FakeCatalogue(
        make_agent(access=Access.PUBLIC),
        make_agent(name="members", access=Access.AUTHENTICATED),
        make_agent(name="internal", access=Access.PUBLIC),
        tenant=make_tenant(allowed_origins=[SITE]),
    )


@pytest.fixture
async def site(store: MemoryStore, agents: FakeCatalogue, signing_key: FakeSigningKey) -> AsyncIterator[Site]:
    """A website with a publishable key for two of the three agents."""
    key_sets = FakeKeySets()
    key_sets.published[JWKS_URL] = key_set()
    services = make_services(store, agents=agents, signing_key=signing_key, key_sets=key_sets)
    transport = httpx.ASGITransport(app=build_public_app(services), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://runtime") as http:
        yield Site(http, store)
    await services.runner.aclose()


# ---- anonymous visitors ----


async def test_visitor_begins_and_continues_a_conversation(site: Site) -> None:
    visitor = await site.visit()
    assert visitor["isIdentified"] is False
    path = await site.conversation(visitor)
    said = await site.ask("POST", f"{path}/messages", visitor["visitorToken"], json={"content": "Hi"})
    assert said.json()["message"]["content"] == "Hello world"
    assert len((await site.ask("GET", f"{path}/messages", visitor["visitorToken"])).json()["items"]) == 2


async def test_token_holds_for_an_hour_and_buys_another_for_thirty_days_more(site: Site) -> None:
    visitor = await site.visit()
    ends = datetime.fromisoformat(visitor["expiresAt"])
    assert timedelta(minutes=59) < ends - datetime.now(UTC) <= timedelta(hours=1)
    assert datetime.fromisoformat(visitor["refreshableUntil"]) - ends == timedelta(days=30)


async def test_visitor_is_stored_with_the_first_conversation_alone(site: Site, store: MemoryStore) -> None:
    visitor = await site.visit()
    assert store.contacts(TENANT) == []
    await site.conversation(visitor)
    (contact,) = store.contacts(TENANT)
    assert (str(contact.id), contact.external_id) == (visitor["contactId"], None)


async def test_conversation_of_another_visitor_is_not_there(site: Site) -> None:
    mine, theirs = await site.visit(), await site.visit()
    path = await site.conversation(theirs)
    for method, where, body in (
        ("GET", path, None),
        ("GET", f"{path}/messages", None),
        ("POST", f"{path}/messages", {"content": "Hi"}),
    ):
        answer = await site.ask(method, where, mine["visitorToken"], json=body)
        assert (answer.status_code, answer.json()["code"]) == (404, "conversation-not-found")
    assert await site.sees(theirs, path)


async def test_agents_are_those_of_the_key_that_talk_to_strangers(site: Site) -> None:
    visitor = await site.visit()
    listed = (await site.ask("GET", "/v1/agents", visitor["visitorToken"])).json()["items"]
    assert [agent["name"] for agent in listed] == ["travel"]
    refused = await site.start(visitor, "members")
    assert (refused.status_code, refused.json()["code"]) == (403, "sign-in-needed")
    absent = await site.start(visitor, "internal")
    assert (absent.status_code, absent.json()["code"]) == (404, "agent-not-found")


async def test_conversation_goes_no_further_when_its_agent_asks_for_a_sign_in_now(
    site: Site, agents: FakeCatalogue
) -> None:
    visitor = await site.visit()
    path = await site.conversation(visitor)
    agents.put(make_agent(access=Access.AUTHENTICATED))
    answer = await site.ask("POST", f"{path}/messages", visitor["visitorToken"], json={"content": "Hi"})
    assert (answer.status_code, answer.json()["code"]) == (403, "sign-in-needed")


# ---- refreshing ----


async def test_refreshed_visitor_keeps_the_conversations(site: Site) -> None:
    visitor = await site.visit()
    path = await site.conversation(visitor)
    again = await site.visit(visitorToken=visitor["visitorToken"])
    assert again["contactId"] == visitor["contactId"]
    assert await site.sees(again, path)


async def test_token_of_another_key_buys_nothing(site: Site, store: MemoryStore) -> None:
    other = Site(site.http, store)
    visitor = await other.visit()
    answer = await site.buy(visitorToken=visitor["visitorToken"])
    assert (answer.status_code, answer.json()["code"]) == (401, "visitor-token-refused")


@pytest.mark.parametrize("text", ["x", "syn_vt_", "syn_vt_a.b.c", "syn_vt_" + "A" * 900])
async def test_token_that_is_none_is_refused_wherever_it_is_presented(site: Site, text: str) -> None:
    answer = await site.buy(visitorToken=text)
    assert (answer.status_code, answer.json()["code"]) == (401, "visitor-token-refused")
    if text.startswith("syn_vt_"):
        answer = await site.ask("GET", "/v1/agents", text)
        assert (answer.status_code, answer.json()["code"]) == (401, "visitor-token-refused")


# ---- the key behind the token ----


async def test_revoking_the_key_ends_its_visitors_tokens(site: Site) -> None:
    visitor = await site.visit()
    other = await site.ask("GET", "/v1/agents", visitor["visitorToken"])
    assert other.status_code == 200
    answer = await site.ask("DELETE", f"/v1/api-keys/{site.stored.id}", site.admin)
    assert answer.status_code == 204
    for answer in (await site.ask("GET", "/v1/agents", visitor["visitorToken"]), await site.buy()):
        assert (answer.status_code, answer.json()["code"]) == (401, "key-revoked")


async def test_expired_key_buys_nothing(site: Site) -> None:
    site.put(replace(site.stored, expires_at=PAST))
    answer = await site.buy()
    assert (answer.status_code, answer.json()["code"]) == (401, "key-expired")


async def test_secret_key_buys_no_visitors_token(site: Site) -> None:
    answer = await site.ask("POST", "/v1/visitor-tokens", site.admin, json={})
    assert (answer.status_code, answer.json()["code"]) == (403, "publishable-key-needed")


async def test_forged_publishable_key_is_unknown(site: Site) -> None:
    answer = await site.ask("POST", "/v1/visitor-tokens", ApiKey.generate(KeyKind.PUBLISHABLE).text)
    assert (answer.status_code, answer.json()["code"]) == (401, "key-unknown")


async def test_visitors_wait_when_the_signing_key_is_missing(site: Site, signing_key: FakeSigningKey) -> None:
    visitor = await site.visit()
    signing_key.value = None
    for answer in (await site.buy(), await site.ask("GET", "/v1/agents", visitor["visitorToken"])):
        assert (answer.status_code, answer.json()["code"]) == (503, "signing-key-missing")
        assert answer.json()["retryable"] is True


async def test_token_of_another_signing_key_is_refused(site: Site, signing_key: FakeSigningKey) -> None:
    visitor = await site.visit()
    signing_key.value = b"another signing key of 32 bytes.."
    answer = await site.ask("GET", "/v1/agents", visitor["visitorToken"])
    assert (answer.status_code, answer.json()["code"]) == (401, "visitor-token-refused")


# ---- identity ----


async def test_person_is_the_same_contact_on_any_device(site: Site, store: MemoryStore) -> None:
    phone = await site.visit(identity=await site.vouch("customer-7"))
    path = await site.conversation(phone)
    laptop = await site.visit(identity=await site.vouch("customer-7"))
    assert laptop["isIdentified"] is True
    assert laptop["contactId"] == phone["contactId"]
    assert await site.sees(laptop, path)
    assert not await site.sees(await site.visit(identity=await site.vouch("customer-8")), path)
    assert [contact.external_id for contact in store.contacts(TENANT)] == ["site:customer-7", "site:customer-8"]


async def test_identified_visitor_talks_to_agents_that_ask_for_a_sign_in(site: Site) -> None:
    visitor = await site.visit(identity=await site.vouch("customer-7"))
    assert (await site.start(visitor, "members")).status_code == 201
    assert (await site.start(visitor, "internal")).status_code == 404


async def test_anonymous_visitor_who_identifies_keeps_the_conversations(site: Site) -> None:
    stranger = await site.visit()
    path = await site.conversation(stranger)
    known = await site.visit(visitorToken=stranger["visitorToken"], identity=await site.vouch("customer-7"))
    assert known["contactId"] != stranger["contactId"]
    assert await site.sees(known, path)
    assert not await site.sees(stranger, path)


async def test_conversations_of_one_person_do_not_become_anothers(site: Site) -> None:
    """Two people sign in one after the other at the same browser."""
    first = await site.visit(identity=await site.vouch("customer-7"))
    path = await site.conversation(first)
    second = await site.visit(visitorToken=first["visitorToken"], identity=await site.vouch("customer-8"))
    assert not await site.sees(second, path)
    assert await site.sees(first, path)


async def test_wrong_proofs_are_refused(site: Site, store: MemoryStore) -> None:
    right = await site.vouch("customer-7")
    other_site = Site(site.http, store)
    for identity in (
        {**right, "externalId": "customer-8"},
        {**right, "hmac": "0" * 64},
        {**right, "hmac": hmac.new(b"", b"customer-7", "sha256").hexdigest()},
        {**right, "hmac": hmac.new(site.key.text.encode(), b"customer-7", "sha256").hexdigest()},
        await other_site.vouch("customer-7"),
    ):
        answer = await site.buy(identity=identity)
        assert (answer.status_code, answer.json()["code"]) == (401, "identity-refused")
    assert store.contacts(TENANT) == []


@pytest.mark.parametrize(
    ("identity", "path"),
    [
        ({}, "body.identity.externalId"),
        ({"externalId": "customer-7"}, "body.identity.hmac"),
        ({"externalId": "", "hmac": "0" * 64}, "body.identity.externalId"),
        ({"externalId": "a\u0000b", "hmac": "0" * 64}, "body.identity.externalId"),
        ({"externalId": "customer-7", "hmac": "short"}, "body.identity.hmac"),
        ({"externalId": "customer-7", "hmac": "0" * 64, "name": "Ada"}, "body.identity.name"),
        ({"identityToken": ""}, "body.identity.identityToken"),
        ({"identityToken": 7}, "body.identity.identityToken"),
        ({"identityToken": "a.b.c", "hmac": "0" * 64}, "body.identity.hmac"),
        ("customer-7", "body.identity"),
        (["identityToken"], "body.identity"),
    ],
)
async def test_identity_that_is_none_is_refused_with_its_place(site: Site, identity: Any, path: str) -> None:
    answer = await site.buy(identity=identity)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["path"] == path


async def test_issuers_token_proves_the_person_too(site: Site, store: MemoryStore) -> None:
    visitor = await site.visit(identity={"identityToken": sign(name="Ada", email="ada@example.com")})
    assert visitor["isIdentified"] is True
    (contact,) = store.contacts(TENANT)
    assert (contact.external_id, contact.name, contact.email) == (f"{ISSUER}|user-7", "Ada", "ada@example.com")
    # The same person with the issuer's token itself.
    answer = await site.ask("POST", "/v1/agents/internal/conversations", sign())
    assert answer.status_code == 201
    assert await site.sees(visitor, f"/v1/conversations/{answer.json()['id']}")


async def test_issuers_token_that_does_not_hold_proves_nobody(site: Site) -> None:
    answer = await site.buy(identity={"identityToken": sign(OTHER_RSA)})
    assert (answer.status_code, answer.json()["code"]) == (401, "token-signature-invalid")


async def test_role_of_a_person_does_not_come_along_in_a_visitors_token(site: Site) -> None:
    visitor = await site.visit(identity={"identityToken": sign(app_metadata={"role": "owner"})})
    answer = await site.ask("GET", "/v1/api-keys", visitor["visitorToken"])
    assert (answer.status_code, answer.json()["code"]) == (403, "customer-refused")


async def test_somebody_whom_the_issuer_does_not_know_stays_a_stranger(site: Site) -> None:
    visitor = await site.visit(identity={"identityToken": sign(is_anonymous=True)})
    assert visitor["isIdentified"] is False
    assert (await site.start(visitor, "members")).status_code == 403


async def test_site_cannot_vouch_for_people_of_an_issuer(site: Site, store: MemoryStore) -> None:
    answer = await site.buy(identity=await site.vouch(f"{ISSUER}|user-7"))
    assert (answer.status_code, answer.json()["code"]) == (401, "identity-refused")
    assert store.contacts(TENANT) == []


# ---- origins ----


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        (None, True),
        (SITE, True),
        ("https://shop.example", True),
        ("https://evil.example", False),
        ("null", False),
        ("", False),
        ("http://www.acme.example", False),
        ("https://www.acme.example:8443", False),
        ("https://www.acme.example.evil.example", False),
        ("https://WWW.acme.example", False),
        (f"{SITE}/", False),
    ],
)
async def test_key_and_tokens_are_used_from_allowed_pages_alone(
    site: Site, origin: str | None, is_allowed: bool
) -> None:
    site.put(replace(site.stored, allowed_origins=frozenset({"https://shop.example"})))
    visitor = await site.visit()
    headers = {} if origin is None else {"Origin": origin}
    for text, method, path in (
        (site.key.text, "POST", "/v1/visitor-tokens"),
        (visitor["visitorToken"], "GET", "/v1/agents"),
        (visitor["visitorToken"], "POST", "/v1/agents/travel/conversations"),
    ):
        answer = await site.ask(method, path, text, headers=headers)
        if is_allowed:
            assert answer.is_success
        else:
            assert (answer.status_code, answer.json()["code"]) == (403, "origin-not-allowed")


async def test_secret_keys_do_not_care_for_origins(site: Site) -> None:
    answer = await site.ask("GET", "/v1/agents", site.admin, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


# ---- what a visitor may do with conversations ----


async def test_visitor_finds_judges_and_exports_their_own_conversations_alone(site: Site) -> None:
    ours, theirs = await site.visit(), await site.visit()
    own, foreign = await site.conversation(ours), await site.conversation(theirs)
    token = ours["visitorToken"]
    replies = {}
    for visitor, path in ((ours, own), (theirs, foreign)):
        said = await site.ask("POST", f"{path}/messages", visitor["visitorToken"], json={"content": "Hi"})
        replies[path] = said.json()["message"]["id"]

    listed = (await site.ask("GET", "/v1/conversations", token)).json()["items"]
    assert [(item["id"], item["channel"], item["unread"]) for item in listed] == [(own.rpartition("/")[2], "chat", 1)]
    assert (await site.ask("GET", "/v1/conversations?q=hi", token)).json()["items"] == listed
    foreign_contact = (await site.ask("GET", foreign, theirs["visitorToken"])).json()["contactId"]
    assert (await site.ask("GET", f"/v1/conversations?contactId={foreign_contact}", token)).json()["items"] == []

    for path, status in ((own, 200), (foreign, 404)):
        reply = replies[path]
        for method, target, body in (
            ("PUT", f"{path}/messages/{reply}/feedback", {"rating": "up"}),
            ("PUT", f"{path}/marks", {"readMessageId": reply}),
            ("GET", f"{path}/export", None),
        ):
            assert (await site.ask(method, target, token, json=body)).status_code == status, target
        stopped = await site.ask("POST", f"{path}/stop", token)
        assert stopped.status_code == (202 if status == 200 else 404)
    assert (await site.ask("GET", f"{foreign}/events", token)).status_code == 404
    [item] = (await site.ask("GET", "/v1/conversations", token)).json()["items"]
    assert item["unread"] == 0


async def test_same_idempotency_key_of_two_visitors_stands_for_two_requests(site: Site) -> None:
    one, other = await site.visit(), await site.visit()

    async def start(visitor: dict[str, Any]) -> httpx.Response:
        headers = {"Idempotency-Key": "the-same"}
        return await site.ask("POST", "/v1/agents/travel/conversations", visitor["visitorToken"], headers=headers)

    first, again, others = [(await start(visitor)).json()["id"] for visitor in (one, one, other)]
    assert first == again != others
    # What became a person's is not handed to whoever repeats the stranger's request.
    await site.visit(visitorToken=one["visitorToken"], identity=await site.vouch("customer-7"))
    refused = await start(one)
    assert (refused.status_code, refused.json()["code"]) == (409, "request-repeated")


async def test_visitor_sees_no_feedback_but_their_own(site: Site) -> None:
    visitor = await site.visit()
    path = await site.conversation(visitor)
    said = await site.ask("POST", f"{path}/messages", visitor["visitorToken"], json={"content": "Hi"})
    feedback = f"{path}/messages/{said.json()['message']['id']}/feedback"
    await site.ask("PUT", feedback, site.admin, json={"rating": "down", "comment": "wrong"})
    await site.ask("PUT", feedback, visitor["visitorToken"], json={"rating": "up"})
    for text, ratings in ((visitor["visitorToken"], ["up"]), (site.admin, ["down", "up"])):
        exported = (await site.ask("GET", f"{path}/export", text)).json()
        assert sorted(one["rating"] for one in exported["feedback"]) == ratings


@pytest.mark.parametrize(("method", "body"), [("PATCH", {"title": "Mine"}), ("DELETE", None)])
async def test_visitor_cannot_change_or_delete_conversations(site: Site, method: str, body: Any) -> None:
    visitor = await site.visit()
    answer = await site.ask(method, await site.conversation(visitor), visitor["visitorToken"], json=body)
    assert (answer.status_code, answer.json()["code"]) == (403, "customer-refused")


@pytest.mark.parametrize("body", [{"metadata": {"plan": "premium"}}, {"channel": "voice"}])
async def test_visitor_cannot_say_what_is_the_tenants_to_say(site: Site, body: dict[str, Any]) -> None:
    visitor = await site.visit()
    answer = await site.ask("POST", "/v1/agents/travel/conversations", visitor["visitorToken"], json=body)
    assert (answer.status_code, answer.json()["code"]) == (403, "customer-refused")
    fine = await site.ask("POST", "/v1/agents/travel/conversations", visitor["visitorToken"], json={"channel": "chat"})
    assert fine.status_code == 201


async def test_conversations_of_somebody_anonymous_at_an_issuer_do_not_become_anothers(site: Site) -> None:
    """Their contact is for good: the issuer may tell later who they are."""
    nameless = await site.visit(identity={"identityToken": sign(is_anonymous=True)})
    path = await site.conversation(nameless)
    assert nameless["isIdentified"] is False
    thief = await site.visit(identity=await site.vouch("customer-7"), visitorToken=nameless["visitorToken"])
    assert not await site.sees(thief, path)
    assert await site.sees(nameless, path)


async def test_token_of_somebody_anonymous_at_an_issuer_is_not_refreshed_without_the_issuer(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    nameless = await site.visit(identity={"identityToken": sign(is_anonymous=True)})
    monkeypatch.setattr(visitors, "PROOF", timedelta(0))
    answer = await site.buy(visitorToken=nameless["visitorToken"])
    assert (answer.status_code, answer.json()["code"]) == (401, "identity-expired")
