"""Asking a provider over real HTTP: one form to the named address, bounded in time, size and number, no redirect."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from urllib.parse import parse_qs

import pytest
import structlog

from syntera_runtime.adapters import http_challenges
from syntera_runtime.adapters.http_challenges import MAX_BYTES, HttpChallenges
from syntera_runtime.errors import ChallengeUnavailable
from syntera_runtime.models.identity import ChallengeVerdict
from tests.runtime.adapters.published import eventually
from tests.runtime.adapters.raw_server import RawServer, answered, head, raw_server
from tests.runtime.identity.fake_challenge_provider import SECRET, fake_challenge_provider

RIGHT = {"success": True, "hostname": "www.acme.example", "error-codes": [], "score": 0.9}


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    async with raw_server() as running:
        yield running


@pytest.fixture
async def challenges() -> AsyncIterator[HttpChallenges]:
    async with aclosing(HttpChallenges()) as made:
        yield made


async def ask(challenges: HttpChallenges, url: str, *, address: str | None = "192.0.2.1") -> ChallengeVerdict:
    return await challenges.verify(url, secret="s&=1", response="0.a+b/c==", address=address)


async def test_response_is_right_once(challenges: HttpChallenges) -> None:
    async with fake_challenge_provider() as provider:
        response = provider.solve("www.acme.example")
        verdicts = [
            await challenges.verify(provider.url, secret=SECRET, response=response, address="192.0.2.1")
            for _ in range(2)
        ]
    assert verdicts == [
        ChallengeVerdict(is_solved=True, hostname="www.acme.example"),
        ChallengeVerdict(is_solved=False),
    ]


async def test_provider_is_sent_the_form_and_nothing_else(challenges: HttpChallenges, server: RawServer) -> None:
    server.will_answer(answered(200, RIGHT, Set_Cookie="who=7"))
    await ask(challenges, f"{server.url}/siteverify")
    await ask(challenges, f"{server.url}/siteverify", address=None)
    first, second = server.seen
    assert first.target == "/siteverify"
    assert parse_qs(first.body) == {"secret": ["s&=1"], "response": ["0.a+b/c=="], "remoteip": ["192.0.2.1"]}
    assert parse_qs(second.body) == {"secret": ["s&=1"], "response": ["0.a+b/c=="]}
    for seen in server.seen:
        assert not {"authorization", "cookie"} & seen.headers.keys()


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(
    "answer",
    [
        {"success": False},
        {"success": False, "error-codes": None, "hostname": None},
        {"success": False, "error-codes": ["invalid-input-response", "bad-request"]},
    ],
)
async def test_response_that_is_not_right_is_the_visitors(
    challenges: HttpChallenges, server: RawServer, answer: object, status: int
) -> None:
    server.will_answer(answered(status, answer))
    assert await ask(challenges, server.url) == ChallengeVerdict(is_solved=False)


@pytest.mark.parametrize("code", ["invalid-input-secret", "missing-input-secret", "internal-error"])
async def test_what_no_visitor_causes_is_no_verdict(challenges: HttpChallenges, server: RawServer, code: str) -> None:
    server.will_answer(answered(200, {"success": False, "error-codes": ["invalid-input-response", code]}))
    with structlog.testing.capture_logs() as logged, pytest.raises(ChallengeUnavailable):
        await ask(challenges, server.url)
    assert [entry["causes"] for entry in logged] == [(code,)]


@pytest.mark.parametrize("status", [204, 301, 302, 307, 403, 404, 429, 500])
async def test_no_other_answer_is_a_verdict_and_no_redirect_is_followed(
    challenges: HttpChallenges, server: RawServer, status: int
) -> None:
    server.will_answer(answered(status, RIGHT, Location=f"{server.url}/elsewhere"))
    with pytest.raises(ChallengeUnavailable):
        await ask(challenges, f"{server.url}/siteverify")
    assert [seen.target for seen in server.seen] == ["/siteverify"]


@pytest.mark.parametrize(
    "text",
    [b"", b"yes", b"{}", b"[]", b"null", b"true", b'{"success": "true"}', b'{"success": 1}', b"\xff", b"[" * 9000],
)
async def test_text_that_is_no_verdict_is_none(challenges: HttpChallenges, server: RawServer, text: bytes) -> None:
    server.will_answer([head(200, "application/json"), text])
    with pytest.raises(ChallengeUnavailable):
        await ask(challenges, server.url)


async def test_endless_answer_is_cut_off(challenges: HttpChallenges, server: RawServer) -> None:
    server.will_answer([head(200, "application/json"), b" " * (MAX_BYTES + 1), 60.0])
    with structlog.testing.capture_logs() as logged, pytest.raises(ChallengeUnavailable):
        await ask(challenges, server.url)
    assert [entry["causes"] for entry in logged] == [("TooLarge",)]


@pytest.mark.parametrize("script", [[60.0], [head(200), 60.0], [head(200), b"{", 60.0]], ids=["silent", "head", "part"])
async def test_slow_provider_is_waited_for_briefly(
    challenges: HttpChallenges, server: RawServer, script: list[bytes | float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_challenges, "VERIFY_SECONDS", 0.2)
    server.will_answer(script)
    with pytest.raises(ChallengeUnavailable):
        await ask(challenges, server.url)


async def test_connections_are_bounded(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_challenges, "MAX_CONNECTIONS", 2)
    async with aclosing(HttpChallenges()) as challenges:
        server.will_answer([60.0])
        asking = [asyncio.create_task(ask(challenges, server.url)) for _ in range(6)]
        await eventually(lambda: len(server.seen) >= 2)
        await asyncio.sleep(0.2)  # for a third, which must not come
        assert len(server.seen) == 2
        for one in asking:
            one.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


async def test_slow_provider_keeps_no_connection(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_challenges, "VERIFY_SECONDS", 0.2)
    monkeypatch.setattr(http_challenges, "MAX_CONNECTIONS", 1)
    async with aclosing(HttpChallenges()) as challenges:
        server.will_answer([60.0])
        with pytest.raises(ChallengeUnavailable):
            await ask(challenges, server.url)
        monkeypatch.undo()
        server.will_answer(answered(200, RIGHT))
        assert (await ask(challenges, server.url)).is_solved


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/siteverify", "https://", "no address", "ftp://x/", "http://[::1"])
async def test_address_that_leads_nowhere_is_a_provider_away(challenges: HttpChallenges, url: str) -> None:
    with pytest.raises(ChallengeUnavailable):
        await ask(challenges, url)


async def test_proxy_of_the_environment_is_not_used(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    server.will_answer(answered(200, RIGHT))
    async with aclosing(HttpChallenges()) as challenges:
        assert (await ask(challenges, server.url)).is_solved


async def test_provider_with_a_certificate_of_its_own_making_is_not_trusted(
    challenges: HttpChallenges, tls_server: RawServer
) -> None:
    with pytest.raises(ChallengeUnavailable):
        await ask(challenges, tls_server.url)
    assert tls_server.seen == []


async def test_neither_log_nor_error_tells_secret_response_or_answer(
    challenges: HttpChallenges, server: RawServer
) -> None:
    server.will_answer(
        answered(500, {"success": "private"}), [head(200), b"private"], answered(200, {"success": "private"})
    )
    for _ in range(3):
        with structlog.testing.capture_logs() as logged, pytest.raises(ChallengeUnavailable) as caught:
            await ask(challenges, server.url)
        told = f"{logged} {caught.value!r} {caught.value.__cause__!r}"
        for text in ("s&=1", "s%26", "0.a", "private", "192.0.2.1"):
            assert text not in told
