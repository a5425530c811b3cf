"""What the operator may ask of a runtime, and that nobody else may."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import cast

import httpx
import pytest

from syntera_crds.contract.internal_api import LoadedAgent
from syntera_runtime.api.internal_app import build_internal_app
from syntera_runtime.errors import StoreUnavailable, SynteraError, TokenRefused
from syntera_runtime.metrics import Metrics
from syntera_runtime.services import Services
from syntera_runtime.tracing import NO_TRACER

TRAVEL = LoadedAgent(name="travel", revision=3, digest="d3")
AGENT = "/internal/v1/config/agents/travel"


class FixedAgents:
    """Serves what it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.served: dict[str, LoadedAgent] = {TRAVEL.name: TRAVEL}
        self.asked: list[tuple[str, str, float]] = []

    def loaded(self, agent: str) -> LoadedAgent | None:
        return self.served.get(agent)

    async def wait_loaded(self, agent: str, *, digest: str, seconds: float) -> LoadedAgent | None:
        self.asked.append((agent, digest, seconds))
        return self.loaded(agent)


class FixedTokens:
    """Takes one token."""

    def __init__(self) -> None:
        self.failure: SynteraError = TokenRefused()

    async def verify(self, token: str) -> None:
        if token != "operator":
            raise self.failure


@pytest.fixture
def agents() -> FixedAgents:
    return FixedAgents()


@pytest.fixture
def tokens() -> FixedTokens:
    return FixedTokens()


@pytest.fixture
async def client(agents: FixedAgents, tokens: FixedTokens) -> AsyncIterator[httpx.AsyncClient]:
    """The operator's, with its token."""
    services = cast(
        "Services", SimpleNamespace(loaded_agents=agents, operator_tokens=tokens, metrics=Metrics(), tracer=NO_TRACER)
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(build_internal_app(services)),
        base_url="http://runtime",
        headers={"Authorization": "Bearer operator"},
    ) as made:
        yield made


async def test_agent_is_told_with_revision_and_digest(client: httpx.AsyncClient, agents: FixedAgents) -> None:
    answer = await client.get(AGENT, params={"digest": "d4", "waitSeconds": "2.5"})
    assert answer.status_code == 200
    assert answer.json() == {"name": "travel", "revision": 3, "digest": "d3"}
    assert agents.asked == [("travel", "d4", 2.5)]


@pytest.mark.parametrize(("given", "waited"), [({}, 0), ({"waitSeconds": "0"}, 0), ({"waitSeconds": "3600"}, 10)])
async def test_wait_is_bounded(
    client: httpx.AsyncClient, agents: FixedAgents, given: dict[str, str], waited: float
) -> None:
    await client.get(AGENT, params={"digest": "d3", **given})
    assert agents.asked[0][2] == waited


@pytest.mark.parametrize(
    "params", [{}, {"digest": "d", "waitSeconds": "-1"}, {"digest": "d", "waitSeconds": "nan"}, {"waitSeconds": "x"}]
)
async def test_invalid_question_is_a_problem(client: httpx.AsyncClient, params: dict[str, str]) -> None:
    answer = await client.get(AGENT, params=params)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")


async def test_agent_that_is_not_loaded_is_not_found(client: httpx.AsyncClient, agents: FixedAgents) -> None:
    agents.served.clear()
    answer = await client.get(AGENT, params={"digest": "d"})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "agent-not-found"


@pytest.mark.parametrize("path", [AGENT, AGENT + "?digest=d"])
@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic operator", "Bearer somebody", "operator"])
async def test_everybody_else_is_refused_before_anything_is_looked_at(
    client: httpx.AsyncClient, agents: FixedAgents, path: str, header: str | None
) -> None:
    del client.headers["Authorization"]
    answer = await client.get(path, headers={} if header is None else {"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["code"] == "token-refused"
    assert agents.asked == []


async def test_token_that_cannot_be_checked_is_told_so(client: httpx.AsyncClient, tokens: FixedTokens) -> None:
    tokens.failure = StoreUnavailable("No answer.", store="Kubernetes")
    answer = await client.get(AGENT, headers={"Authorization": "Bearer somebody"})
    assert (answer.status_code, answer.json()["retryable"]) == (503, True)
