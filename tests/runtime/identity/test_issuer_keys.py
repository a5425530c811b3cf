"""How long issuers' keys are kept, when they are fetched anew, and how little that may cost."""

import asyncio
import json

import pytest

from syntera_runtime.errors import IssuerUnavailable, TokenKeyUnknown
from syntera_runtime.identity import issuer_keys
from syntera_runtime.identity.issuer_keys import (
    KEYS_SECONDS,
    MAX_KEYS,
    REFETCH_SECONDS,
    RETRY_SECONDS,
    STALE_SECONDS,
    IssuerKeys,
)
from tests.runtime.fakes import FakeKeySets
from tests.runtime.identity.clock import Clock
from tests.runtime.identity.issuer import JWKS_URL, OTHER_RSA, RSA, key_set, make_issuer, public_jwk

ISSUER = make_issuer()


@pytest.fixture
def source() -> FakeKeySets:
    """An issuer with one key."""
    source = FakeKeySets()
    source.published[JWKS_URL] = key_set({"rsa-1": RSA})
    return source


class Keys:
    """The keys under test, asked for RSA keys by id."""

    def __init__(self, source: FakeKeySets, clock: Clock) -> None:
        self.cache = IssuerKeys(source, monotonic=clock)

    async def find(self, key_id: str = "rsa-1") -> None:
        """Find a key, or raise."""
        await self.cache.find(ISSUER, key_id=key_id, algorithm="RS256")


@pytest.fixture
def keys(source: FakeKeySets, clock: Clock) -> Keys:
    return Keys(source, clock)


async def test_keys_are_fetched_once_and_again_when_they_are_old(keys: Keys, source: FakeKeySets, clock: Clock) -> None:
    for _ in range(3):
        await keys.find()
    clock.now += KEYS_SECONDS - 1
    await keys.find()
    assert len(source.asked) == 1
    clock.now += 1
    await keys.find()
    assert len(source.asked) == 2


async def test_keys_are_fetched_once_for_all_who_wait(keys: Keys, source: FakeKeySets) -> None:
    source.answering.clear()
    waiting = [asyncio.create_task(keys.find()) for _ in range(20)]
    await asyncio.sleep(0)
    source.answering.set()
    await asyncio.gather(*waiting)
    assert len(source.asked) == 1


async def test_invented_key_ids_cost_one_fetch_in_half_a_minute(keys: Keys, source: FakeKeySets, clock: Clock) -> None:
    await keys.find()
    for number in range(50):
        with pytest.raises(TokenKeyUnknown):
            await keys.find(f"invented-{number}")
    assert len(source.asked) == 1
    clock.now += REFETCH_SECONDS
    for number in range(50):
        with pytest.raises(TokenKeyUnknown):
            await keys.find(f"invented-{number}")
    assert len(source.asked) == 2


async def test_new_key_is_found_when_the_issuer_rotates(keys: Keys, source: FakeKeySets, clock: Clock) -> None:
    await keys.find()
    source.published[JWKS_URL] = key_set({"rsa-1": RSA, "rsa-2": OTHER_RSA})
    clock.now += REFETCH_SECONDS
    await keys.find("rsa-2")
    await keys.find("rsa-1")


async def test_withdrawn_key_is_trusted_no_longer_than_keys_are_kept(
    keys: Keys, source: FakeKeySets, clock: Clock
) -> None:
    await keys.find()
    source.published[JWKS_URL] = key_set({"rsa-2": OTHER_RSA})
    clock.now += KEYS_SECONDS
    with pytest.raises(TokenKeyUnknown):
        await keys.find()


async def test_known_keys_are_trusted_for_an_hour_while_the_issuer_is_away(
    keys: Keys, source: FakeKeySets, clock: Clock
) -> None:
    await keys.find()
    del source.published[JWKS_URL]
    clock.now += STALE_SECONDS - 1
    await keys.find()
    with pytest.raises(IssuerUnavailable):
        await keys.find("rsa-2")
    clock.now += 1
    with pytest.raises(IssuerUnavailable):
        await keys.find()
    source.published[JWKS_URL] = key_set({"rsa-1": RSA})
    clock.now += RETRY_SECONDS
    await keys.find()


async def test_issuer_that_is_away_is_asked_now_and_then_only(keys: Keys, source: FakeKeySets, clock: Clock) -> None:
    del source.published[JWKS_URL]
    for _ in range(20):
        with pytest.raises(IssuerUnavailable):
            await keys.find()
    assert len(source.asked) == 1
    clock.now += RETRY_SECONDS
    with pytest.raises(IssuerUnavailable):
        await keys.find()
    assert len(source.asked) == 2


async def test_nobody_waits_for_an_issuer_that_hangs_if_the_key_is_known(
    keys: Keys, source: FakeKeySets, clock: Clock
) -> None:
    await keys.find()
    clock.now += KEYS_SECONDS
    source.answering.clear()
    first = asyncio.create_task(keys.find())
    await source.wait_until_asked(2)
    async with asyncio.timeout(10):
        await keys.find()
    source.answering.set()
    await first


async def test_client_that_leaves_while_keys_are_fetched_spoils_nothing(
    keys: Keys, source: FakeKeySets, clock: Clock
) -> None:
    source.answering.clear()
    leaving = asyncio.create_task(keys.find())
    await source.wait_until_asked(1)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    source.answering.set()
    with pytest.raises(IssuerUnavailable):
        await keys.find()
    clock.now += RETRY_SECONDS
    await keys.find()


@pytest.mark.parametrize(
    "published", [b"", b"<html>", b"[]", b'{"keys": 7}', b'{"keys": {"rsa-1": {}}}', b"{}", b"[" * 100_000, b"\xff"]
)
async def test_key_set_that_is_none_is_an_issuer_away(keys: Keys, source: FakeKeySets, published: bytes) -> None:
    source.published[JWKS_URL] = published
    with pytest.raises(IssuerUnavailable):
        await keys.find()


async def test_only_so_many_keys_of_a_set_are_looked_at(keys: Keys, source: FakeKeySets) -> None:
    jwk = public_jwk(RSA)
    published = [{**jwk, "kid": f"rsa-{number}"} for number in range(MAX_KEYS + 1)]
    source.published[JWKS_URL] = json.dumps({"keys": published}).encode()
    await keys.find(f"rsa-{MAX_KEYS - 1}")
    with pytest.raises(TokenKeyUnknown):
        await keys.find(f"rsa-{MAX_KEYS}")


async def test_sets_of_issuers_of_before_are_forgotten(
    source: FakeKeySets, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuer_keys, "MAX_SETS", 2)
    cache = IssuerKeys(source, monotonic=clock)
    for number in (1, 2, 3, 3, 1):
        url = f"https://{number}.example/jwks"
        source.published[url] = key_set({"rsa-1": RSA})
        await cache.find(make_issuer(jwks_url=url), key_id="rsa-1", algorithm="RS256")
    assert [url[8] for url in source.asked] == ["1", "2", "3", "1"]
