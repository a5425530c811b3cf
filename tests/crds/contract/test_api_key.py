"""API keys: what is made is understood, what is mistyped is not, and nothing gives the secret away."""

import hashlib
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from syntera_crds.contract.api_key import ApiKey, KeyKind, Scope

ALPHABET = string.digits + string.ascii_letters
KEYS = st.builds(ApiKey.generate, st.sampled_from(KeyKind))


@given(KEYS)
def test_generated_keys_parse_to_themselves(key: ApiKey) -> None:
    assert ApiKey.parse(key.text) == key


@pytest.mark.parametrize("kind", KeyKind)
def test_keys_tell_their_kind_and_are_of_one_length(kind: KeyKind) -> None:
    key = ApiKey.generate(kind)
    start = f"syn_{kind.value}_"
    assert key.text.startswith(start)
    assert len(key.text) == len(start) + 46
    assert set(key.text.removeprefix(start)) <= set(ALPHABET)


def test_keys_differ() -> None:
    keys = {ApiKey.generate(KeyKind.SECRET).text for _ in range(1000)}
    assert len(keys) == 1000
    assert len({key[15:47] for key in keys}) == 1000


@pytest.mark.parametrize(
    ("text", "kind", "lookup"),
    [
        ("syn_sk_" + "0" * 40 + "0ZxXe2", KeyKind.SECRET, "00000000"),
        ("syn_pk_aB3dE6gH" + "x" * 32 + "3Lz8YJ", KeyKind.PUBLISHABLE, "aB3dE6gH"),
    ],
)
def test_keys_of_earlier_releases_are_understood(text: str, kind: KeyKind, lookup: str) -> None:
    """Keys live for years: a change of the format or of the checksum would lock their owners out."""
    key = ApiKey.parse(text)
    assert key is not None
    assert (key.kind, key.lookup, key.text) == (kind, lookup, text)


@given(KEYS, st.data())
def test_one_wrong_character_is_noticed(key: ApiKey, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(key.text) - 1))
    wrong = data.draw(st.sampled_from(ALPHABET + "_"))
    assume(key.text[place] != wrong)
    assert ApiKey.parse(key.text[:place] + wrong + key.text[place + 1 :]) is None


@given(KEYS, st.data())
def test_two_swapped_neighbours_are_noticed(key: ApiKey, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(key.text) - 2))
    one, other = key.text[place], key.text[place + 1]
    assume(one != other)
    assert ApiKey.parse(key.text[:place] + other + one + key.text[place + 2 :]) is None


@given(KEYS, st.data())
def test_a_part_of_a_key_and_more_than_a_key_are_none(key: ApiKey, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(key.text) - 1))
    assert ApiKey.parse(key.text[:cut]) is None
    assert ApiKey.parse(key.text + data.draw(st.text(min_size=1))) is None
    assert ApiKey.parse(data.draw(st.text(min_size=1)) + key.text) is None


@given(st.text() | st.from_regex(r"syn_(sk|pk)_[0-9A-Za-z\u00e4_]{40,50}", fullmatch=True))
def test_any_other_text_is_no_key_and_no_error(text: str) -> None:
    assert ApiKey.parse(text) is None


@given(KEYS)
def test_what_is_stored_is_the_sha256_of_the_whole_key(key: ApiKey) -> None:
    assert key.hash == hashlib.sha256(key.text.encode()).digest()
    assert len(key.lookup) == 8
    assert key.lookup in key.text


@given(KEYS, KEYS)
def test_key_matches_its_own_hash_and_no_other(key: ApiKey, other: ApiKey) -> None:
    assert key.matches(key.hash)
    assert not key.matches(other.hash)
    assert not key.matches(key.hash[:-1])
    assert not key.matches(b"")


@given(KEYS)
def test_shown_key_keeps_its_secret(key: ApiKey) -> None:
    secret = key.text[len("syn_sk_") + 8 :]
    for shown in (repr(key), str(key), f"{key}", repr([key])):
        assert key.lookup in shown
        assert secret not in shown
        assert secret[:8] not in shown


def test_scopes_are_spelled_as_they_are_stored() -> None:
    assert {scope.value for scope in Scope} == {
        "agents:read",
        "chat",
        "conversations:read",
        "conversations:write",
        "usage:read",
        "knowledge:read",
        "knowledge:write",
        "admin",
    }
