"""The challenge before a new visitor: who has to solve it, what is refused, and that it fails closed.

The provider is a fake one that speaks the protocol over real HTTP.
"""

import hmac
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import httpx
import pytest

from syntera_crds.contract.agent_config import Access, SecretKey
from syntera_crds.contract.api_key import ApiKey, KeyKind
from syntera_crds.contract.tenant_config import ChallengeConfig
from syntera_runtime.adapters.http_challenges import HttpChallenges
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.api.app import build_public_app
from syntera_runtime.identity.derived_keys import DerivedKeys
from syntera_runtime.metrics import Metrics
from syntera_runtime.models.identity import KeyMaker
from tests.runtime.adapters.fixed_secrets import FixedSecrets
from tests.runtime.builders import TENANT, make_agent, make_publishable_key, make_services
from tests.runtime.fakes import FakeCatalogue, FakeKeySets, FakeSigningKey
from tests.runtime.identity.fake_challenge_provider import SECRET, FakeChallengeProvider, fake_challenge_provider
from tests.runtime.identity.issuer import JWKS_URL, key_set, make_tenant, sign

REF = SecretKey(name="turnstile", key="secret")


class Site:
    """A website whose tenant asks new visitors to solve a challenge."""

    def __init__(
        self, http: httpx.AsyncClient, provider: FakeChallengeProvider, agents: FakeCatalogue, metrics: Metrics
    ) -> None:
        self.http = http
        self.provider = provider
        self.agents = agents
        self.metrics = metrics
        self.key = ApiKey.generate(KeyKind.PUBLISHABLE)
        self.stored = make_publishable_key(self.key)

    def configure(self, *, url: str | None = None, hostnames: tuple[str, ...] = (), **tenant: Any) -> None:
        """Change what the Tenant asks for."""
        challenge = ChallengeConfig(verify_url=url or self.provider.url, secret=REF, hostnames=[*hostnames])
        self.agents.tenant_config = make_tenant(challenge=challenge, **tenant)

    async def buy(self, *, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
        """Ask for a visitor's token."""
        sent = {"Authorization": f"Bearer {self.key.text}", **(headers or {})}
        return await self.http.post("/v1/visitor-tokens", headers=sent, json=body)

    async def refusal(self, **body: Any) -> tuple[int, str]:
        """Status and code of a refusal."""
        answer = await self.buy(**body)
        return answer.status_code, answer.json()["code"]

    async def visit(self) -> str:
        """A new visitor's token."""
        answer = await self.buy(challengeResponse=self.provider.solve())
        assert answer.status_code == 201, answer.text
        token: str = answer.json()["visitorToken"]
        return token

    def counted(self, outcome: str) -> float:
        """How often a challenge ended so."""
        return self.metrics.registry.get_sample_value("syntera_challenges_total", {"outcome": outcome}) or 0


@pytest.fixture
def secrets() -> FixedSecrets:
    """The Secret, with the end of a line that its author did not mean."""
    return FixedSecrets({REF: f"{SECRET}\n"})


@pytest.fixture
async def site(store: MemoryStore, secrets: FixedSecrets) -> AsyncIterator[Site]:
    """The site, with its provider."""
    agents, key_sets = FakeCatalogue(make_agent(access=Access.PUBLIC)), FakeKeySets()
    key_sets.published[JWKS_URL] = key_set()
    async with fake_challenge_provider() as provider, aclosing(HttpChallenges()) as verifier:
        services = make_services(store, agents=agents, key_sets=key_sets, secrets=secrets, challenge_verifier=verifier)
        app = build_public_app(services)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False, client=("2001:db8:1:2::7", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://runtime") as http:
            made = Site(http, provider, agents, services.metrics)
            made.configure()
            store.put_api_key(TENANT, made.stored, made_by=KeyMaker.TENANT)
            yield made
        await services.runner.aclose()


# ---- who has to solve it ----


async def test_new_visitor_is_let_in_by_a_response_once(site: Site) -> None:
    response = site.provider.solve()
    assert (await site.buy(challengeResponse=response)).status_code == 201
    assert await site.refusal(challengeResponse=response) == (403, "challenge-failed")
    assert (site.counted("success"), site.counted("challenge-failed")) == (1, 1)


async def test_new_visitor_without_a_response_is_told_that_one_is_needed(site: Site) -> None:
    answer = await site.buy()
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["retryable"]) == (403, "challenge-needed", False)
    assert "challengeResponse" in problem["detail"]
    assert site.provider.asked == []
    assert site.counted("challenge-needed") == 1


async def test_known_visitor_needs_none(site: Site) -> None:
    token = await site.visit()
    assert (await site.buy(visitorToken=token)).status_code == 201
    assert len(site.provider.asked) == 1


async def test_token_that_is_none_spares_nobody_the_challenge(site: Site) -> None:
    assert await site.refusal(visitorToken="syn_vt_a.b.c") == (401, "visitor-token-refused")
    body = {"visitorToken": "syn_vt_a.b.c", "challengeResponse": site.provider.solve()}
    assert await site.refusal(**body) == (401, "visitor-token-refused")


async def test_person_whose_identity_is_proven_needs_none(site: Site) -> None:
    assert (await site.buy(identity={"identityToken": sign()})).status_code == 201
    keys = DerivedKeys(FakeSigningKey(), TENANT)
    assert (await site.buy(identity=_vouch(keys.of_identities(site.stored.id)))).status_code == 201
    assert site.provider.asked == []


async def test_proof_that_does_not_hold_spares_nobody_the_challenge(site: Site) -> None:
    assert await site.refusal(identity=_vouch("not the secret")) == (401, "identity-refused")
    assert await site.refusal(identity={"identityToken": "x"}) == (401, "token-malformed")


async def test_nobody_has_to_solve_what_the_tenant_does_not_ask_for(site: Site) -> None:
    site.agents.tenant_config = make_tenant()
    assert (await site.buy()).status_code == 201
    assert (await site.buy(challengeResponse="anything")).status_code == 201
    assert site.provider.asked == []
    assert site.counted("success") == 0


@pytest.mark.parametrize("response", ["", "a b", "ä", "\n", "x" * 8193, 7])
async def test_response_that_can_be_none_is_not_asked_about(site: Site, response: object) -> None:
    assert await site.refusal(challengeResponse=response) == (400, "invalid-request")
    assert site.provider.asked == []


async def test_longest_response_is_asked_about(site: Site) -> None:
    assert await site.refusal(challengeResponse="x" * 8192) == (403, "challenge-failed")


# ---- what the provider is told, and what it says ----


async def test_provider_is_told_the_secret_and_the_whole_address(site: Site) -> None:
    response = site.provider.solve()
    await site.buy(challengeResponse=response, headers={"X-Forwarded-For": "192.0.2.66"})
    assert site.provider.asked == [{"secret": SECRET, "response": response, "remoteip": "2001:db8:1:2::7"}]


async def test_address_is_the_one_behind_trusted_proxies(site: Site) -> None:
    site.configure(trusted_proxies=["2001:db8::/32"])
    await site.buy(challengeResponse=site.provider.solve(), headers={"X-Forwarded-For": "203.0.113.66, 192.0.2.1"})
    (asked,) = site.provider.asked
    assert asked["remoteip"] == "192.0.2.1"


async def test_challenge_of_another_page_is_not_taken(site: Site) -> None:
    site.configure(hostnames=("www.acme.example",))
    assert (await site.buy(challengeResponse=site.provider.solve("WWW.acme.example"))).status_code == 201
    for hostname in ("evil.example", "acme.example", "www.acme.example.evil.example", ""):
        body = {"challengeResponse": site.provider.solve(hostname)}
        assert await site.refusal(**body) == (403, "challenge-failed")


# ---- failing closed ----


async def test_no_visitor_is_new_while_the_provider_is_away(site: Site) -> None:
    token = await site.visit()
    site.configure(url="http://127.0.0.1:1/siteverify")
    answer = await site.buy(challengeResponse=site.provider.solve())
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["retryable"]) == (503, "challenge-unavailable", True)
    assert site.counted("challenge-unavailable") == 1
    assert (await site.buy(visitorToken=token)).status_code == 201
    assert (await site.buy(identity={"identityToken": sign()})).status_code == 201


