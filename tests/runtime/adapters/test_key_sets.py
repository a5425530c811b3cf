"""Key sets of issuers over real HTTP: one request to the named address, bounded in time and size, no redirect."""

from collections.abc import AsyncIterator

import pytest

from syntera_runtime.adapters import key_sets
from syntera_runtime.adapters.key_sets import MAX_BYTES, HttpKeySets
from syntera_runtime.errors import IssuerUnavailable
from syntera_runtime.ports.identity import KeySets
from tests.runtime.adapters.raw_server import RawServer, answered, head, raw_server


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    async with raw_server() as running:
        yield running


@pytest.fixture
def source() -> KeySets:
    return HttpKeySets()


async def test_key_set_is_what_the_issuer_answers(source: KeySets, server: RawServer) -> None:
    server.will_answer(answered(200, {"keys": []}))
    assert await source.fetch(f"{server.url}/jwks", ca_bundle=None) == b'{"keys": []}'
    (seen,) = server.seen
    assert seen.target == "/jwks"
    assert "authorization" not in seen.headers


@pytest.mark.parametrize("status", [204, 301, 302, 307, 401, 404, 500])
async def test_no_other_answer_is_a_key_set_and_no_redirect_is_followed(
    source: KeySets, server: RawServer, status: int
) -> None:
    server.will_answer(answered(status, {"keys": []}, Location=f"{server.url}/elsewhere"))
    with pytest.raises(IssuerUnavailable):
        await source.fetch(f"{server.url}/jwks", ca_bundle=None)
    assert [seen.target for seen in server.seen] == ["/jwks"]


async def test_endless_answer_is_cut_off(source: KeySets, server: RawServer) -> None:
    server.will_answer([head(200, "application/json"), *[b"x" * 65536] * (MAX_BYTES // 65536 + 1), 60.0])
    with pytest.raises(IssuerUnavailable, match="too large"):
        await source.fetch(server.url, ca_bundle=None)


@pytest.mark.parametrize("script", [[60.0], [head(200), 60.0], [head(200), b"{", 60.0]], ids=["silent", "head", "part"])
async def test_slow_issuer_is_waited_for_briefly(
    source: KeySets, server: RawServer, script: list[bytes | float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_sets, "FETCH_SECONDS", 0.2)
    server.will_answer(script)
    with pytest.raises(IssuerUnavailable):
        await source.fetch(server.url, ca_bundle=None)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/jwks", "https://", "no address", "ftp://x/", "http://[::1"])
async def test_address_that_leads_nowhere_is_an_issuer_away(source: KeySets, url: str) -> None:
    with pytest.raises(IssuerUnavailable):
        await source.fetch(url, ca_bundle=None)


async def test_proxy_of_the_environment_is_not_used(
    source: KeySets, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    server.will_answer(answered(200, {"keys": []}))
    await source.fetch(server.url, ca_bundle=None)


async def test_ca_bundle_makes_its_issuer_trusted_and_no_other(
    source: KeySets, tls_server: RawServer, certificate: tuple[str, str]
) -> None:
    with pytest.raises(IssuerUnavailable):
        await source.fetch(tls_server.url, ca_bundle=None)
    assert tls_server.seen == []
    assert await source.fetch(tls_server.url, ca_bundle=certificate[0])


@pytest.mark.parametrize("bundle", ["", "no certificate"])
async def test_ca_bundle_without_a_certificate_trusts_nobody(
    source: KeySets, tls_server: RawServer, bundle: str
) -> None:
    with pytest.raises(IssuerUnavailable):
        await source.fetch(tls_server.url, ca_bundle=bundle)
    assert tls_server.seen == []
