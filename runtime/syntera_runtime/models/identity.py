"""Who asks: keys, contacts, principals."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from syntera_crds.contract.agent_config import Access, AgentConfig
from syntera_crds.contract.api_key import KeyKind, Scope

from .conversations import Side
from .ids import ApiKeyId, ContactId, TenantId


class KeyMaker(StrEnum):
    """Who made a key."""

    OPERATOR = "operator"
    """Lies in a Secret of the tenant's namespace; the operator alone replaces it."""
    TENANT = "tenant"
    """Made through the API."""


@dataclass(frozen=True, slots=True)
class StoredApiKey:
    """A key as the store knows it: whether it may be used is decided from this."""

    id: ApiKeyId
    kind: KeyKind
    lookup: str
    hash: bytes
    """SHA-256 of the whole key."""
    scopes: frozenset[str]
    """Scopes that this release does not know are kept and grant nothing. Empty for a publishable key."""
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    agents: frozenset[str] | None = None
    """Agents that the holders of a publishable key may talk to. None: a secret key, which is bound to none."""
    allowed_origins: frozenset[str] = frozenset()
    """Origins of websites that may use a publishable key, beside those that the Tenant allows."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key with what its administrators want to know of it."""

    key: StoredApiKey
    name: str
    made_by: KeyMaker
    created_at: datetime
    created_by: str | None = None
    """The `subject` of who made it; None: the operator did."""
    last_used_at: datetime | None = None
    """To the minute; None: never."""


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key that is about to be stored."""

    key: StoredApiKey
    name: str
    created_by: str


@dataclass(frozen=True, slots=True)
class Contact:
    """A customer of the tenant."""

    id: ContactId
    external_id: str | None
    """What the tenant, or an issuer of tokens, knows the person by. None: an anonymous visitor."""
    name: str | None
    email: str | None
    created_at: datetime
    last_seen_at: datetime


@dataclass(frozen=True, slots=True)
class ChallengeVerdict:
    """What the provider of a challenge says of a response."""

    is_solved: bool
    """The response is right, and nobody has used it before."""
    hostname: str | None = None
    """Host of the page on which it was solved. None: the provider does not say."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, after the credentials were checked."""

    tenant_id: TenantId
    subject: str
    """`key:<uuid>`, `user:<issuer>|<sub>` or `contact:<uuid>`."""
    scopes: frozenset[str]
    key_id: ApiKeyId | None = None
    """The key that was presented, or that a visitor's token came from."""
    contact_id: ContactId | None = None
    """A customer, who sees and continues the conversations of this contact alone. None: one of the tenant's own side."""
    agents: frozenset[str] | None = None
    """Names of the agents that it may talk to; None: all."""
    is_anonymous: bool = False
    """Nobody has said who the customer is."""
    roles: frozenset[str] = frozenset()
    """Of one of the tenant's own people: the name of their role and of those below it."""

    @property
    def person(self) -> str | None:
        """Who it is, the same by whatever credentials. None: a program, with a secret key."""
        if self.contact_id is not None:
            return f"contact:{self.contact_id}"
        return None if self.key_id is not None else self.subject

    def may(self, scope: Scope) -> bool:
        """Whether the principal holds `scope`, by itself or because it may do everything."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    @property
    def side(self) -> "Side":
        """Whose eyes it reads with."""
        return Side.STAFF if self.contact_id is None else Side.CONTACT

    def may_see(self, agent: AgentConfig) -> bool:
        """Whether the agent exists for the principal."""
        return self.agents is None or agent.name in self.agents

    def may_talk_to(self, agent: AgentConfig) -> bool:
        """Whether the agent answers the principal."""
        return self.may_see(agent) and not (self.is_anonymous and agent.access is Access.AUTHENTICATED)


@dataclass(frozen=True, slots=True)
class Session:
    """What credentials open after they were checked, and what can end that."""

    principal: Principal
    expires_at: datetime | None = None
    """When the token ends. None: it was a key, which may end at any time."""
    lookup: str | None = None
    """What finds the key that was presented, or that a visitor's token came from. None: no key has a say in it."""
    origin: str | None = None
    """Origin of the page that a visitor's token came from. None: of none, or it does not matter."""
    issuer: str | None = None
    """Issuer of the token; None: it was none of an issuer."""
