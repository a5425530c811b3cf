"""Sessions end with the credentials behind them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from syntera_crds.contract.api_key import ApiKey, KeyKind
from syntera_runtime.errors import StoreUnavailable, SynteraError
from syntera_runtime.identity import key_ring, session_watch
from syntera_runtime.identity.parts import Identity
from syntera_runtime.identity.session_watch import SessionWatch
from syntera_runtime.models.identity import Session, StoredApiKey
from syntera_runtime.models.ids import TenantId
from tests.runtime.builders import TENANT, make_identity, make_publishable_key, make_stored_key, put_key
from tests.runtime.fakes import FakeCatalogue, FakeFailingStore, FakeKeySets
from tests.runtime.identity.issuer import JWKS_URL, key_set, make_tenant, sign

SITE = "https://shop.example"
LONGEST_SECONDS = session_watch.CHECK_SECONDS + session_watch.ROUND_SECONDS + key_ring.TTL_SECONDS
"""From a revocation to the end of its sessions; the tests below are less patient."""


class Ends:
    """Why sessions ended."""

    def __init__(self) -> None:
        self.codes: asyncio.Queue[str] = asyncio.Queue()

    def note(self, error: SynteraError) -> None:
        """One has."""
        self.codes.put_nowait(error.code)

    async def next(self) -> str:
        """Why the next one has, which must be soon."""
        async with asyncio.timeout(10):
            return await self.codes.get()


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions are checked, and keys looked up, more often than they would."""
    monkeypatch.setattr(session_watch, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr(key_ring, "TTL_SECONDS", 0.02)


@pytest.fixture
def catalogue() -> FakeCatalogue:
    """A tenant that trusts an issuer."""
    return FakeCatalogue(tenant=make_tenant())


@pytest.fixture
def identity(store: FakeFailingStore, catalogue: FakeCatalogue) -> Identity:
    """What tells who asks."""
    key_sets = FakeKeySets()
    key_sets.published[JWKS_URL] = key_set()
    return make_identity(store, catalogue=catalogue, key_sets=key_sets)


@pytest.fixture
async def watch(identity: Identity) -> AsyncIterator[SessionWatch]:
    """The watch, at work."""
    watch = SessionWatch(identity.authenticator)
    running = asyncio.create_task(watch.run())
    yield watch
    running.cancel()


@contextmanager
def watched(watch: SessionWatch, session: Session) -> Iterator[Ends]:
    ends = Ends()
    with watch.watch(session, ends.note):
        yield ends


def test_revocation_takes_effect_within_five_seconds() -> None:
    assert LONGEST_SECONDS < 5


async def test_session_of_a_revoked_key_ends_once(
    store: FakeFailingStore, identity: Identity, watch: SessionWatch
) -> None:
    key = ApiKey.generate(KeyKind.SECRET)
    stored = make_stored_key(key)
    store.put_api_key(TENANT, stored)
    other = await identity.authenticator.authenticate(put_key(store), origin=None)
    session = await identity.authenticator.authenticate(key.text, origin=None)
    with watched(watch, session) as ends, watched(watch, other) as others:
        store.put_api_key(TENANT, replace(stored, revoked_at=datetime.now(UTC)))
        assert await ends.next() == "key-revoked"
        looked_up = store.calls_of("find_api_key")
        async with asyncio.timeout(10):
            while store.calls_of("find_api_key") < looked_up + 3:  # noqa: ASYNC110  # nobody announces it
                await asyncio.sleep(0.01)
        assert ends.codes.empty()
        assert others.codes.empty()


async def test_session_that_is_watched_no_more_is_left_alone(
    store: FakeFailingStore, identity: Identity, watch: SessionWatch
) -> None:
    key = ApiKey.generate(KeyKind.SECRET)
    stored = make_stored_key(key)
    store.put_api_key(TENANT, stored)
    session = await identity.authenticator.authenticate(key.text, origin=None)
    with watched(watch, session) as ends:
        pass
    store.put_api_key(TENANT, replace(stored, revoked_at=datetime.now(UTC)))
    with watched(watch, session) as later:
        assert await later.next() == "key-revoked"
    assert ends.codes.empty()


async def test_session_goes_on_while_nobody_knows(
    store: FakeFailingStore, identity: Identity, watch: SessionWatch
) -> None:
    session = await identity.authenticator.authenticate(put_key(store), origin=None)
    with watched(watch, session) as ends:
        before = store.calls_of("find_api_key")
        store.fail("find_api_key", *[StoreUnavailable(store="PostgreSQL")] * 3)
        async with asyncio.timeout(10):
            while store.calls_of("find_api_key") < before + 5:  # noqa: ASYNC110  # nobody announces it
                await asyncio.sleep(0.01)
        assert ends.codes.empty()


async def buy(store: FakeFailingStore, identity: Identity) -> Session:
    """A visitor's session, with a publishable key of its own."""
    key = ApiKey.generate(KeyKind.PUBLISHABLE)
    store.put_api_key(TENANT, make_publishable_key(key))
    opened = await identity.authenticator.open_publishable_key(key.text, origin=None)
    bought = await identity.visitors.buy(opened, previous=None, proof=None)
    return await identity.authenticator.authenticate(bought.text, origin=None)


async def test_token_ends_although_the_store_is_away(
    store: FakeFailingStore, identity: Identity, watch: SessionWatch
) -> None:
    session = await buy(store, identity)
    soon = datetime.now(UTC) + timedelta(milliseconds=200)
    store.fail("find_api_key", *[StoreUnavailable(store="PostgreSQL")] * 10_000)
    with ExitStack() as stack:
        lasting = [stack.enter_context(watched(watch, session)) for _ in range(20)]  # one of them is looked at first
        ends = stack.enter_context(watched(watch, replace(session, expires_at=soon)))
        assert await ends.next() == "visitor-token-expired"
        assert all(one.codes.empty() for one in lasting)


async def test_slow_lookup_of_a_key_holds_up_nobody_else(
    store: FakeFailingStore, identity: Identity, watch: SessionWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, other = await buy(store, identity), await buy(store, identity)
    key = ApiKey.generate(KeyKind.SECRET)
    stored = make_stored_key(key)
    store.put_api_key(TENANT, stored)
    secret = await identity.authenticator.authenticate(key.text, origin=None)
    find, is_waiting = store.find_api_key, asyncio.Event()

    async def find_slowly(tenant_id: TenantId, lookup: str) -> StoredApiKey | None:
        if lookup == slow.lookup:
            is_waiting.set()
            await asyncio.Event().wait()
        return await find(tenant_id, lookup)

    monkeypatch.setattr(store, "find_api_key", find_slowly)
    soon = datetime.now(UTC) + timedelta(milliseconds=50)
    with watched(watch, slow) as first, watched(watch, secret) as second:
        await is_waiting.wait()
        with watched(watch, replace(other, expires_at=soon)) as third:
            assert await third.next() == "visitor-token-expired"
        store.put_api_key(TENANT, replace(stored, revoked_at=datetime.now(UTC)))
        assert await second.next() == "key-revoked"
        assert first.codes.empty()


async def test_sessions_of_one_key_cost_one_lookup(
    store: FakeFailingStore, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_ring, "TTL_SECONDS", 60)
    watch = SessionWatch(identity.authenticator)
    session = await identity.authenticator.authenticate(put_key(store), origin=None)
    before = store.calls_of("find_api_key")
    with watched(watch, session), watched(watch, session):
        await watch._check_all()
    assert store.calls_of("find_api_key") == before


@pytest.mark.parametrize("role", [None, "member"])
async def test_session_of_a_user_ends_with_the_token(identity: Identity, watch: SessionWatch, role: str | None) -> None:
    session = await identity.authenticator.authenticate(sign(app_metadata={"role": role}), origin=None)
    assert session.expires_at is not None
    with watched(watch, session) as lasting:
        with watched(watch, replace(session, expires_at=datetime.now(UTC) + timedelta(milliseconds=50))) as ends:
            assert await ends.next() == "token-expired"
        assert lasting.codes.empty()


async def test_session_ends_when_its_issuer_is_trusted_no_more(
    identity: Identity, watch: SessionWatch, catalogue: FakeCatalogue
) -> None:
    session = await identity.authenticator.authenticate(sign(), origin=None)
    with watched(watch, session) as ends:
        assert catalogue.tenant_config is not None
        catalogue.tenant_config = catalogue.tenant_config.model_copy(update={"issuers": []})
        assert await ends.next() == "token-issuer-unknown"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"revoked_at": datetime.now(UTC)}, "key-revoked"),
        ({"expires_at": datetime.now(UTC)}, "key-expired"),
        ({"allowed_origins": frozenset()}, "origin-not-allowed"),
    ],
)
async def test_session_of_a_visitor_ends_with_the_publishable_key(
    store: FakeFailingStore, identity: Identity, watch: SessionWatch, change: dict[str, object], code: str
) -> None:
    key = ApiKey.generate(KeyKind.PUBLISHABLE)
    stored = make_publishable_key(key, allowed_origins=frozenset({SITE}))
    store.put_api_key(TENANT, stored)
    bought = await identity.visitors.buy(
        await identity.authenticator.open_publishable_key(key.text, origin=SITE), previous=None, proof=None
    )
    session = await identity.authenticator.authenticate(bought.text, origin=SITE)
    with watched(watch, session) as ends:
        store.put_api_key(TENANT, replace(stored, **change))  # type: ignore[arg-type]
        assert await ends.next() == code


async def test_session_of_a_visitor_ends_with_the_token(
    store: FakeFailingStore, identity: Identity, watch: SessionWatch
) -> None:
    key = ApiKey.generate(KeyKind.PUBLISHABLE)
    store.put_api_key(TENANT, make_publishable_key(key))
    bought = await identity.visitors.buy(
        await identity.authenticator.open_publishable_key(key.text, origin=None), previous=None, proof=None
    )
    session = await identity.authenticator.authenticate(bought.text, origin=None)
    with watched(watch, replace(session, expires_at=datetime.now(UTC) + timedelta(milliseconds=50))) as ends:
        assert await ends.next() == "visitor-token-expired"
