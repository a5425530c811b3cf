"""What the runtime speaks of, where it decides something itself."""

from typing import Any
from uuid import UUID

import pytest

from syntera_runtime.models.identity import Principal
from tests.runtime.builders import TENANT

KEY = UUID("01890a5d-ac96-774b-bcce-b302099a8060")
CONTACT = UUID("01890a5d-ac96-774b-bcce-b302099a8061")


@pytest.mark.parametrize(
    ("fields", "person"),
    [
        ({"subject": f"key:{KEY}", "key_id": KEY}, None),
        ({"subject": f"contact:{CONTACT}", "key_id": KEY, "contact_id": CONTACT}, f"contact:{CONTACT}"),
        ({"subject": "user:https://login.example|ann", "contact_id": CONTACT}, f"contact:{CONTACT}"),
        ({"subject": "user:https://login.example|bob"}, "user:https://login.example|bob"),
    ],
    ids=["secret key", "visitor", "customer who signed in", "one of the tenant's own people"],
)
def test_person_is_the_same_by_whatever_credentials(fields: dict[str, Any], person: str | None) -> None:
    assert Principal(tenant_id=TENANT, scopes=frozenset(), **fields).person == person
