"""The JSON of keys and visitors' tokens."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from syntera_crds.contract.api_key import KeyKind, Scope

from ..identity.key_management import WantedKey
from ..identity.origins import is_origin
from ..identity.user_tokens import MAX_LENGTH as MAX_USER_TOKEN_LENGTH
from ..identity.visitor_tokens import MAX_LENGTH as MAX_VISITOR_TOKEN_LENGTH
from ..identity.visitor_tokens import REFRESH
from ..identity.visitors import BoughtToken, HmacProof, Proof, TokenProof
from ..models.identity import KeyMaker, KeyRecord
from ..views.base import View
from .schemas import Input

MAX_ENTRIES = 100
"""Agents of a key, and origins of a key."""

MAX_CHALLENGE_RESPONSE_LENGTH = 8192
"""Those of providers have up to some 4,000 characters."""


def _check_plain(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise PydanticCustomError("string_pattern_mismatch", "must be plain text on one line")
    return text


def _check_origin(origin: str) -> str:
    if not is_origin(origin):
        raise PydanticCustomError(
            "string_pattern_mismatch",
            "must be an origin such as https://www.acme.example or http://localhost:3000, as browsers write it",
        )
    return origin


def _check_future(time: datetime) -> datetime:
    try:
        in_utc = time.astimezone(UTC)
    except OverflowError:  # the last day that there is, west of Greenwich
        raise PydanticCustomError("datetime_parsing", "must be before the year 10000") from None
    if in_utc <= datetime.now(UTC):
        raise PydanticCustomError("datetime_future", "must be in the future")
    return in_utc


def _only_text(value: Any) -> Any:
    """Numbers would be taken for seconds since 1970."""
    if not isinstance(value, str):
        raise PydanticCustomError("datetime_type", "must be a time as RFC 3339 writes it")
    return value


PlainText = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_check_plain)]
AgentName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=63)]
Origin = Annotated[str, Field(max_length=300), AfterValidator(_check_origin)]
FutureTime = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_only_text), AfterValidator(_check_future)]
ScopeName = Annotated[Scope, Field(strict=False)]


class _NewKey(Input):
    name: PlainText
    """For people: what the key is used for."""
    expires_at: FutureTime | None = None
    """When it stops to work; left out: never."""


class NewSecretKey(_NewKey):
    """A key for servers."""

    kind: Literal["sk"]
    scopes: Annotated[list[ScopeName], Field(min_length=1, max_length=len(Scope))]
    """What it may do. Nobody can give what they do not hold."""

    def to_model(self) -> WantedKey:
        """What is wanted."""
        return WantedKey(kind=KeyKind.SECRET, name=self.name, scopes=frozenset(self.scopes), expires_at=self.expires_at)


class NewPublishableKey(_NewKey):
    """A key for pages of websites, which the world may see. It only buys visitors' tokens."""

    kind: Literal["pk"]
    agents: Annotated[list[AgentName], Field(min_length=1, max_length=MAX_ENTRIES)]
    """Agents that the visitors may talk to."""
    allowed_origins: Annotated[list[Origin], Field(max_length=MAX_ENTRIES)] = []
    """Origins of websites that may use it, `scheme://host[:port]`, beside those that the Tenant allows."""

    def to_model(self) -> WantedKey:
        """What is wanted."""
        return WantedKey(
            kind=KeyKind.PUBLISHABLE,
            name=self.name,
            agents=frozenset(self.agents),
            allowed_origins=frozenset(self.allowed_origins),
            expires_at=self.expires_at,
        )


NewKey = Annotated[NewSecretKey | NewPublishableKey, Field(discriminator="kind")]


