"""Names that are made from others: they stay valid where they go, and tenants cannot meet."""

import re
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from syntera_crds.contract import names

TENANT = UUID("01890a5d-ac96-774b-bcce-b302099a8057")


def test_names_of_a_tenant_are_made_from_its_id() -> None:
    assert names.tenant_login(TENANT) == "t_01890a5dac96774bbcceb302099a8057"
    assert names.redis_key_prefix(TENANT) == "t:01890a5dac96774bbcceb302099a8057:"
    assert names.internal_audience(TENANT) == "runtime.01890a5d-ac96-774b-bcce-b302099a8057.syntera.io"


@given(st.uuids(), st.uuids())
def test_tenants_share_no_name(one: UUID, other: UUID) -> None:
    if one == other:
        other = UUID(int=one.int ^ 1)
    assert names.tenant_login(one) != names.tenant_login(other)
    assert names.internal_audience(one) != names.internal_audience(other)
    assert not names.redis_key_prefix(one).startswith(names.redis_key_prefix(other))


@given(st.uuids())
def test_login_is_a_plain_identifier_of_postgresql(tenant: UUID) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]{0,62}", names.tenant_login(tenant))


def test_published_config_map_of_the_longest_agent_has_a_valid_name() -> None:
    name = names.published_agent_name("a" * 63)
    assert name == f"agent-{'a' * 63}"
    assert len(name) <= 253


def test_keys_of_labels_and_annotations_are_of_our_group() -> None:
    keys = (
        names.TENANT_LABEL,
        names.PUBLISHED_LABEL,
        names.USABLE_LABEL,
        names.APPLIED_HASH_ANNOTATION,
        names.ABANDON_STORES_ANNOTATION,
    )
    assert all(re.fullmatch(r"syntera\.io/[a-z-]{1,63}", key) for key in keys)
    assert len(set(keys)) == len(keys)