@pytest.mark.parametrize("secret", [None, "", " \n", "another"])
async def test_no_visitor_is_new_while_the_secret_is_not_right(
    site: Site, secrets: FixedSecrets, secret: str | None
) -> None:
    secrets.values = {} if secret is None else {REF: secret}
    answer = await site.buy(challengeResponse=site.provider.solve())
    assert (answer.status_code, answer.json()["code"]) == (503, "challenge-unavailable")
    assert "turnstile" not in answer.text
    assert len(site.provider.asked) == (1 if secret == "another" else 0)


async def test_no_visitor_is_new_while_nobody_knows_what_the_tenant_asks_for(site: Site) -> None:
    token = await site.visit()
    site.agents.tenant_config = None
    assert await site.refusal(challengeResponse=site.provider.solve()) == (503, "challenge-unavailable")
    assert (await site.buy(visitorToken=token)).status_code == 201


async def test_rotated_secret_is_used_with_the_next_visitor(site: Site, secrets: FixedSecrets) -> None:
    secrets.values = {REF: "of before"}
    assert await site.refusal(challengeResponse=site.provider.solve()) == (503, "challenge-unavailable")
    secrets.values = {REF: SECRET}
    await site.visit()


async def test_limit_of_an_address_keeps_the_provider_from_being_asked(site: Site) -> None:
    site.configure(limits={"requests_per_minute_per_address": 2})
    refused = [await site.refusal(challengeResponse=f"made-up-{number}") for number in range(4)]
    assert refused == [(403, "challenge-failed")] * 2 + [(429, "rate-limited")] * 2
    assert len(site.provider.asked) == 2


def _vouch(secret: str) -> dict[str, str]:
    proof = hmac.new(secret.encode(), b"user-7", "sha256").hexdigest()
    return {"externalId": "user-7", "hmac": proof}
