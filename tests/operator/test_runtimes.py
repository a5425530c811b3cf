"""Asking runtime pods: a real HTTP server stands for the pod, and one for the API server that makes tokens."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
from aiohttp import web

from syntera_crds.contract.names import internal_audience
from syntera_kube import KubeClient
from syntera_operator.endpoints import serving
from syntera_operator.errors import RuntimeUnreachable
from syntera_operator.runtimes import Runtimes
from tests.kube.faulty_server import Answer, FaultyServer, faulty_server

TENANT = UUID("01890000-0000-7000-8000-000000000001")
OTHER = UUID("01890000-0000-7000-8000-000000000002")


class Pod:
    """What the pod is asked, and what it answers."""

    def __init__(self) -> None:
        self.answers: list[web.Response] = []
        self.asked: list[web.Request] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        return self.answers.pop(0)

    @property
    def tokens(self) -> list[str]:
        return [request.headers["Authorization"] for request in self.asked]


@pytest.fixture
def pod() -> Pod:
    return Pod()


@pytest.fixture
async def api() -> AsyncIterator[FaultyServer]:
    """Makes a token at each request: `token-1`, `token-2`, …"""
    async with faulty_server() as server:
        server.answers = [_make_token(seconds=3600)]
        yield server


@pytest.fixture
async def runtimes(pod: Pod, api: FaultyServer) -> AsyncIterator[Runtimes]:
    async with _runtimes(pod, api) as made:
        yield made


@asynccontextmanager
async def _runtimes(pod: Pod, api: FaultyServer) -> AsyncIterator[Runtimes]:
    app = web.Application()
    app.router.add_get("/{path:.*}", pod.handle)
    async with (
        serving(app, 0, host="127.0.0.1") as port,
        KubeClient.connect(api.config, component="test") as client,
        Runtimes(client, namespace="system", service_account="operator", port=port) as made,
    ):
        yield made


def _make_token(*, seconds: int) -> Answer:
    numbers = itertools.count(1)

    async def answer(_: web.Request) -> web.StreamResponse:
        body = {"spec": {"expirationSeconds": seconds}, "status": {"token": f"token-{next(numbers)}"}}
        return web.json_response(body)

    return answer


def loaded(digest: str = "d") -> web.Response:
    return web.json_response({"name": "travel", "revision": 3, "digest": digest})


async def test_pod_is_asked_with_a_token_for_its_tenant(runtimes: Runtimes, pod: Pod, api: FaultyServer) -> None:
    pod.answers = [loaded()]

    answer = await runtimes.loaded("127.0.0.1", TENANT, "travel", digest="d", wait_seconds=2.5)

    assert answer is not None
    assert (answer.name, answer.revision, answer.digest) == ("travel", 3, "d")
    [request] = pod.asked
    assert request.path == "/internal/v1/config/agents/travel"
    assert dict(request.query) == {"digest": "d", "waitSeconds": "2.5"}
    assert api.requests[0][1] == "/api/v1/namespaces/system/serviceaccounts/operator/token"
    assert api.bodies[0]["spec"]["audiences"] == [internal_audience(TENANT)]


async def test_token_is_made_once_for_a_tenant(runtimes: Runtimes, pod: Pod) -> None:
    pod.answers = [loaded(), loaded(), loaded()]

    await asyncio.gather(
        *(runtimes.loaded("127.0.0.1", TENANT, "travel", digest="d", wait_seconds=0) for _ in range(2)),
        runtimes.loaded("127.0.0.1", OTHER, "travel", digest="d", wait_seconds=0),
    )

    assert sorted(Counter(pod.tokens).values()) == [1, 2]  # whose is made first is left open


async def test_token_is_replaced_before_it_runs_out(pod: Pod, api: FaultyServer) -> None:
    api.answers = [_make_token(seconds=0)]
    pod.answers = [loaded(), loaded()]

    async with _runtimes(pod, api) as runtimes:
        for _ in range(2):
            await runtimes.loaded("127.0.0.1", TENANT, "travel", digest="d", wait_seconds=0)

    assert pod.tokens == ["Bearer token-1", "Bearer token-2"]


async def test_refused_token_is_replaced_once(runtimes: Runtimes, pod: Pod) -> None:
    pod.answers = [web.Response(status=401), loaded()]

    assert await runtimes.loaded("127.0.0.1", TENANT, "travel", digest="d", wait_seconds=0) is not None
    assert pod.tokens == ["Bearer token-1", "Bearer token-2"]


async def test_agent_that_is_not_loaded_is_none(runtimes: Runtimes, pod: Pod) -> None:
    pod.answers = [web.Response(status=404)]

    assert await runtimes.loaded("127.0.0.1", TENANT, "travel", digest="d", wait_seconds=0) is None


@pytest.mark.parametrize(
    "answers",
    [
        [web.Response(status=500, text="secret")],
        [web.Response(status=302, headers={"Location": "http://elsewhere.example"})],
        [web.Response(status=401), web.Response(status=401)],
        [web.Response(text="<html>")],
        [web.json_response({"name": "travel"})],
        [web.Response(body=b"x" * 100_000)],
    ],
    ids=["500", "redirect", "401", "no-json", "incomplete", "huge"],
)
async def test_answer_that_is_not_as_agreed_is_an_error(
    runtimes: Runtimes, pod: Pod, answers: list[web.Response]
) -> None:
    pod.answers = [web.Response(body=each.body, status=each.status, headers=each.headers) for each in answers]

    with pytest.raises(RuntimeUnreachable) as caught:
        await runtimes.loaded("127.0.0.1", TENANT, "travel", digest="d", wait_seconds=0)

    assert "secret" not in str(caught.value)


async def test_pod_that_is_away_is_an_error_that_names_it(runtimes: Runtimes) -> None:
    with pytest.raises(RuntimeUnreachable, match="::1"):
        await runtimes.loaded("::1", TENANT, "travel", digest="d", wait_seconds=0)
