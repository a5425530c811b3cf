"""For whom a search is made."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from syntera_runtime.identity.roles import Role, roles_of
from syntera_runtime.knowledge.audience import audience_of, may_see, reach_of
from syntera_runtime.models.identity import Principal
from syntera_runtime.models.ids import ApiKeyId, ContactId, DocumentId, KnowledgeBaseId
from syntera_runtime.models.knowledge import Document, DocumentOrigin, DocumentState
from tests.runtime.builders import TENANT
from tests.runtime.knowledge_stores import make_facts

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


@pytest.mark.parametrize(
    ("who", "reach"),
    [
        ({"key_id": ApiKeyId(ID)}, None),
        ({"roles": roles_of(Role.OWNER), "scopes": frozenset({"admin"})}, None),
        ({"roles": roles_of(Role.ADMIN), "scopes": frozenset({"admin"})}, None),
        ({"roles": roles_of(Role.MEMBER)}, SIGNED_IN | {"member"}),
    ],
)
def test_who_manages_knowledge_sees_what_is_for_them(who: dict[str, Any], reach: set[str] | None) -> None:
    scopes = frozenset({"knowledge:read"})
    principal = Principal(**{"tenant_id": TENANT, "subject": "somebody", "scopes": scopes, **who})
    assert reach_of(principal) == reach
    for audience in ({"owner"}, {"admin", "member"}, {"public"}):
        document = make_document(audience=audience)
        assert may_see(principal, document) == (reach is None or bool(reach & audience))


def make_document(**facts: Any) -> Document:
    now = datetime(2026, 11, 1, tzinfo=UTC)
    return Document(
        id=DocumentId(ID),
        knowledge_base_id=KnowledgeBaseId(ID),
        origin=DocumentOrigin("docs", "a.md"),
        facts=make_facts(**facts),
        state=DocumentState.INDEXED,
        created_at=now,
        updated_at=now,
    )