class ApiKeyView(View):
    """A key, without its secret."""

    id: UUID
    kind: KeyKind
    name: str
    prefix: str
    """How the key begins, to tell it from others."""
    scopes: list[str]
    agents: list[str] | None
    """Of a publishable key."""
    allowed_origins: list[str]
    made_by: KeyMaker
    """`operator`: it lies in a Secret of the tenant's namespace, and cannot be revoked here."""
    created_by: str | None
    """Who made it: `key:<id>` or `user:<issuer>|<subject>`; null: the operator."""
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    """To the minute."""

    @classmethod
    def of(cls, record: KeyRecord) -> Self:
        """The view of `record`."""
        key = record.key
        return cls(
            id=key.id,
            kind=key.kind,
            name=record.name,
            prefix=f"syn_{key.kind}_{key.lookup}",
            scopes=sorted(key.scopes),
            agents=None if key.agents is None else sorted(key.agents),
            allowed_origins=sorted(key.allowed_origins),
            made_by=record.made_by,
            created_by=record.created_by,
            created_at=record.created_at,
            expires_at=key.expires_at,
            revoked_at=key.revoked_at,
            last_used_at=record.last_used_at,
        )


class CreatedApiKey(ApiKeyView):
    """A key that was just made."""

    key: str
    """The whole key. It is shown this once and stored nowhere."""


class IdentitySecret(View):
    """What a site vouches for its users with."""

    secret: str
    """The key of the HMAC, as this text. For servers alone: whoever has it can be any of the site's users."""


class HmacIdentity(Input):
    """The tenant's own site vouches for the visitor."""

    external_id: Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_check_plain)]
    """The site's own id for the person, the same on every device."""
    hmac: Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{64}$")]
    """HMAC-SHA-256 of `externalId` with the key's identity secret, hexadecimal."""


class TokenIdentity(Input):
    """An issuer whom the Tenant trusts vouches for the visitor."""

    identity_token: Annotated[str, Field(min_length=1, max_length=MAX_USER_TOKEN_LENGTH)]
    """The issuer's token (JWT)."""


def _kind_of_identity(value: Any) -> str:
    is_token = "identityToken" in value if isinstance(value, dict) else isinstance(value, TokenIdentity)
    return "by-token" if is_token else "by-hmac"


Identity = Annotated[
    Annotated[HmacIdentity, Tag("by-hmac")] | Annotated[TokenIdentity, Tag("by-token")],
    Discriminator(_kind_of_identity),
]


class VisitorTokenInput(Input):
    """Who the visitor is, as far as is known. All may be left out."""

    visitor_token: Annotated[str, Field(min_length=1, max_length=MAX_VISITOR_TOKEN_LENGTH)] | None = None
    """The visitor's token of before, so that they stay who they were."""
    identity: Identity | None = None
    """Somebody vouches for who the visitor is."""
    challenge_response: (
        Annotated[str, Field(min_length=1, max_length=MAX_CHALLENGE_RESPONSE_LENGTH, pattern="^[!-~]+$")] | None
    ) = None
    """What the browser got for solving the Tenant's challenge, for a new visitor for whom nobody vouches; it is good for one
    time. Else it is not looked at."""

    @property
    def proof(self) -> Proof | None:
        """What is to be proven."""
        match self.identity:
            case HmacIdentity(external_id=external_id, hmac=hmac):
                return HmacProof(external_id, hmac)
            case TokenIdentity(identity_token=token):
                return TokenProof(token)
            case _:
                return None


class VisitorTokenView(View):
    """A visitor's token."""

    visitor_token: str
    """Send it as `Authorization: Bearer <token>`."""
    expires_at: datetime
    refreshable_until: datetime
    """Until then it buys another one for the same visitor."""
    contact_id: UUID
    is_identified: bool
    """Somebody vouched for who the visitor is."""

    @classmethod
    def of(cls, bought: BoughtToken) -> Self:
        """The view of `bought`."""
        token = bought.token
        return cls(
            visitor_token=bought.text,
            expires_at=token.expires_at,
            refreshable_until=token.expires_at + REFRESH,
            contact_id=token.contact_id,
            is_identified=not token.is_anonymous,
        )
