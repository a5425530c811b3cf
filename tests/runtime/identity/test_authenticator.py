"""Whatever is presented as credentials, it is refused in order or belongs to somebody: nothing breaks."""

import base64
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syntera_runtime.errors import Forbidden, Unauthenticated
from tests.runtime.builders import make_identity
from tests.runtime.fakes import FakeCatalogue, FakeFailingStore, FakeKeySets
from tests.runtime.identity.issuer import AUDIENCE, ISSUER, JWKS_URL, key_set, make_tenant, sign

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=5,
)


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "alg": st.sampled_from(["RS256", "ES256", "EdDSA", "HS256", "none"]) | JSON,
        "kid": st.sampled_from(["rsa-1", "ec-1", "ed-1"]) | JSON,
        "typ": st.sampled_from(["JWT", "at+jwt"]) | JSON,
        "crit": JSON,
        "b64": JSON,
        "jwk": JSON,
    },
)
CLAIMS = st.fixed_dictionaries(
    {"iss": st.just(ISSUER) | JSON},
    optional={
        "aud": st.just(AUDIENCE) | JSON,
        "sub": st.just("user-7") | JSON,
        "exp": st.just(4_000_000_000) | JSON,
        "iat": JSON,
        "nbf": JSON,
        "app_metadata": JSON,
    },
)
TOKENS = st.builds(
    lambda header, claims, signature: f"{part(header)}.{part(claims)}.{signature}",
    HEADERS | JSON,
    CLAIMS | JSON,
    st.sampled_from(["", "eA", sign().rpartition(".")[2], "!"]),
)
WORDS = st.text(max_size=60)
ANYTHING = (
    TOKENS | WORDS | WORDS.map("syn_vt_{}".format) | WORDS.map("syn_pk_{}".format) | TOKENS.map("syn_vt_{}".format)
)


@given(text=ANYTHING, origin=st.none() | WORDS)
@example(text="syn_vt_" + "[" * 900, origin=None)
async def test_nothing_breaks_whatever_is_presented(text: str, origin: str | None) -> None:
    key_sets = FakeKeySets()
    key_sets.published[JWKS_URL] = key_set()
    identity = make_identity(FakeFailingStore(), catalogue=FakeCatalogue(tenant=make_tenant()), key_sets=key_sets)
    with pytest.raises((Unauthenticated, Forbidden)):
        await identity.authenticator.authenticate(text, origin=origin)
    with pytest.raises((Unauthenticated, Forbidden)):
        await identity.authenticator.open_publishable_key(text, origin=origin)


@given(claims=st.dictionaries(st.sampled_from(["sub", "aud", "exp", "iat", "nbf", "name", "email", "role"]), JSON))
async def test_nothing_breaks_whatever_the_issuer_signs(claims: dict[str, Any]) -> None:
    key_sets = FakeKeySets()
    key_sets.published[JWKS_URL] = key_set()
    store = FakeFailingStore()
    identity = make_identity(store, catalogue=FakeCatalogue(tenant=make_tenant()), key_sets=key_sets)
    try:
        token = sign(**claims)
    except TypeError:  # what PyJWT does not sign
        return
    try:
        principal = (await identity.authenticator.authenticate(token, origin=None)).principal
    except Unauthenticated:
        return
    assert principal.contact_id is not None
    assert principal.subject == f"user:{ISSUER}|{claims.get('sub', 'user-7')}"
