"""For whom a search is made."""

from typing import Any
from uuid import UUID

import pytest

from syntera_runtime.identity.roles import Role, roles_of
from syntera_runtime.knowledge.audience import audience_of
from syntera_runtime.models.identity import Principal
from syntera_runtime.models.ids import ApiKeyId, ContactId
from tests.runtime.builders import TENANT

ID = UUID("01890a5d-ac96-774b-bcce-b302099a8059")
SIGNED_IN = {"public", "authenticated"}


@pytest.mark.parametrize(
    ("who", "audience"),
    [
        ({"contact_id": ContactId(ID), "key_id": ApiKeyId(ID), "is_anonymous": True}, {"public"}),
        ({"contact_id": ContactId(ID), "key_id": ApiKeyId(ID)}, SIGNED_IN),
        ({"contact_id": ContactId(ID)}, SIGNED_IN),
        ({"key_id": ApiKeyId(ID)}, {"public"}),
        ({"key_id": ApiKeyId(ID), "scopes": frozenset({"admin"})}, {"public"}),
        ({"roles": roles_of(Role.MEMBER)}, SIGNED_IN | {"member"}),
        ({"roles": roles_of(Role.ADMIN)}, SIGNED_IN | {"member", "admin"}),
        ({"roles": roles_of(Role.OWNER)}, SIGNED_IN | {"member", "admin", "owner"}),
        # A customer has no roles; should they ever come along, they open nothing.
        ({"contact_id": ContactId(ID), "roles": roles_of(Role.OWNER)}, SIGNED_IN),
    ],
)
def test_audience_follows_from_who_asks(who: dict[str, Any], audience: set[str]) -> None:
    principal = Principal(**{"tenant_id": TENANT, "subject": "somebody", "scopes": frozenset({"chat"}), **who})
    assert audience_of(principal) == audience
