"""How long visitors' tokens hold, and how long a proof of identity does."""

import hmac
import re
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest

from syntera_crds.contract.api_key import ApiKey, KeyKind
from syntera_runtime.errors import IdentityExpired, VisitorTokenExpired, VisitorTokenRefused
from syntera_runtime.identity.challenges import Challenges
from syntera_runtime.identity.contacts import Contacts
from syntera_runtime.identity.derived_keys import DerivedKeys
from syntera_runtime.identity.issuer_keys import IssuerKeys
from syntera_runtime.identity.user_tokens import UserTokens
from syntera_runtime.identity.visitor_tokens import LIFETIME, PREFIX, REFRESH, VisitorTokens
from syntera_runtime.identity.visitors import PROOF, BoughtToken, HmacProof, Visitors
from syntera_runtime.metrics import Metrics
from syntera_runtime.models.ids import TenantId
from tests.runtime.adapters.fixed_secrets import FixedSecrets
from tests.runtime.builders import TENANT, make_publishable_key
from tests.runtime.fakes import FakeCatalogue, FakeChallenges, FakeFailingStore, FakeKeySets, FakeSigningKey
from tests.runtime.identity.clock import Clock

SIGN_USERS_IN = Path(__file__).parents[3] / "docs" / "how-to" / "sign-users-in.md"
KEY = make_publishable_key(ApiKey.generate(KeyKind.PUBLISHABLE))
DERIVED = DerivedKeys(FakeSigningKey(), TENANT)


@pytest.fixture
def wall_clock() -> Clock:
    return Clock(time.time())


@pytest.fixture
def tokens(wall_clock: Clock) -> VisitorTokens:
    return VisitorTokens(DERIVED, TENANT, now=wall_clock)


@pytest.fixture
def visitors(store: FakeFailingStore, tokens: VisitorTokens) -> Visitors:
    users = UserTokens(FakeCatalogue(), IssuerKeys(FakeKeySets()))
    challenges = Challenges(FakeCatalogue(), FixedSecrets(), FakeChallenges(), metrics=Metrics())
    contacts = Contacts(store, TENANT)
    return Visitors(tokens=tokens, contacts=contacts, users=users, keys=DERIVED, challenges=challenges)


async def identify(visitors: Visitors, external_id: str = "customer-7") -> BoughtToken:
    right = hmac.new(DERIVED.of_identities(KEY.id).encode(), external_id.encode(), "sha256").hexdigest()
    return await visitors.buy(KEY, previous=None, proof=HmacProof(external_id, right.upper()))


async def refresh(visitors: Visitors, bought: BoughtToken) -> BoughtToken:
    return await visitors.buy(KEY, previous=bought.text, proof=None)


def after(clock: Clock, time_passed: timedelta) -> None:
    clock.now += time_passed.total_seconds()


async def test_token_ends_after_an_hour(visitors: Visitors, tokens: VisitorTokens, wall_clock: Clock) -> None:
    bought = await visitors.buy(KEY, previous=None, proof=None)
    after(wall_clock, LIFETIME - timedelta(seconds=1))
    assert tokens.read(bought.text) == bought.token
    after(wall_clock, timedelta(seconds=1))
    with pytest.raises(VisitorTokenExpired):
        tokens.read(bought.text)


async def test_ended_token_buys_another_for_thirty_days(visitors: Visitors, wall_clock: Clock) -> None:
    bought = await visitors.buy(KEY, previous=None, proof=None)
    after(wall_clock, LIFETIME + REFRESH - timedelta(seconds=1))
    again = await refresh(visitors, bought)
    assert again.token.contact_id == bought.token.contact_id
    after(wall_clock, timedelta(seconds=1))
    with pytest.raises(VisitorTokenExpired):
        await refresh(visitors, bought)
    assert (await refresh(visitors, again)).token.contact_id == bought.token.contact_id


