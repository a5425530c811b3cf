"""What the roles of a tenant's own people open, and how a role is found in a token."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from syntera_crds.contract.api_key import Scope


class Role(StrEnum):
    """What somebody is among the tenant's own people. The order is that of their power."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"


SCOPES: Mapping[Role, frozenset[str]] = {
    Role.OWNER: frozenset({Scope.ADMIN}),
    Role.ADMIN: frozenset({Scope.ADMIN}),
    Role.MEMBER: frozenset(Scope) - {Scope.ADMIN},
}
CUSTOMER_SCOPES: frozenset[str] = frozenset({Scope.AGENTS_READ, Scope.CHAT, Scope.CONVERSATIONS_READ})
"""Of everybody else; of conversations they reach their own alone."""


def roles_of(role: Role) -> frozenset[str]:
    """The names of a role and of all below it."""
    ordered = list(Role)
    return frozenset(one.value for one in ordered[ordered.index(role) :])


def read_role(claims: Mapping[str, Any], path: str | None) -> Role | None:
    """The role that the claim at `path`, parts separated by dots, names, of several the most powerful; None: a customer."""
    if path is None:
        return None
    value: Any = claims
    for part in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    named = value if isinstance(value, list) else [value]
    return next((role for role in Role if role.value in named), None)