async def test_proof_holds_for_a_day_however_often_the_token_is_refreshed(
    visitors: Visitors, wall_clock: Clock
) -> None:
    bought = await identify(visitors)
    for _ in range(3):
        after(wall_clock, PROOF / 4)
        bought = await refresh(visitors, bought)
        assert bought.token.proven_at is not None
    after(wall_clock, PROOF / 4)
    with pytest.raises(IdentityExpired):
        await refresh(visitors, bought)
    again = await identify(visitors)
    assert again.token.contact_id == bought.token.contact_id


async def test_site_vouches_as_the_page_for_its_authors_says(visitors: Visitors) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", SIGN_USERS_IN.read_text(), re.DOTALL)
    page: dict[str, Any] = {}
    exec(code, page)
    said = page["vouch"](DERIVED.of_identities(KEY.id), "customer-7")
    bought = await visitors.buy(KEY, previous=None, proof=HmacProof(said["externalId"], said["hmac"]))
    assert bought.token.proven_at is not None


async def test_stranger_without_conversations_becomes_a_person_too(visitors: Visitors) -> None:
    stranger = await visitors.buy(KEY, previous=None, proof=None)
    right = hmac.new(DERIVED.of_identities(KEY.id).encode(), b"customer-7", "sha256").hexdigest()
    known = await visitors.buy(KEY, previous=stranger.text, proof=HmacProof("customer-7", right))
    assert known.token.contact_id != stranger.token.contact_id


async def test_token_is_of_one_tenant(visitors: Visitors, wall_clock: Clock) -> None:
    bought = await visitors.buy(KEY, previous=None, proof=None)
    elsewhere = TenantId(uuid4())
    with pytest.raises(VisitorTokenRefused):
        VisitorTokens(DerivedKeys(FakeSigningKey(), elsewhere), elsewhere, now=wall_clock).read(bought.text)
    with pytest.raises(VisitorTokenRefused):  # nor does the audience let it in where the keys are the same
        VisitorTokens(DERIVED, elsewhere, now=wall_clock).read(bought.text)


def forge(tokens: VisitorTokens, *, secret: bytes | None = None, algorithm: str = "HS256", **changes: object) -> str:
    now = int(tokens.now().timestamp())
    claims: dict[str, object] = {
        "iss": "syntera",
        "aud": f"visitors.{TENANT}",
        "sub": str(uuid4()),
        "iat": now,
        "exp": now + 600,
        "key": str(KEY.id),
        "lookup": KEY.lookup,
        **changes,
    }
    claims = {name: value for name, value in claims.items() if value is not None}
    secret = DERIVED.of_visitor_tokens() if secret is None else secret
    return PREFIX + jwt.encode(claims, secret if algorithm != "none" else "", algorithm=algorithm)


@pytest.mark.parametrize(
    "changes",
    [
        {"secret": b"x" * 32},
        {"secret": DERIVED.of_identities(KEY.id).encode()},
        {"algorithm": "none"},
        {"algorithm": "HS512", "secret": DERIVED.of_visitor_tokens() * 2},
        {"iss": "https://id.example"},
        {"aud": None},
        {"exp": None},
        {"exp": "never"},
        {"exp": float("inf")},
        {"exp": 10**30},
        {"sub": None},
        {"sub": "nobody"},
        {"key": "x"},
        {"key": 7},
        {"lookup": None},
        {"proven": "yes"},
    ],
)
def test_forged_visitors_token_is_refused(tokens: VisitorTokens, changes: dict[str, object]) -> None:
    tokens.read(forge(tokens))
    with pytest.raises(VisitorTokenRefused):
        tokens.read(forge(tokens, **changes))  # type: ignore[arg-type]  # some of it is meant to be wrong


def test_derived_keys_tell_nothing_of_one_another() -> None:
    key = FakeSigningKey()
    made = {
        DERIVED.of_visitor_tokens().hex(),
        DERIVED.of_identities(KEY.id),
        DerivedKeys(key, TenantId(uuid4())).of_visitor_tokens().hex(),
        str(key.value),
    }
    assert len(made) == 4
    assert DerivedKeys(FakeSigningKey(), TENANT).of_visitor_tokens() == DERIVED.of_visitor_tokens()
